"""What is found in reading: problems, gathered so that all are told at once, and notes."""

from collections import Counter

from retrieval.errors import DataError, Problem, shown

# Problems of one kind in one file shown in full; of more, only the number is told.
MOST_OF_A_KIND = 20

LONGEST_NOTE = 500


class Report:
    """Problems and notes as they are found."""

    def __init__(self) -> None:
        self._problems: list[Problem] = []
        self._counts: Counter[tuple[str, str]] = Counter()
        self._notes: list[str] = []

    def add(self, file: str, line: int | None, value: str, what: str, remedy: str) -> None:
        """Take up one problem."""
        self._counts[file, what] += 1
        if self._counts[file, what] <= MOST_OF_A_KIND:
            problem = Problem(file=file, line=line, value=value, what=what, remedy=remedy)
            self._problems.append(problem)

    def count_more(self, file: str, what: str, count: int) -> None:
        """Take up problems of a kind that is already shown in full."""
        self._counts[file, what] += count

    def note(self, sentence: str) -> None:
        """Take up what is no problem but should be known, said once."""
        if (line := shown(sentence, LONGEST_NOTE)) not in self._notes:
            self._notes.append(line)

    @property
    def notes(self) -> tuple[str, ...]:
        """The notes, each on one line."""
        return tuple(self._notes)

    def raise_any(self) -> None:
        """Raise a `DataError` if there is a problem."""
        if not self._problems:
            return
        more = [
            Problem(
                file=file,
                line=None,
                value=f"{count - MOST_OF_A_KIND:,} more",
                what=what,
                remedy=f"the first {MOST_OF_A_KIND} are shown",
            )
            for (file, what), count in self._counts.items()
            if count > MOST_OF_A_KIND
        ]
        raise DataError([*self._problems, *more])
