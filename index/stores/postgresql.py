"""A PostgreSQL database with the pgvector extension as a vector store.

A collection is a table of rows and vectors, an alias is a view. A graph holds half the bits of each
component, as it only chooses candidates.
"""

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from queue import Empty, LifoQueue
from typing import LiteralString

import numpy as np

from index.backend import Proposal
from index.kinds import Kind
from index.rows import NO_ROW
from index.stores.address import StoreAddress
from index.stores.errors import StaleStoreError, StoreDownError, StoreError
from index.stores.store import EF_CONSTRUCTION, LINKS, Report
from index.vectors import Vectors

try:
    import psycopg
    from psycopg import errors
    from psycopg.sql import SQL, Composed, Identifier, Literal
except ImportError as error:
    raise StoreError(
        "a store in PostgreSQL needs psycopg: pip install -e '.[pgvector]' in the project's folder"
    ) from error

# Seconds for a connection to be made, and for an answer.
CONNECT_SECONDS, ANSWER_SECONDS = 2, 5

# Vectors between two reports.
BATCH = 10_000

# The most that pgvector's `hnsw.ef_search` may be; for more, it goes on from where it ended.
MOST_EF = 1000

# Types of vectors by the kind of index, and the operators of an index over them.
TYPES: dict[Kind, LiteralString] = {Kind.EXACT: "vector", Kind.HNSW: "halfvec"}


class PostgresStore:
    """A database with the pgvector extension.

    Args:
        address: Its address; libpq reads a password from PGPASSWORD or ~/.pgpass where it has none.
    """

    most = 16_384

    def __init__(self, address: StoreAddress) -> None:
        self.place = address.kept
        self._url = address.url
        self._free: LifoQueue[psycopg.Connection] = LifoQueue()
        weakref.finalize(self, _close, self._free)

    def names(self, prefix: str) -> list[str]:
        """Return the tables whose names begin so."""
        query = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
        rows = self._rows(SQL(query).format())
        return [str(row[0]) for row in rows if str(row[0]).startswith(prefix)]

    def create(self, name: str, vectors: Vectors, kind: Kind, report: Report) -> None:
        """Make a table of vectors `(R, D)`, all of it or nothing."""
        with self._connection() as connection, connection.transaction():
            connection.execute("SET LOCAL statement_timeout = 0")
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
            table, of = Identifier(name), SQL(TYPES[kind])
            columns = SQL("CREATE TABLE {} (row bigint PRIMARY KEY, vector {}({}) NOT NULL)")
            connection.execute(columns.format(table, of, Literal(vectors.shape[1])))
            with connection.cursor().copy(SQL("COPY {} FROM STDIN").format(table)) as copy:
                for row, vector in enumerate(vectors):
                    copy.write_row((row, _text(vector)))
                    if (row + 1) % BATCH == 0:
                        report(row + 1)
            if kind is Kind.HNSW:
                graph = SQL(
                    "CREATE INDEX ON {} USING hnsw (vector halfvec_ip_ops) "
                    "WITH (m = {}, ef_construction = {})"
                )
                connection.execute(graph.format(table, Literal(LINKS), Literal(EF_CONSTRUCTION)))
            connection.execute(SQL("ANALYZE {}").format(table))
        report(len(vectors))

    def drop(self, name: str) -> None:
        """Remove a table, if it is there."""
        self._run(SQL("DROP TABLE IF EXISTS {}").format(Identifier(name)))

    def target(self, alias: str) -> str | None:
        """Return the table that a view shows."""
        query = SQL(  # the standard's own view of this shows only what one owns
            "SELECT shown.relname FROM pg_class view "
            "JOIN pg_namespace space ON space.oid = view.relnamespace "
            "JOIN pg_rewrite rule ON rule.ev_class = view.oid "
            "JOIN pg_depend part ON part.objid = rule.oid "
            "AND part.classid = 'pg_rewrite'::regclass AND part.refclassid = 'pg_class'::regclass "
            "JOIN pg_class shown ON shown.oid = part.refobjid AND shown.oid <> view.oid "
            "WHERE space.nspname = current_schema() AND view.relname = {} LIMIT 1"
        )
        rows = self._rows(query.format(Literal(alias)))
        return str(rows[0][0]) if rows else None

    def point(self, alias: str, name: str) -> None:
        """Let a view show a table, at once for everybody."""
        view = Identifier(alias)
        with self._connection() as connection, connection.transaction():
            lock = SQL("SELECT pg_advisory_xact_lock(hashtext({}))")  # one after another
            connection.execute(lock.format(Literal(alias)))
            connection.execute(SQL("DROP VIEW IF EXISTS {}").format(view))
            made = SQL("CREATE VIEW {} AS SELECT row, vector FROM {}")
            connection.execute(made.format(view, Identifier(name)))

    def unpoint(self, alias: str) -> None:
        """Remove a view, if it is there."""
        self._run(SQL("DROP VIEW IF EXISTS {}").format(Identifier(alias)))

    def prepare(self, name: str) -> None:
        """Do nothing: tables are always ready."""

    def nearest(self, name: str, queries: Vectors, count: int, kind: Kind, ef: int) -> Proposal:
        """Return candidates from a table, as `Store.nearest` says."""
        scores = np.full((len(queries), count), -np.inf, np.float32)
        rows = np.full((len(queries), count), NO_ROW, np.int64)
        asked = _asking(name, kind, SQL(""))
        with self._connection() as connection:
            _set_parameters(connection, kind, count, ef)
            cursor = connection.cursor(binary=True)
            for place, query in enumerate(queries):
                text = _text(query)
                cursor.execute(asked, (text, text, count), prepare=True)
                found = cursor.fetchall()
                rows[place, : len(found)] = [row for row, _ in found]
                scores[place, : len(found)] = [-distance for _, distance in found]
        return Proposal(scores, rows)

    def nearest_but(
        self, name: str, query: Vectors, count: int, kind: Kind, ef: int, rows: list[int]
    ) -> list[int]:
        """Return what the engine's own filter finds, as `Store.nearest_but` says."""
        asked = _asking(name, kind, SQL("WHERE row <> ALL (%s)"))
        with self._connection() as connection:
            connection.execute("SET hnsw.iterative_scan = off")
            connection.execute(SQL("SET hnsw.ef_search = {}").format(Literal(min(ef, MOST_EF))))
            text = _text(query[0])
            found = connection.execute(asked, (text, rows, text, count)).fetchall()
        return [int(row) for row, _ in found]

    def close(self) -> None:
        """Close all connections that nobody uses."""
        _close(self._free)

    def _run(self, command: Composed) -> None:
        with self._connection() as connection:
            connection.execute(command)

    def _rows(self, query: Composed) -> Sequence[tuple[object, ...]]:
        with self._connection() as connection:
            return connection.execute(query).fetchall()

    @contextmanager
    def _connection(self) -> Iterator["psycopg.Connection"]:
        """Lend a connection, which is kept for the next question unless something went wrong.

        Raises:
            StoreError: Something went wrong.
        """
        connection = None
        try:
            connection = self._taken()
            yield connection
        except psycopg.Error as error:
            raise self._said(error) from error
        finally:
            if connection is not None:
                if connection.closed or connection.info.transaction_status:
                    connection.close()
                else:
                    self._free.put(connection)

    def _taken(self) -> "psycopg.Connection":
        """Return a connection that nobody uses."""
        with suppress(Empty):
            return self._free.get_nowait()
        limit = f"-cstatement_timeout={ANSWER_SECONDS * 1000}"
        given = psycopg.conninfo.conninfo_to_dict(self._url)
        options = f"{given.get('options') or ''} {limit}".strip()
        return psycopg.connect(
            self._url,
            autocommit=True,
            connect_timeout=CONNECT_SECONDS,
            tcp_user_timeout=ANSWER_SECONDS * 1000,
            keepalives_idle=ANSWER_SECONDS,
            options=options,
        )

    def _said(self, error: "psycopg.Error") -> StoreError:
        """Return what is the matter, and what to do about it."""
        words = str(error).strip().partition("\n")[0]
        match error:
            case errors.UndefinedTable():
                return StaleStoreError(f"{self.place} does not hold this index any more")
            case errors.InsufficientPrivilege():
                remedy = "grant its user the right"
            case errors.FeatureNotSupported() | errors.UndefinedFile():
                remedy = "install the extension pgvector"
            case _ if "password" in words or "authentication" in words:
                remedy = "set PGPASSWORD, or REC_STORE"
            case errors.QueryCanceled() | psycopg.OperationalError():
                return StoreDownError(f"{self.place} does not answer: {words}")
            case _:
                remedy = "mend its address, or see its log"
        return StoreError(f"{self.place} refuses: {words}; {remedy}")


