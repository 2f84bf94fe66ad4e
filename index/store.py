"""An index on disk: the FAISS file, ids, vectors, matrix, and the card that says what they are.

The card holds the sha256 of each file and its own. No file is understood before its bytes are known
to be those that were written.
"""

import hashlib
import json
import stat
from dataclasses import asdict, dataclass
from io import BufferedReader
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from index.arrays import load_array
from index.faiss_backend import FaissBackend, embedded
from index.kinds import Kind, SearchParameters
from index.neighbours import NO_ID
from index.policies import POLICIES
from index.rescoring import LocalVectors
from index.search import Index
from index.snapshot import Snapshot
from index.transform import Matrix
from index.vectors import LARGEST, Ids, Vectors, are_distinct

INDEX_FILE = "index.faiss"
VECTORS_FILE = "vectors.npy"  # where the FAISS file does not hold them
IDS_FILE = "ids.npy"
MATRIX_FILE = "matrix.npy"  # what vectors were multiplied by
SCALE_FILE = "scale.npy"  # the diagonal of that, in the previous format
STORE_FILE = "store.json"  # where a vector store proposes candidates
CARD_FILE = "index.json"

# The version of the format, raised with every change to it, and the one before, which is read too.
VERSION: Literal[4] = 4
PREVIOUS: Literal[3] = 3

# More bytes than a card takes.
LONGEST_CARD = 65_536

Count = Annotated[int, Field(ge=0, lt=2**31)]


@dataclass(frozen=True, kw_only=True)
class StoreCard:
    """Which collection of a vector store proposes candidates of an index.

    Args:
        address: Address of the store, without a password.
        collection: Name by which the collection is known.
        fingerprint: Digest of what it holds, as `fingerprint` returns it.
        kind: How the store finds candidates.
    """

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid", strict=True)

    address: str
    collection: str
    fingerprint: str
    kind: Kind


