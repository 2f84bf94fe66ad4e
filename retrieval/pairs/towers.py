"""The pairs there are, as queries need them: no torch is imported."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from retrieval.pairs.bayesian import new_movies as bayesian_movies
from retrieval.pairs.bayesian import tower as bayesian
from retrieval.pairs.content import Content
from retrieval.pairs.neural import new_movies as neural_movies
from retrieval.pairs.neural import tower as neural
from retrieval.pairs.notebook import tower as notebook
from retrieval.pairs.protocol import RunFacts, UserTower, Vectors
from retrieval.pairs.sequence import new_movies as sequence_movies
from retrieval.pairs.sequence import tower as sequence


class QuerySide(NamedTuple):
    """How a run answers with one pair."""

    files: tuple[str, ...]  # in the folder of a version, beside what every run has
    open_tower: Callable[[Path, RunFacts], UserTower]
    # Gives vectors `(A, W)` of movies that nobody has rated; None where the pair knows no other
    # movie than those it was trained on.
    new_movie_vectors: Callable[[Path, RunFacts, Content], Vectors] | None = None
    # Writes what a user tower that is no ONNX file computes with, and nothing of users, into a
    # folder; None where the ONNX file of the pair is all there is.
    write_arrays: Callable[[Path, Path], None] | None = None


# In the order in which their vectors are joined.
PAIRS: dict[str, QuerySide] = {
    neural.NAME: QuerySide(neural.FILES, neural.open_tower, neural_movies.new_movie_vectors),
    notebook.NAME: QuerySide(notebook.FILES, notebook.open_tower),
    bayesian.NAME: QuerySide(
        bayesian.FILES,
        bayesian.open_tower,
        bayesian_movies.new_movie_vectors,
        bayesian.write_arrays,
    ),
    sequence.NAME: QuerySide(
        sequence.FILES, sequence.open_tower, sequence_movies.new_movie_vectors
    ),
}
