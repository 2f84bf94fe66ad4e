import numpy as np

from retrieval.blending.weights import fit_weights

THRESHOLDS = np.array([-1.0, 0.2, 1.1])
VALUES = (1.0, 2.0, 3.0, 4.0)


def test_planted_weights_and_thresholds_are_found() -> None:
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((20_000, 2))
    latents = scores @ [0.7, 0.3] + rng.standard_normal(20_000)
    classes = np.searchsorted(THRESHOLDS, latents).astype(np.int8)
    weights, link = fit_weights(scores, classes, VALUES, np.array([-0.5, 0.0, 0.5]), [0.0, 1.0])
    np.testing.assert_allclose(weights, [0.7, 0.3], atol=0.04)
    np.testing.assert_allclose(link.thresholds, THRESHOLDS, atol=0.05)
    assert link.values == VALUES


def test_a_pair_that_says_nothing_gets_no_weight() -> None:
    rng = np.random.default_rng(1)
    scores = rng.standard_normal((20_000, 2))
    classes = np.searchsorted(THRESHOLDS, scores[:, 0] + rng.standard_normal(20_000))
    weights, _ = fit_weights(scores, classes.astype(np.int8), VALUES, THRESHOLDS, [0.5, 0.5])
    assert abs(weights[1]) < 0.03


def test_classes_that_validation_lacks_keep_thresholds_apart() -> None:
    rng = np.random.default_rng(2)
    scores = rng.standard_normal((300, 1))
    classes = np.where(scores[:, 0] + rng.standard_normal(300) > 0, 3, 0).astype(np.int8)
    _, link = fit_weights(scores, classes, VALUES, THRESHOLDS, [1.0])
    assert (np.diff(link.thresholds) > 0.01).all()
    empty, _ = fit_weights(np.zeros((0, 1)), np.zeros(0, np.int8), VALUES, THRESHOLDS, [1.0])
    assert empty == (1.0,)
