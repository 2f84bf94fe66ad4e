"""The log in a SQLite file, for the processes of one machine."""

import logging
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Final, cast
from urllib.parse import quote

from sqlalchemy import Connection, create_engine, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from retrieval.errors import shown
from retrieval.service.log.database import Result, pause_at_fork
from retrieval.service.log.errors import LogError
from retrieval.service.log.schema import HEAD

_log = logging.getLogger(__name__)

# Seconds for which one waits for others who write.
PATIENCE: Final = 10.0

# Seconds after which one asks again what was refused without waiting.
ASK_AGAIN: Final = 0.02

# Seconds for which deleting waits for others who read.
ERASE_PATIENCE: Final = 1.0

# FULL: a commit is on the disk when it returns. secure_delete: what is deleted becomes zeros.
SETTINGS: Final = ("synchronous = FULL", "fullfsync = ON", "secure_delete = ON")

ASK_HEAD: Final = str(select(HEAD.c.sequence))

# What SQLite says by its number, and what to do about it.
REMEDIES: Final = {
    sqlite3.SQLITE_FULL: "cannot grow, the disk is full; make room, and send it again",
    sqlite3.SQLITE_READONLY: "is read-only; give this process the right to write the file and "
    "its folder",
    sqlite3.SQLITE_PERM: "may not be opened; give this process the right to its file and folder",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; see that its folder is there and may be written",
    sqlite3.SQLITE_BUSY: "is locked by another process; end what holds it, and send it again",
    sqlite3.SQLITE_LOCKED: "is locked by another process; end what holds it, and send it again",
    sqlite3.SQLITE_CORRUPT: "is damaged; put back a copy that is whole",
    sqlite3.SQLITE_NOTADB: "is no SQLite database; name another file",
    sqlite3.SQLITE_IOERR: "cannot be read or written; see whether its disk is full or failing",
}


