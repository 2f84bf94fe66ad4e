"""Displays of progress that tests give to long work."""

from collections.abc import Sequence

from retrieval.progress import Stage


class Recorded:
    """A display that keeps what it is told."""

    def __init__(self) -> None:
        self.planned: list[Stage] = []
        self.stages: list[tuple[str, int | None]] = []
        self.said: list[str] = []
        self.steps = 0  # of all stages
        self.first: int | None = None  # the first number of steps that was told

    def plan(self, stages: Sequence[Stage]) -> None:
        self.planned += stages

    def stage(self, name: str, steps: int | None = None) -> None:
        self.stages.append((name, steps))

    def advance(self, steps: int = 1) -> None:
        self.first = steps if self.first is None else self.first
        self.steps += steps

    def say(self, text: str) -> None:
        self.said.append(text)


class Interrupted:
    """A display whose user presses Ctrl-C after some steps."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def plan(self, stages: Sequence[Stage]) -> None:
        pass

    def stage(self, name: str, steps: int | None = None) -> None:
        pass

    def advance(self, steps: int = 1) -> None:
        self.left -= steps
        if self.left <= 0:
            raise KeyboardInterrupt

    def say(self, text: str) -> None:
        pass
