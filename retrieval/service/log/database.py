"""What the log needs of a database."""

import os
from collections.abc import Callable
from functools import cache
from typing import Protocol, TypeVar
from weakref import WeakSet

from sqlalchemy import Connection

Result = TypeVar("Result")


class Database(Protocol):
    """A database for any number of threads and processes.

    Each of its methods raises a `LogError` if the database cannot do what it should.
    """

    place: str
    """Name of the database, for messages; it shows no password."""

    def read(self, work: Callable[[Connection], Result]) -> Result:
        """Return what is read with a connection; it may be read twice."""
        ...

    def write(self, work: Callable[[Connection], Result]) -> Result:
        """Return what `work` returns, after its one transaction was committed.

        It may be called twice, if the connection was lost before the commit. What it raises
        undoes what it did.
        """
        ...

    def create(self, work: Callable[[Connection], None]) -> None:
        """Do as `write` does, while no other process creates anything."""
        ...

    def head(self) -> int:
        """Return the last sequence."""
        ...

    def erase(self) -> None:
        """Clear what is left of rows that were deleted."""
        ...

    def close(self) -> None:
        """Let go of all connections for good."""
        ...


class Forking(Protocol):
    """What has connections, which a process and its fork must not share."""

    def pause(self) -> None:
        """Let go of all connections, and let nobody make one."""
        ...

    def resume(self) -> None:
        """Let connections be made again."""
        ...


_open: WeakSet[Forking] = WeakSet()
_paused: list[Forking] = []


def pause_at_fork(database: Forking) -> None:
    """Have a database let go of its connections whenever this process forks."""
    _register()
    _open.add(database)


@cache
def _register() -> None:
    os.register_at_fork(before=_pause, after_in_parent=_resume, after_in_child=_resume)


def _pause() -> None:
    for database in list(_open):
        database.pause()
        _paused.append(database)


def _resume() -> None:
    while _paused:
        _paused.pop().resume()