class SQLiteDatabase:
    """A SQLite file with a write-ahead log.

    One connection writes and one reads, so that who reads does not wait for the disk.

    Args:
        path: The file; it is made where there is none.

    Raises:
        LogError: There is no folder for it.
    """

    def __init__(self, path: Path) -> None:
        self.place = f"the log {shown(path)}"
        self._path = path.absolute()
        if not self._path.parent.is_dir():
            raise LogError(f"the folder of {self.place} is not there; make it, or name another")
        self._engine = create_engine(
            "sqlite://", creator=self._connect, poolclass=NullPool, isolation_level="AUTOCOMMIT"
        )
        self._writing, self._reading = Lock(), Lock()
        self._writer: Connection | None = None
        self._reader: Connection | None = None
        self._asking: sqlite3.Connection | None = None  # the reader's, without a layer above it
        self._file: tuple[int, int] | None = None  # device and number of the file
        self._closed = self._unerased = False
        pause_at_fork(self)

    def read(self, work: Callable[[Connection], Result]) -> Result:
        """Return what is read with a connection."""
        with self._alone(self._reading):
            if self._reader is None:
                self._reader = self._engine.connect()
            try:
                return work(self._reader)
            finally:
                self._reader.rollback()  # which ends nothing here but what SQLAlchemy remembers

    def write(self, work: Callable[[Connection], Result]) -> Result:
        """Return what `work` returns, after its one transaction was committed."""
        with self._alone(self._writing):
            if self._writer is None:
                self._writer = self._engine.connect()
            self._check_file()
            try:
                self._writer.exec_driver_sql("BEGIN IMMEDIATE")
                result = work(self._writer)
                self._writer.commit()
            except BaseException:
                self._writer.rollback()
                raise
            if self._unerased:
                self._erase(self._writer, 0)
            return result

    def create(self, work: Callable[[Connection], None]) -> None:
        """Do as `write` does, where one writes at a time in any case."""
        self.write(work)

    def head(self) -> int:
        """Return the last sequence."""
        with self._reading:
            if self._asking is not None:
                try:
                    return int(self._asking.execute(ASK_HEAD).fetchone()[0])
                except sqlite3.Error as error:
                    raise self._error(error) from error
        return self.read(self._first_head)

    def erase(self) -> None:
        """Clear what is left of rows that were deleted.

        Pages keep copies of rows that were moved to others, which secure_delete does not find, and
        the write-ahead log keeps pages as they were. So the file is written anew.
        """
        with self._alone(self._writing):
            if self._writer is not None:
                try:
                    self._writer.exec_driver_sql("VACUUM")
                except DBAPIError as error:  # what was committed is committed all the same
                    _log.warning("%s has bytes of deleted rows: %s", self.place, error.orig)
                self._erase(self._writer, ERASE_PATIENCE)

    def close(self) -> None:
        """Let go of the connections for good."""
        with self._writing, self._reading:
            self._closed = True
            self._let_go()

    def pause(self) -> None:
        """Let go of the connections, and let nobody make one."""
        self._writing.acquire()
        self._reading.acquire()
        self._let_go()

    def resume(self) -> None:
        """Let connections be made again."""
        self._reading.release()
        self._writing.release()

    def _connect(self) -> sqlite3.Connection:
        # A file that was there once is not made again, empty: it would be another log.
        mode = "rwc" if self._file is None else "rw"
        connection = sqlite3.connect(
            f"file:{quote(str(self._path))}?mode={mode}",
            uri=True,
            timeout=PATIENCE,
            isolation_level=None,
            check_same_thread=False,  # locks see to it
        )
        try:
            self._set_mode(connection)
            for setting in SETTINGS:
                connection.execute(f"PRAGMA {setting}")
        except BaseException:
            connection.close()
            raise
        if self._file is None:
            self._file = self._number_of_file()
        return connection

    def _set_mode(self, connection: sqlite3.Connection) -> None:
        """Have a write-ahead log; who may only read finds that there is one."""
        for asked in ("PRAGMA journal_mode", "PRAGMA journal_mode = WAL"):
            if _patiently(connection, asked) == "wal":
                return
        raise LogError(
            f"{self.place} is on a file system that processes cannot share; "
            "put it on a local disk, or name a PostgreSQL database"
        )

    def _first_head(self, connection: Connection) -> int:
        self._asking = cast(sqlite3.Connection, connection.connection.driver_connection)
        return int(connection.execute(select(HEAD.c.sequence)).scalar_one())

    def _number_of_file(self) -> tuple[int, int] | None:
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return None
        return there.st_dev, there.st_ino

    def _check_file(self) -> None:
        """Raise a `LogError` if what is open is no longer the file: nobody would find it again."""
        if self._number_of_file() != self._file:
            raise LogError(
                f"{self.place} was moved, deleted or replaced while it was open; "
                "put it back, or start again"
            )

    def _erase(self, writer: Connection, seconds: float) -> None:
        """Empty the write-ahead log, once nobody has read from it for some seconds at most."""
        try:
            writer.exec_driver_sql(f"PRAGMA busy_timeout = {seconds * 1000:.0f}")
            try:
                busy = bool(writer.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()[0])
            finally:
                writer.exec_driver_sql(f"PRAGMA busy_timeout = {PATIENCE * 1000:.0f}")
        except DBAPIError:  # what was committed is committed all the same
            busy = True
        writer.rollback()
        if busy and not self._unerased:
            _log.warning("%s has bytes of deleted rows until it is written again", self.place)
        self._unerased = busy

    @contextmanager
    def _alone(self, lock: Lock) -> Iterator[None]:
        """Hold a lock, and turn what SQLite says into a `LogError`."""
        if not lock.acquire(timeout=PATIENCE):
            raise LogError(f"{self.place} is busy; send it again")
        try:
            if self._closed:
                raise LogError(f"{self.place} is closed; open it again")
            yield
        except DBAPIError as error:
            raise self._error(error.orig) from error
        except sqlite3.Error as error:
            raise self._error(error) from error
        finally:
            lock.release()

    def _error(self, error: BaseException | None) -> LogError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest says where it happened
        remedy = REMEDIES.get(code, "cannot be used")
        return LogError(f"{self.place} {remedy} ({error})")

    def _let_go(self) -> None:
        for connection in (self._writer, self._reader):
            if connection is not None:
                connection.close()
        self._writer = self._reader = self._asking = None


def _patiently(connection: sqlite3.Connection, asked: str) -> object:
    """Return one answer; of two who change a mode at once, SQLite refuses one without waiting."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return connection.execute(asked).fetchone()[0]
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > until:
                raise
        time.sleep(ASK_AGAIN)
