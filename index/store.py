"""An index on disk: the FAISS file, ids, vectors, and what they are."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from index.candidates import Candidates
from index.kinds import Effort, Kind
from index.search import Index
from index.vectors import fingerprint

INDEX_FILE = "index.faiss"
VECTORS_FILE = "vectors.npy"  # where the FAISS file does not hold them
IDS_FILE = "ids.npy"
SCALE_FILE = "scale.npy"
CARD_FILE = "index.json"


class StaleIndexError(ValueError):
    """An index whose vectors are not those it was saved with, or are of another source."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """What an index is.

    Args:
        kind: How candidates are found.
        metric: By what vectors are compared.
        dimension: D.
        count: Of the vectors, without the removed ones.
        removed: Rows that are never found.
        effort: How hard it looks.
        fingerprint: Of all rows' ids and vectors.
        candidates: sha256 of the FAISS file where it does not hold the vectors, and of the scale.
        source: What the vectors were made by.
    """

    kind: Kind
    metric: str
    dimension: int
    count: int
    removed: int
    effort: Effort
    fingerprint: str
    candidates: str
    source: str


def save_index(folder: Path, index: Index, source: str) -> Card:
    """Write index, ids, vectors and card into an existing folder."""
    index.candidates.write(folder / INDEX_FILE)
    np.save(folder / SCALE_FILE, index.candidates.scale)
    card = Card(
        kind=index.kind,
        metric="inner product",
        dimension=index.dimension,
        count=len(index),
        removed=len(index.all_ids) - len(index),
        effort=index.effort,
        fingerprint=fingerprint(index.all_ids, index.all_vectors),
        candidates=_sum_of_candidates(folder, index.kind),
        source=source,
    )
    if index.kind is not Kind.EXACT:
        np.save(folder / VECTORS_FILE, index.all_vectors)
    np.save(folder / IDS_FILE, index.all_ids)
    (folder / CARD_FILE).write_text(json.dumps(asdict(card), indent=2) + "\n")
    return card


def read_card(folder: Path) -> Card:
    """Read what an index is.

    Raises:
        ValueError: The file is missing or cannot be read.
    """
    try:
        facts: dict[str, Any] = json.loads((folder / CARD_FILE).read_text())
        effort = Effort(**facts.pop("effort"))
        return Card(**facts | {"kind": Kind(facts["kind"]), "effort": effort})
    except (OSError, TypeError, KeyError, AttributeError, ValueError) as error:
        raise ValueError(f"{folder} does not hold an index: {error}") from error


def load_index(folder: Path, source: str, *, mapped: bool = True) -> Index:
    """Load an index whose vectors were made by `source`.

    Args:
        folder: What `save_index` wrote into.
        source: What the vectors were made by.
        mapped: Whether to map files instead of loading them; then nothing can be put into an
            approximate index.

    Raises:
        StaleIndexError: The card, the index and the vectors beside it do not belong together, or
            the index was built from another source.
        ValueError: A file is missing or cannot be read.
    """
    card = read_card(folder)
    if card.source != source:
        raise StaleIndexError(f"{folder} was built from another model")
    try:
        candidates_sum = _sum_of_candidates(folder, card.kind)
        scale = np.load(folder / SCALE_FILE)
        candidates = Candidates.read(folder / INDEX_FILE, card.kind, scale, mapped=mapped)
        ids = np.load(folder / IDS_FILE)
        held = card.kind is Kind.EXACT
        vectors = (
            candidates.vectors()
            if held
            else np.load(folder / VECTORS_FILE, mmap_mode="r" if mapped else None)
        )
    except (OSError, EOFError, ValueError) as error:
        raise ValueError(f"{folder} does not hold an index: {error}") from error
    if candidates_sum != card.candidates:
        raise StaleIndexError(f"{folder} holds candidates that were not saved with it")
    made = fingerprint(ids, vectors)
    if made != card.fingerprint or len(candidates) != len(ids):
        raise StaleIndexError(
            f"{folder} has fingerprint {card.fingerprint[:12]}, its vectors have {made[:12]}"
        )
    return Index(ids, vectors, candidates, card.effort)


def _sum_of_candidates(folder: Path, kind: Kind) -> str:
    digest = hashlib.sha256((folder / SCALE_FILE).read_bytes())
    if kind is not Kind.EXACT:  # whose file the fingerprint is made from
        with (folder / INDEX_FILE).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
