"""The sequence pair at query time: its user tower, run by ONNX Runtime, and what it said before."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrieval.data.vocabulary import UNKNOWN
from retrieval.pairs.onnx_tower import OnnxTower
from retrieval.pairs.protocol import Questions, RunFacts, UserVectors, history_length
from retrieval.pairs.sequence.tokens import Tokens, tokens, when_codes
from retrieval.pairs.when import When, last_times
from retrieval.storage.arrays import mapped_vectors

NAME = "sequence"

# In the folder of a run.
TOWER_FILE = "sequence_tower.onnx"
WEIGHTS_FILE = "sequence.safetensors"
SIZES_FILE = "sequence.json"
USERS_FILE = "sequence_users.npy"
FILES = (TOWER_FILE, WEIGHTS_FILE, SIZES_FILE, USERS_FILE)

# Users encoded together, at histories of usual length: few enough to stay in the cache.
CHUNK = 8


class SequenceTower:
    """The user tower, and the vectors of users as they are stored.

    Args:
        path: File of the tower.
        users: `(U, W)` what the tower says of every user's stored history when the user comes back.
        facts: What it is told of the run.

    Raises:
        RunError: The file cannot be read.
    """

    def __init__(self, path: Path, users: NDArray[np.float32], facts: RunFacts) -> None:
        self._tower, self._users = OnnxTower(path, Tokens._fields), users
        self._facts, self._length = facts, history_length(facts.settings)

    def encode(self, questions: Questions) -> UserVectors:
        """Return what the tower says of Q questions."""
        count, when = len(questions.stored), questions.when
        kept = (questions.stored != UNKNOWN) & (when is When.COMING_BACK)
        vectors = np.empty((count, self._users.shape[1]), np.float32)
        vectors[kept] = self._users[questions.stored[kept]]
        fresh = ~kept
        if fresh.any():
            windows, histories = questions.windows.part(fresh), questions.histories
            last = last_times(histories, windows)
            made = tokens(
                questions.codes[fresh],
                histories,
                windows,
                np.full(len(last), when is When.AT),
                self._facts.scale,
                self._length,
                when_codes(when, windows, last, self._facts.present),
            )
            (vectors[fresh],) = self._tower.run_in_chunks(made, len(made.last), CHUNK)
        return UserVectors(vectors, np.zeros(count), np.zeros(count, np.float32))

    def movie_variances(self, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return nothing but zeros: the tower does not say how sure it is."""
        return np.zeros(len(numbers))


def open_tower(folder: Path, facts: RunFacts) -> SequenceTower:
    """Open the user tower in the folder of a version.

    Raises:
        RunError: A file cannot be read, or is of another run.
    """
    shape = (facts.users, facts.part.width)
    users = mapped_vectors(folder / USERS_FILE, shape, "vectors of users")
    return SequenceTower(folder / TOWER_FILE, users, facts)
