"""The log: everything that the service was told, in one order, in a database.

Read entries.py for what it holds, schema.py for how, database.py for what a database has to do,
and log.py for what can be done with it.
"""

from retrieval.service.log.entries import (
    EVENTS,
    Appended,
    Entry,
    Forgotten,
    Kind,
    NewEvent,
)
from retrieval.service.log.errors import KeyConflictError, LogError
from retrieval.service.log.log import Log, open_log, sqlite_path

__all__ = [
    "EVENTS",
    "Appended",
    "Entry",
    "Forgotten",
    "KeyConflictError",
    "Kind",
    "Log",
    "LogError",
    "NewEvent",
    "open_log",
    "sqlite_path",
]
