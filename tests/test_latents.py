import numpy as np
import pytest
from scipy.special import ndtr

from retrieval.pairs.bayesian import latents as module
from retrieval.pairs.bayesian.latents import (
    FIRMNESS,
    draw_latents,
    draw_thresholds,
    expected_latents,
    expected_ratings,
    likelihood,
    middle,
    starting_thresholds,
)

THRESHOLDS = np.array([-1.5, -0.4, 0.3, 1.6])


def world(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, classes and weights of ratings that follow the thresholds."""
    rng = np.random.default_rng(seed)
    scores = rng.standard_normal(count).astype(np.float32)
    weights = rng.gamma(8.0, 1 / 8, count).astype(np.float32)
    latents = scores + rng.standard_normal(count) / np.sqrt(weights)
    return scores, np.searchsorted(THRESHOLDS, latents).astype(np.int8), weights


def test_latent_values_fall_between_the_thresholds_of_their_ratings() -> None:
    scores, classes, weights = world(5000)
    latents = draw_latents(scores, classes, THRESHOLDS, weights, np.random.default_rng(1))
    np.testing.assert_array_equal(np.searchsorted(THRESHOLDS, latents), classes)
    noise = (latents - scores) * np.sqrt(weights)
    assert abs(noise.mean()) < 4 / np.sqrt(5000)
    assert abs(noise.var() - 1) < 4 * np.sqrt(2 / 5000)


@pytest.mark.parametrize("score", [-3.0, 0.1, 4.0])
def test_latent_values_have_the_mean_of_a_truncated_normal(score: float) -> None:
    scores = np.full(40_000, score, np.float32)
    weights = np.full(40_000, 1.7, np.float32)
    for rating in range(5):
        classes = np.full(40_000, rating, np.int8)
        drawn = draw_latents(scores, classes, THRESHOLDS, weights, np.random.default_rng(rating))
        grid = np.linspace(score - 8, score + 8, 200_001)
        inside = np.searchsorted(THRESHOLDS, grid) == rating
        density = np.where(inside, np.exp(-1.7 * (grid - score) ** 2 / 2), 0.0)
        mean = (grid * density).sum() / density.sum()
        assert abs(drawn.mean() - mean) < 4.5 * drawn.std() / 200
        expected = expected_latents(
            scores[:1].astype(float), classes[:1], THRESHOLDS, weights[:1].astype(float)
        )
        assert expected[0] == pytest.approx(mean, abs=1e-3)


def test_latent_values_drawn_some_at_a_time_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, classes, weights = world(500)
    asked = (scores, classes, THRESHOLDS, weights)
    whole = draw_latents(*asked, np.random.default_rng(1))
    monkeypatch.setattr(module, "DRAWN", 70)
    np.testing.assert_array_equal(draw_latents(*asked, np.random.default_rng(1)), whole)


def test_far_tails_stay_finite_and_inside() -> None:
    scores = np.array([9.0, -9.0], np.float32)
    classes = np.array([0, 4], np.int8)
    ones = np.ones(2, np.float32)
    latents = draw_latents(scores, classes, THRESHOLDS, ones, np.random.default_rng(0))
    assert np.isfinite(latents).all()
    assert latents[0] <= THRESHOLDS[0]
    assert latents[1] >= THRESHOLDS[-1]
    assert np.isfinite(likelihood(THRESHOLDS, scores, classes, ones).value)


def test_derivatives_of_the_likelihood_are_those_of_differences() -> None:
    scores, classes, weights = world(3000)
    here, step = likelihood(THRESHOLDS, scores, classes, weights), 1e-5
    for place in range(len(THRESHOLDS)):
        move = step * (np.arange(len(THRESHOLDS)) == place)
        above = likelihood(THRESHOLDS + move, scores, classes, weights)
        below = likelihood(THRESHOLDS - move, scores, classes, weights)
        slope = (above.value - below.value) / (2 * step)
        assert here.gradient[place] == pytest.approx(slope, rel=1e-4, abs=1e-2)
        curve = (above.gradient - below.gradient) / (2 * step)
        np.testing.assert_allclose(here.hessian[place], curve, rtol=1e-4, atol=1e-2)


def test_thresholds_are_drawn_from_their_posterior() -> None:
    # Under a flat prior and many ratings it is normal around the mode, with the inverse curvature.
    scores, classes, weights = world(4000)
    rng = np.random.default_rng(2)
    thresholds = starting_thresholds(classes, 5)
    draws = []
    for _ in range(500):
        thresholds = draw_thresholds(thresholds, scores, classes, weights, rng)
        draws.append(thresholds)
    kept = np.array(draws[100:])
    mode = kept.mean(axis=0)
    for _ in range(20):
        at = likelihood(mode, scores, classes, weights)
        mode = mode - np.linalg.solve(at.hessian, at.gradient)
    spread = np.sqrt(np.diag(np.linalg.inv(-likelihood(mode, scores, classes, weights).hessian)))
    assert np.abs((kept.mean(axis=0) - mode) / spread).max() < 0.2
    np.testing.assert_allclose(kept.std(axis=0), spread, rtol=0.15)
    assert np.abs((mode - THRESHOLDS) / spread).max() < 4
    assert (np.diff(kept, axis=1) > 0).all()


@pytest.mark.parametrize("empty", [[4], [0], [0, 4], [3, 4]])
def test_thresholds_beside_a_class_without_ratings_do_not_drift(empty: list[int]) -> None:
    scores, classes, weights = world(200)
    there = ~np.isin(classes, empty)
    seen = scores[there], classes[there], weights[there]
    rng, thresholds = np.random.default_rng(3), starting_thresholds(seen[1], 5)
    draws = []
    for _ in range(250):
        thresholds = draw_thresholds(thresholds, *seen, rng)
        draws.append(thresholds)
    assert len(np.unique(draws, axis=0)) > 50
    assert np.abs(draws).max() < 7


def test_a_threshold_beside_an_empty_class_is_drawn_from_its_posterior() -> None:
    # Of two classes the upper one has no rating: the posterior is known on a grid.
    rng = np.random.default_rng(4)
    scores = rng.standard_normal(30).astype(np.float32)
    classes, weights = np.zeros(30, np.int8), np.full(30, 0.5, np.float32)
    start = starting_thresholds(classes, 2)
    grid = np.linspace(-2, 12, 5001)
    logs = ndtr(np.sqrt(0.5) * (grid[:, None] - scores)).clip(1e-300)
    density = np.exp(np.log(logs).sum(axis=1) - FIRMNESS * (grid - start) ** 2 / 2)
    density /= density.sum()
    mean = (grid * density).sum()
    deviation = np.sqrt(((grid - mean) ** 2 * density).sum())
    thresholds, draws = start, []
    for _ in range(800):
        thresholds = draw_thresholds(thresholds, scores, classes, weights, rng)
        draws.append(thresholds[0])
    assert abs(np.mean(draws) - mean) < 0.15 * deviation
    assert abs(np.std(draws) - deviation) < 0.15 * deviation


def test_where_every_class_has_ratings_the_prior_says_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scores, classes, weights = world(300)
    start = starting_thresholds(classes, 5)
    drawn = draw_thresholds(start, scores, classes, weights, np.random.default_rng(0))
    monkeypatch.setattr(module, "FIRMNESS", 1e6)
    again = draw_thresholds(start, scores, classes, weights, np.random.default_rng(0))
    np.testing.assert_array_equal(drawn, again)


def test_one_class_has_no_thresholds_and_any_latent_value() -> None:
    classes, none = np.zeros(5000, np.int8), starting_thresholds(np.zeros(5000, np.int8), 1)
    scores, ones = np.full(5000, 0.7, np.float32), np.ones(5000, np.float32)
    rng = np.random.default_rng(0)
    assert draw_thresholds(none, scores, classes, ones, rng).shape == (0,)
    assert middle(none) == 0
    latents = draw_latents(scores, classes, none, ones, rng)
    assert latents.mean() == pytest.approx(0.7, abs=0.06)
    assert latents.std() == pytest.approx(1.0, abs=0.05)
    found = expected_latents(scores.astype(float), classes, none, ones.astype(float))
    np.testing.assert_allclose(found, 0.7, rtol=1e-6)
    expected = expected_ratings(found, none, ones, np.array([3.0]))
    np.testing.assert_array_equal(expected, 3.0)
