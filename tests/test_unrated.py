import numpy as np
import pytest

from retrieval.blending.blend import Blend
from retrieval.blending.link import Link
from retrieval.blending.unrated import Parts, fit_unrated

LINK = Link(stars=(1.0, 2.0, 3.0, 4.0, 5.0), thresholds=(-1.5, -0.5, 0.5, 1.5))
BLEND = Blend(
    weights=(0.4, 0.8),
    newcomer_weights=(0.4, 0.8),
    newcomer_offset=0.0,
    halfway=1.0,
    origin=3.0,
    unrated_factors=(1.0, 1.0),
    unrated_offset_factors=(1.0, 1.0),
    unrated_shift=0.0,
)


def asked(count: int) -> Parts:
    rng = np.random.default_rng(0)
    return Parts(*rng.standard_normal((2, count, 2)))


def test_planted_factors_and_shift_are_found() -> None:
    made = asked(40_000)
    scores = made.products @ (0.4 * 1.7, 0.8 * 0.3) + 0.8 * 0.5
    scores += made.offsets @ (0.4 * 2.5, 0.8 * 0.2)
    latents = scores + np.random.default_rng(1).standard_normal(len(scores))
    ratings = 1 + np.searchsorted(LINK.thresholds, latents).astype(np.float32)
    found = fit_unrated(made, ratings, BLEND, LINK)
    np.testing.assert_allclose(found.unrated_factors, (1.7, 0.3), atol=0.05)
    np.testing.assert_allclose(found.unrated_offset_factors, (2.5, 0.2), atol=0.05)
    assert found.unrated_shift == pytest.approx(0.5, abs=0.03)
    assert found.weights == BLEND.weights


def test_few_ratings_change_little() -> None:
    found = fit_unrated(asked(2), np.array([5.0, 1.0], np.float32), BLEND, LINK)
    np.testing.assert_allclose(found.unrated_factors, (1, 1), atol=0.4)
    assert found.unrated_factors != (1.0, 1.0)
