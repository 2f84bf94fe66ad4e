"""Weights of the tower pairs, and the link, fitted on validation rows.

An ordered probit whose only features are the scores of the pairs.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import ndtr

from retrieval.link import Link

Floats = NDArray[np.float64]

SMALLEST = 1e-12


class Weights(NamedTuple):
    """How scores become one rating: `link(scores @ weights)`."""

    weights: tuple[float, ...]  # (P,)
    link: Link


def fit_weights(
    scores: Floats,
    levels: NDArray[np.int8],
    values: Sequence[float],
    thresholds: Floats,
    weights: Sequence[float],
) -> Weights:
    """Return the weights and the link under which validation ratings are most likely.

    Args:
        scores: `(N, P)` of the pairs.
        levels: `(N,)` of the ratings, from 0 to T.
        values: `(T + 1,)` ratings of the levels.
        thresholds: `(T,)` to start from, and to stay near where ratings say nothing.
        weights: `(P,)` likewise.
    """
    pairs = len(weights)
    start = np.concatenate([weights, thresholds[:1], np.log(np.diff(thresholds))])

    def spread_out(parameters: Floats) -> Floats:
        gaps = np.exp(parameters[pairs + 1 :])
        above = np.concatenate([[0.0], np.cumsum(gaps)])
        return np.asarray(parameters[pairs] + above, dtype=np.float64)

    def cost(parameters: Floats) -> float:
        edges = np.concatenate([[-np.inf], spread_out(parameters), [np.inf]])
        score = scores @ parameters[:pairs]
        chances = ndtr(edges[levels.astype(np.int64) + 1] - score) - ndtr(edges[levels] - score)
        unlikely = -np.log(np.maximum(chances, SMALLEST)).sum()
        return float(unlikely + ((parameters - start) ** 2).sum() / 2) / max(1, len(levels))

    best = minimize(cost, start, method="BFGS").x
    link = Link(stars=tuple(values), thresholds=tuple(spread_out(best).tolist()))
    return Weights(tuple(best[:pairs].tolist()), link)