def _close(connections: "LifoQueue[psycopg.Connection]") -> None:
    """Close the connections of a queue."""
    with suppress(Empty):
        while True:
            connections.get_nowait().close()


def _asking(name: str, kind: Kind, condition: SQL) -> Composed:
    """Return the question for the rows nearest to a query, nearest first."""
    distance = SQL("vector <#> %s::{}").format(SQL(TYPES[kind]))
    return SQL("SELECT row, {} FROM {} {} ORDER BY {} LIMIT %s").format(
        distance, Identifier(name), condition, distance
    )


def _set_parameters(connection: "psycopg.Connection", kind: Kind, count: int, ef: int) -> None:
    """Say how far a search of a graph goes."""
    if kind is not Kind.HNSW:
        return
    sight = min(MOST_EF, max(ef, count))
    # A search that wants more than it may keep in sight goes on, at most through everything.
    further = "strict_order" if count > sight else "off"
    connection.execute(
        SQL(
            "SELECT set_config('hnsw.ef_search', {}, false), "
            "set_config('hnsw.iterative_scan', {}, false), "
            "set_config('hnsw.max_scan_tuples', '2147483647', false)"
        ).format(Literal(str(sight)), Literal(further))
    )


def _text(vector: Vectors) -> str:
    """Return a vector as pgvector reads it; nine digits are all that float32 has."""
    return "[" + ",".join([format(value, ".9g") for value in vector.tolist()]) + "]"
