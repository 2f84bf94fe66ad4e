"""The sequence pair at query time: its user tower, run by ONNX Runtime, and what it said before."""

from collections.abc import Callable
from copy import copy
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.data.history import last_times
from retrieval.data.vocabulary import UNKNOWN
from retrieval.pairs.content import Content
from retrieval.pairs.lookup import EmbeddingTable, mapped_table
from retrieval.pairs.lru_cache import LruCache
from retrieval.pairs.onnx_tower import OnnxTower
from retrieval.pairs.protocol import Questions, RunFacts, UserVectors, Vectors, history_length
from retrieval.pairs.sequence.files import (
    CONTINUATION_FILE,
    MOVIES_FILE,
    TOWER_FILE,
    USERS_FILE,
)
from retrieval.pairs.sequence.new_movies import new_movie_rows
from retrieval.pairs.sequence.reading import ReadHistory, key_of, recent_windows, unread
from retrieval.pairs.sequence.tokens import CONTINUED, Tokens, tokens, when_codes
from retrieval.pairs.when import When
from retrieval.storage.arrays import mapped_vectors

# Users encoded together, at histories of usual length: few enough to stay in the cache.
CHUNK = 8

# Bytes of what is kept of histories: those of 320 long ones with the default preset, 50 with best.
MOST_BYTES = 32 * 2**20

# Tokens that are read after those that were read before; of more, all are read anew.
MOST_FURTHER = 16


class Layers(NamedTuple):
    """The layers of a user tower: for whole histories, and for a few tokens after what was read."""

    whole: OnnxTower
    further: OnnxTower


class SequenceTower:
    """The user tower, and the vectors of users as they are stored.

    Args:
        layers: Its layers.
        movies: The embeddings of movies; the first is no movie.
        users: `(U, W)` what the tower says of every user's stored history when the user comes back.
        facts: What it is told of the run.
        new_movies: Gives the rows of movies that training did not know.

    Raises:
        RunError: It reads no possible history.
    """

    def __init__(
        self,
        layers: Layers,
        movies: EmbeddingTable,
        users: Vectors,
        facts: RunFacts,
        new_movies: Callable[[Content], Vectors],
    ) -> None:
        self._layers, self._movies, self._users = layers, movies, users
        self._facts, self._length = facts, history_length(facts.settings)
        self._new_movies = new_movies
        self.forget()

    def with_movies(self, content: Content) -> "SequenceTower":
        """Return the tower with movies, after all others, that it knows by their content alone."""
        tower = copy(self)  # with the same cache, which holds no history with such movies
        tower._movies = self._movies.with_rows(self._new_movies(content))  # noqa: SLF001 (its own)
        return tower

    def encode(self, questions: Questions) -> UserVectors:
        """Return what the tower says of Q questions."""
        count, when = len(questions.stored), questions.when
        kept = (questions.stored != UNKNOWN) & (when is When.COMING_BACK)
        vectors = np.empty((count, self._users.shape[1]), np.float32)
        vectors[kept] = self._users[questions.stored[kept]]
        fresh = np.flatnonzero(~kept)
        if len(fresh):
            vectors[fresh] = self._said(questions, fresh)
        return UserVectors(vectors, np.zeros(count), np.zeros(count, np.float32))

    def _said(self, questions: Questions, rows: NDArray[np.int64]) -> Vectors:
        """Return what the tower says of some questions, of which it reads the histories."""
        windows, histories = questions.windows.part(rows), questions.histories
        codes, timed = questions.codes[rows], questions.when is When.AT
        last = last_times(histories, windows)
        recent = recent_windows(windows, self._length)
        asked = when_codes(questions.when, windows, last, self._facts.present)

        def described(read: int = 0) -> Tokens:
            known = np.full(len(rows), timed)
            scale, length = self._facts.scale, self._length
            return tokens(codes, histories, recent, known, scale, length, asked, read)

        if len(rows) == 1:
            events = unread(histories, int(recent.starts[0]), int(recent.ends[0]))
            # Users as stored are read for lists that are made ready before they ask; there are so
            # many that nobody else's history would be kept.
            usual = questions.stored[rows[0]] == UNKNOWN and events.of_movies_below(
                self._facts.movies
            )
            key = key_of(events, codes[0], timed=timed) if usual else None
            return self._continued(events, key, described)
        made = described()
        vectors, _ = self._layers.whole.run_in_chunks(
            lambda part: made.part(part).columns(self._movies), len(rows), CHUNK
        )
        return vectors

    def _continued(
        self, events: ReadHistory, key: bytes | None, described: Callable[[int], Tokens]
    ) -> Vectors:
        """Return what the tower says of one question `(1, W)`, after what it has read before.

        Args:
            events: The history.
            key: What it is found by; None where nothing is kept.
            described: Gives its tokens without the first few.
        """
        reads = self._reads
        before = None if key is None else reads.get(key)
        count = 0 if before is None else before.tokens_for(events)
        if before is None or not count or len(events.movies) - count >= MOST_FURTHER:
            vectors, states = self._layers.whole.run(described(0).columns(self._movies))
            states = states[0]
        else:
            read = before.states[:count]
            columns = described(count).columns(self._movies)
            vectors, states = self._layers.further.run({**columns, "read": read[None]})
            states = np.concatenate([read, states[0]])
        # A question about an earlier moment leaves what was read after it.
        if key is not None and (before is None or count < len(events.movies)):
            reads.put(key, events.after(states))
        return vectors

    def forget(self) -> None:
        """Keep nothing of what it read of histories."""
        # Another cache, so that whoever is about to fill the one before fills nothing.
        self._reads: LruCache[bytes, ReadHistory] = LruCache(
            lambda read: read.states.nbytes, MOST_BYTES
        )

    def movie_variances(self, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return nothing but zeros: the tower does not say how sure it is."""
        return np.zeros(len(numbers))


def open_tower(folder: Path, facts: RunFacts) -> SequenceTower:
    """Open the user tower in the folder of a version.

    Raises:
        RunError: A file cannot be read, or is of another run.
    """
    layers = Layers(
        OnnxTower(folder / TOWER_FILE, Tokens._fields),
        OnnxTower(folder / CONTINUATION_FILE, CONTINUED),
    )
    width = layers.whole.width("movies")
    movies = mapped_table(folder / MOVIES_FILE, facts.movies + 1, width)
    shape = (facts.users, facts.part.width)
    users = mapped_vectors(folder / USERS_FILE, shape, "vectors of users")
    return SequenceTower(layers, movies, users, facts, partial(new_movie_rows, folder))
