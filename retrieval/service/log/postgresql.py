"""The log in a PostgreSQL database, for any number of machines."""

import logging
from collections.abc import Callable
from threading import Lock
from typing import Final, cast

import psycopg
from psycopg import errors
from sqlalchemy import URL, Connection, create_engine, event, select, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionError
from sqlalchemy.pool import ConnectionPoolEntry

from retrieval.errors import shown
from retrieval.service.log.database import Result, pause_at_fork
from retrieval.service.log.errors import LogError
from retrieval.service.log.schema import ENTRIES, HEAD

_log = logging.getLogger(__name__)

# Seconds for a connection to be made, of which libpq takes no fewer, and for a free one among those
# there are.
CONNECT_SECONDS: Final = 2
POOL_SECONDS: Final = 2.0
CONNECTIONS, MORE_CONNECTIONS = 4, 28

# Milliseconds for which a statement, a lock and an idle transaction are borne.
TIMES: Final = {
    "statement_timeout": 5_000,
    "lock_timeout": 3_000,
    "idle_in_transaction_session_timeout": 20_000,
}

# What libpq is told, where the address does not say otherwise.
NETWORK: Final[dict[str, object]] = {
    "connect_timeout": CONNECT_SECONDS,
    "tcp_user_timeout": 2_000,  # milliseconds
    "keepalives_idle": 30,
    "client_encoding": "utf8",
    "application_name": "rec",
}

# Milliseconds for which deleting may tidy up.
VACUUM_TIME: Final = 30_000

# A commit is on the disk when it returns, also where the server is set to lose the last ones.
DURABLE: Final = (
    "SELECT set_config('synchronous_commit', 'on', false) "
    "WHERE current_setting('synchronous_commit') = 'off'"
)

ASK_HEAD: Final = str(select(HEAD.c.sequence))

# Those who make the schema hold this lock, so that two who come first do not both make it.
CREATING: Final = 0x7265_635F_6C6F_67

# What PostgreSQL says by its kind, and what to do about it.
REMEDIES: Final = (
    (errors.DiskFull, "cannot grow, its disk is full; make room, and send it again"),
    (errors.ReadOnlySqlTransaction, "is read-only; name the server that may be written"),
    (errors.InsufficientPrivilege, "may not be used so; grant its user the right"),
    (errors.UndefinedTable, "has lost its tables; put back a copy that is whole"),
    (errors.QueryCanceled, "took too long; see what keeps it busy, and send it again"),
    (errors.LockNotAvailable, "is locked by another; end what holds it, and send it again"),
    (errors.InvalidPassword, "refuses the password; mend its address"),
    (errors.TooManyConnections, "has no connection left; allow more, or start fewer workers"),
    (NoConnectionError, "is asked by too many at once; send it again"),
    (errors.UntranslatableCharacter, "cannot hold all letters; make it with the encoding UTF8"),
)

FAILURES: Final = (DBAPIError, NoConnectionError, psycopg.Error)


