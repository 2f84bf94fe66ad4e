import numpy as np
import pytest

from retrieval.pairs.bayesian import session as module
from retrieval.pairs.bayesian.session import (
    SessionEffects,
    draw_autoregression,
    draw_session_effects,
    same_second_groups,
)


def test_ratings_of_one_second_are_a_group() -> None:
    users = np.array([0, 0, 0, 2, 2, 2])
    times = np.array([5, 5, 9, 9, 9, 12])
    of_ratings, first = same_second_groups(users, times)
    assert of_ratings.tolist() == [0, 0, 1, 2, 2, 3]
    assert first.tolist() == [True, False, True, False]


def test_an_autoregression_is_drawn_from_its_exact_posterior() -> None:
    first = np.array([True, False, False, False, True, False])
    correlation, variance = 0.7, 0.5
    weights = np.array([2.0, 0.0, 1.0, 4.0, 0.5, 3.0])  # nothing is seen of the second
    observed = np.array([0.8, 0.0, -0.2, 1.5, -1.0, 0.4])
    place = np.arange(6)
    series = np.cumsum(first)
    prior = variance * correlation ** np.abs(place[:, None] - place) * (series[:, None] == series)
    precision = np.linalg.inv(prior) + np.diag(weights)
    mean = np.linalg.solve(precision, weights * observed)
    rng = np.random.default_rng(0)
    draws, drawn = [], np.empty(6)
    for _ in range(20_000):
        draw_autoregression(
            first, weights * observed, weights, correlation, variance, rng.standard_normal(6), drawn
        )
        draws.append(drawn.copy())
    spread = np.linalg.inv(precision)
    errors = (np.mean(draws, axis=0) - mean) / np.sqrt(np.diag(spread) / len(draws))
    assert np.abs(errors).max() < 4.5
    np.testing.assert_allclose(np.cov(np.array(draws).T), spread, atol=0.015)


def test_planted_session_effects_and_their_law_are_found() -> None:
    rng = np.random.default_rng(1)
    users, length = 300, 60
    first = np.arange(users * length) % length == 0
    slow = np.empty(users * length)
    for group in range(users * length):
        before = 0.0 if first[group] else 0.9 * slow[group - 1]
        step = 0.3 if first[group] else 0.3 * np.sqrt(1 - 0.9**2)
        slow[group] = before + step * rng.standard_normal()
    quick = 0.2 * rng.standard_normal(users * length)
    of_ratings = np.repeat(np.arange(users * length), 3).astype(np.int32)
    ratings = (slow + quick)[of_ratings] + 0.5 * rng.standard_normal(len(of_ratings))
    weights = np.full(len(of_ratings), 4.0, np.float32)
    residuals = ratings.astype(np.float32)
    nothing = np.zeros((2, len(first)), np.float32)
    effects = SessionEffects(nothing[0], nothing[1], 0.5, 1.0, 1.0)
    laws, found = [], np.zeros(len(first))
    for sweep in range(400):
        effects = draw_session_effects(effects, of_ratings, first, weights, residuals, rng)
        if sweep >= 200:
            laws.append(effects.law())
            found += effects.slow / 200
    total = (effects.slow + effects.quick)[of_ratings]
    np.testing.assert_allclose(residuals, ratings - total, atol=1e-3)
    correlation, slow_variance, quick_variance = np.mean(laws, axis=0)
    assert abs(correlation - 0.9) < 0.03
    assert abs(slow_variance - 0.09) < 0.015
    assert abs(quick_variance - 0.04) < 0.01
    assert np.corrcoef(found, slow)[0, 1] > 0.8


def test_effects_drawn_in_parts_are_those_of_the_same_posterior(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(2)
    first = np.arange(60) % 5 == 0
    of_ratings = np.sort(rng.integers(0, 60, 200)).astype(np.int32)
    weights = rng.gamma(2.0, 1.0, 200).astype(np.float32)
    ratings = rng.standard_normal(200).astype(np.float32)

    def mean_effects() -> np.ndarray:
        """Return the mean over draws from one law, `(60,)`."""
        monkeypatch.setattr(module, "_draw_law", lambda *_: (0.7, 0.4))
        monkeypatch.setattr(module, "_draw_variance", lambda *_: 0.2)
        slow, quick = np.zeros((2, 60), np.float32)
        effects, left = SessionEffects(slow, quick, 0.7, 0.4, 0.2), ratings.copy()
        total = np.zeros(60)
        for _ in range(4000):
            effects = draw_session_effects(effects, of_ratings, first, weights, left, rng)
            total += effects.slow + effects.quick
        drawn = (effects.slow + effects.quick)[of_ratings]
        np.testing.assert_allclose(left + drawn, ratings, atol=1e-3)
        return total / 4000

    whole = mean_effects()
    monkeypatch.setattr(module, "GROUPS", 7)
    np.testing.assert_allclose(mean_effects(), whole, atol=0.06)
