"""The ordered probit: a rating is the interval of thresholds that a latent value falls in.

The latent value of a rating is its score plus normal noise. Its thresholds are drawn with the
latent values integrated out, or they would hardly move.

Source: Albert and Chib, Bayesian analysis of binary and polychotomous response data, JASA 1993;
Cowles, Accelerating Monte Carlo Markov chain convergence for cumulative-link generalized linear
models, Statistics and Computing 1996, with a Newton step as the proposal.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from retrieval.pairs.bayesian.compiled import equal_cuts, in_parts

Floats = NDArray[np.float64]

# Probabilities are kept away from 0 and 1, whose latent values are infinite.
SMALLEST, LARGEST = 1e-300, 1 - 2.0**-53

# The precision of the prior on a threshold beside a class without ratings: without one, it could
# drift without end. Its mean is where the threshold would start.
FIRMNESS = 1.0

# Latent values drawn at a time: what that needs beside them does not grow with the ratings.
DRAWN = 2**18


class Likelihood(NamedTuple):
    """The log-likelihood of the thresholds, and its derivatives."""

    value: float
    gradient: Floats  # (T,)
    hessian: Floats  # (T, T)


def starting_thresholds(classes: NDArray[np.int8], count: int) -> Floats:
    """Return the thresholds `(count - 1,)` that would explain ratings by noise alone."""
    counts = np.bincount(classes, minlength=count) + 0.5  # a class may not occur yet
    return np.asarray(ndtri(np.cumsum(counts)[:-1] / counts.sum()), dtype=np.float64)


def middle(thresholds: Floats) -> np.float64:
    """Return the mean of the thresholds, which scores are measured from; 0 of none."""
    return np.float64(thresholds.mean() if len(thresholds) else 0.0)


def draw_latents(
    scores: NDArray[np.float32],
    classes: NDArray[np.int8],
    thresholds: Floats,
    weights: NDArray[np.float32],
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Draw the latent values of N ratings: normal, and between the thresholds of their classes.

    Args:
        scores: `(N,)` means.
        classes: `(N,)` from 0 to T.
        thresholds: `(T,)` ascending.
        weights: `(N,)` precisions.
        rng: Of the draw.
    """
    latents = np.empty(len(scores), dtype=np.float32)
    for start in range(0, len(scores), DRAWN):
        part = slice(start, start + DRAWN)
        _draw_part(latents[part], scores[part], classes[part], thresholds, weights[part], rng)
    return latents


def _draw_part(
    latents: NDArray[np.float32],
    scores: NDArray[np.float32],
    classes: NDArray[np.int8],
    thresholds: Floats,
    weights: NDArray[np.float32],
    rng: np.random.Generator,
) -> None:
    """Draw latent values into an array `(N,)`; see `draw_latents`."""
    uniform = rng.random(len(scores))

    def work(begin: int, end: int) -> None:
        part = slice(begin, end)
        scale = np.sqrt(weights[part])
        low, high = _ends(scores[part], classes[part], thresholds, scale)
        # Far in the upper tail probabilities are too near 1 to be told apart: look from below.
        flip = low > 0
        below, above = ndtr(np.where(flip, -high, low)), ndtr(np.where(flip, -low, high))
        drawn = ndtri(np.clip(below + uniform[part] * (above - below), SMALLEST, LARGEST))
        latents[part] = scores[part] + np.where(flip, -drawn, drawn) / scale

    in_parts(work, equal_cuts(len(scores)))


def draw_thresholds(
    thresholds: Floats,
    scores: NDArray[np.float32],
    classes: NDArray[np.int8],
    weights: NDArray[np.float32],
    rng: np.random.Generator,
) -> Floats:
    """Return thresholds `(T,)` one Metropolis step away.

    The prior on ascending thresholds is flat; those beside a class without ratings have a normal
    one of precision `FIRMNESS`.

    Args:
        thresholds: `(T,)` where to start.
        scores: `(N,)` means of the latent values.
        classes: `(N,)` from 0 to T.
        weights: `(N,)` precisions of the latent values.
        rng: Of the proposal and of its acceptance.
    """
    if not len(thresholds):
        return thresholds
    around = _prior(classes, len(thresholds) + 1)

    def posterior(at: Floats) -> Likelihood:
        return _held(likelihood(at, scores, classes, weights), at, *around)

    here = posterior(thresholds)
    normal, uniform = rng.standard_normal(len(thresholds)), rng.random()
    mean, factor = _newton(thresholds, here)
    proposed = mean + np.linalg.solve(factor.T, normal)
    if (np.diff(proposed) <= 0).any():
        return thresholds
    there = posterior(proposed)
    forth = _log_density(proposed, mean, factor)
    back = _log_density(thresholds, *_newton(proposed, there))
    accepted = np.log(uniform) < there.value - here.value + back - forth
    return proposed if accepted else thresholds


def expected_latents(
    scores: Floats, classes: NDArray[np.int8], thresholds: Floats, weights: Floats
) -> Floats:
    """Return the means of what `draw_latents` draws, `(N,)`."""
    scale = np.sqrt(weights)
    low, high = _ends(scores, classes, thresholds, scale)
    chances = _between(low, high)
    return np.asarray(scores + (_density(low) - _density(high)) / chances / scale)


