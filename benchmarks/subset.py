"""Some rows of a data set: a run trained on them, and who has rated what."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from retrieval.cli.progress import progress
from retrieval.data.dataset import Dataset
from retrieval.data.frames import MovieData
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


def who_saw_what(data: Dataset, rows: NDArray[np.bool_]) -> sparse.csr_array:
    """Return 1 where a user has rated a movie, `(U, M)`, in the rows of a mask `(N,)`."""
    return sparse.csr_array(
        (np.ones(rows.sum(), np.float32), (data.users[rows], data.movies[rows])),
        shape=(len(data.user_vocabulary), len(data.movie_vocabulary)),
    )
