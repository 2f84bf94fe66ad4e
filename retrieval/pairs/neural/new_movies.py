"""The movie side of the neural pair for movies that training did not know, computed by numpy."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from safetensors import safe_open

from retrieval.data.statistics import MOVIE_STATISTICS
from retrieval.pairs.content import Content
from retrieval.pairs.neural.files import FILES
from retrieval.pairs.normal import normal_distribution
from retrieval.pairs.protocol import Floats, RunFacts, Vectors
from retrieval.storage.damage import readable

# Only these layers are read, and of each embedding of ids only row 0, which is no movie's.
DESCRIBING = ("describe.0", "describe.3")
OF_MOVIES = (*DESCRIBING, "movie_dense.0", "movie_dense.3", "movie_skip")
OF_EVENTS = (*DESCRIBING, "event_hidden", "event_value", "event_key")
CLASSES = "event_classes.weight"

Arrays = Mapping[str, Vectors]


def new_movie_vectors(folder: Path, _facts: RunFacts, content: Content) -> Vectors:
    """Return the vectors `(A, D + 1)` of movies that nobody has rated: see `NeuralPair`.

    Args:
        folder: Folder of a version.
        content: Content of the movies.

    Raises:
        RunError: The file of the weights is damaged.
    """
    weights, unknown = _read(folder, OF_MOVIES, "movie_ids")
    described = _dense(weights, "describe", content.matrix())  # (A, D)
    ids = np.repeat(unknown, len(described), axis=0)
    unrated = np.zeros((len(described), MOVIE_STATISTICS), np.float32)
    known = np.hstack([ids[:, :-1], described, unrated])
    out = _dense(weights, "movie_dense", known) + ids
    return out + _linear(weights, "movie_skip", described)


def new_event_rows(folder: Path, content: Content) -> Vectors:
    """Return the embeddings of events of movies that nobody has rated: see `tables_of`.

    Args:
        folder: Folder of a version.
        content: Content of A movies.

    Returns:
        `(A * classes, D + H)`: each movie at every rating.

    Raises:
        RunError: The file of the weights is damaged.
    """
    weights, unknown = _read(folder, OF_EVENTS, "event_movies", CLASSES)
    classes = weights[CLASSES]  # (classes, D)
    known = unknown + _dense(weights, "describe", content.matrix())  # (A, D)
    unrated = np.zeros((len(known), MOVIE_STATISTICS), np.float32)
    movies = np.hstack([known, unrated]).repeat(len(classes), axis=0)
    events = np.hstack([movies, np.tile(classes, (len(known), 1))])
    hidden = _gelu(_linear(weights, "event_hidden", events))
    return np.hstack([_linear(weights, f"event_{part}", hidden) for part in ("value", "key")])


def _read(folder: Path, layers: Sequence[str], ids: str, *more: str) -> tuple[Arrays, Vectors]:
    """Read layers and more arrays, and the row of an embedding of ids that is no movie's."""
    names = [f"{layer}.{part}" for layer in layers for part in ("weight", "bias")]
    path = folder / FILES.weights
    with readable(path), safe_open(path, framework="np") as file:
        weights = {name: file.get_tensor(name) for name in (*names, *more)}
        return weights, file.get_slice(f"{ids}.weight")[:1]


def _dense(weights: Arrays, name: str, x: Vectors) -> Vectors:
    """Return what two layers with a GELU between them make of inputs `(A, I)`."""
    return _linear(weights, f"{name}.3", _gelu(_linear(weights, f"{name}.0", x)))


def _gelu(x: Vectors) -> Vectors:
    """Return the GELU of inputs `(A, I)`."""
    wide = x.astype(np.float64)
    gelu: Floats = wide * normal_distribution(wide)
    return gelu.astype(np.float32)


def _linear(weights: Arrays, name: str, x: Vectors) -> Vectors:
    """Return the outputs `(A, O)` of a layer for inputs `(A, I)`."""
    out: Vectors = x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]
    return out
