"""The neural pair at query time: its user tower, run by ONNX Runtime."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrieval.data.vocabulary import UNKNOWN
from retrieval.pairs.neural.inputs import UNKNOWN_USER, UserInputs, user_inputs
from retrieval.pairs.onnx_tower import OnnxTower
from retrieval.pairs.protocol import Questions, RunFacts, UserVectors, history_length

NAME = "neural"

# In the folder of a run.
TOWER_FILE = "neural_tower.onnx"
WEIGHTS_FILE = "neural.safetensors"
SIZES_FILE = "neural.json"
FILES = (TOWER_FILE, WEIGHTS_FILE, SIZES_FILE)

# Users encoded together: enough to spread what each call costs, few enough to stay in the cache.
CHUNK = 1024


class HistoryTower:
    """A user tower that reads the columns of `UserInputs`.

    Args:
        path: File of the tower.
        facts: What it is told of the run.

    Raises:
        RunError: The file cannot be read.
    """

    def __init__(self, path: Path, facts: RunFacts) -> None:
        self._tower = OnnxTower(path, UserInputs._fields)
        self._facts, self._length = facts, history_length(facts)

    def encode(self, questions: Questions) -> UserVectors:
        """Return what the tower says of Q questions."""
        facts = self._facts
        inputs = user_inputs(
            np.where(questions.trained == UNKNOWN, UNKNOWN_USER, questions.trained + 1),
            questions.codes,
            questions.histories,
            questions.windows,
            facts.scale,
            facts.centre,
            self._length,
        )
        rows = len(inputs.users)
        vectors, offsets = self._tower.run_in_chunks(inputs, rows, CHUNK)
        return UserVectors(vectors, offsets, np.zeros(rows, np.float32))

    def movie_variances(self, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return nothing but zeros: the tower does not say how sure it is."""
        return np.zeros(len(numbers))


def open_tower(folder: Path, facts: RunFacts) -> HistoryTower:
    """Open the user tower in the folder of a version.

    Raises:
        RunError: The file cannot be read.
    """
    return HistoryTower(folder / TOWER_FILE, facts)
