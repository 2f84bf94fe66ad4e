"""The Bayesian pair inferred: burn-in watched on validation rows, then draws from all rows."""

import hashlib
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress, TaskID
from scipy import sparse
from scipy.special import ndtr

from retrieval.data.dataset import Dataset
from retrieval.data.history import build_histories, time_order
from retrieval.sampling.checkpoint import BurnIn, Checkpoint
from retrieval.sampling.collapse import Collapsed, collapse, with_one
from retrieval.sampling.features import movie_features, user_features
from retrieval.sampling.latents import expected_latents
from retrieval.sampling.moods import pages
from retrieval.sampling.regression import regression
from retrieval.sampling.sampler import Ratings, Sampler
from retrieval.towers.bayesian import Bayesian, fold_in
from retrieval.towers.content import describe

Floats = NDArray[np.float64]

# Sweeps that are averaged to see whether the chain still finds better places.
WINDOW = 20

# Sweeps between the last look at validation rows, which then count too, and the first draw.
SETTLING = 5

# Draws between two states that an interruption can go back to.
SAVED = 10


@dataclass(frozen=True, kw_only=True)
class BayesianSettings:
    """The size of the pair, and how much to spend on it."""

    dimension: int = 32  # of the vectors that are drawn
    collapsed: int = 64  # of the vectors that answer
    most_windows: int = 5  # of burn-in, each of WINDOW sweeps
    tolerance: float = 5e-4  # burn-in ends when a window lowers the error by less
    draws: int = 60
    spacing: int = 2  # sweeps from draw to draw


class Inferred(NamedTuple):
    """What inference came to."""

    pair: Bayesian
    moods: NDArray[np.float32]  # (2, N) lingering and own, of events in the order of histories
    thresholds: Floats  # (T,)
    values: tuple[float, ...]  # (T + 1,) ratings of the levels that occur
    validation_scores: Floats  # (V,) of the validation rows, in file order, not having seen them
    validation_levels: NDArray[np.int8]  # (V,)
    validation_variances: Floats  # (V,) of the latent values around the scores
    errors: list[float]  # on validation rows, of each window of the burn-in
    sweeps: int
    disagreement: float  # root mean square, of stored and folded-in scores


@dataclass(frozen=True, kw_only=True)
class _Problem:
    """Everything the chain follows from."""

    ratings: Ratings  # in the order of histories
    held_out: NDArray[np.bool_]  # (N,)
    values: Floats  # (T + 1,) ratings of the levels that occur
    levels: NDArray[np.int64]  # (T + 1,) which of the scale's levels they are
    users: NDArray[np.int64]  # (R,) numbers of the rows
    movies: NDArray[np.int64]  # (C,)
    user_features: sparse.csr_array  # (U, F)
    movie_features: sparse.csr_array  # (M, G)


def infer(
    dataset: Dataset,
    held_out: NDArray[np.bool_],
    settings: BayesianSettings,
    seed: int,
    checkpoint: Path,
    progress: Progress,
) -> Inferred:
    """Infer the Bayesian pair, the same for the same seed, in one go or in several.

    Args:
        dataset: All rows.
        held_out: `(N,)` mask of the validation rows: they end the burn-in and then count as others.
        settings: How much to spend.
        seed: Of everything random.
        checkpoint: Folder where an interrupted inference is kept; the caller removes it.
        progress: Where to show how far it is.
    """
    order = time_order(dataset.users, dataset.timestamps)
    problem = _problem(dataset, held_out, order, seed)
    kept = Checkpoint(checkpoint, _key(dataset, held_out, settings, seed))
    users, movies = problem.users, problem.movies
    task = progress.add_task("decomposing what is known of users and movies", total=None)
    sampler = Sampler(
        problem.ratings.part(~problem.held_out),
        regression(sparse.csr_array(problem.user_features[users])),
        regression(sparse.csr_array(problem.movie_features[movies])),
        settings.dimension,
        np.random.default_rng(seed),
    )
    burned = _run(sampler, problem, settings, kept, progress, task)
    progress.update(task, description="collapsing draws")
    counts = [
        np.bincount(rows, minlength=count)
        for rows, count in (
            (problem.ratings.users, len(users)),
            (problem.ratings.movies, len(movies)),
        )
    ]
    collapsed = collapse(
        kept.draws(), counts[0], counts[1], settings.collapsed, np.random.default_rng(seed)
    )
    pair, disagreement = _pair(problem, collapsed, counts, dataset.scale.levels)
    progress.remove_task(task)
    validation = problem.ratings.part(problem.held_out)
    variances = (
        pair.user_variances[users[validation.users]]
        + pair.movie_variances[movies[validation.movies]]
        + pair.mood_law[1:].sum()
    )
    back = np.argsort(order[problem.held_out])  # from the order of histories to that of the file
    return Inferred(
        pair=pair,
        moods=np.stack([collapsed.lingering, collapsed.own])[:, problem.ratings.pages].astype(
            np.float32
        ),
        thresholds=collapsed.thresholds,
        values=tuple(problem.values.tolist()),
        validation_scores=burned.scores[back],
        validation_levels=validation.levels[back],
        validation_variances=variances[back].astype(np.float64),
        errors=burned.errors,
        sweeps=sampler.sweeps,
        disagreement=disagreement,
    )


