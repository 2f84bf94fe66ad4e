"""The neural pair at query time: its user tower, run by ONNX Runtime, and what it said before."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrieval.data.history import Histories, whole_windows
from retrieval.data.scale import RatingScale
from retrieval.data.vocabulary import UNKNOWN
from retrieval.pairs.neural.inputs import UNKNOWN_USER, UserInputs, user_inputs
from retrieval.pairs.onnx_tower import OnnxTower
from retrieval.pairs.protocol import (
    Numbers,
    Questions,
    RunFacts,
    UserVectors,
    Vectors,
    history_length,
)
from retrieval.pairs.when import When
from retrieval.storage.arrays import mapped_vectors

NAME = "neural"

# In the folder of a run.
TOWER_FILE = "neural_tower.onnx"
WEIGHTS_FILE = "neural.safetensors"
SIZES_FILE = "neural.json"
USERS_FILE = "neural_users.npy"
FILES = (TOWER_FILE, WEIGHTS_FILE, SIZES_FILE, USERS_FILE)

# Users encoded together: enough to spread what each call costs, few enough to stay in the cache.
CHUNK = 1024


class HistoryTower:
    """A user tower that reads the columns of `UserInputs`, and what it says of users as stored.

    Args:
        path: File of the tower.
        users: `(U, W + 1)` what it says of all users without a time of asking, offsets last.
        facts: What it is told of the run.

    Raises:
        RunError: The file cannot be read.
    """

    def __init__(self, path: Path, users: Vectors, facts: RunFacts) -> None:
        self._tower, self._users = OnnxTower(path, UserInputs._fields), users
        self._facts, self._length = facts, history_length(facts.settings)

    def encode(self, questions: Questions) -> UserVectors:
        """Return what the tower says of Q questions."""
        facts = self._facts
        # Without a time of asking, events are as old as they were when the last one happened.
        kept = (questions.stored != UNKNOWN) & (questions.when is not When.AT)
        said = np.empty((len(kept), self._users.shape[1]), np.float32)
        said[kept] = self._users[questions.stored[kept]]
        fresh = ~kept
        if fresh.any():
            trained = questions.trained[fresh]
            inputs = user_inputs(
                np.where(trained == UNKNOWN, UNKNOWN_USER, trained + 1),
                questions.codes[fresh],
                questions.histories,
                questions.windows.part(fresh),
                facts.scale,
                facts.centre,
                self._length,
            )
            said[fresh] = _said(self._tower, inputs)
        return UserVectors(said[:, :-1], said[:, -1], np.zeros(len(said), np.float32))

    def movie_variances(self, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return nothing but zeros: the tower does not say how sure it is."""
        return np.zeros(len(numbers))


def stored_users(
    tower: OnnxTower,
    id_rows: Numbers,
    attributes: Numbers,
    histories: Histories,
    scale: RatingScale,
    centre: float,
    length: int,
) -> Vectors:
    """Return what a tower says of all users without a time of asking, `(U, W + 1)`.

    Args:
        tower: The tower.
        id_rows: `(U,)` number of each user + 1, or `UNKNOWN_USER`.
        attributes: `(U, C)` codes.
        histories: Of the U users.
        scale: Of the ratings.
        centre: The average rating in training.
        length: The longest history that it reads.

    Returns:
        Vectors, and offsets as the last column.
    """
    parts = []
    for start in range(0, max(1, len(id_rows)), CHUNK):
        rows = slice(start, min(start + CHUNK, len(id_rows)))
        offsets = histories.offsets[rows.start : rows.stop + 1]
        events = slice(offsets[0], offsets[-1])
        own = Histories(
            offsets - offsets[0],
            histories.movies[events],
            histories.ratings[events],
            histories.timestamps[events],
        )
        windows = whole_windows(own, np.arange(len(offsets) - 1))
        inputs = user_inputs(id_rows[rows], attributes[rows], own, windows, scale, centre, length)
        parts.append(_said(tower, inputs))
    return np.concatenate(parts)


def open_tower(folder: Path, facts: RunFacts) -> HistoryTower:
    """Open the user tower in the folder of a version.

    Raises:
        RunError: A file cannot be read, or is of another run.
    """
    return HistoryTower(folder / TOWER_FILE, mapped_users(folder / USERS_FILE, facts), facts)


def mapped_users(path: Path, facts: RunFacts) -> Vectors:
    """Return what `stored_users` returned, mapped from a file.

    Raises:
        RunError: The file cannot be read, or is of another run.
    """
    return mapped_vectors(path, (facts.users, facts.part.width + 1), "vectors of users")


def _said(tower: OnnxTower, inputs: UserInputs) -> Vectors:
    """Return vectors and, as the last column, offsets of E users, `(E, W + 1)`."""
    vectors, offsets = tower.run_in_chunks(inputs, len(inputs.users), CHUNK)
    return np.concatenate([vectors, offsets[:, None]], axis=1)
