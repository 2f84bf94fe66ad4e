import numpy as np
import pytest

from retrieval.sampling.latents import (
    draw_latents,
    draw_thresholds,
    expected_latents,
    likelihood,
    starting_thresholds,
)

THRESHOLDS = np.array([-1.5, -0.4, 0.3, 1.6])


def world(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, levels and weights of ratings that follow the thresholds."""
    rng = np.random.default_rng(seed)
    scores = rng.standard_normal(count).astype(np.float32)
    weights = rng.gamma(8.0, 1 / 8, count).astype(np.float32)
    latents = scores + rng.standard_normal(count) / np.sqrt(weights)
    return scores, np.searchsorted(THRESHOLDS, latents).astype(np.int8), weights


def test_latent_values_fall_between_the_thresholds_of_their_ratings() -> None:
    scores, levels, weights = world(5000)
    latents = draw_latents(scores, levels, THRESHOLDS, weights, np.random.default_rng(1))
    np.testing.assert_array_equal(np.searchsorted(THRESHOLDS, latents), levels)
    noise = (latents - scores) * np.sqrt(weights)
    assert abs(noise.mean()) < 4 / np.sqrt(5000)
    assert abs(noise.var() - 1) < 4 * np.sqrt(2 / 5000)


@pytest.mark.parametrize("score", [-3.0, 0.1, 4.0])
def test_latent_values_have_the_mean_of_a_truncated_normal(score: float) -> None:
    scores = np.full(40_000, score, np.float32)
    weights = np.full(40_000, 1.7, np.float32)
    for level in range(5):
        levels = np.full(40_000, level, np.int8)
        drawn = draw_latents(scores, levels, THRESHOLDS, weights, np.random.default_rng(level))
        grid = np.linspace(score - 8, score + 8, 200_001)
        inside = np.searchsorted(THRESHOLDS, grid) == level
        density = np.where(inside, np.exp(-1.7 * (grid - score) ** 2 / 2), 0.0)
        mean = (grid * density).sum() / density.sum()
        assert abs(drawn.mean() - mean) < 4.5 * drawn.std() / 200
        expected = expected_latents(
            scores[:1].astype(float), levels[:1], THRESHOLDS, weights[:1].astype(float)
        )
        assert expected[0] == pytest.approx(mean, abs=1e-3)


def test_far_tails_stay_finite_and_inside() -> None:
    scores = np.array([9.0, -9.0], np.float32)
    levels = np.array([0, 4], np.int8)
    ones = np.ones(2, np.float32)
    latents = draw_latents(scores, levels, THRESHOLDS, ones, np.random.default_rng(0))
    assert np.isfinite(latents).all()
    assert latents[0] <= THRESHOLDS[0]
    assert latents[1] >= THRESHOLDS[-1]
    assert np.isfinite(likelihood(THRESHOLDS, scores, levels, ones).value)


def test_derivatives_of_the_likelihood_are_those_of_differences() -> None:
    scores, levels, weights = world(3000)
    here, step = likelihood(THRESHOLDS, scores, levels, weights), 1e-5
    for place in range(len(THRESHOLDS)):
        move = step * (np.arange(len(THRESHOLDS)) == place)
        above = likelihood(THRESHOLDS + move, scores, levels, weights)
        below = likelihood(THRESHOLDS - move, scores, levels, weights)
        slope = (above.value - below.value) / (2 * step)
        assert here.gradient[place] == pytest.approx(slope, rel=1e-4, abs=1e-2)
        curve = (above.gradient - below.gradient) / (2 * step)
        np.testing.assert_allclose(here.hessian[place], curve, rtol=1e-4, atol=1e-2)


def test_thresholds_are_drawn_from_their_posterior() -> None:
    # Under a flat prior and many ratings it is normal around the mode, with the inverse curvature.
    scores, levels, weights = world(4000)
    rng = np.random.default_rng(2)
    thresholds = starting_thresholds(levels, 5)
    draws = []
    for _ in range(700):
        thresholds = draw_thresholds(thresholds, scores, levels, weights, rng)
        draws.append(thresholds)
    kept = np.array(draws[100:])
    mode = kept.mean(axis=0)
    for _ in range(20):
        at = likelihood(mode, scores, levels, weights)
        mode = mode - np.linalg.solve(at.hessian, at.gradient)
    spread = np.sqrt(np.diag(np.linalg.inv(-likelihood(mode, scores, levels, weights).hessian)))
    assert np.abs((kept.mean(axis=0) - mode) / spread).max() < 0.2
    np.testing.assert_allclose(kept.std(axis=0), spread, rtol=0.15)
    assert np.abs((mode - THRESHOLDS) / spread).max() < 4
    assert (np.diff(kept, axis=1) > 0).all()
