"""The sequence pair at query time: its user tower, run by ONNX Runtime, and what it said before."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrieval.data.vocabulary import UNKNOWN
from retrieval.pairs.content import Content
from retrieval.pairs.lookup import EmbeddingTable, mapped_table
from retrieval.pairs.onnx_tower import OnnxTower
from retrieval.pairs.protocol import Questions, RunFacts, UserVectors, Vectors, history_length
from retrieval.pairs.sequence.files import MOVIES_FILE, TOWER_FILE, USERS_FILE
from retrieval.pairs.sequence.new_movies import new_movie_rows
from retrieval.pairs.sequence.tokens import Tokens, tokens, when_codes
from retrieval.pairs.when import When, last_times
from retrieval.storage.arrays import mapped_vectors

# Users encoded together, at histories of usual length: few enough to stay in the cache.
CHUNK = 8


class SequenceTower:
    """The user tower, and the vectors of users as they are stored.

    Args:
        tower: Its layers.
        movies: The embeddings of movies; the first is no movie.
        users: `(U, W)` what the tower says of every user's stored history when the user comes back.
        facts: What it is told of the run.
        new_movies: Gives the rows of movies that training did not know.

    Raises:
        RunError: It reads no possible history.
    """

    def __init__(
        self,
        tower: OnnxTower,
        movies: EmbeddingTable,
        users: Vectors,
        facts: RunFacts,
        new_movies: Callable[[Content], Vectors],
    ) -> None:
        self._tower, self._movies, self._users = tower, movies, users
        self._facts, self._length = facts, history_length(facts.settings)
        self._new_movies = new_movies

    def with_movies(self, content: Content) -> "SequenceTower":
        """Return the tower with movies, after all others, that it knows by their content alone."""
        movies = self._movies.with_rows(self._new_movies(content))
        return SequenceTower(self._tower, movies, self._users, self._facts, self._new_movies)

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
            (vectors[fresh],) = self._tower.run_in_chunks(
                lambda rows: made.part(rows).columns(self._movies), len(made.last), CHUNK
            )
        return UserVectors(vectors, np.zeros(count), np.zeros(count, np.float32))

    def movie_variances(self, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return nothing but zeros: the tower does not say how sure it is."""
        return np.zeros(len(numbers))


def open_tower(folder: Path, facts: RunFacts) -> SequenceTower:
    """Open the user tower in the folder of a version.

    Raises:
        RunError: A file cannot be read, or is of another run.
    """
    tower = OnnxTower(folder / TOWER_FILE, Tokens._fields)
    movies = mapped_table(folder / MOVIES_FILE, facts.movies + 1, tower.width("movies"))
    shape = (facts.users, facts.part.width)
    users = mapped_vectors(folder / USERS_FILE, shape, "vectors of users")
    return SequenceTower(tower, movies, users, facts, partial(new_movie_rows, folder))
