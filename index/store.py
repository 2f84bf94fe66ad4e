"""An index on disk: the FAISS file, the plain vectors, and what they are."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from index.flat import FlatIndex
from index.vectors import fingerprint

INDEX_FILE = "index.faiss"
VECTORS_FILE = "vectors.npy"
IDS_FILE = "ids.npy"
CARD_FILE = "index.json"


class StaleIndexError(ValueError):
    """An index that was built from other vectors than those beside it, or from another source."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """What an index is. `source` names what the vectors were made by."""

    kind: str
    metric: str
    dimension: int
    count: int
    fingerprint: str
    source: str


def save_index(folder: Path, index: FlatIndex, source: str) -> Card:
    """Write index, vectors and card into an existing folder."""
    card = Card(
        kind="flat",
        metric="inner product",
        dimension=index.dimension,
        count=len(index),
        fingerprint=fingerprint(index.ids, index.vectors),
        source=source,
    )
    index.write(folder / INDEX_FILE)
    np.save(folder / VECTORS_FILE, index.vectors)
    np.save(folder / IDS_FILE, index.ids)
    (folder / CARD_FILE).write_text(json.dumps(asdict(card), indent=2) + "\n")
    return card


def load_index(folder: Path, source: str) -> FlatIndex:
    """Load an index whose vectors were made by `source`.

    Raises:
        StaleIndexError: The card, the index and the vectors beside it do not belong together, or
            the index was built from another source.
        ValueError: A file is missing or cannot be read.
    """
    try:
        card = Card(**json.loads((folder / CARD_FILE).read_text()))
        vectors = np.load(folder / VECTORS_FILE, mmap_mode="r")
        ids = np.load(folder / IDS_FILE)
    except (OSError, TypeError, EOFError, ValueError) as error:
        raise ValueError(f"{folder} does not hold an index: {error}") from error
    if card.source != source:
        raise StaleIndexError(f"{folder} was built from another model")
    index = FlatIndex.read(folder / INDEX_FILE)
    for made in (fingerprint(index.ids, index.vectors), fingerprint(ids, vectors)):
        if made != card.fingerprint:
            raise StaleIndexError(
                f"{folder} has fingerprint {card.fingerprint[:12]}, its vectors have {made[:12]}"
            )
    return index
