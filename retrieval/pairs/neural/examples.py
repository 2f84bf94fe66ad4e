"""Training examples as arrays; a batch is a slice of them, with nothing done row by row."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from retrieval.data.dataset import Dataset
from retrieval.data.history import (
    Histories,
    Windows,
    shortened,
    time_order,
    windows_before_events,
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


# Share of the rows of a batch that a new user asks too; each costs as much as a row.
NEW_USERS = 0.5


@dataclass(frozen=True, kw_only=True)
class TrainingStatistics:
    """What the training rows say: events, and statistics of movies."""

    centre: float
    histories: Histories
    codes: NDArray[np.int64]  # (N,) of the events in the histories
    deviations: NDArray[np.float64]  # (N,)
    running: RunningSums  # of the deviations
    movies: NDArray[np.float32]  # (M, 2) statistics of the movies over all training rows
    rated: NDArray[np.bool_]  # (M,)
    seen_users: NDArray[np.bool_]  # (U,) whether a user has training rows


@dataclass(frozen=True, kw_only=True)
class Examples:
    """N ratings to predict."""

    statistics: TrainingStatistics
    user_codes: NDArray[np.int64]  # (U, 3)
    users: NDArray[np.int64]  # (N,) numbers
    movies: NDArray[np.int64]  # (N,) numbers
    targets: NDArray[np.float32]  # (N,) deviations
    windows: Windows  # N of them, into the histories
    user_statistics: NDArray[np.float32]  # (N, 3)
    movie_statistics: NDArray[np.float32]  # (N, 2)

    def __len__(self) -> int:
        """Return N."""
        return len(self.users)

    def batch(self, rows: NDArray[np.int64], length: int) -> Batch:
        """Return rows `(B,)` with the last `length` events before each."""
        users, movies = self.users[rows], self.movies[rows]
        windows = self.windows.part(rows)
        ids = np.where(self.statistics.seen_users[users], users + 1, UNKNOWN_USER)
        inputs = self._inputs(rows, ids, self.user_statistics[rows], windows, length)
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
        windows = shortened(self.windows.part(rows), rng)
        ids = np.full(len(rows), UNKNOWN_USER)
        statistics = user_statistics(self.statistics.running, windows)
        return self._inputs(rows, ids, statistics, windows, length)

    def _inputs(
        self,
        rows: NDArray[np.int64],
        ids: NDArray[np.int64],
        statistics: NDArray[np.float32],
        windows: Windows,
        length: int,
    ) -> UserBatch:
        inputs = event_inputs(
            ids,
            self.user_codes[self.users[rows]],
            statistics,
            self.statistics.codes,
            self.statistics.histories.timestamps,
            windows,
            length,
        )
        return UserBatch(*(torch.from_numpy(column) for column in inputs))


def training_statistics(dataset: Dataset, rows: NDArray[np.bool_]) -> TrainingStatistics:
    """Return what the training rows, a mask `(N,)`, say."""
    movies, ratings = dataset.movies[rows], dataset.ratings[rows]
    centre = float(ratings.mean(dtype=np.float64))
    histories = dataset.histories(rows)
    ordered = dataset.scale.deviations(histories.ratings, centre)
    movie_count = len(dataset.movie_vocabulary)
    return TrainingStatistics(
        centre=centre,
        histories=histories,
        codes=event_codes(histories, dataset.scale),
        deviations=ordered,
        running=running_sums(ordered),
        movies=movie_statistics_of_all(
            movies, dataset.scale.deviations(ratings, centre), movie_count
        ),
        rated=np.bincount(movies, minlength=movie_count) > 0,
        seen_users=np.diff(histories.offsets) > 0,
    )


def training_examples(
    dataset: Dataset, statistics: TrainingStatistics, rows: NDArray[np.bool_]
) -> Examples:
    """Return the training rows themselves, each with only what came strictly before it."""
    order = np.flatnonzero(rows)
    order = order[time_order(dataset.users[order], dataset.timestamps[order])]
    windows = windows_before_events(statistics.histories)
    movies = dataset.movies[order]
    return Examples(
        statistics=statistics,
        user_codes=dataset.user_codes,
        users=dataset.users[order],
        movies=movies,
        targets=statistics.deviations.astype(np.float32),
        windows=windows,
        user_statistics=user_statistics(statistics.running, windows),
        movie_statistics=movie_statistics_before(
            movies, statistics.deviations, statistics.histories.timestamps
        ),
    )


def held_out_examples(
    dataset: Dataset, statistics: TrainingStatistics, rows: NDArray[np.bool_]
) -> Examples:
    """Return rows that are not trained on, each as it would be asked after training."""
    users, movies = dataset.users[rows], dataset.movies[rows]
    windows = windows_until(statistics.histories, users, dataset.timestamps[rows])
    targets = dataset.scale.deviations(dataset.ratings[rows], statistics.centre)
    return Examples(
        statistics=statistics,
        user_codes=dataset.user_codes,
        users=users,
        movies=movies,
        targets=targets.astype(np.float32),
        windows=windows,
        user_statistics=user_statistics(statistics.running, windows),
        movie_statistics=statistics.movies[movies],
    )