class PostgreSQLDatabase:
    """A PostgreSQL database.

    A connection that was lost is made again at once, unless it was lost in a commit, of which
    nobody knows whether it was done.

    Args:
        address: The address; its query says what libpq is to know besides.
    """

    def __init__(self, address: URL) -> None:
        self.place = f"the log {shown(address.render_as_string(hide_password=True))}"
        own = {name: value for name, value in NETWORK.items() if name not in address.query}
        self._engine = create_engine(
            address.set(drivername="postgresql+psycopg"),
            isolation_level="READ COMMITTED",
            pool_size=CONNECTIONS,
            max_overflow=MORE_CONNECTIONS,
            pool_timeout=POOL_SECONDS,
            pool_use_lifo=True,  # the last used is the least likely to have been lost
            connect_args=own,
        )
        event.listen(self._engine, "connect", _set_up)
        # One statement needs no transaction around it, which would be two questions more.
        self._single = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        self._asking = Lock()
        self._asker: Connection | None = None  # of `head`, which is asked before each answer
        self._closed = False
        pause_at_fork(self)

    def read(self, work: Callable[[Connection], Result]) -> Result:
        """Return what is read with a connection."""
        return self._answer(lambda: self._read(work))

    def write(self, work: Callable[[Connection], Result]) -> Result:
        """Return what `work` returns, after its one transaction was committed."""
        return self._answer(lambda: self._write(work))

    def create(self, work: Callable[[Connection], None]) -> None:
        """Do as `write` does, while no other process creates anything."""

        def alone(connection: Connection) -> None:
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": CREATING})
            work(connection)

        self.write(alone)

    def head(self) -> int:
        """Return the last sequence."""
        if not self._asking.acquire(timeout=POOL_SECONDS):  # many wait while it is away
            raise LogError(f"{self.place} is asked by too many at once; send it again")
        try:
            return self._answer(self._head)
        finally:
            self._asking.release()

    def erase(self) -> None:
        """Free the space of rows that were deleted, which PostgreSQL else does at some time."""
        try:
            with self._single.connect() as connection:
                connection.detach()  # its limit is no other's
                connection.execute(text(f"SET statement_timeout = {VACUUM_TIME}"))
                connection.execute(text(f"VACUUM (INDEX_CLEANUP ON) {ENTRIES.name}"))
        except FAILURES as error:
            _log.warning("deleted rows of %s are left to autovacuum: %s", self.place, error)

    def close(self) -> None:
        """Let go of the connections for good."""
        with self._asking:
            self._closed = True
            self._let_go()

    def pause(self) -> None:
        """Let go of the connections, and let nobody ask."""
        self._asking.acquire()
        self._let_go()

    def resume(self) -> None:
        """Let connections be made again."""
        self._asking.release()

    def _read(self, work: Callable[[Connection], Result]) -> Result:
        with self._single.connect() as connection:
            return work(connection)

    def _write(self, work: Callable[[Connection], Result]) -> Result:
        with self._engine.connect() as connection:
            result = work(connection)
            try:
                connection.commit()
            except DBAPIError as error:
                raise LogError(
                    f"{self.place} was lost while it committed, so that nobody knows whether it "
                    f"did; send it again with the same idempotency key ({error.orig})"
                ) from error
            return result

    def _head(self) -> int:
        if self._asker is None:
            self._asker = self._single.connect()
        # Without the layer above it, which takes longer than the database itself.
        own = cast(psycopg.Connection[tuple[int]], self._asker.connection.driver_connection)
        try:
            (last,) = own.execute(ASK_HEAD).fetchone() or (0,)
        except psycopg.Error:
            self._let_go()  # the others of the pool are lost too
            raise
        return last

    def _let_go(self) -> None:
        if self._asker is not None:
            self._asker.invalidate()  # it may be lost, and cannot be put back then
            self._asker.close()
            self._asker = None
        self._engine.dispose()

    def _answer(self, ask: Callable[[], Result]) -> Result:
        """Return an answer; ask again if the connection had been lost, as all are then anew."""
        if self._closed:
            raise LogError(f"{self.place} is closed; open it again")
        try:
            return ask()
        except FAILURES as error:
            if not _is_lost(error):
                raise self._error(error) from error
        try:
            return ask()
        except FAILURES as error:
            raise self._error(error) from error

    def _error(self, error: Exception) -> LogError:
        own = error.orig if isinstance(error, DBAPIError) else error
        for kind, remedy in REMEDIES:
            if isinstance(own, kind):
                return LogError(f"{self.place} {remedy} ({own})")
        return LogError(f"{self.place} cannot be reached; start it, or mend its address ({own})")


def _is_lost(error: Exception) -> bool:
    """Return whether a connection was there, and is no more."""
    if isinstance(error, DBAPIError):
        return error.connection_invalidated
    return isinstance(error, psycopg.OperationalError)


def _set_up(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    for name, value in TIMES.items():
        cursor.execute(f"SET {name} = {value}")
    cursor.execute(DURABLE)
    cursor.close()
    connection.commit()  # or the first transaction that is undone would undo it
