"""What can be done with the log: add, read, forget."""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Row, delete, insert, make_url, select, update
from sqlalchemy.exc import ArgumentError

from retrieval.errors import RequestError, shown
from retrieval.service.log.database import Database
from retrieval.service.log.entries import (
    EVENTS,
    Appended,
    Entry,
    Forgotten,
    Kind,
    NewEvent,
    check_event,
    check_text,
    facts_text,
)
from retrieval.service.log.errors import KeyConflictError, LogError
from retrieval.service.log.postgresql import PostgreSQLDatabase
from retrieval.service.log.schema import (
    ENTRIES,
    HEAD,
    KEYS,
    Meta,
    is_current,
    migrate,
    read_meta,
)
from retrieval.service.log.sqlite import SQLiteDatabase

# Seconds for which idempotency keys are kept: three days.
KEEP_KEYS: Final = 3 * 86_400

# Entries that are read together.
TOGETHER: Final = 10_000

# Bytes of a hash.
HASH: Final = 16

# What an address of PostgreSQL begins with.
POSTGRESQL: Final = ("postgresql", "postgres", "postgresql+psycopg")

_KINDS: Final = {kind.value: kind for kind in Kind}


class Log:
    """Everything that the service was told, in one order; for any number of threads.

    Sequences count from 1 in the order of commits and without gaps, so that who saw `head()` can
    read everything up to it. Later, rows of forgotten users are missing.

    Args:
        database: Where it is; its schema is made, or brought to the version of today.
        clock: Seconds since 1970.

    Raises:
        LogError: The database cannot be used, or is of a newer version.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database, self._clock = database, clock
        if not database.read(lambda connection: is_current(connection, database.place)):
            database.create(migrate)
        meta: Meta = database.read(read_meta)
        self.identity, self._salt = meta

    def head(self) -> int:
        """Return the last sequence, 0 for an empty log.

        Raises:
            LogError: The database cannot be read.
        """
        return self._database.head()

    def append(self, events: Sequence[NewEvent], key: str | None = None) -> Appended:
        """Add events, all or none, and return when they are on the disk.

        Args:
            events: At least one event.
            key: Idempotency key: events that are sent again with it are not added again.

        Raises:
            RequestError: An event or the key cannot be stored.
            KeyConflictError: The key was sent with other events.
            LogError: The database cannot be written.
        """
        if not events:
            raise RequestError("there is no event; send at least one")
        for event in events:
            check_event(event)
        if key is not None:
            check_text("idempotency key", key)
        now = int(self._clock())
        rows = [
            _row(
                event.kind,
                now,
                user_id=event.user_id,
                movie_id=event.movie_id,
                rating=event.rating,
                timestamp=event.timestamp,
            )
            for event in events
        ]
        if key is None:
            return self._database.write(lambda connection: _append(connection, rows))
        hashed, content = self._hash(key), self._hash(_content(events))
        return self._database.write(
            lambda connection: _append_once(connection, rows, hashed, content, now)
        )

    def earlier(self, events: Sequence[NewEvent], key: str) -> Appended | None:
        """Return where events are that were added with a key before; None where none were.

        Raises:
            RequestError: The key cannot have been stored.
            KeyConflictError: The key was sent with other events.
            LogError: The database cannot be read.
        """
        check_text("idempotency key", key)
        hashed, content = self._hash(key), self._hash(_content(events))
        return self._database.read(lambda connection: _earlier(connection, hashed, content))

    def entries(
        self, after: int, limit: int = TOGETHER, kinds: Iterable[Kind] | None = None
    ) -> list[Entry]:
        """Return entries in their order.

        Args:
            after: Sequence after which to begin.
            limit: Most entries to return.
            kinds: Kinds of entries; all where it is None.

        Raises:
            LogError: The database cannot be read.
        """
        query = select(ENTRIES).where(ENTRIES.c.sequence > after)
        if kinds is not None:
            wanted = frozenset(kinds)
            query = query.where(ENTRIES.c.kind.in_(sorted(wanted)))
            if not wanted & EVENTS:
                query = query.where(ENTRIES.c.user_id.is_(None))  # few rows, with their own index
        query = query.order_by(ENTRIES.c.sequence).limit(limit)
        rows = self._database.read(lambda connection: connection.execute(query).all())
        return [_entry(row) for row in rows]

    def through(
        self, after: int, until: int | None = None, kinds: Iterable[Kind] | None = None
    ) -> Iterator[list[Entry]]:
        """Go through entries in their order, many at a time; no part is empty.

        Args:
            after: Sequence after which to begin.
            until: Last sequence; None is whatever is there by the time.
            kinds: Kinds of entries; all where it is None.

        Raises:
            LogError: The database cannot be read.
        """
        wanted = None if kinds is None else frozenset(kinds)
        while (until is None or after < until) and (found := self.entries(after, TOGETHER, wanted)):
            after = found[-1].sequence
            if until is not None:
                found = [entry for entry in found if entry.sequence <= until]
            if found:
                yield found

    def set_movie(self, movie_id: str, facts: Mapping[str, object]) -> int:
        """Add a movie, or change one, and return the sequence of the entry.

        Raises:
            RequestError: The id or the facts cannot be stored.
            LogError: The database cannot be written.
        """
        return self._add(Kind.MOVIE, movie_id, facts_text(facts))

    def hide(self, movie_id: str) -> int:
        """Take a movie out of all lists, and return the sequence of the entry."""
        return self._add(Kind.HIDE, movie_id)

    def show(self, movie_id: str) -> int:
        """Put a hidden movie back, and return the sequence of the entry."""
        return self._add(Kind.SHOW, movie_id)

    def remove(self, movie_id: str) -> int:
        """Remove a movie for good, and return the sequence of the entry."""
        return self._add(Kind.REMOVE, movie_id)

    def forget(self, user_id: str) -> Forgotten:
        """Delete all events of a user; an entry with a hash of the id says so.

        Raises:
            RequestError: The id cannot be stored.
            LogError: The database cannot be written.
        """
        check_text("user id", user_id)
        body = json.dumps({"user": self._hash(user_id).hex()})
        row = _row(Kind.FORGET, int(self._clock()), body=body)

        def work(connection: Connection) -> Forgotten:
            first = _append(connection, [row]).first
            deleted = connection.execute(delete(ENTRIES).where(ENTRIES.c.user_id == user_id))
            return Forgotten(first, deleted.rowcount)

        forgotten = self._database.write(work)
        if forgotten.events:
            self._database.erase()
        return forgotten

    def is_forgotten(self, ids: Iterable[str], after: int = 0) -> set[str]:
        """Return which users were forgotten; they can have come again since.

        Args:
            ids: Ids of users.
            after: Sequence after which it must have been.

        Raises:
            LogError: The database cannot be read.
        """
        query = select(ENTRIES.c.body).where(
            ENTRIES.c.sequence > after,
            ENTRIES.c.user_id.is_(None),
            ENTRIES.c.kind == Kind.FORGET,
        )
        bodies = self._database.read(lambda connection: connection.execute(query).scalars().all())
        hashes = {json.loads(body)["user"] for body in bodies}
        return {id_ for id_ in ids if self._hash(id_).hex() in hashes} if hashes else set()

    def close(self) -> None:
        """Let go of the database."""
        self._database.close()

    def _add(self, kind: Kind, movie_id: str, body: str | None = None) -> int:
        check_text("movie id", movie_id)
        row = _row(kind, int(self._clock()), movie_id=movie_id, body=body)
        return self._database.write(lambda connection: _append(connection, [row])).first

    def _hash(self, text: str) -> bytes:
        """Return a hash that only those can make who have the log."""
        data = text.encode(errors="surrogatepass")  # such ids are in no log, but can be asked for
        return hashlib.blake2b(data, key=self._salt, digest_size=HASH).digest()


def open_log(url: str) -> Log:
    """Open a log, and make it where there is none.

    Args:
        url: `sqlite:///` and the path of a file, such a path alone, or `postgresql://` with user,
            host and database.

    Raises:
        LogError: The database cannot be used, or there is no such kind.
    """
    database = find_database(url)
    try:
        return Log(database)
    except BaseException:
        database.close()
        raise


def find_database(url: str) -> Database:
    """Return the database of an address, as `open_log` takes it.

    Raises:
        LogError: There is no such kind of database.
    """
    path = sqlite_path(url)
    if path is not None:
        return SQLiteDatabase(path)
    address = _address(url)
    if address.drivername in POSTGRESQL:
        return PostgreSQLDatabase(address)
    raise LogError(
        f"no log can be kept in '{shown(address.render_as_string())}'; give the path of a file, "
        "sqlite:///path, or postgresql://user@host/database"
    )


def sqlite_path(url: str) -> Path | None:
    """Return the file that an address names; None where it is in no file of this machine.

    Raises:
        LogError: It is no address.
    """
    if "://" not in url:
        return Path(url)
    address = _address(url)
    path = address.database
    is_file = address.drivername == "sqlite" and path and path != ":memory:" and not address.query
    return Path(path) if is_file and path else None


def _address(url: str) -> URL:
    try:
        return make_url(url)
    except ArgumentError as error:
        raise LogError("the address of the database is no URL") from error


def _row(kind: Kind, received: int, **values: object) -> dict[str, object]:
    empty = dict.fromkeys(("user_id", "movie_id", "rating", "timestamp", "body"))
    return {"kind": kind.value, "received": received, **empty, **values}


def _append(connection: Connection, rows: list[dict[str, object]]) -> Appended:
    """Add rows within a transaction; others who add wait until it is committed."""
    moved = update(HEAD).values(sequence=HEAD.c.sequence + len(rows)).returning(HEAD.c.sequence)
    last: int = connection.execute(moved).scalar_one()
    first = last - len(rows) + 1
    numbered = [{"sequence": sequence, **row} for sequence, row in enumerate(rows, first)]
    connection.execute(insert(ENTRIES), numbered)
    return Appended(first, last, repeated=False)


def _append_once(
    connection: Connection, rows: list[dict[str, object]], key: bytes, content: bytes, now: int
) -> Appended:
    """Add rows within a transaction, if they were not added with this key before."""
    connection.execute(select(HEAD.c.sequence).with_for_update()).all()  # one at a time
    earlier = _earlier(connection, key, content)
    if earlier is not None:
        return earlier
    appended = _append(connection, rows)
    connection.execute(delete(KEYS).where(KEYS.c.received < now - KEEP_KEYS))
    connection.execute(
        insert(KEYS).values(
            key=key, content=content, first=appended.first, last=appended.last, received=now
        )
    )
    return appended


def _earlier(connection: Connection, key: bytes, content: bytes) -> Appended | None:
    """Return where rows are that were added with a key before; None where none were."""
    found = connection.execute(select(KEYS).where(KEYS.c.key == key)).one_or_none()
    if found is None:
        return None
    if found.content != content:
        raise KeyConflictError(
            "this idempotency key was sent before, with other events; make a new key for each "
            "request, and send it again only with the same events"
        )
    return Appended(found.first, found.last, repeated=True)


def _content(events: Sequence[NewEvent]) -> str:
    return json.dumps(
        [
            [
                event.kind,
                event.user_id,
                event.movie_id,
                None if event.rating is None else float(event.rating),  # 4 is 4.0
                event.timestamp,
            ]
            for event in events
        ]
    )


def _entry(row: Row[Any]) -> Entry:
    return Entry(
        sequence=row.sequence,
        kind=_KINDS[row.kind],
        user_id=row.user_id,
        movie_id=row.movie_id,
        rating=row.rating,
        timestamp=row.timestamp,
        received=row.received,
        body=None if row.body is None else json.loads(row.body),
    )
