"""Errors a user can cause: one small tree, every message with the value and the remedy."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

LONGEST_VALUE = 80
LONGEST_LINE = 2000

# What moves a cursor or turns the direction of text, as a set for regular expressions. A message
# shows no more than what is printable (`shown`), which is less; data is kept but for these.
CONTROLS = r"\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069"

# How much a name has to be like one that is offered, from 0 to 1.
LIKENESS = 0.7

# Names that a message lists in full where none of them is near.
MOST_NAMES = 12

# Problems a message tells one by one; of more, only the number is told.
MOST_LINES = 200


def shown(value: object, longest: int = LONGEST_VALUE) -> str:
    r"""Return a value as a message may hold it: on one line, cut in the middle, nothing hidden.

    What cannot be printed (control characters, escapes, marks that change the direction of text,
    bytes of file names that are no text) becomes a backslash escape, as in `\n`.
    """
    text = str(value)
    if len(text) > longest:  # before the escapes too, as a value can be a whole file
        text = f"{text[:longest]}...{text[-longest:]}"
    if not text.isprintable():
        text = "".join(
            letter if letter.isprintable() else letter.encode("unicode_escape").decode()
            for letter in text
        )
    if len(text) <= longest:
        return text
    end = longest // 4
    return f"{text[: longest - end - 3]}...{text[-end:]}"


class RecError(Exception):
    """Anything a user can cause and mend; the command line prints it on one line."""

    def __str__(self) -> str:
        """Return the message on one line that any terminal can be given."""
        return shown(super().__str__(), LONGEST_LINE)


class RequestError(RecError):
    """A question that cannot be answered as asked: unknown ids, malformed history, impossible k."""


def unknown(what: str, value: object, names: Iterable[str]) -> RequestError:
    """Return the error of a name that is none of those there are: it says which one is nearest.

    Args:
        what: Word for what is named.
        value: The name that was given.
        names: Those there are.
    """
    there = list(names)
    folded = {name.casefold(): name for name in there}
    text = str(value)[:LONGEST_VALUE].strip().casefold()
    near = get_close_matches(text, folded, n=1, cutoff=LIKENESS)
    said = f"unknown {what} '{shown(value)}'; "
    said += f"did you mean {folded[near[0]]}? " if near else ""
    if near and len(there) > MOST_NAMES:
        return RequestError(said.rstrip())
    listed = ", ".join(there) or "none"
    return RequestError(f"{said}{'T' if near else 't'}here are: {listed}")


class RunError(RecError):
    """A run folder that is missing, incomplete, corrupt, or older than what it belongs to."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing wrong with a data file. `line` counts from 1; None is for the file as a whole."""

    file: str
    line: int | None
    value: str
    what: str
    remedy: str

    def __str__(self) -> str:
        """Return one line, whatever the file holds."""
        place = shown(self.file) + ("" if self.line is None else f":{self.line}")
        line = f"{place}: {self.what}: '{shown(self.value)}'; {self.remedy}"
        return shown(line, LONGEST_LINE)


class DataError(RecError):
    """A data folder that cannot be trained on, with every problem found in it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        """Return one line for each problem; of very many, the first and how many more there are."""
        lines = [str(problem) for problem in self.problems[:MOST_LINES]]
        more = len(self.problems) - len(lines)
        return "\n".join([*lines, *([f"and {more:,} problems more"] if more else [])])


class FetchError(RecError):
    """A data set that cannot be had."""
