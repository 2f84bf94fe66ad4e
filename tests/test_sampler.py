"""The sampler as a whole: does it draw from the posterior of the model it claims?"""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse
from scipy.stats import wishart

from retrieval.errors import RecError
from retrieval.pairs.bayesian import compiled
from retrieval.pairs.bayesian import regression as regression_module
from retrieval.pairs.bayesian import sampler as module
from retrieval.pairs.bayesian import session as session_module
from retrieval.pairs.bayesian.compiled import even_cuts
from retrieval.pairs.bayesian.regression import Regression
from retrieval.pairs.bayesian.rows import side
from retrieval.pairs.bayesian.sampler import (
    Prior,
    Ratings,
    Sampler,
    draw_noise_precision,
    draw_prior,
)

# Draws from the prior and of the chain. The longer ones find errors half as large.
LENGTHS = pytest.mark.parametrize(
    ("draws", "sweeps"), [(5000, 2500), pytest.param(20_000, 10_000, marks=pytest.mark.slow)]
)


def small_world(users: int, movies: int, count: int, seed: int) -> Ratings:
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.integers(0, users, count)).astype(np.int32)
    first = np.concatenate([[True], np.diff(rows[::2]) != 0])
    return Ratings(
        users=rows,
        movies=rng.integers(0, movies, count).astype(np.int32),
        classes=rng.integers(0, 3, count).astype(np.int8),
        groups=(np.arange(count) // 2).astype(np.int32),
        first_groups=first,
        user_count=users,
        movie_count=movies,
        class_count=5,
    )


def z_scores(chain: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """How many standard errors the means of chain `(S, F)` and of draws `(E, F)` differ."""
    batches = chain[: len(chain) // 20 * 20].reshape(20, -1, chain.shape[1]).mean(axis=1)
    error = batches.var(axis=0, ddof=1) / 20 + expected.var(axis=0) / len(expected)
    return np.asarray((chain.mean(axis=0) - expected.mean(axis=0)) / np.sqrt(error))


@LENGTHS
def test_priors_are_drawn_from_their_joint_distribution(
    draws: int, sweeps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Geweke, Getting it right, JASA 2004: alternate between vectors given prior and prior given
    # vectors; the prior must come out distributed as it was before any vector was seen.
    monkeypatch.setattr(regression_module, "SHAPE", 4.0)
    monkeypatch.setattr(regression_module, "RATE", 4.0)
    rng = np.random.default_rng(0)
    size, rows = 2, 5
    x = sparse.csr_array(rng.standard_normal((rows, 3)))
    of = Regression(x)

    def statistics(precision: np.ndarray, ridge: float, means: np.ndarray) -> list[float]:
        pull = np.einsum("nk,kl,nl->", means, precision, means)  # ~ chi-squared weighted by x
        return [np.log(np.linalg.det(precision)), np.log(precision[0, 0]), ridge, np.log(pull)]

    def from_prior() -> tuple[np.ndarray, float, np.ndarray]:
        precision = wishart.rvs(size, np.eye(size) / module.PRIOR_SPREAD, random_state=rng)
        ridge = rng.gamma(4.0) / 4.0
        factor = np.linalg.cholesky(np.linalg.inv(precision))
        coefficients = rng.standard_normal((3, size)) @ factor.T / np.sqrt(ridge)
        return precision, ridge, x @ coefficients

    expected = np.array([statistics(*from_prior()) for _ in range(draws)])
    precision, of.ridge, means = from_prior()
    prior = Prior(precision, means)
    chain = []
    for _ in range(sweeps):
        factor = np.linalg.cholesky(np.linalg.inv(prior.precision))
        vectors = prior.means + rng.standard_normal((rows, size)) @ factor.T
        prior = draw_prior(prior, vectors.astype(np.float32), of, rng)
        chain.append(statistics(prior.precision, of.ridge, prior.means))
    assert np.abs(z_scores(np.array(chain), expected)).max() < 4


@LENGTHS
def test_noise_of_movies_is_drawn_from_its_joint_distribution(draws: int, sweeps: int) -> None:
    rng = np.random.default_rng(1)
    rows = np.repeat(np.arange(4), 6).astype(np.int32)
    of = side(rows, 4)

    def from_prior() -> np.ndarray:
        shape = rng.choice(module.NOISE_SHAPES)
        return rng.gamma(shape, 1 / shape, 4)

    def statistics(noise: np.ndarray) -> list[float]:
        logs = np.log(noise)
        return [float(np.tanh(logs).mean()), float(logs.var() < 0.1), float(noise[0] < 1)]

    expected = np.array([statistics(from_prior()) for _ in range(draws)])
    noise, chain = from_prior(), []
    for _ in range(2 * sweeps):
        residuals = (rng.standard_normal(len(rows)) / np.sqrt(noise[rows])).astype(np.float32)
        noise = draw_noise_precision(residuals, of, rng).astype(np.float64)
        chain.append(statistics(noise))
    assert np.abs(z_scores(np.array(chain), expected)).max() < 4


@LENGTHS
def test_vectors_session_effects_and_latents_are_drawn_from_their_joint_distribution(
    draws: int,
    sweeps: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The same with ratings in place of vectors, hyperparameters held.
    noise = np.array([0.7, 1.0, 1.3, 2.0], np.float32)
    monkeypatch.setattr(module, "PRIORS_AFTER", 10**9)
    monkeypatch.setattr(module, "draw_thresholds", lambda thresholds, *_: thresholds)
    monkeypatch.setattr(module, "draw_noise_precision", lambda *_: noise)
    monkeypatch.setattr(module, "EFFECTS_AFTER", 0)
    monkeypatch.setattr(session_module, "_draw_law", lambda *_: (0.6, 0.5))
    monkeypatch.setattr(session_module, "_draw_variance", lambda *_: 0.3)
    rng = np.random.default_rng(2)
    ratings = small_world(3, 4, 24, seed=3)
    priors = [
        Prior(np.array([[3.0, 0.5], [0.5, 2.0]]), rng.standard_normal((count, 2)) / 2)
        for count in (3, 4)
    ]
    nothing = (
        Regression(sparse.csr_array(np.ones((3, 1)))),
        Regression(sparse.csr_array(np.ones((4, 1)))),
    )
    sampler = Sampler(ratings, *nothing, 1, rng)
    sampler.thresholds, sampler.noise_precision = np.array([-0.5, 0.8]), noise
    sampler.user_prior, sampler.movie_prior = priors
    sampler.effects = sampler.effects._replace(
        correlation=0.6, slow_variance=0.5, quick_variance=0.3
    )

    def statistics(users: np.ndarray, movies: np.ndarray, effects: np.ndarray) -> list[float]:
        first, second = users[:, 0], movies[:, 0]
        pair = first[0] * second[0]
        return [
            *users.mean(axis=0), *movies.mean(axis=0), (users**2).mean(), (movies**2).mean(),
            pair, pair**2, effects.mean(), (effects**2).mean(), (effects[1:] * effects[:-1]).mean(),
        ]  # fmt: skip

    def vectors(prior: Prior) -> np.ndarray:
        factor = np.linalg.cholesky(np.linalg.inv(prior.precision))
        drawn = prior.means + rng.standard_normal(prior.means.shape) @ factor.T
        return np.asarray(drawn)

    def slow() -> np.ndarray:
        series = np.sqrt(0.5) * rng.standard_normal(len(ratings.first_groups))
        for group in np.flatnonzero(~ratings.first_groups):
            series[group] = 0.6 * series[group - 1] + np.sqrt(1 - 0.36) * series[group]
        return np.asarray(series)

    expected = np.array(
        [
            statistics(
                vectors(priors[0]),
                vectors(priors[1]),
                slow() + np.sqrt(0.3) * rng.standard_normal(len(ratings.first_groups)),
            )
            for _ in range(draws)
        ]
    )
    chain = []
    for _ in range(sweeps):
        latents = sampler.scores(ratings) + rng.standard_normal(24) / np.sqrt(noise[ratings.movies])
        ratings.classes[:] = np.searchsorted(sampler.thresholds, latents)
        sampler.sweep()
        effects = sampler.effects.slow + sampler.effects.quick
        chain.append(statistics(sampler.user_vectors, sampler.movie_vectors, effects))
    assert np.abs(z_scores(np.array(chain), expected)).max() < 4


def planted(users: int, movies: int, count: int) -> tuple[Ratings, np.ndarray]:
    """Ratings of a world with three directions of taste, and their true scores."""
    rng = np.random.default_rng(4)
    ratings = small_world(users, movies, count, seed=5)
    tastes, traits = rng.standard_normal((users, 3)), rng.standard_normal((movies, 3))
    biases = 0.5 * rng.standard_normal(movies)
    scores = (tastes[ratings.users] * traits[ratings.movies]).sum(axis=1) / np.sqrt(3)
    scores += biases[ratings.movies]
    latents = scores + 0.5 * rng.standard_normal(count)
    ratings.classes[:] = np.searchsorted([-1.2, -0.4, 0.4, 1.2], latents)
    return ratings, scores


def constants(ratings: Ratings) -> tuple[Regression, Regression]:
    """Regressions that know nothing of users and movies."""
    users, movies = (
        Regression(sparse.csr_array(np.ones((count, 1))))
        for count in (ratings.user_count, ratings.movie_count)
    )
    return users, movies


def plain(ratings: Ratings, seed: int) -> Sampler:
    return Sampler(ratings, *constants(ratings), 4, np.random.default_rng(seed))


def test_a_planted_world_is_recovered_on_ratings_never_seen() -> None:
    ratings, scores = planted(120, 80, 6000)
    hidden = np.random.default_rng(6).random(6000) < 0.2
    sampler = plain(ratings.part(~hidden), 0)
    asked, total = ratings.part(hidden), np.zeros(int(hidden.sum()))
    for sweep in range(120):
        sampler.sweep()
        if sweep >= 40:
            total += sampler.scores(asked)
    assert np.corrcoef(total, scores[hidden])[0, 1] > 0.93
    # Thresholds are in units of the noise: 0.8 / 0.5 apart.
    np.testing.assert_allclose(np.diff(sampler.thresholds), 1.6, atol=0.2)


def test_planted_noise_of_movies_is_recovered() -> None:
    rng = np.random.default_rng(7)
    ratings = small_world(120, 30, 9000, seed=8)
    scores = rng.standard_normal(120)[ratings.users] * rng.standard_normal(30)[ratings.movies]
    precisions = rng.gamma(2.0, 1 / 2, 30)
    latents = scores + rng.standard_normal(9000) / np.sqrt(precisions[ratings.movies])
    ratings.classes[:] = np.searchsorted([-1.2, -0.4, 0.4, 1.2], latents)
    sampler, total = plain(ratings, 3), np.zeros(30)
    for sweep in range(150):
        sampler.sweep()
        if sweep >= 50:
            total += np.log(sampler.noise_precision)
    found, expected = total / 100, np.log(precisions)
    # The unit is free: thresholds and all scores follow it.
    spread = np.std((found - found.mean()) - (expected - expected.mean()))
    assert spread < 0.3 * expected.std()


def test_the_same_seed_gives_the_same_chain_also_from_a_saved_state() -> None:
    ratings, _ = planted(40, 30, 900)
    through = plain(ratings, 1)
    for _ in range(9):
        through.sweep()
    left = plain(ratings, 1)
    for _ in range(6):
        left.sweep()
    resumed = plain(ratings, 99)
    resumed.restore(left.state())
    for _ in range(3):
        resumed.sweep()
    for name, array in through.state().arrays.items():
        np.testing.assert_array_equal(resumed.state().arrays[name], array, err_msg=name)
    other = plain(ratings, 2)
    other.sweep()
    assert not np.array_equal(other.user_vectors, through.user_vectors)


def test_the_chain_is_the_same_on_one_thread_as_on_several(monkeypatch: pytest.MonkeyPatch) -> None:
    ratings, _ = planted(40, 30, 900)
    states = []
    for few, cores in ((10**9, 1), (0, 3)):
        monkeypatch.setattr(compiled, "FEW", few)
        monkeypatch.setattr(compiled, "cores", lambda cores=cores: cores)
        sampler = plain(ratings, 1)
        for _ in range(8):
            sampler.sweep()
        states.append(sampler.state().arrays)
    for name, array in states[0].items():
        np.testing.assert_array_equal(states[1][name], array, err_msg=name)


@pytest.mark.parametrize("hidden", [0, 4])
def test_a_class_that_training_never_saw_is_drawn_once_it_is_seen(hidden: int) -> None:
    ratings, _ = planted(40, 30, 900)
    classes = ratings.classes.copy()
    sampler = plain(ratings.part(classes != hidden), 5)
    for _ in range(60):
        sampler.sweep()
    edge = 0 if hidden == 0 else -1
    held = sampler.thresholds[edge]
    sampler.observe(ratings, lambda _: constants(ratings))
    drawn = []
    for _ in range(40):
        sampler.sweep()
        drawn.append(sampler.thresholds[edge])
    assert len(set(drawn)) > 5
    # A class with many ratings has its threshold further in than where the prior held it.
    assert abs(np.mean(drawn[20:])) < abs(held) - 0.3


@pytest.mark.parametrize("classes", [1, 2])
def test_one_class_or_two_are_swept_without_a_word(classes: int) -> None:
    ratings, _ = planted(40, 30, 400)
    ratings.classes[:] = np.minimum(ratings.classes, classes - 1)
    sampler = plain(replace(ratings, class_count=classes), 6)
    for _ in range(30):
        sampler.sweep()
    assert np.isfinite(sampler.scores(ratings)).all()
    assert sampler.thresholds.shape == (classes - 1,)


@pytest.mark.parametrize("place", ["user_vectors", "noise_precision"])
def test_what_is_no_number_is_found_in_the_sweep_that_made_it(place: str) -> None:
    ratings, _ = planted(20, 15, 200)
    sampler = plain(ratings, 7)
    for _ in range(8):
        sampler.sweep()
    getattr(sampler, place)[3] = np.nan
    with np.errstate(all="ignore"), pytest.raises(RecError, match="sweep 9 of the Bayesian pair"):
        sampler.sweep()


def test_a_matrix_that_cannot_be_decomposed_names_its_sweep() -> None:
    ratings, _ = planted(20, 15, 200)
    sampler = plain(ratings, 8)
    for _ in range(5):
        sampler.sweep()
    sampler.user_prior = Prior(-np.eye(5), sampler.user_prior.means)
    with pytest.raises(RecError, match="sweep 6 of the Bayesian pair failed"):
        sampler.sweep()


def test_parts_are_of_even_work_and_cover_every_row() -> None:
    work = np.concatenate([[0], np.cumsum(np.random.default_rng(0).integers(1, 50, 1000))])
    cuts = even_cuts(work)
    assert (cuts[0], cuts[-1], len(cuts)) == (0, 1000, compiled.PARTS + 1)
    assert np.diff(work[cuts]).max() < 1.2 * work[-1] / compiled.PARTS
    assert even_cuts(np.arange(4)).tolist() == [0, 1, 2, 3]
