"""What a data set fixes of a neural network: how many of each thing there are."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.data.dataset import Dataset


class Sizes(NamedTuple):
    """Numbers of rows of embeddings, and of features."""

    users: int
    movies: int
    content: int
    attributes: tuple[int, ...]  # codes of each attribute of users, gender, age, occupation first
    classes: int


def sizes_of(dataset: Dataset, content: NDArray[np.float32]) -> Sizes:
    """Return what a data set, and the content of its movies `(M, F)`, fix."""
    return Sizes(
        users=len(dataset.user_vocabulary),
        movies=len(dataset.movie_vocabulary),
        content=content.shape[1],
        attributes=dataset.user_attributes.sizes,
        classes=dataset.scale.classes,
    )
