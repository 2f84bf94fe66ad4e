"""Errors a user can cause: one small tree, every message with the value and the remedy."""

from collections.abc import Sequence
from dataclasses import dataclass


class RecError(Exception):
    """Anything a user can cause and mend; the command line prints it on one line."""


class RequestError(RecError):
    """A question that cannot be answered as asked: unknown ids, malformed history, impossible k."""


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
        """Return one line."""
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.what}: {self.value!r}; {self.remedy}"


class DataError(RecError):
    """A data folder that cannot be trained on, with every problem found in it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class FetchError(RecError):
    """A data set that cannot be had."""
