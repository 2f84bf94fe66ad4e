"""Some rows of a data set: what is trained on them, and who has rated what."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from retrieval.cli.progress import progress
from retrieval.data.dataset import Dataset
from retrieval.data.frames import MovieData
from retrieval.data.visits import last_visits
from retrieval.pairs.content_training import fit_content
from retrieval.pairs.training import TrainingData
from retrieval.pipeline.settings import Settings
from retrieval.pipeline.training import train

# What runs of benchmarks call their data.
SOURCE = "benchmark"


def train_on(
    data: MovieData, rows: NDArray[np.bool_], folder: Path, settings: Settings, seed: int
) -> None:
    """Write a run trained on rows, a mask `(N,)`, and its index."""
    with progress() as bars:
        train(
            replace(data, ratings=data.ratings[rows]),
            settings,
            folder,
            source=SOURCE,
            seed=seed,
            progress=bars,
        )


def held_out(
    dataset: Dataset, validation: NDArray[np.bool_], last: NDArray[np.bool_], seed: int
) -> TrainingData:
    """Return what pairs are trained on, with these rows held out and no visits.

    Args:
        dataset: All rows.
        validation: `(N,)` rows that choose epochs and weights.
        last: `(N,)` last events.
        seed: Seed of what describes movies.
    """
    content = fit_content(dataset.movie_frame, seed).describe(dataset.movie_frame)
    nobody = last_visits(dataset, 0.0, 0, np.random.default_rng(seed))
    return TrainingData(dataset, content, validation, last, *nobody)


def who_saw_what(data: Dataset, rows: NDArray[np.bool_]) -> sparse.csr_array:
    """Return 1 where a user has rated a movie, `(U, M)`, in the rows of a mask `(N,)`."""
    return sparse.csr_array(
        (np.ones(rows.sum(), np.float32), (data.users[rows], data.movies[rows])),
        shape=(len(data.user_vocabulary), len(data.movie_vocabulary)),
    )
