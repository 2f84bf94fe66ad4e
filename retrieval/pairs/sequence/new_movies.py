"""The movie side of the sequence pair for movies that training did not know, computed by numpy."""

import json
from pathlib import Path

import numpy as np
from safetensors import safe_open

from retrieval.pairs.content import Content
from retrieval.pairs.protocol import RunFacts, Vectors
from retrieval.pairs.sequence.files import SIZES_FILE, WEIGHTS_FILE
from retrieval.pairs.sequence.settings import SequenceSettings
from retrieval.pairs.sequence.trends import unwatched_trends
from retrieval.storage.damage import readable

# Shorter vectors are not made longer, as in torch.
SHORTEST = 1e-12


def new_movie_vectors(folder: Path, facts: RunFacts, content: Content) -> Vectors:
    """Return the vectors `(A, W)` of movies that nobody has watched: see `SequenceEnsemble`.

    Args:
        folder: Folder of a version.
        facts: What is known of its run.
        content: Content of the movies.

    Raises:
        RunError: A file is damaged.
    """
    with readable(folder / SIZES_FILE):
        saved = json.loads((folder / SIZES_FILE).read_text(encoding="utf-8"))
        unwatched, present = saved["unwatched"], int(saved["present"])
    trends = np.zeros((len(content.years), 0), np.float32)
    if unwatched:
        trends = unwatched_trends(np.array(unwatched, np.float32), content.years, present)
        trends *= SequenceSettings.model_validate(facts.settings).temperature
    vectors: Vectors = np.hstack([*map(_unit, _described(folder, content)), trends])
    return vectors


def new_movie_rows(folder: Path, content: Content) -> Vectors:
    """Return the embeddings of such movies in the user tower, `(A, P * D)`: see `movie_table`.

    Args:
        folder: Folder of a version.
        content: Content of the movies.

    Raises:
        RunError: A file is damaged.
    """
    rows: Vectors = np.hstack(_described(folder, content))
    return rows


def _described(folder: Path, content: Content) -> list[Vectors]:
    """Return what content says to each of the pairs, `(A, D)`."""
    with readable(folder / SIZES_FILE):
        members = json.loads((folder / SIZES_FILE).read_text(encoding="utf-8"))["members"]
    path, matrix = folder / WEIGHTS_FILE, content.matrix()
    with readable(path), safe_open(path, framework="np") as weights:
        return [
            matrix @ weights.get_tensor(f"pairs.{member}.describe.weight").T
            for member in range(members)
        ]


def _unit(vectors: Vectors) -> Vectors:
    """Return vectors `(A, D)` at length 1."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Vectors = vectors / np.maximum(lengths, SHORTEST)
    return unit