def _problem(
    dataset: Dataset, held_out: NDArray[np.bool_], order: NDArray[np.int64], seed: int
) -> _Problem:
    """Arrange rows as histories; features are told of training rows alone."""
    user_count, movie_count = len(dataset.user_vocabulary), len(dataset.movie_vocabulary)
    whole, training = (
        build_histories(
            dataset.users[rows],
            dataset.movies[rows],
            dataset.ratings[rows],
            dataset.timestamps[rows],
            user_count,
        )
        for rows in (np.arange(len(held_out)), ~held_out)
    )
    page_of, first_pages = pages(whole)
    users = np.unique(dataset.users)
    movies = np.unique(whole.movies).astype(np.int64)
    present, levels = np.unique(dataset.scale.level(whole.ratings), return_inverse=True)
    values = np.bincount(levels, whole.ratings) / np.bincount(levels)
    ratings = Ratings(
        users=np.searchsorted(users, dataset.users[order]).astype(np.int32),
        movies=np.searchsorted(movies, whole.movies).astype(np.int32),
        levels=levels.astype(np.int8),
        pages=page_of,
        first_pages=first_pages,
        user_count=len(users),
        movie_count=len(movies),
    )
    content = describe(dataset.movie_frame, seed).matrix()
    return _Problem(
        ratings=ratings,
        held_out=held_out[order],
        values=values,
        levels=present,
        users=users,
        movies=movies,
        user_features=user_features(
            dataset.user_codes, dataset.demographics.sizes(), training, movie_count
        ),
        movie_features=movie_features(content, training),
    )


def _run(
    sampler: Sampler,
    problem: _Problem,
    settings: BayesianSettings,
    kept: Checkpoint,
    progress: Progress,
    task: TaskID,
) -> BurnIn:
    """Burn in, then keep draws, from where the checkpoint was left."""
    left = kept.load()
    burned = BurnIn([], np.zeros(0)) if left is None else left[1]
    draws = SETTLING + settings.spacing * settings.draws
    most = WINDOW * settings.most_windows + draws
    done = not _goes_on(burned.errors, settings)
    if done:
        sampler.observe(problem.ratings)
    if left is not None:
        sampler.restore(left[0])
    progress.update(task, total=most, completed=sampler.sweeps, description="burning in")
    while _goes_on(burned.errors, settings):
        error, scores = _window(sampler, problem, progress, task)
        burned = BurnIn([*burned.errors, error], scores)
        progress.update(task, description=f"burning in: validation RMSE {error:.4f}")
        if not _goes_on(burned.errors, settings):
            sampler.observe(problem.ratings)
        kept.save(sampler.state(), burned)
    begun = WINDOW * len(burned.errors)
    progress.update(task, total=begun + draws)
    while sampler.sweeps < begun + draws:
        sampler.sweep()
        progress.advance(task)
        since = sampler.sweeps - begun - SETTLING
        if since > 0 and since % settings.spacing == 0:
            kept.keep(sampler.draw())
            number = since // settings.spacing
            progress.update(task, description=f"draw {number} of {settings.draws}")
            if number % SAVED == 0:
                kept.save(sampler.state(), burned)
    return burned


def _goes_on(errors: list[float], settings: BayesianSettings) -> bool:
    """Whether the burn-in goes on: the last window was still better than the one before."""
    if len(errors) < 2:
        return len(errors) < settings.most_windows
    return len(errors) < settings.most_windows and errors[-2] - errors[-1] > settings.tolerance


