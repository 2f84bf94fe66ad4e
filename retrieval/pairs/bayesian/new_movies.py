"""Movies that training did not know: what their content makes likely, and what ratings add to it.

A movie without ratings has the vector that its content makes likely. Its first ratings move it in
closed form: given the vectors of those who rated it, its own is the coefficients of a small linear
regression whose prior is what content says. It is `fold_in` of the user side, turned around.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load_file

from retrieval.errors import RunError
from retrieval.pairs.bayesian.tower import ARRAYS_FILE, Bayesian, unrated_vectors
from retrieval.pairs.content import Content
from retrieval.pairs.protocol import Floats, RunFacts, UserVectors, Vectors
from retrieval.storage.arrays import save_arrays
from retrieval.storage.damage import readable

# In the folder of a run; one that an older program trained has none.
PRIOR_FILE = "bayesian_new_movies.safetensors"


class FoldedMovie(NamedTuple):
    """One movie inferred from ratings."""

    vector: Floats  # (D + 1,), the last the bias
    variance: float  # that uncertainty about the movie and its noise add to scores


class UnratedPrior(NamedTuple):
    """How far a movie's vector may be from what its content says, and what else ratings need."""

    covariance: Floats  # (D + 1, D + 1) of a movie around what content says
    user_products: Floats  # (D + 1, D + 1) mean outer product of what movies meet
    noise: Floats  # (1,) variance of a rating's noise, session effects left out


def save_unrated_prior(path: Path, prior: UnratedPrior) -> None:
    """Write a prior into one file."""
    save_arrays(path, prior._asdict())


def load_unrated_prior(path: Path, width: int) -> UnratedPrior:
    """Read back what `save_unrated_prior` wrote.

    Args:
        path: The file.
        width: Components of the vectors of movies, D + 1.

    Raises:
        RunError: The file is damaged, or of another run.
    """
    with readable(path):
        prior = UnratedPrior(**load_file(path))
        shapes = [array.shape for array in prior]
        finite = all(np.isfinite(array).all() for array in prior)
        if shapes != [(width, width), (width, width), (1,)] or not finite or prior.noise[0] <= 0:
            raise RunError(f"it is not of vectors of {width} components, or not finite")
        return prior


def new_movie_vectors(folder: Path, _facts: RunFacts, content: Content) -> Vectors:
    """Return the vectors `(A, D + 1)` of movies that nobody has rated.

    Args:
        folder: Folder of a version.
        content: Content of the movies.

    Raises:
        RunError: The file of the pair is damaged.
    """
    coefficients = _array(folder, "movie_coefficients")
    return unrated_vectors(coefficients, content.matrix()).astype(np.float32)


def unrated_variance(folder: Path) -> float:
    """Return the variance that uncertainty about an unrated movie, and noise, add to scores.

    Args:
        folder: Folder of a version.

    Raises:
        RunError: The file of the pair is damaged.
    """
    return float(_array(folder, "unrated_variance")[0])


def _array(folder: Path, name: str) -> NDArray[np.floating]:
    """Return one array of the pair; the vectors of all users are not read."""
    path = folder / ARRAYS_FILE
    with readable(path), safe_open(path, framework="np") as file:
        array: NDArray[np.floating] = file.get_tensor(name)
    return array


def fold_in_movie(
    pair: Bayesian,
    prior: UnratedPrior,
    mean: NDArray[np.floating],
    users: UserVectors,
    classes: NDArray[np.int64],
) -> FoldedMovie:
    """Return the posterior of a movie's vector, given who rated it how.

    Users are as sure as the tower says: what is uncertain about a user is noise of the rating.

    Args:
        pair: The pair.
        prior: How far vectors may be from the mean.
        mean: `(D + 1,)` vector that the movie is expected to have before any rating.
        users: The N users as they were when they rated, from the tower; offsets may hold whatever
            else the scores hold.
        classes: `(N,)` of their ratings.
    """
    met = users.vectors.astype(np.float64)  # (N, D + 1)
    left = pair.class_latents[classes] - users.offsets - met @ mean
    weighted = met / (prior.noise + users.variances)[:, None]
    precision = np.eye(met.shape[1]) + prior.covariance @ (weighted.T @ met)
    covariance = np.asarray(np.linalg.solve(precision, prior.covariance), np.float64)
    vector = mean + covariance @ (weighted.T @ left)
    variance = float((covariance * prior.user_products).sum() + prior.noise[0])
    return FoldedMovie(np.asarray(vector, np.float64), variance)
