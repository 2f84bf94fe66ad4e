"""The pairs there are, as queries need them: no torch is imported."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from retrieval.pairs.bayesian import tower as bayesian
from retrieval.pairs.bayesian.new_movies import new_movie_vectors as new_bayesian_vectors
from retrieval.pairs.content import Content
from retrieval.pairs.neural import files as neural
from retrieval.pairs.neural.new_movies import new_movie_vectors as new_neural_vectors
from retrieval.pairs.neural.tower import open_tower as open_neural
from retrieval.pairs.notebook import tower as notebook
from retrieval.pairs.protocol import RunFacts, UserTower, Vectors
from retrieval.pairs.sequence import files as sequence
from retrieval.pairs.sequence.new_movies import new_movie_vectors as new_sequence_vectors
from retrieval.pairs.sequence.tower import open_tower as open_sequence


class QuerySide(NamedTuple):
    """How a run answers with one pair."""

    files: tuple[str, ...]  # in the folder of a version, beside what every run has
    open_tower: Callable[[Path, RunFacts], UserTower]
    # The ONNX file that answers any question; None where the user tower is none.
    onnx: str | None = None
    # Gives vectors `(A, W)` of movies that nobody has rated; None where the pair knows no other
    # movie than those it was trained on.
    new_movie_vectors: Callable[[Path, RunFacts, Content], Vectors] | None = None
    # Writes what a user tower that is no ONNX file computes with, and nothing of users, into a
    # folder; None where there is such a file.
    write_arrays: Callable[[Path, Path], None] | None = None
    # Files of the embedding tables of which an ONNX file is given rows, by the names of its inputs.
    # Row 0 of the table `users` is for unknown users, and row n + 1 for user n.
    tables: Mapping[str, str] = MappingProxyType({})


def _history_tables(files: neural.HistoryFiles) -> dict[str, str]:
    return {"users": files.user_ids, "events": files.events}


# In the order in which their vectors are joined.
PAIRS: dict[str, QuerySide] = {
    neural.NAME: QuerySide(
        neural.FILES,
        open_neural,
        neural.FILES.tower,
        new_neural_vectors,
        tables=_history_tables(neural.FILES),
    ),
    notebook.NAME: QuerySide(
        notebook.FILES,
        notebook.open_tower,
        notebook.FILES.tower,
        tables=_history_tables(notebook.FILES),
    ),
    bayesian.NAME: QuerySide(
        bayesian.FILES,
        bayesian.open_tower,
        new_movie_vectors=new_bayesian_vectors,
        write_arrays=bayesian.write_arrays,
    ),
    sequence.NAME: QuerySide(
        sequence.FILES,
        open_sequence,
        sequence.TOWER_FILE,
        new_sequence_vectors,
        tables={"movies": sequence.MOVIES_FILE},
    ),
}
