"""The Gibbs sampler: user and movie vectors, their priors, session effects, noise and thresholds.

A rating is the interval that `score + noise` falls in, and

    score = user vector . movie vector + bias of the user + bias of the movie + session effect
    user vector, bias  ~ N(features of the user  @ coefficients, precision of users^-1)
    movie vector, bias ~ N(features of the movie @ coefficients, precision of movies^-1)
    noise              ~ N(0, 1 / precision of the movie), precision of the movie ~ Gamma(a, a)

Everything is drawn in turn given all else; nothing is tuned but the dimension.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln
from scipy.stats import wishart

from retrieval.errors import RecError, shown
from retrieval.pairs.bayesian.compiled import compiled, equal_cuts, in_parts
from retrieval.pairs.bayesian.latents import (
    draw_latents,
    draw_thresholds,
    starting_thresholds,
)
from retrieval.pairs.bayesian.regression import Directions, Regression
from retrieval.pairs.bayesian.rows import Side, draw_vectors, side
from retrieval.pairs.bayesian.session import (
    SessionEffects,
    draw_session_effects,
    no_session_effects,
)

Floats = NDArray[np.float64]
Vectors = NDArray[np.float32]

# The Wishart prior of a precision: as many degrees of freedom as dimensions, and this scale.
PRIOR_SPREAD = 0.1

# Where the shape of the distribution of movies' noise is looked for.
NOISE_SHAPES = np.exp(np.linspace(np.log(0.5), np.log(200), 80))

# Random starts are this long.
START = 0.1

# Sweeps before vectors follow features, and before session effects are drawn: first things first.
PRIORS_AFTER, EFFECTS_AFTER = 3, 5


@dataclass(frozen=True, kw_only=True)
class Ratings:
    """N ratings of R users and C movies; a group may have none, and its effect is drawn too."""

    users: NDArray[np.int32]  # (N,) rows
    movies: NDArray[np.int32]  # (N,) rows
    classes: NDArray[np.int8]  # (N,) from 0 to T
    groups: NDArray[np.int32]  # (N,) group of each
    first_groups: NDArray[np.bool_]  # (P,) whether a group is its user's first
    user_count: int
    movie_count: int
    class_count: int  # T + 1

    def __len__(self) -> int:
        """Return N."""
        return len(self.classes)

    def part(self, rows: NDArray[np.bool_]) -> "Ratings":
        """Return some of the ratings, a mask `(N,)`."""
        return replace(
            self,
            users=self.users[rows],
            movies=self.movies[rows],
            classes=self.classes[rows],
            groups=self.groups[rows],
        )


class Prior(NamedTuple):
    """What the vectors of a side are drawn from."""

    precision: Floats  # (W, W)
    means: Floats  # (R, W)


class Draw(NamedTuple):
    """One draw from the posterior. The last of W components is a bias."""

    users: Vectors  # (R, W)
    movies: Vectors  # (C, W)
    user_coefficients: Vectors  # (F, W)
    movie_coefficients: Vectors  # (G, W)
    user_precision: Floats  # (W, W)
    thresholds: Floats  # (T,)
    noise_precision: Vectors  # (C,) of ratings of each movie
    session_law: Floats  # (3,) correlation and variance of slow effects, variance of quick ones


class State(NamedTuple):
    """Where a chain is."""

    arrays: dict[str, NDArray[Any]]
    rng: Mapping[str, Any]  # of numpy's bit generator
    sweeps: int


class Sampler:
    """A Markov chain whose states are draws from the posterior, once it has forgotten its start."""

    def __init__(
        self,
        ratings: Ratings,
        users: Regression,
        movies: Regression,
        dimension: int,
        rng: np.random.Generator,
    ) -> None:
        size = dimension + 1
        self.rng, self.sweeps = rng, 0
        self.user_vectors = _start(ratings.user_count, size, rng)
        self.movie_vectors = _start(ratings.movie_count, size, rng)
        self.user_prior = _vague(ratings.user_count, size)
        self.movie_prior = _vague(ratings.movie_count, size)
        self._user_regression, self._movie_regression = users, movies
        self.noise_precision = np.ones(ratings.movie_count, dtype=np.float32)
        self.effects = no_session_effects(len(ratings.first_groups))
        # (2, P) slow and quick effects, the mean over so many states
        self.mean_effects, self._averaged = np.zeros((2, 0), np.float32), 0
        self.thresholds = starting_thresholds(ratings.classes, ratings.class_count)
        self._hold(ratings)

    def observe(
        self,
        ratings: Ratings,
        regressions: Callable[[tuple[Directions, Directions]], tuple[Regression, Regression]],
    ) -> None:
        """Go on with other ratings, and features, of the same users, movies and groups.

        Args:
            ratings: Ratings.
            regressions: Makes the regressions of users and movies, from the directions of those
                before; of these nothing else is in memory any more.
        """
        users, movies = self._user_regression, self._movie_regression
        users.forget()
        movies.forget()
        ridges = users.ridge, movies.ridge
        self._user_regression, self._movie_regression = regressions(
            (users.directions, movies.directions)
        )
        self._user_regression.ridge, self._movie_regression.ridge = ridges
        before, after = (
            np.bincount(of.classes, minlength=of.class_count) > 0 for of in (self._ratings, ratings)
        )
        if (after & ~before).any():  # from where the prior held them, thresholds might never move
            self.thresholds = starting_thresholds(ratings.classes, ratings.class_count)
        self._hold(ratings)

    def _hold(self, ratings: Ratings) -> None:
        self._ratings = ratings
        self._by_user = side(ratings.users, ratings.user_count)
        self._by_movie = side(ratings.movies, ratings.movie_count)
        self._scores = self.scores(ratings)

    def scores(self, ratings: Ratings) -> Vectors:
        """Return the scores of ratings, observed or not, in the present state: `(N,)`."""
        scores = pair_scores(self.user_vectors, self.movie_vectors, ratings.users, ratings.movies)
        scores += (self.effects.slow + self.effects.quick)[ratings.groups]
        return scores

    def sweep(self) -> None:
        """Draw everything once, each given all else.

        Raises:
            RecError: Something drawn is no finite number.
        """
        try:
            self._sweep()
        except (ValueError, np.linalg.LinAlgError) as error:
            raise self._lost(str(error)) from error
        drawn = (self.user_vectors, self.movie_vectors, self._scores)
        if not all(np.isfinite(array).all() for array in drawn):
            raise self._lost("a vector or a score is no finite number")
        self.sweeps += 1

    def _lost(self, why: str) -> RecError:
        return RecError(
            f"sweep {self.sweeps + 1} of the Bayesian pair failed ({shown(why)}); look at the "
            "ratings with rec data check, try another --seed, or leave the pair out with --towers"
        )

    def _sweep(self) -> None:
        ratings, rng = self._ratings, self.rng
        weights = self.noise_precision[ratings.movies]
        if self.sweeps:
            self.thresholds = draw_thresholds(
                self.thresholds, self._scores, ratings.classes, weights, rng
            )
        latents = draw_latents(self._scores, ratings.classes, self.thresholds, weights, rng)
        residuals = np.subtract(latents, self._scores, out=self._scores)
        draw_vectors(
            self.user_vectors,
            self._by_user,
            self.movie_vectors,
            ratings.movies,
            weights,
            residuals,
            *self.user_prior,
            rng,
        )
        draw_vectors(
            self.movie_vectors,
            self._by_movie,
            self.user_vectors,
            ratings.users,
            weights,
            residuals,
            *self.movie_prior,
            rng,
        )
        if self.sweeps >= PRIORS_AFTER:
            self.user_prior = draw_prior(
                self.user_prior, self.user_vectors, self._user_regression, rng
            )
            self.movie_prior = draw_prior(
                self.movie_prior, self.movie_vectors, self._movie_regression, rng
            )
        if self.sweeps >= EFFECTS_AFTER:
            self.effects = draw_session_effects(
                self.effects, ratings.groups, ratings.first_groups, weights, residuals, rng
            )
            self.noise_precision = draw_noise_precision(residuals, self._by_movie, rng)
        self._scores = np.subtract(latents, residuals, out=latents)

    def state(self) -> State:
        """Return all that the next sweep depends on but the ratings."""
        arrays: dict[str, NDArray[Any]] = {
            "user_vectors": self.user_vectors,
            "movie_vectors": self.movie_vectors,
            "user_precision": self.user_prior.precision,
            "user_means": self.user_prior.means,
            "movie_precision": self.movie_prior.precision,
            "movie_means": self.movie_prior.means,
            "ridges": np.array([self._user_regression.ridge, self._movie_regression.ridge]),
            "noise_precision": self.noise_precision,
            "thresholds": self.thresholds,
            "slow": self.effects.slow,
            "quick": self.effects.quick,
            "session_law": self.effects.law(),
            "mean_effects": self.mean_effects,
            "averaged": np.array([self._averaged]),
            "scores": self._scores,
        }
        return State(arrays, self.rng.bit_generator.state, self.sweeps)

    def restore(self, state: State) -> None:
        """Go on from a state of a sampler of the same ratings."""
        arrays = state.arrays
        self.user_vectors, self.movie_vectors = arrays["user_vectors"], arrays["movie_vectors"]
        self.user_prior = Prior(arrays["user_precision"], arrays["user_means"])
        self.movie_prior = Prior(arrays["movie_precision"], arrays["movie_means"])
        self._user_regression.ridge, self._movie_regression.ridge = arrays["ridges"].tolist()
        self.noise_precision, self.thresholds = arrays["noise_precision"], arrays["thresholds"]
        self.effects = SessionEffects(
            arrays["slow"], arrays["quick"], *arrays["session_law"].tolist()
        )
        self.mean_effects, self._averaged = arrays["mean_effects"], int(arrays["averaged"][0])
        self._scores = arrays["scores"]
        self.rng.bit_generator.state = state.rng
        self.sweeps = state.sweeps

    def draw(self) -> Draw:
        """Return the present state as a draw."""
        return Draw(
            users=self.user_vectors.copy(),
            movies=self.movie_vectors.copy(),
            user_coefficients=self._user_regression.coefficients,
            movie_coefficients=self._movie_regression.coefficients,
            user_precision=self.user_prior.precision,
            thresholds=self.thresholds,
            noise_precision=self.noise_precision,
            session_law=self.effects.law(),
        )

    def average_effects(self) -> None:
        """Let the present session effects count in the mean over states."""
        if not self._averaged:
            self.mean_effects = np.zeros((2, len(self.effects.slow)), np.float32)
        self._averaged += 1
        for row, each in enumerate((self.effects.slow, self.effects.quick)):
            self.mean_effects[row] += (each - self.mean_effects[row]) / np.float32(self._averaged)


def draw_prior(prior: Prior, vectors: Vectors, of: Regression, rng: np.random.Generator) -> Prior:
    """Draw what vectors `(R, W)` are drawn from, given the vectors."""
    targets = vectors.astype(np.float64)
    means = of.draw(targets, prior.precision, rng)
    left, inner = targets - means, of.inner
    size = vectors.shape[1]
    scatter = PRIOR_SPREAD * np.eye(size) + left.T @ left + of.ridge * inner.T @ inner
    freedom = size + len(left) + len(inner)
    precision = wishart.rvs(freedom, np.linalg.inv(scatter), random_state=rng)
    return Prior(np.atleast_2d(precision), means)


def draw_noise_precision(residuals: Vectors, of: Side, rng: np.random.Generator) -> Vectors:
    """Draw the precision of each movie's noise `(C,)`, given residuals `(N,)`.

    The shape of their Gamma distribution, of mean 1, is drawn first, with them integrated out.
    """
    counts = np.diff(of.starts)
    squares = np.zeros(len(counts))
    _add_squares(of.order, of.starts, residuals, squares)
    chances = np.array([_log_chance(shape, counts, squares) for shape in NOISE_SHAPES.tolist()])
    chances = np.exp(chances - chances.max())
    shape = rng.choice(NOISE_SHAPES, p=chances / chances.sum())
    noise = rng.gamma(shape + counts / 2) / (shape + squares / 2)
    return np.asarray(noise, dtype=np.float32)


def _log_chance(shape: float, counts: NDArray[np.int64], squares: Floats) -> float:
    """Return how likely a shape of the distribution of noise is, from what is known of movies.

    Args:
        shape: Of the Gamma distribution.
        counts: `(C,)` ratings of each movie.
        squares: `(C,)` sums of the squares of their residuals.
    """
    logs = shape * np.log(shape) - gammaln(shape) + gammaln(shape + counts / 2)
    logs -= (shape + counts / 2) * np.log(shape + squares / 2)
    return float(logs.sum())


@compiled
def _add_squares(
    order: NDArray[np.int32], starts: NDArray[np.int64], residuals: Vectors, squares: Floats
) -> None:
    """Add the squares of each row's residuals to sums `(C,)`."""
    for row in range(len(squares)):
        for k in range(starts[row], starts[row + 1]):
            squares[row] += np.float64(residuals[order[k]]) ** 2


