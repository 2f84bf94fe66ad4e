"""Files of a pair that reads histories, in the folder of a run."""

from typing import NamedTuple

NAME = "neural"


class HistoryFiles(NamedTuple):
    """Names of the files of such a pair."""

    weights: str
    sizes: str
    tower: str  # the layers of the user tower
    user_ids: str  # the embeddings of users
    events: str  # the embeddings of events
    users: str  # what the tower says of all users as they are stored


def history_files(pair: str) -> HistoryFiles:
    """Return the names of the files of a pair, given by name."""
    return HistoryFiles(
        weights=f"{pair}.safetensors",
        sizes=f"{pair}.json",
        tower=f"{pair}_tower.onnx",
        user_ids=f"{pair}_user_ids.npy",
        events=f"{pair}_events.npy",
        users=f"{pair}_users.npy",
    )


FILES = history_files(NAME)
