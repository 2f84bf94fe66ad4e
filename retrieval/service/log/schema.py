"""The tables of the log, and how an older schema becomes that of today."""

import secrets
from collections.abc import Callable
from typing import NamedTuple

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    insert,
    inspect,
    select,
    update,
)

from retrieval.service.log.errors import LogError

_tables = MetaData()

META = Table(
    "rec_meta",
    _tables,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

# One row. Whoever adds entries moves it in the same transaction, so that entries are committed in
# the order of their sequences and none is missing below the last.
HEAD = Table("rec_head", _tables, Column("sequence", BigInteger, nullable=False))

ENTRIES = Table(
    "rec_entries",
    _tables,
    Column(
        "sequence",
        BigInteger().with_variant(Integer, "sqlite"),  # there, the number of the row itself
        primary_key=True,
        autoincrement=False,
    ),
    Column("kind", Text, nullable=False),
    Column("user_id", Text),
    Column("movie_id", Text),
    Column("rating", Float(53)),
    Column("timestamp", BigInteger),
    Column("received", BigInteger, nullable=False),
    Column("body", Text),
)

# Deleting a user looks up events by user; replaying looks up the few entries that are no events.
Index("rec_entries_of_user", ENTRIES.c.user_id)
Index(
    "rec_entries_of_movies",
    ENTRIES.c.sequence,
    sqlite_where=ENTRIES.c.user_id.is_(None),
    postgresql_where=ENTRIES.c.user_id.is_(None),
)

# Idempotency keys. Both are hashes: a key or an event may name a user who is forgotten later.
KEYS = Table(
    "rec_keys",
    _tables,
    Column("key", LargeBinary, primary_key=True),
    Column("content", LargeBinary, nullable=False),
    Column("first", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),
    Column("received", BigInteger, nullable=False, index=True),
)


class Meta(NamedTuple):
    """What a log is known by, and what its hashes are made with."""

    identity: str
    salt: bytes


def create_tables(connection: Connection) -> None:
    """Make the first schema."""
    _tables.create_all(connection)
    connection.execute(insert(HEAD).values(sequence=0))
    values = {"schema": "0", "identity": secrets.token_hex(16), "salt": secrets.token_hex(32)}
    rows = [{"name": name, "value": value} for name, value in values.items()]
    connection.execute(insert(META), rows)


# What brings a schema from each version to the next. The next change is one more function, which
# must say its tables itself: those above are of the last version.
MIGRATIONS: tuple[Callable[[Connection], None], ...] = (create_tables,)


def schema_version(connection: Connection) -> int:
    """Return the version of the schema of a database, 0 for one without."""
    if not inspect(connection).has_table(META.name):
        return 0
    return int(_values(connection)["schema"])


def migrate(connection: Connection) -> None:
    """Bring the schema to the version of today, within one transaction that nobody else is in."""
    there = schema_version(connection)
    for migration in MIGRATIONS[there:]:
        migration(connection)
    if there < len(MIGRATIONS):
        version = update(META).where(META.c.name == "schema")
        connection.execute(version.values(value=str(len(MIGRATIONS))))


def read_meta(connection: Connection) -> Meta:
    """Return what a log is known by."""
    values = _values(connection)
    return Meta(values["identity"], bytes.fromhex(values["salt"]))


def is_current(connection: Connection, place: str) -> bool:
    """Return whether a database has the schema of today.

    Args:
        connection: A connection to the database.
        place: Name of the database, for messages.

    Raises:
        LogError: A newer version of this program made the schema.
    """
    there, newest = schema_version(connection), len(MIGRATIONS)
    if there > newest:
        raise LogError(
            f"{place} has a schema of version {there}, and this program knows those up to "
            f"{newest}; update two-tower-rec, or name another database"
        )
    return there == newest


def _values(connection: Connection) -> dict[str, str]:
    return {row.name: row.value for row in connection.execute(select(META))}
