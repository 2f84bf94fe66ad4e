"""The terminal: what it may be given, and where notes and errors go. Data goes to `output`."""

import io
import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from retrieval.errors import CONTROLS, RequestError

# What a terminal obeys instead of showing it: control characters, line separators, marks that
# change the direction of text, and halves of characters, which no encoding has.
UNSHOWN = re.compile(rf"[{CONTROLS}\u2028\u2029\ud800-\udfff]")

# Terminals that nothing can be drawn over.
DUMB = ("dumb", "unknown")


def note(text: str) -> None:
    """Write a line, or several, to standard error."""
    sys.stderr.write("\n".join(map(escaped, text.split("\n"))) + "\n")
    sys.stderr.flush()


def remark(*sentences: str) -> None:
    """Write what was noticed to standard error, a line each."""
    for sentence in sentences:
        note(f"note: {sentence}")


def complain(text: str) -> None:
    """Write an error to standard error, in red where that can be."""
    if not draws(sys.stderr):
        note(text)
        return
    from rich.console import Console

    console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False, emoji=False)
    console.print("\n".join(map(escaped, text.split("\n"))), style="red")


def draws(stream: TextIO) -> bool:
    """Return whether a stream is a terminal that can be drawn on."""
    return stream.isatty() and os.environ.get("TERM", "").lower() not in DUMB


def escaped(text: str) -> str:
    r"""Return text with an escape, as in `\x1b`, for what a terminal would obey."""
    return UNSHOWN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def printable(text: str) -> str:
    """Return text as standard output can be given it.

    What a terminal would obey is escaped, and so is what the encoding lacks, but for the sign for
    plus or minus, which is `+/-`.
    """
    text = escaped(text)
    if writes_unicode():
        return text
    text = text.replace("\N{PLUS-MINUS SIGN}", "+/-")
    encoding = sys.stdout.encoding or "ascii"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def writes_unicode() -> bool:
    """Return whether standard output can write any character."""
    return (sys.stdout.encoding or "ascii").lower().startswith("utf")


def prepare_streams() -> None:
    """Let anything be printed: what the encoding lacks is escaped, a closed stream takes it too."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, io.TextIOWrapper(io.BytesIO(), "utf-8"))
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def discard_output() -> None:
    """Keep Python from writing the rest of standard output at exit, which cannot be written."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _StandardError:
    """Whatever `sys.stderr` is at the moment: a progress bar takes its place while it is drawn."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


@contextmanager
def warnings_shown() -> Iterator[None]:
    """Show the warnings of the `retrieval` loggers as notes on standard error, a line each."""
    handler = logging.StreamHandler(_StandardError())
    handler.setFormatter(logging.Formatter("note: %(message)s"))
    logger = logging.getLogger("retrieval")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def agreed(question: str, remedy: str) -> bool:
    """Ask somebody at a terminal whether something may be done.

    Args:
        question: What is asked.
        remedy: What to do where nobody is there to answer.

    Raises:
        RequestError: Nobody is there.
    """
    if not sys.stdin.isatty():
        raise RequestError(f"nobody is there to be asked: {remedy}")
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}
