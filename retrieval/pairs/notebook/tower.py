"""The notebook pair at query time: a user tower of the same kind as that of the neural pair."""

from pathlib import Path

from retrieval.pairs.neural.tower import HistoryTower, mapped_users
from retrieval.pairs.protocol import RunFacts

NAME = "notebook"

# In the folder of a run.
TOWER_FILE = "notebook_tower.onnx"
WEIGHTS_FILE = "notebook.safetensors"
SIZES_FILE = "notebook.json"
USERS_FILE = "notebook_users.npy"
FILES = (TOWER_FILE, WEIGHTS_FILE, SIZES_FILE, USERS_FILE)


def open_tower(folder: Path, facts: RunFacts) -> HistoryTower:
    """Open the user tower in the folder of a version.

    Raises:
        RunError: A file cannot be read, or is of another run.
    """
    return HistoryTower(folder / TOWER_FILE, mapped_users(folder / USERS_FILE, facts), facts)