class StaleIndexError(ValueError):
    """An index whose files are not those it was saved with, or that is of another source."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """What an index is.

    Args:
        version: Version of the format.
        kind: How candidates are found.
        metric: Measure by which vectors are compared.
        dimension: Number of components of a vector, D.
        count: Number of vectors, without the removed ones.
        removed: Number of rows that are never found.
        parameters: Search parameters.
        files: Hash (sha256) of each file beside the card, by name.
        source: Name of what made the vectors.
    """

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid", strict=True)

    version: Literal[3, 4]
    kind: Kind
    metric: Literal["inner product"]
    dimension: Count
    count: Count
    removed: Count
    parameters: SearchParameters
    files: dict[str, str]
    source: str


def save_index(folder: Path, index: Index, source: str, store: StoreCard | None = None) -> Card:
    """Write index, ids, vectors and card into an existing folder.

    Args:
        folder: The folder.
        index: An index in this process.
        source: Name of what made the vectors.
        store: Collection of a vector store that holds the vectors too, if one does.

    Raises:
        OSError: A file cannot be written.
    """
    now = index.snapshot
    backend, rows = embedded(now.backend), now.local.rows
    backend.write(folder / INDEX_FILE)
    np.save(folder / MATRIX_FILE, backend.matrix)
    np.save(folder / IDS_FILE, rows.all_ids)
    if not now.backend.policy.exact:
        np.save(folder / VECTORS_FILE, now.local.vectors)
    names = _names(now.kind)
    if store is not None:
        (folder / STORE_FILE).write_text(json.dumps(asdict(store), indent=2) + "\n")
        names += (STORE_FILE,)
    card = Card(
        version=VERSION,
        kind=now.kind,
        metric="inner product",
        dimension=now.dimension,
        count=len(now),
        removed=len(rows) - len(now),
        parameters=now.parameters,
        files={name: _sum(folder / name) for name in names},
        source=source,
    )
    (folder / CARD_FILE).write_bytes(_written(asdict(card)))
    return card


def read_card(folder: Path) -> Card:
    """Read what an index is.

    Raises:
        ValueError: The file is missing, of another format, or not what was written.
    """
    path = folder / CARD_FILE
    try:
        with _opened(path) as file:
            text = file.read(LONGEST_CARD)
        facts: dict[str, Any] = dict(json.loads(text))
    except OSError as error:
        raise ValueError(f"{folder} does not hold an index: {_reason(error)}") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is not the card of an index") from error
    if facts.get("version") not in (VERSION, PREVIOUS):
        raise ValueError(
            f"{path} is of another format than this program reads, {PREVIOUS} or {VERSION}"
        )
    facts.pop("sha256", None)
    try:
        said = json.dumps(facts, sort_keys=True)
        card = TypeAdapter(Card).validate_json(said)
        # Nothing may be otherwise, be it blanks: this compares the sum too.
        whole = text == _written(facts) and said == json.dumps(asdict(card), sort_keys=True)
    except (ValidationError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not the card of an index") from error
    if not whole:
        raise ValueError(f"{path} is not what was written: its sha256 differs")
    return card


def fingerprint(index: Index, kind: Kind) -> str:
    """Return a digest of the vectors of an index under their rows, in a collection of some kind."""
    vectors, ids = index.snapshot.local.vectors, index.snapshot.local.rows.all_ids
    digest = hashlib.sha256(f"{kind} {vectors.shape}".encode())
    digest.update(np.ascontiguousarray(vectors).data)
    digest.update(np.ascontiguousarray(ids).data)
    return digest.hexdigest()


def read_store(folder: Path) -> StoreCard | None:
    """Read which collection of a vector store proposes candidates; None where none does.

    Raises:
        ValueError: The card or this file is missing, or not what was written.
    """
    if STORE_FILE not in read_card(folder).files:
        return None
    try:
        text = (folder / STORE_FILE).read_bytes()
        return TypeAdapter(StoreCard).validate_json(text)
    except (OSError, ValidationError) as error:
        raise ValueError(f"{folder / STORE_FILE} does not say where a store is") from error


def load_index(folder: Path, source: str, *, mapped: bool = True) -> Index:
    """Load an index whose vectors were made by `source`.

    Args:
        folder: Folder that `save_index` wrote into.
        source: Name of what made the vectors.
        mapped: Whether to map files instead of loading them; then nothing can be put into an
            approximate index.

    Raises:
        StaleIndexError: A file is not the one that was written, or the index was built from another
            source.
        ValueError: A file is missing, cannot be read, or does not fit the others.
    """
    card = read_card(folder)
    if card.source != source:
        raise StaleIndexError(f"{folder} was built from another model")
    if card.files.keys() - {STORE_FILE} != set(_names(card.kind, card.version)):
        raise ValueError(f"{folder / CARD_FILE} does not list the files of kind {card.kind}")
    for name, expected in card.files.items():
        try:
            found = _sum(folder / name)
        except OSError as error:
            raise ValueError(f"{folder / name} cannot be read: {_reason(error)}") from error
        if found != expected:
            raise StaleIndexError(
                f"{folder / name} is not what was saved with the index: its sha256 differs"
            )
    return Index(_checked(card, folder, mapped=mapped))


def _checked(card: Card, folder: Path, *, mapped: bool) -> Snapshot:
    """Return what the files of an index hold, if they agree with each other and with the card.

    Raises:
        ValueError: They do not.
    """
    matrix = _matrix(card, folder)
    backend = FaissBackend.read(folder / INDEX_FILE, card.kind, matrix, mapped=mapped)
    count = len(backend)
    ids: Ids = load_array(folder / IDS_FILE)
    if not _is(ids, np.int64, (count,)) or not _are_ids(ids, card.count):
        raise ValueError(f"{folder / IDS_FILE} does not hold {card.count} ids for {count} rows")
    if count != card.count + card.removed:
        raise ValueError(f"{folder / INDEX_FILE} holds {count} rows, the card has others")
    vectors: Vectors
    if backend.policy.exact:
        vectors, held = backend.vectors(), INDEX_FILE
    else:
        vectors, held = load_array(folder / VECTORS_FILE, mapped=mapped), VECTORS_FILE
    if not _is(vectors, np.float32, (count, card.dimension)) or not vectors.flags.c_contiguous:
        raise ValueError(f"{folder / held} does not hold {count} vectors of {card.dimension}")
    local = LocalVectors.of(ids, vectors)
    if not local.largest_norm <= LARGEST * card.dimension**0.5:  # nor is it where one is NaN
        raise ValueError(f"{folder / held} holds vectors that are not finite")
    return Snapshot(local, backend, card.parameters)


def _matrix(card: Card, folder: Path) -> Matrix:
    """Return what the vectors of an index were multiplied by.

    Raises:
        ValueError: The file holds something else.
    """
    if card.version == PREVIOUS:
        scale = load_array(folder / SCALE_FILE)
        fits = _is(scale, np.float32, (card.dimension,))
        if not fits or not ((scale > 0) & (scale < np.inf)).all():
            raise ValueError(f"{folder / SCALE_FILE} holds no scale of {card.dimension} components")
        return np.diag(scale)
    matrix: Matrix = load_array(folder / MATRIX_FILE)
    fits = _is(matrix, np.float32, (card.dimension, card.dimension))
    # That of an exact index is the identity, and no command should wait for its rank.
    if not fits or not (np.array_equal(matrix, np.eye(len(matrix))) or _can_be_inverted(matrix)):
        raise ValueError(f"{folder / MATRIX_FILE} holds no matrix that can be inverted")
    return matrix


def _can_be_inverted(matrix: Matrix) -> bool:
    return bool(np.isfinite(matrix).all() and np.linalg.matrix_rank(matrix) == len(matrix))


def _names(kind: Kind, version: int = VERSION) -> tuple[str, ...]:
    """Return the files beside the card."""
    names = (INDEX_FILE, IDS_FILE, MATRIX_FILE if version == VERSION else SCALE_FILE)
    return names if POLICIES[kind].exact else (*names, VECTORS_FILE)


def _written(facts: dict[str, Any]) -> bytes:
    """Return the file of a card: what it says, and the sha256 of that."""
    whole = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    return (json.dumps(facts | {"sha256": whole}, indent=2) + "\n").encode()


def _is(array: NDArray[Any], dtype: type[np.generic], shape: tuple[int, ...]) -> bool:
    return array.dtype == dtype and array.shape == shape


def _are_ids(ids: Ids, count: int) -> bool:
    """Return whether so many of the ids of rows are distinct, and the others are none."""
    held = ids[ids != NO_ID]
    return len(held) == count and are_distinct(held) and bool((held >= 0).all())


def _sum(path: Path) -> str:
    """Return the sha256 of a file."""
    with _opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _opened(path: Path) -> BufferedReader:
    """Open a plain file, and no other through a link.

    Raises:
        OSError: It is none, or cannot be read.
    """
    if not stat.S_ISREG(path.lstat().st_mode):
        raise OSError(f"{path.name} is no plain file")
    return path.open("rb")


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
