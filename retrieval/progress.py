"""Progress: where long work says how far it is, and silence as the default."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Stage(NamedTuple):
    """One part of long work."""

    name: str
    cost: float  # seconds that it is expected to take on the reference machine, for its share


class Progress(Protocol):
    """Who shows how far long work is."""

    def plan(self, stages: Sequence[Stage]) -> None:
        """Take note of what will be done, in this order, so that the time left can be told."""

    def stage(self, name: str, steps: int | None = None) -> None:
        """Begin a stage, which ends the one before.

        Args:
            name: Words for people.
            steps: Number of steps, where it is known; the stage may end after fewer.
        """

    def advance(self, steps: int = 1) -> None:
        """Count steps of the stage as done."""

    def say(self, text: str) -> None:
        """Say what the stage has found so far."""


class Silent:
    """Shows nothing."""

    def plan(self, stages: Sequence[Stage]) -> None:
        """Show nothing."""

    def stage(self, name: str, steps: int | None = None) -> None:
        """Show nothing."""

    def advance(self, steps: int = 1) -> None:
        """Show nothing."""

    def say(self, text: str) -> None:
        """Show nothing."""


SILENT: Progress = Silent()
