"""The neural pair at query time: its user tower, run by ONNX Runtime, and what it said before."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrieval.data.history import Histories, whole_windows
from retrieval.data.scale import RatingScale
from retrieval.data.vocabulary import UNKNOWN
from retrieval.pairs.content import Content
from retrieval.pairs.lookup import mapped_table
from retrieval.pairs.neural.files import FILES, HistoryFiles
from retrieval.pairs.neural.inputs import UNKNOWN_USER, Tables, UserInputs, user_inputs
from retrieval.pairs.neural.new_movies import new_event_rows
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

# Users encoded together: enough to spread what each call costs, few enough to stay in the cache.
CHUNK = 1024


class HistoryTower:
    """A user tower that reads `UserInputs`, and what it says of users as stored.

    Args:
        tower: Its layers.
        tables: The embeddings of users and events.
        users: `(U, W + 1)` what it says of all users without a time of asking, offsets last.
        facts: What it is told of the run.
        new_events: Gives the rows of events of movies that training did not know.

    Raises:
        RunError: It reads no possible history.
    """

    def __init__(
        self,
        tower: OnnxTower,
        tables: Tables,
        users: Vectors,
        facts: RunFacts,
        new_events: Callable[[Content], Vectors],
    ) -> None:
        self._tower, self._tables, self._users = tower, tables, users
        self._facts, self._length = facts, history_length(facts.settings)
        self._new_events = new_events

    def with_movies(self, content: Content) -> "HistoryTower":
        """Return the tower with movies, after all others, that it knows by their content alone."""
        events = self._tables.events.with_rows(self._new_events(content))
        tables = self._tables._replace(events=events)
        return HistoryTower(self._tower, tables, self._users, self._facts, self._new_events)

    def encode(self, questions: Questions) -> UserVectors:
        """Return what the tower says of Q questions."""
        facts = self._facts
        # Without a time of asking, events are as old as they were when the last one happened.
        kept = (questions.stored != UNKNOWN) & (questions.when is not When.AT)
        said = np.empty((len(kept), self._users.shape[1]), np.float32)
        said[kept] = self._users[questions.stored[kept]]
        if not kept.all():
            fresh = ~kept if kept.any() else slice(None)
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
            said[fresh] = _said(self._tower, self._tables, inputs)
        return UserVectors(said[:, :-1], said[:, -1], np.zeros(len(said), np.float32))

    def forget(self) -> None:
        """Do nothing: it keeps nothing of users."""

    def movie_variances(self, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return nothing but zeros: the tower does not say how sure it is."""
        return np.zeros(len(numbers))


def stored_users(
    tower: OnnxTower,
    tables: Tables,
    id_rows: Numbers,
    attributes: Numbers,
    histories: Histories,
    scale: RatingScale,
    centre: float,
    length: int,
) -> Vectors:
    """Return what a tower says of all users without a time of asking, `(U, W + 1)`.

    Args:
        tower: The layers of the tower.
        tables: The embeddings of users and events.
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
        parts.append(_said(tower, tables, inputs))
    return np.concatenate(parts)


def open_tower(folder: Path, facts: RunFacts) -> HistoryTower:
    """Open the user tower in the folder of a version.

    Raises:
        RunError: A file cannot be read, or is of another run.
    """
    return open_history_tower(folder, FILES, facts, 1, partial(new_event_rows, folder))


def open_history_tower(
    folder: Path,
    files: HistoryFiles,
    facts: RunFacts,
    codes_per_row: int,
    new_events: Callable[[Content], Vectors],
) -> HistoryTower:
    """Open a user tower that reads histories.

    Args:
        folder: Folder of the version.
        files: Its files.
        facts: What it is told of the run.
        codes_per_row: See `Tables`.
        new_events: Gives the rows of events of movies that training did not know.

    Raises:
        RunError: A file cannot be read, or is of another run.
    """
    tower = OnnxTower(folder / files.tower, UserInputs._fields)
    events = facts.movies * facts.scale.classes // codes_per_row
    tables = Tables(
        mapped_table(folder / files.user_ids, facts.users + 1, tower.width("users")),
        mapped_table(folder / files.events, events, tower.width("events")),
        codes_per_row,
    )
    shape = (facts.users, facts.part.width + 1)
    users = mapped_vectors(folder / files.users, shape, "vectors of users")
    return HistoryTower(tower, tables, users, facts, new_events)


def _said(tower: OnnxTower, tables: Tables, inputs: UserInputs) -> Vectors:
    """Return vectors and, as the last column, offsets of E users, `(E, W + 1)`."""
    vectors, offsets = tower.run_in_chunks(
        lambda rows: tables.columns(inputs.part(rows)), len(inputs.users), CHUNK
    )
    return np.concatenate([vectors, offsets[:, None]], axis=1)
