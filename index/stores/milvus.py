"""Milvus as a vector store: a server, a cluster, or a file that is searched in this process."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

import numpy as np

from index.backend import Proposal
from index.kinds import Kind
from index.rows import NO_ROW
from index.stores.address import SECURE, StoreAddress
from index.stores.errors import StaleStoreError, StoreDownError, StoreError
from index.stores.store import EF_CONSTRUCTION, LINKS, Report
from index.vectors import Vectors

try:
    from pymilvus import DataType, MilvusClient
    from pymilvus.exceptions import MilvusException
except ImportError as error:
    raise StoreError(
        "a Milvus store needs pymilvus: pip install -e '.[milvus]' in the project's folder"
    ) from error

# Seconds for a connection to be made, and for an answer.
CONNECT_SECONDS, ANSWER_SECONDS = 2.0, 5.0

# Seconds for a collection to be loaded and indexed.
LOAD_SECONDS = 24 * 3600.0

# Vectors that are sent at once: a message may have 64 MB.
BATCH = 5_000

DEFAULT_PORT = 19_530

# What servers of several versions say of a collection that is not there.
MISSING = ("not exist", "not found", "can't find")


class Hits(NamedTuple):
    """What one query found, best first."""

    rows: list[int]
    scores: list[float]


class MilvusStore:
    """A Milvus server, or a file.

    Args:
        address: Its address; MILVUS_TOKEN holds `user:password` or a key where it has none.

    Raises:
        StoreError: It cannot be reached.
    """

    most = 16_384  # what a server returns at most

    def __init__(self, address: StoreAddress) -> None:
        self.place = address.kept
        # Its log repeats every error, with a traceback on standard error.
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
        parts = urlsplit(address.url)
        embedded = not parts.hostname
        given = {"uri": parts.path} if embedded else _server(address.url)
        with self._asking():
            self._client = MilvusClient(**given, timeout=CONNECT_SECONDS)

    def names(self, prefix: str) -> list[str]:
        """Return the collections whose names begin so."""
        with self._asking():
            names = self._client.list_collections(timeout=ANSWER_SECONDS)
        return [name for name in names if name.startswith(prefix)]

    def create(self, name: str, vectors: Vectors, kind: Kind, report: Report) -> None:
        """Make a collection of vectors `(R, D)`."""
        client = self._client
        schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("row", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=vectors.shape[1])
        index = client.prepare_index_params()
        graph = {"M": LINKS, "efConstruction": EF_CONSTRUCTION} if kind is Kind.HNSW else {}
        form = "HNSW" if kind is Kind.HNSW else "FLAT"
        index.add_index("vector", index_type=form, metric_type="IP", params=graph)
        with self._asking():
            client.create_collection(name, schema=schema, timeout=LOAD_SECONDS)
            for start in range(0, len(vectors), BATCH):
                part = vectors[start : start + BATCH]
                rows = [{"row": start + row, "vector": each} for row, each in enumerate(part)]
                client.insert(name, rows, timeout=LOAD_SECONDS)
                report(start + len(part))
            client.flush(name, timeout=LOAD_SECONDS)
            client.create_index(name, index, timeout=LOAD_SECONDS)
            client.load_collection(name, timeout=LOAD_SECONDS)

    def drop(self, name: str) -> None:
        """Remove a collection, if it is there."""
        with self._asking():
            if self._client.has_collection(name, timeout=ANSWER_SECONDS):
                self._client.drop_collection(name, timeout=LOAD_SECONDS)

    def target(self, alias: str) -> str | None:
        """Return the collection that an alias stands for."""
        with self._asking():
            if not self._client.has_collection(alias, timeout=ANSWER_SECONDS):
                return None
            facts: dict[str, Any] = self._client.describe_collection(alias, timeout=ANSWER_SECONDS)
        return str(facts["collection_name"])

    def point(self, alias: str, name: str) -> None:
        """Let an alias stand for a collection."""
        if self.target(alias) is None:
            with suppress(MilvusException):  # where another one has made it by now, it is moved
                self._client.create_alias(name, alias, timeout=ANSWER_SECONDS)
                return
        with self._asking():
            self._client.alter_alias(name, alias, timeout=ANSWER_SECONDS)

    def unpoint(self, alias: str) -> None:
        """Remove an alias, if it is there."""
        there = self.target(alias) is not None
        with self._asking():
            if there:
                self._client.drop_alias(alias, timeout=ANSWER_SECONDS)

    def prepare(self, name: str) -> None:
        """Load a collection into the memory of the store, which forgets it when it ends."""
        with self._asking():
            self._client.load_collection(name, timeout=ANSWER_SECONDS)

    def nearest(self, name: str, queries: Vectors, count: int, kind: Kind, ef: int) -> Proposal:
        """Return candidates from a collection, as `Store.nearest` says."""
        scores = np.full((len(queries), count), -np.inf, np.float32)
        rows = np.full((len(queries), count), NO_ROW, np.int64)
        for place, hits in enumerate(self._search(name, queries, count, kind, ef, "")):
            rows[place, : len(hits.rows)] = hits.rows
            scores[place, : len(hits.rows)] = hits.scores
        return Proposal(scores, rows)

    def nearest_but(
        self, name: str, query: Vectors, count: int, kind: Kind, ef: int, rows: list[int]
    ) -> list[int]:
        """Return what the engine's own filter finds, as `Store.nearest_but` says."""
        condition = f"row not in {rows}" if rows else ""
        return self._search(name, query, count, kind, ef, condition)[0].rows

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _search(
        self, name: str, queries: Vectors, count: int, kind: Kind, ef: int, condition: str
    ) -> list["Hits"]:
        parameters = {"ef": max(ef, count)} if kind is Kind.HNSW else {}
        with self._asking():
            found = self._client.search(
                name,
                list(queries),
                filter=condition,
                limit=count,
                anns_field="vector",
                search_params={"metric_type": "IP", "params": parameters},
                timeout=ANSWER_SECONDS,
            )
        return [Hits(list(hits.ids), list(hits.distances)) for hits in found]

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Turn what the client raises into a `StoreError`."""
        try:
            yield
        except MilvusException as error:
            words = str(error.message or error).partition("\n")[0]
            if "collection" in words.lower() and any(each in words for each in MISSING):
                said = f"{self.place} does not hold this index any more"
                raise StaleStoreError(said) from error
            if "auth" in words.lower():
                said = f"{self.place} refuses: {words}; set MILVUS_TOKEN, or REC_STORE"
                raise StoreError(said) from error
            raise StoreDownError(f"{self.place} does not answer: {words}") from error
        except (OSError, ValueError, RuntimeError, ImportError) as error:
            words = str(error).partition("\n")[0]
            raise StoreDownError(f"{self.place} does not answer: {words}") from error


def _server(url: str) -> dict[str, str]:
    """Return what the client is told of a server.

    Raises:
        StoreError: A certificate that the address names is no file.
    """
    parts = urlsplit(url)
    certificates = dict(parse_qsl(parts.query))
    secure = certificates.pop(SECURE, "") == "true"
    for name, value in certificates.items():
        if name.endswith("_path") and not Path(value).is_file():
            raise StoreError(f"{name} of the store's address is no file: {value}")
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    token = os.environ.get("MILVUS_TOKEN", "")
    if parts.password:
        token = f"{unquote(parts.username or '')}:{unquote(parts.password)}"
    return {
        "uri": f"http{'s' * secure}://{host}:{parts.port or DEFAULT_PORT}",
        "token": token,
        "db_name": parts.path.strip("/"),
        **certificates,
    }
