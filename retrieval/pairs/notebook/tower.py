"""The notebook pair at query time: a user tower of the same kind as that of the neural pair."""

from pathlib import Path

from retrieval.errors import RequestError
from retrieval.pairs.content import Content
from retrieval.pairs.neural.files import history_files
from retrieval.pairs.neural.tower import HistoryTower, open_history_tower
from retrieval.pairs.protocol import RunFacts, Vectors

NAME = "notebook"

FILES = history_files(NAME)


def open_tower(folder: Path, facts: RunFacts) -> HistoryTower:
    """Open the user tower in the folder of a version.

    Raises:
        RunError: A file cannot be read, or is of another run.
    """
    return open_history_tower(folder, FILES, facts, facts.scale.classes, knows_no_others)


def knows_no_others(_content: Content) -> Vectors:
    """Raise a `RequestError`."""
    raise RequestError("the notebook pair knows no movie it was not trained on")