def expected_ratings(
    scores: Floats, thresholds: Floats, weights: NDArray[np.floating], values: Floats
) -> Floats:
    """Return the ratings to expect, `(N,)`.

    Args:
        scores: `(N,)` means of the latent values.
        thresholds: `(T,)` ascending.
        weights: `(N,)` precisions of the latent values, or one for all.
        values: `(T + 1,)` ratings of the classes.
    """
    scale = np.sqrt(weights, dtype=np.float64)[..., None]
    above = ndtr((scores[:, None] - thresholds) * scale)  # (N, T)
    return np.asarray(values[0] + above @ np.diff(values), dtype=np.float64)


def likelihood(
    thresholds: Floats,
    scores: NDArray[np.float32],
    classes: NDArray[np.int8],
    weights: NDArray[np.float32],
) -> Likelihood:
    """Return how likely N classes are, and the derivatives by the thresholds `(T,)`."""

    def work(begin: int, end: int) -> Likelihood:
        part = slice(begin, end)
        return _likelihood(thresholds, scores[part], classes[part], weights[part])

    parts = in_parts(work, equal_cuts(len(scores)))
    return Likelihood(
        sum(part.value for part in parts),
        np.sum([part.gradient for part in parts], axis=0),
        np.sum([part.hessian for part in parts], axis=0),
    )


def _likelihood(
    thresholds: Floats,
    scores: NDArray[np.float32],
    classes: NDArray[np.int8],
    weights: NDArray[np.float32],
) -> Likelihood:
    scale = np.sqrt(weights, dtype=np.float64)
    low, high = _ends(scores, classes, thresholds, scale)
    chances = _between(low, high)
    upper, lower = _density(high) * scale / chances, _density(low) * scale / chances
    low, high = np.where(np.isfinite(low), low, 0.0), np.where(np.isfinite(high), high, 0.0)

    def by_class(values: Floats) -> Floats:
        return np.bincount(classes, values, minlength=len(thresholds) + 1).astype(np.float64)

    # A threshold is the upper edge of one class and the lower edge of the next.
    hessian = np.diag(
        by_class(-high * scale * upper - upper**2)[:-1]
        + by_class(low * scale * lower - lower**2)[1:]
    )
    inner = np.arange(len(thresholds) - 1)
    hessian[inner, inner + 1] = hessian[inner + 1, inner] = by_class(upper * lower)[1:-1]
    gradient = by_class(upper)[:-1] - by_class(lower)[1:]
    return Likelihood(float(np.log(chances).sum()), gradient, hessian)


def _ends(
    scores: NDArray[np.floating],
    classes: NDArray[np.int8],
    thresholds: Floats,
    scale: NDArray[np.floating],
) -> tuple[Floats, Floats]:
    """Return how far the edges of the classes are from the scores, `(N,)` twice, in noise."""
    edges = np.concatenate([[-np.inf], thresholds, [np.inf]])
    low, high = edges[classes], edges[classes.astype(np.int64) + 1]
    return (low - scores) * scale, (high - scores) * scale


def _between(low: NDArray[np.floating], high: NDArray[np.floating]) -> Floats:
    """Return the probability of a standard normal between two ends, at least `SMALLEST`."""
    flip = low > 0  # the upper tail seen from below, where small probabilities are told apart
    below, above = np.where(flip, -high, low), np.where(flip, -low, high)
    return np.asarray(np.maximum(ndtr(above) - ndtr(below), SMALLEST), dtype=np.float64)


def _prior(classes: NDArray[np.int8], count: int) -> tuple[Floats, Floats]:
    """Return the means and the precisions `(count - 1,)` of the thresholds before any rating."""
    empty = np.bincount(classes, minlength=count) == 0
    return starting_thresholds(classes, count), FIRMNESS * (empty[:-1] | empty[1:])


def _held(at: Likelihood, thresholds: Floats, means: Floats, precisions: Floats) -> Likelihood:
    """Return the log-posterior of thresholds, and its derivatives, under independent normals."""
    away = thresholds - means
    return Likelihood(
        at.value - float((precisions * away**2).sum()) / 2,
        at.gradient - precisions * away,
        at.hessian - np.diag(precisions),
    )


def _newton(thresholds: Floats, at: Likelihood) -> tuple[Floats, Floats]:
    """Return the mean of a normal proposal and the Cholesky factor of its precision."""
    factor = np.asarray(np.linalg.cholesky(-at.hessian), dtype=np.float64)
    return thresholds + np.linalg.solve(-at.hessian, at.gradient), factor


def _log_density(value: Floats, mean: Floats, factor: Floats) -> float:
    return float(np.log(np.diag(factor)).sum() - ((factor.T @ (value - mean)) ** 2).sum() / 2)


def _density(values: NDArray[np.floating]) -> Floats:
    return np.asarray(np.exp(-(values**2) / 2) / np.sqrt(2 * np.pi), dtype=np.float64)
