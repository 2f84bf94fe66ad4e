"""How far long work is: one bar on a terminal, and in a log a line at most every ten seconds."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from retrieval.cli.display import draws, escaped, note
from retrieval.progress import SILENT, Progress, Stage

if TYPE_CHECKING:
    from rich.table import Table

# Seconds between lines in a log, and between drawings of the bar.
BETWEEN_LINES, BETWEEN_DRAWINGS = 10.0, 0.25

# Of all that is planned, what is taken to have gone as fast as planned before anything has.
PRIOR = 0.02

# Of a stage without steps, the most that is taken to be done before it ends.
NEARLY = 0.95

# Steps counted so soon after their stage began were done before, as by an interrupted training.
AT_ONCE = 0.2

# Cells of the bar, where there is room.
BAR = 24


@contextmanager
def progress(*, quiet: bool = False) -> Iterator[Progress]:
    """Show on standard error how far the work in the block is.

    Args:
        quiet: Whether nothing is shown.
    """
    if quiet:
        yield SILENT
    elif draws(sys.stderr):
        with _bar() as pace:
            yield pace
    else:
        with logged(note) as pace:
            yield pace


class Pace:
    """How far work is and how long the rest will take, from a plan and from how it went so far.

    Costs of the plan are scaled by what the finished part of it took. Within a stage, steps say
    how much is done; without steps it is the time that the stage was expected to take.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._clock, self._changed = clock, changed
        self._plan: list[Stage] = []
        self._planned = False
        self._place = -1  # in the plan, of the stage that is at work
        self._said = ""
        self._steps: int | None = None
        self._done = 0  # steps
        self._before: int | None = None  # steps that were done before the stage began
        self._start = self._began = self._moved = clock()  # of all, of the stage, at its last step
        self._worked, self._spent = 0.0, 0.0  # costs of stages that ended, and their seconds

    def plan(self, stages: Sequence[Stage]) -> None:
        """Take note of what will be done after the stage that is at work."""
        self._plan[self._place + 1 :] = stages
        self._planned = True

    def stage(self, name: str, steps: int | None = None) -> None:
        """Begin a stage; one that is not in the plan takes no part in the time left."""
        worked, spent = self._so_far(self._clock())
        self._worked, self._spent = worked, spent
        names = [stage.name for stage in self._plan]
        if name in names[self._place + 1 :]:
            self._place = names.index(name, self._place + 1)
        elif self._planned:
            self._place += 1
            self._plan.insert(self._place, Stage(name, 0.0))
        else:
            self._plan, self._place = [Stage(name, 0.0 if steps is None else 1.0)], 0
            self._worked = self._spent = 0.0
        self._steps, self._done, self._before, self._said = steps, 0, None, ""
        self._began = self._moved = self._clock()
        self._changed()

    def advance(self, steps: int = 1) -> None:
        """Count steps of the stage as done."""
        now = self._clock()
        self._done += steps
        if self._before is None:
            self._before = steps if now - self._began < AT_ONCE else 0
        self._moved = now
        self._changed()

    def say(self, text: str) -> None:
        """Say what the stage has found so far."""
        self._said = text
        self._changed()

    @property
    def words(self) -> str:
        """What is at work, and what it says."""
        if self._place < 0:
            return ""
        name = self._plan[self._place].name
        return escaped(f"{name}: {self._said}" if self._said else name)

    @property
    def elapsed(self) -> float:
        """Seconds since the work began."""
        return self._clock() - self._start

    @property
    def share(self) -> float | None:
        """The share of the whole that is done, from 0 to 1; None where nobody knows."""
        total = sum(stage.cost for stage in self._plan)
        if not total or self._place < 0:
            return None
        before = sum(stage.cost for stage in self._plan[: self._place])
        return min((before + self._cost * self._part(self._clock())) / total, 1.0)

    @property
    def left(self) -> float | None:
        """Seconds that the rest will take; None where nobody knows."""
        now, scale = self._clock(), self._scale()
        if scale is None or self._place < 0:
            return None
        later = sum(stage.cost for stage in self._plan[self._place + 1 :])
        done = self._part(self._moved) if self._steps else 0.0
        since = now - (self._moved if self._steps else self._began)
        return max(scale * self._cost * (1 - done) - since, 0.0) + scale * later

    @property
    def _cost(self) -> float:
        return self._plan[self._place].cost if self._place >= 0 else 0.0

    def _part(self, now: float) -> float:
        """Return how much of the stage is done, from 0 to 1."""
        if self._steps:
            return min(self._done / self._steps, 1.0)
        expected = self._cost * (self._scale() or 1.0)
        return min((now - self._began) / expected, NEARLY) if expected else 0.0

    def _so_far(self, now: float) -> tuple[float, float]:
        """Return the costs of what was done, that of this stage too, and the seconds it took.

        Args:
            now: When the stage ended.
        """
        if not self._cost:
            return self._worked, self._spent
        share = 1.0
        if self._steps:
            share = min((self._done - (self._before or 0)) / self._steps, 1.0)
        return self._worked + self._cost * share, self._spent + now - self._began

    def _scale(self) -> float | None:
        """Return how many seconds a second of the plan takes; None where there is no plan."""
        total = sum(stage.cost for stage in self._plan)
        if not total:
            return None
        worked, spent = self._worked, self._spent
        if self._steps and self._done > (self._before or 0):
            worked, spent = self._so_far(self._moved)
        return (spent + PRIOR * total) / (worked + PRIOR * total)


@contextmanager
def logged(
    write: Callable[[str], None], clock: Callable[[], float] = time.monotonic
) -> Iterator[Pace]:
    """Write lines about the work in the block, the first at once, the last one always.

    Args:
        write: Function that takes a line.
        clock: Function that gives seconds.
    """
    due = clock()
    last = ""

    def changed() -> None:
        nonlocal due, last
        if clock() >= due:
            due, last = clock() + BETWEEN_LINES, line(pace)
            write(last)

    pace = Pace(clock, changed)
    try:
        yield pace
    finally:
        if pace.words and line(pace) != last:
            write(line(pace))


def line(pace: Pace) -> str:
    """Return in one line how far work is."""
    parts = [pace.words]
    if pace.share is not None:
        parts.append(f"{pace.share:.0%}")
    parts.append(_left(pace))
    return ", ".join(parts)


def _left(pace: Pace) -> str:
    left = pace.left
    return f"{_clocked(pace.elapsed)} so far" if left is None else f"{_clocked(left)} left"


def _clocked(seconds: float) -> str:
    """Return seconds as 3:20, or as 1:03:20."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@contextmanager
def _bar() -> Iterator[Pace]:
    """Draw one bar while the block is at work, and remove it."""
    from rich.console import Console
    from rich.live import Live

    pace = Pace()
    console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False, emoji=False)
    with Live(
        get_renderable=lambda: _drawn(pace, console.width),
        console=console,
        refresh_per_second=1 / BETWEEN_DRAWINGS,
        transient=True,
        redirect_stdout=False,
    ):
        yield pace


def _drawn(pace: Pace, room: int) -> "Table":
    """Return what stands on the line of a bar.

    Args:
        pace: How far the work is.
        room: Cells of the line.
    """
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    share, left = pace.share, _left(pace)
    percent = "" if share is None else f"{share:.0%}"
    width = min(BAR, room // 4)
    words = Text(pace.words)
    words.truncate(max(room - width - len(percent) - len(left) - 4, 0), overflow="ellipsis")
    bar = ProgressBar(total=1.0, completed=share or 0.0, width=width, pulse=share is None)
    grid = Table.grid(padding=(0, 1))
    grid.add_row(words, bar, percent, left)
    return grid
