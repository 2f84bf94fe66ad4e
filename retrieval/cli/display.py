"""What people see: tables on a terminal. Programs ask for JSON instead."""

import io
import json
import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

# What a terminal obeys instead of showing it: control characters, line separators, marks that
# change the direction of text, and halves of characters, which no encoding has.
UNSHOWN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def console() -> Console:
    """Return the terminal for data; wide enough never to cut a table when it is a file or pipe.

    Text is shown as it is: square brackets and colons mean nothing.
    """
    width = None if sys.stdout.isatty() else 120
    return Console(soft_wrap=True, width=width, highlight=False, markup=False, emoji=False)


def notes() -> Console:
    """Return the terminal for progress and everything that is not data."""
    return Console(stderr=True, soft_wrap=True, highlight=False, markup=False, emoji=False)


def printable(text: str) -> str:
    r"""Return text as a terminal can be given it: what it would obey is escaped, as in `\x1b`.

    So is what standard output cannot write, but for the sign for plus or minus, which is `+/-`.
    """
    text = UNSHOWN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
    if _writes_unicode():
        return text
    text = text.replace("\N{PLUS-MINUS SIGN}", "+/-")
    encoding = sys.stdout.encoding or "ascii"
    return text.encode(encoding, "backslashreplace").decode(encoding)


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


@contextmanager
def warnings_shown() -> Iterator[None]:
    """Show the warnings of the `retrieval` loggers as notes on stderr, a line each."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("note: %(message)s"))
    logger = logging.getLogger("retrieval")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


class _Lines(Progress):
    """What progress is where nothing can be drawn over: a line for each thing that is said."""

    def add_task(
        self,
        description: str,
        start: bool = True,  # noqa: FBT001, FBT002 (as in rich)
        total: float | None = 100.0,
        completed: int = 0,
        visible: bool = True,  # noqa: FBT001, FBT002 (as in rich)
        **fields: object,
    ) -> TaskID:
        """Do what rich does; print the description."""
        self.console.print(description)
        return super().add_task(description, start, total, completed, visible, **fields)

    def update(
        self,
        task_id: TaskID,
        *,
        total: float | None = None,
        completed: float | None = None,
        advance: float | None = None,
        description: str | None = None,
        visible: bool | None = None,
        refresh: bool = False,
        **fields: object,
    ) -> None:
        """Do what rich does; print a description that is another one."""
        task = self._tasks[task_id]
        if description is not None and description != task.description:
            self.console.print(f"{description} ({task.elapsed or 0:.0f} s)")
        super().update(
            task_id,
            total=total,
            completed=completed,
            advance=advance,
            description=description,
            visible=visible,
            refresh=refresh,
            **fields,
        )


def progress() -> Progress:
    """Return a progress display on stderr: bars on a terminal, lines in a log."""
    console = notes()
    if not console.is_interactive:
        return _Lines(console=console, disable=True)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )


def print_table(title: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; numbers go to the right."""
    texts = [[_text(value) for value in row] for row in rows]
    table = Table(title=printable(title), title_justify="left", header_style="bold")
    for place, name in enumerate(header):
        numeric = all(_is_number(row[place]) for row in texts)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in texts:
        table.add_row(*row)
    console().print(table)


def print_json(value: object) -> None:
    """Print JSON on one line, in UTF-8 or else in ASCII; nothing in it is obeyed by a terminal."""
    text = json.dumps(value, ensure_ascii=not _writes_unicode())
    sys.stdout.write(UNSHOWN.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n")


def _writes_unicode() -> bool:
    """Return whether standard output can write any character."""
    return (sys.stdout.encoding or "ascii").lower().startswith("utf")


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if isinstance(value, float) else printable(str(value))


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).replace("-", "", 1).isdigit() or not text
