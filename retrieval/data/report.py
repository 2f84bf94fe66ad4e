"""What is found in reading: problems, gathered so that all are told at once, and notes."""

from collections import Counter

from retrieval.errors import LONGEST_LINE, DataError, Problem, shown

# Problems of one kind in one file shown in full; of more, only the number is told.
MOST_OF_A_KIND = 20

LONGEST_NOTE = 500


class Report:
    """Problems and notes as they are found."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.counts: Counter[tuple[str, str]] = Counter()
        self._notes: list[str] = []
        self.facts: dict[str, int] = {}  # counts that are told with the data

    def add(self, file: str, line: int | None, value: str, what: str, remedy: str) -> None:
        """Take up one problem."""
        self.counts[_whole(file), what] += 1
        if self.counts[_whole(file), what] <= MOST_OF_A_KIND:
            problem = Problem(file=file, line=line, value=value, what=what, remedy=remedy)
            self.problems.append(problem)

    def count_more(self, file: str, what: str, count: int) -> None:
        """Take up problems of a kind that is already shown in full."""
        self.counts[_whole(file), what] += count

    def take(self, other: "Report") -> None:
        """Take up all that another report holds."""
        self.problems += other.problems
        self.counts += other.counts
        for sentence in other.notes:
            self.note(sentence, LONGEST_LINE)

    def note(self, sentence: str, longest: int = LONGEST_NOTE) -> None:
        """Take up what is no problem but should be known, said once."""
        if (line := shown(sentence, longest)) not in self._notes:
            self._notes.append(line)

    @property
    def notes(self) -> tuple[str, ...]:
        """The notes, each on one line."""
        return tuple(self._notes)

    def raise_any(self) -> None:
        """Raise a `DataError` if there is a problem."""
        if not self.problems:
            return
        more = [
            Problem(
                file=file,
                line=None,
                value=f"{count - MOST_OF_A_KIND:,} more",
                what=what,
                remedy=f"the first {MOST_OF_A_KIND} are shown",
            )
            for (file, what), count in self.counts.items()
            if count > MOST_OF_A_KIND
        ]
        raise DataError([*self.problems, *more])


def _whole(file: str) -> str:
    """Return the name of the table that a file is of, which may be a folder of parts."""
    return file.partition("/")[0]
