"""The movie side of the neural pair for movies that training did not know, computed by numpy."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import safe_open

from retrieval.data.statistics import MOVIE_STATISTICS
from retrieval.pairs.content import Content
from retrieval.pairs.neural.tower import WEIGHTS_FILE
from retrieval.pairs.normal import normal_distribution
from retrieval.pairs.protocol import Floats, RunFacts, Vectors
from retrieval.storage.damage import readable

# Layers of the movie side; only these are read, and of the ids the row that stands for no movie.
LAYERS = ("describe.0", "describe.3", "movie_dense.0", "movie_dense.3", "movie_skip")

Arrays = Mapping[str, Vectors]


def new_movie_vectors(folder: Path, _facts: RunFacts, content: Content) -> Vectors:
    """Return the vectors `(A, D + 1)` of movies that nobody has rated: see `NeuralPair`.

    Args:
        folder: Folder of a version.
        content: Content of the movies.

    Raises:
        RunError: The file of the weights is damaged.
    """
    path = folder / WEIGHTS_FILE
    with readable(path), safe_open(path, framework="np") as file:
        names = [f"{layer}.{part}" for layer in LAYERS for part in ("weight", "bias")]
        weights: Arrays = {name: file.get_tensor(name) for name in names}
        unknown: Vectors = file.get_slice("movie_ids.weight")[:1]  # (1, D + 1)
        described = _dense(weights, "describe", content.matrix())  # (A, D)
        ids = np.repeat(unknown, len(described), axis=0)
        unrated = np.zeros((len(described), MOVIE_STATISTICS), np.float32)
        known = np.hstack([ids[:, :-1], described, unrated])
        out = _dense(weights, "movie_dense", known) + ids
        return out + _linear(weights, "movie_skip", described)


def _dense(weights: Arrays, name: str, x: Vectors) -> Vectors:
    """Return what two layers with a GELU between them make of inputs `(A, I)`."""
    hidden = _linear(weights, f"{name}.0", x).astype(np.float64)
    gelu: Floats = hidden * normal_distribution(hidden)
    return _linear(weights, f"{name}.3", gelu.astype(np.float32))


def _linear(weights: Arrays, name: str, x: Vectors) -> Vectors:
    """Return the outputs `(A, O)` of a layer for inputs `(A, I)`."""
    out: Vectors = x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]
    return out
