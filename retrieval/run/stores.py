"""The vector store of a run, where it has one: a collection that proposes movies of its lists."""

import os
import platform
from pathlib import Path

from index.search import Index
from index.snapshot import Snapshot
from index.store import StoreCard, read_store
from index.stores.address import StoreAddress, collection_name, parse_address
from index.stores.backend import Connection, StoreBackend
from index.stores.errors import StaleStoreError, StoreDownError, StoreError
from retrieval.errors import RequestError, RunError
from retrieval.run.folder import Run
from retrieval.run.manifest import INDEX

# The variable that holds the address of a store, with a password if need be, in place of what the
# run says.
GIVEN = "REC_STORE"


def store_address(text: str) -> StoreAddress:
    """Read the address of a store.

    Raises:
        RequestError: It is none. The message does not repeat it, as it may hold a password.
    """
    try:
        return parse_address(text)
    except ValueError as error:
        raise RequestError(f"store: {error}") from error


def collection_of(address: StoreAddress, home: Path) -> str:
    """Return the name under which a store knows the movies of a run."""
    home = home.resolve()
    return address.collection or collection_name(home.name, f"{platform.node()}:{home}")


def store_of(run: Run) -> StoreCard | None:
    """Return which collection of a store a run has; None where it has none.

    Raises:
        RunError: The index is missing or damaged.
    """
    try:
        return read_store(run.folder / INDEX)
    except ValueError as error:
        remedy = f"build it again with rec build-index --run {run.home}"
        raise RunError(f"broken index: {error}; {remedy}") from error


def address_of(card: StoreCard) -> StoreAddress:
    """Return where a store is: as the environment says, or else as the run does."""
    return store_address(os.environ.get(GIVEN) or card.address)


def behind_store(run: Run, index: Index) -> Snapshot:
    """Return an index whose candidates come from the store of a run, if it has one.

    A store that is away is no error: the vectors of the run answer then.

    Raises:
        RunError: The store holds another index, or its client is not installed.
    """
    card = store_of(run)
    if card is None:
        return index.snapshot
    address = address_of(card)
    alias = address.collection or card.collection
    connection = Connection(address, alias, card.fingerprint, card.kind)
    try:
        connection.open()
    except StoreDownError as error:
        connection.went_away(error)
    except StoreError as error:
        raise _unusable(run, error) from error
    return behind(connection, index)


def behind(connection: Connection, index: Index) -> Snapshot:
    """Return an exact index whose candidates come from a collection that holds its rows."""
    now = index.snapshot
    count = len(now.local)
    backend = StoreBackend(connection, now.backend, count, now.local.vectors[:0])
    return Snapshot(now.local, backend, now.parameters)


def has_store(index: Snapshot) -> bool:
    """Return whether the candidates of an index come from a store."""
    return _connection(index) is not None


def is_away(index: Snapshot) -> bool:
    """Return whether an index has a store that did not answer when it was last asked."""
    connection = _connection(index)
    return connection is not None and connection.away


def require_store(run: Run, index: Snapshot) -> None:
    """Raise a `RunError` if the store of a run cannot be asked."""
    connection = _connection(index)
    if connection is None:
        return
    try:
        connection.open()
    except StoreError as error:
        raise _unusable(run, error) from error


def _connection(index: Snapshot) -> Connection | None:
    """Return the collection that proposes candidates of an index; None where none does."""
    return index.backend.connection if isinstance(index.backend, StoreBackend) else None


def _unusable(run: Run, error: StoreError) -> RunError:
    again = f"rec build-index --run {run.home}"
    if isinstance(error, StaleStoreError):
        return RunError(f"stale store: {error}; load it again with {again} --store URL")
    return RunError(
        f"{error}; start the store, name another with {GIVEN}, or do without with {again}"
    )