def pair_scores(
    users: Vectors, movies: Vectors, user_rows: NDArray[np.int32], movie_rows: NDArray[np.int32]
) -> Vectors:
    """Return products and biases of pairs `(N,)`, from vectors `(R, W)` and `(C, W)`."""
    scores = np.empty(len(user_rows), dtype=np.float32)

    def work(begin: int, end: int) -> None:
        _pair_scores(begin, end, users, movies, user_rows, movie_rows, scores)

    in_parts(work, equal_cuts(len(scores)))
    return scores


@compiled
def _pair_scores(
    begin: int,
    end: int,
    users: Vectors,
    movies: Vectors,
    user_rows: NDArray[np.int32],
    movie_rows: NDArray[np.int32],
    scores: Vectors,
) -> None:
    last = users.shape[1] - 1
    for k in range(begin, end):
        user, movie = users[user_rows[k]], movies[movie_rows[k]]
        total = user[last] + movie[last]
        for c in range(last):
            total += user[c] * movie[c]
        scores[k] = total


def _start(count: int, size: int, rng: np.random.Generator) -> Vectors:
    return START * rng.standard_normal((count, size), dtype=np.float32)


def _vague(count: int, size: int) -> Prior:
    return Prior(20 * np.eye(size), np.zeros((count, size)))
