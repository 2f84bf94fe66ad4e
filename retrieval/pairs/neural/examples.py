"""Training examples as arrays; a batch is a slice of them, with nothing done row by row."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from retrieval.data.dataset import Dataset
from retrieval.data.history import (
    Histories,
    Windows,
    shortened,
    windows_until,
)
from retrieval.data.statistics import (
    RunningSums,
    movie_statistics_before,
    movie_statistics_of_all,
    running_sums,
    user_statistics,
)
from retrieval.pairs.neural.inputs import UNKNOWN_USER, event_codes, event_inputs
from retrieval.pairs.neural.model import MovieBatch, UserBatch


class Batch(NamedTuple):
    """B ratings with everything known before each."""

    users: UserBatch
    movies: MovieBatch
    targets: Tensor  # (B,) deviations from the centre

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on a device."""
        return Batch(self.users.to(device), self.movies.to(device), self.targets.to(device))


# Share of the rows of a batch that a new user asks too; each costs as much as a row.
NEW_USERS = 0.5


@dataclass(frozen=True, kw_only=True)
class TrainingStatistics:
    """What the training rows say: events, and statistics of movies."""

    centre: float
    histories: Histories
    movies: NDArray[np.float32]  # (M, 2) statistics of the movies over all training rows
    rated: NDArray[np.bool_]  # (M,)
    seen_users: NDArray[np.bool_]  # (U,) whether a user has training rows


class Events(NamedTuple):
    """What batches are made of beside the N events of the histories."""

    codes: NDArray[np.int32]  # (N,) as `event_codes` returns them
    running: RunningSums  # of the deviations


@dataclass(frozen=True, kw_only=True)
class Examples:
    """N ratings to predict, each after the events of its user from the first to some end."""

    statistics: TrainingStatistics
    events: Events
    user_codes: NDArray[np.int64]  # (U, C)
    users: NDArray[np.integer]  # (N,) numbers
    movies: NDArray[np.integer]  # (N,) numbers
    targets: NDArray[np.float32]  # (N,) deviations
    ends: NDArray[np.integer]  # (N,) places in the histories, of what comes after the last event
    times: NDArray[np.int64]  # (N,) seconds
    movie_statistics: NDArray[np.float32]  # (N, 2)

    def __len__(self) -> int:
        """Return N."""
        return len(self.users)

    @property
    def arrays(self) -> tuple[NDArray[Any], ...]:
        """All that batches follow from, in a fixed order."""
        statistics = self.statistics
        known = (statistics.rated, statistics.seen_users, self.user_codes, self.events.codes)
        own = (self.users, self.movies, self.targets, self.ends, self.times, self.movie_statistics)
        return (*known, *statistics.histories, *own)

    def batch(self, rows: NDArray[np.int64], length: int) -> Batch:
        """Return rows `(B,)` with the last `length` events before each."""
        users, movies = (column[rows].astype(np.int64) for column in (self.users, self.movies))
        ids = np.where(self.statistics.seen_users[users], users + 1, UNKNOWN_USER)
        inputs = self._inputs(users, ids, self._windows(users, rows), length)
        movie_ids = np.where(self.statistics.rated[movies], movies + 1, 0)
        statistics = self.movie_statistics[rows]
        return Batch(
            inputs,
            MovieBatch(*map(torch.from_numpy, (movie_ids, movies, statistics))),
            torch.from_numpy(self.targets[rows]),
        )

    def new_users(
        self, rows: NDArray[np.int64], length: int, rng: np.random.Generator
    ) -> UserBatch:
        """Return the first half of the rows, each as if asked by a new user with fewer ratings."""
        rows = rows[: math.ceil(len(rows) * NEW_USERS)]
        users = self.users[rows].astype(np.int64)
        windows = shortened(self._windows(users, rows), rng)
        return self._inputs(users, np.full(len(rows), UNKNOWN_USER), windows, length)

    def _windows(self, users: NDArray[np.int64], rows: NDArray[np.int64]) -> Windows:
        """Return the windows of rows `(B,)` and their users `(B,)`."""
        starts = self.statistics.histories.offsets[users]
        return Windows(starts, self.ends[rows].astype(np.int64), self.times[rows])

    def _inputs(
        self, users: NDArray[np.int64], ids: NDArray[np.int64], windows: Windows, length: int
    ) -> UserBatch:
        inputs = event_inputs(
            ids,
            self.user_codes[users],
            user_statistics(self.events.running, windows),
            self.events.codes,
            self.statistics.histories.timestamps,
            windows,
            length,
        )
        return UserBatch(*(torch.from_numpy(column) for column in inputs))


def training_statistics(dataset: Dataset, rows: NDArray[np.bool_]) -> TrainingStatistics:
    """Return what the training rows, a mask `(N,)`, say."""
    movies, ratings = dataset.movies[rows], dataset.ratings[rows]
    centre = float(ratings.mean(dtype=np.float64))
    deviations = dataset.scale.deviations(ratings, centre)
    histories = dataset.histories(rows)
    movie_count = len(dataset.movie_vocabulary)
    return TrainingStatistics(
        centre=centre,
        histories=histories,
        movies=movie_statistics_of_all(movies, deviations, movie_count),
        rated=np.bincount(movies, minlength=movie_count) > 0,
        seen_users=np.diff(histories.offsets) > 0,
    )


def events_of(dataset: Dataset, statistics: TrainingStatistics) -> Events:
    """Return what batches are made of beside the events of the training rows."""
    histories, scale = statistics.histories, dataset.scale
    return Events(
        event_codes(histories, scale).astype(np.int32),
        running_sums(scale.deviations(histories.ratings, statistics.centre)),
    )


def training_examples(dataset: Dataset, statistics: TrainingStatistics, events: Events) -> Examples:
    """Return the training rows themselves, each with only what came strictly before it."""
    histories = statistics.histories
    deviations = dataset.scale.deviations(histories.ratings, statistics.centre)
    of_movies = movie_statistics_before(histories.movies, deviations, histories.timestamps)
    users = np.arange(len(histories.offsets) - 1, dtype=np.int32)
    return Examples(
        statistics=statistics,
        events=events,
        user_codes=dataset.user_codes,
        users=np.repeat(users, np.diff(histories.offsets)),
        movies=histories.movies,
        targets=deviations.astype(np.float32),
        ends=np.arange(len(deviations), dtype=np.int32),
        times=histories.timestamps,
        movie_statistics=of_movies,
    )


def held_out_examples(
    dataset: Dataset, statistics: TrainingStatistics, events: Events, rows: NDArray[np.bool_]
) -> Examples:
    """Return rows that are not trained on, each as it would be asked after training."""
    users, movies, times = dataset.users[rows], dataset.movies[rows], dataset.timestamps[rows]
    targets = dataset.scale.deviations(dataset.ratings[rows], statistics.centre)
    return Examples(
        statistics=statistics,
        events=events,
        user_codes=dataset.user_codes,
        users=users,
        movies=movies,
        targets=targets.astype(np.float32),
        ends=windows_until(statistics.histories, users, times).ends,
        times=times,
        movie_statistics=statistics.movies[movies],
    )
