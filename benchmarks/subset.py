"""Some rows of a data set: a run trained on them, and who has rated what."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from retrieval.cli.progress import progress
from retrieval.data.dataset import Dataset
from retrieval.data.frames import MovieData
from retrieval.data.split import last_of_each
from retrieval.pipeline.settings import Settings
from retrieval.pipeline.training import VALIDATION_USER_SHARE, VALIDATION_USERS, train

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


def last_events(data: Dataset, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return a mask `(N,)` of last events of random users, as many as training holds out."""
    users = np.flatnonzero(np.bincount(data.users, minlength=len(data.user_vocabulary)) > 1)
    count = min(VALIDATION_USERS, int(len(users) * VALIDATION_USER_SHARE))
    chosen = rng.choice(users, count, replace=False)
    return last_of_each(data.users, data.timestamps) & np.isin(data.users, chosen)


def who_saw_what(data: Dataset, rows: NDArray[np.bool_]) -> sparse.csr_array:
    """Return 1 where a user has rated a movie, `(U, M)`, in the rows of a mask `(N,)`."""
    return sparse.csr_array(
        (np.ones(rows.sum(), np.float32), (data.users[rows], data.movies[rows])),
        shape=(len(data.user_vocabulary), len(data.movie_vocabulary)),
    )
