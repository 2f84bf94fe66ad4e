import numpy as np
import pytest
from scipy.stats import norm

from retrieval.blending.link import Link

LINK = Link(values=(1.0, 2.0, 4.0), thresholds=(-0.5, 1.0))


def test_expected_ratings_are_those_of_simulated_ones() -> None:
    rng = np.random.default_rng(0)
    for score, variance in ((-1.0, 1.0), (0.3, 1.0), (0.3, 2.5), (2.0, 0.5)):
        latents = score + np.sqrt(variance) * rng.standard_normal(400_000)
        ratings = np.array(LINK.values)[np.searchsorted(LINK.thresholds, latents)]
        chances = LINK.chances(np.array([score]), np.array([variance]))[0]
        shares = [(ratings == value).mean() for value in LINK.values]
        np.testing.assert_allclose(chances, shares, atol=0.004)
        expected = LINK.ratings(np.array([score]))[0]
        if variance == 1.0:
            assert expected == pytest.approx(ratings.mean(), abs=0.01)
        spread = np.sqrt(((ratings - expected) ** 2).mean())
        deviation = LINK.deviations(np.array([expected]), chances[None])[0]
        assert deviation == pytest.approx(spread, abs=0.01)


def test_ratings_rise_with_the_score_inside_the_scale() -> None:
    ratings = LINK.ratings(np.linspace(-6, 6, 500))
    assert (np.diff(ratings) > 0).all()
    assert 1.0 < ratings[0] < 1.001
    assert 3.999 < ratings[-1] < 4.0


def test_a_rating_does_not_depend_on_what_is_asked_with_it() -> None:
    scores = np.random.default_rng(1).standard_normal(1001)
    together = LINK.ratings(scores)
    assert [LINK.ratings(score[None])[0] for score in scores] == together.tolist()
    np.testing.assert_array_equal(
        LINK.ratings(scores[:1000].reshape(10, 100)).ravel(), together[:1000]
    )


def test_shapes_are_kept() -> None:
    scores, variances = np.zeros((2, 3)), np.ones((2, 3))
    ratings, chances = LINK.ratings(scores), LINK.chances(scores, variances)
    assert chances.shape == (2, 3, 3)
    assert ratings.shape == LINK.deviations(ratings, chances).shape == (2, 3)
    np.testing.assert_allclose(chances[0, 0, 0], norm.cdf(-0.5))
