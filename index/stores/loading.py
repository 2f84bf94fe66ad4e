"""Vectors come into a store beside those that are there, and then take their place.

A collection is called after its alias, the fingerprint of what it holds, and the time at which its
loading began. Who searches asks for the fingerprint, and so never reads the vectors of another
index. The collection that the alias stood for is kept until the next load, for who searches it.
"""

import re
import time
from contextlib import suppress

from index.kinds import Kind
from index.stores.address import Engine, StoreAddress
from index.stores.errors import StaleStoreError, StoreError
from index.stores.store import Report, Store
from index.vectors import Vectors

# Letters of a fingerprint that a name holds, and of a time in nanoseconds.
FINGERPRINT, TIME = 16, 16


def connect(address: StoreAddress) -> Store:
    """Return a store; a Milvus store is reached at once, PostgreSQL with the first question.

    Raises:
        StoreError: The client of the engine is not installed, or the store cannot be reached.
    """
    match address.engine:
        case Engine.MILVUS:
            from index.stores.milvus import MilvusStore  # noqa: PLC0415 (an optional package)

            return MilvusStore(address)
        case Engine.POSTGRESQL:
            from index.stores.postgresql import PostgresStore  # noqa: PLC0415 (likewise)

            return PostgresStore(address)


def load(
    store: Store,
    alias: str,
    fingerprint: str,
    vectors: Vectors,
    kind: Kind,
    report: Report = lambda _: None,
) -> str:
    """Load vectors into a new collection, and let the alias stand for it.

    Args:
        store: The store.
        alias: Name by which the collection is known.
        fingerprint: Digest of what is loaded, in hexadecimal.
        vectors: Vectors by their rows, `(R, D)`.
        kind: How candidates are found, one of `KINDS`.
        report: Called with the number of vectors that are loaded so far.

    Returns:
        The name of the collection.

    Raises:
        StoreError: The store cannot do it; what it held stays as it was.
    """
    name = f"{alias}_{fingerprint[:FINGERPRINT]}_{time.time_ns():0{TIME}x}"
    try:
        store.create(name, vectors, kind, report)
        before = store.target(alias)
        store.point(alias, name)
    except BaseException:
        with suppress(StoreError):
            store.drop(name)
        raise
    if before is not None:
        for old in _collections(store, alias):
            if old != name and _began(old) < _began(before):
                store.drop(old)
    return name


def find(store: Store, alias: str, fingerprint: str) -> str:
    """Return the newest collection with a fingerprint, ready to be searched.

    Raises:
        StaleStoreError: There is none.
        StoreError: The store cannot be asked.
    """
    beginning = f"{alias}_{fingerprint[:FINGERPRINT]}_"
    held = [name for name in _collections(store, alias) if name.startswith(beginning)]
    aliased = store.target(alias)
    if aliased in held:  # others may be loading it once more
        held = [aliased]
    if aliased is None or not held:
        raise StaleStoreError(f"{store.place} does not hold the vectors of this index in {alias}")
    name = max(held, key=_began)
    store.prepare(name)
    return name


def unload(store: Store, alias: str) -> None:
    """Remove an alias and all that was loaded under it.

    Raises:
        StoreError: The store cannot do it.
    """
    store.unpoint(alias)
    for name in _collections(store, alias):
        store.drop(name)


def _collections(store: Store, alias: str) -> list[str]:
    """Return the collections that were loaded under an alias."""
    pattern = re.compile(rf"{re.escape(alias)}_[0-9a-f]{{{FINGERPRINT}}}_[0-9a-f]{{{TIME}}}")
    return [name for name in store.names(alias) if pattern.fullmatch(name)]


def _began(name: str) -> str:
    """Return when the loading of a collection began, as a text that sorts by time."""
    return name[-TIME:]