def _window(
    sampler: Sampler, problem: _Problem, progress: Progress, task: TaskID
) -> tuple[float, Floats]:
    """Make the sweeps of a window; return its error on validation rows, and their mean scores."""
    asked = problem.ratings.part(problem.held_out)
    scores, predicted = np.zeros(len(asked)), np.zeros(len(asked))
    steps = np.diff(problem.values)
    for _ in range(WINDOW):
        sampler.sweep()
        progress.advance(task)
        score = sampler.scores(asked).astype(np.float64)
        root = np.sqrt(sampler.movie_noise[asked.movies], dtype=np.float64)
        above = ndtr((score[:, None] - sampler.thresholds) * root[:, None])  # (V, T)
        predicted += above @ steps
        scores += score - sampler.thresholds.mean()
    true = problem.values[asked.levels]
    errors = problem.values[0] + predicted / WINDOW - true
    return float(np.sqrt(np.mean(errors**2))) if len(true) else 0.0, scores / WINDOW


def _pair(
    problem: _Problem, collapsed: Collapsed, counts: list[NDArray[np.int64]], levels: int
) -> tuple[Bayesian, float]:
    """Arrange the posterior for everyone and the whole catalogue, the unrated by their features.

    Returns also how far folded-in scores are from stored ones, as a root mean square over ratings.
    """
    ratings = problem.ratings
    users = problem.user_features @ collapsed.user_coefficients  # (U, D + 1)
    movies = problem.movie_features @ collapsed.movie_coefficients  # (M, D + 1)
    means = users[problem.users]
    users[problem.users], movies[problem.movies] = collapsed.users, collapsed.movies
    met, bias = with_one(collapsed.movies), collapsed.movies[:, -1]
    stored = (collapsed.users[ratings.users] * met[ratings.movies]).sum(1) + bias[ratings.movies]
    said = collapsed.movie_noise + collapsed.mood_law[1:].sum()  # (C,) noise of a rating
    noise = np.full(
        len(movies), said.mean() + _mean_form(collapsed.users, collapsed.movie_covariance)
    )
    noise[problem.movies] = said + collapsed.movie_doubt
    latents = expected_latents(
        stored, ratings.levels, collapsed.thresholds, 1 / said[ratings.movies]
    )
    level_means = np.bincount(ratings.levels, latents) / np.bincount(ratings.levels)
    products = (met * counts[1][:, None]).T @ met / counts[1].sum()
    pair = Bayesian(
        users=users.astype(np.float32),
        movies=movies.astype(np.float32),
        user_variances=np.full(len(users), (collapsed.covariance * products).sum(), np.float32),
        movie_variances=noise.astype(np.float32),
        user_coefficients=collapsed.user_coefficients.astype(np.float32),
        movie_coefficients=collapsed.movie_coefficients.astype(np.float32),
        precision=np.asarray(np.linalg.inv(collapsed.covariance), dtype=np.float64),
        movie_noise=noise.astype(np.float32),
        movie_products=products,
        level_latents=np.interp(np.arange(levels), problem.levels, level_means).astype(np.float32),
        mood_law=collapsed.mood_law,
    )
    starts = np.concatenate([[0], np.cumsum(counts[0])])
    folded = [
        fold_in(
            pair,
            means[row],
            problem.movies[ratings.movies[start:end]],
            problem.levels[ratings.levels[start:end]],
        )
        for row, (start, end) in enumerate(pairwise(starts))
    ]
    vectors = np.array([user.vector for user in folded])
    variances = np.array([user.variance for user in folded])
    pair.user_variances[problem.users] = variances
    of_movies = collapsed.movie_spread - np.average(variances, weights=counts[0])
    pair.movie_variances[problem.movies] = collapsed.movie_noise + np.maximum(of_movies, 0.0)
    again = (vectors[ratings.users] * met[ratings.movies]).sum(1) + bias[ratings.movies]
    return pair, float(np.sqrt(np.mean((again - stored) ** 2)))


def _mean_form(rows: Floats, matrix: Floats) -> float:
    """Return the mean of `row @ matrix @ row`, a 1 in place of the last component of each row."""
    rows = with_one(rows)
    return float(((rows @ matrix) * rows).sum(axis=1).mean())


def _key(
    dataset: Dataset, held_out: NDArray[np.bool_], settings: BayesianSettings, seed: int
) -> str:
    """Return a hash of all that the chain follows from."""
    whole = hashlib.sha256(repr((sorted(asdict(settings).items()), seed)).encode())
    for array in (
        held_out,
        dataset.users,
        dataset.movies,
        dataset.ratings,
        dataset.timestamps,
        dataset.user_codes,
    ):
        whole.update(np.ascontiguousarray(array).tobytes())
    whole.update(dataset.movie_frame.to_csv(index=False).encode())
    return whole.hexdigest()
