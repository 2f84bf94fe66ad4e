"""Weights of the tower pairs, and the link, fitted on validation rows.

An ordered probit whose only features are the scores of the pairs.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import ndtr

from retrieval.blending.link import Link

Floats = NDArray[np.float64]

SMALLEST = 1e-12

# What is fitted beside the weights is held to where it starts as by this many ratings.
FIRMNESS = 5.0


class Weights(NamedTuple):
    """How scores become one rating: `link(scores @ weights)`."""

    weights: tuple[float, ...]  # (P,)
    link: Link


def fit_weights(
    scores: Floats,
    classes: NDArray[np.int8],
    values: Sequence[float],
    thresholds: Floats,
    weights: Sequence[float],
) -> Weights:
    """Return the weights and the link under which validation ratings are most likely.

    Args:
        scores: `(N, P)` of the pairs.
        classes: `(N,)` rating classes, from 0 to T.
        values: `(T + 1,)` ratings of the classes.
        thresholds: `(T,)` to start from, and to stay near where ratings say nothing; there are none
            where all ratings are equal.
        weights: `(P,)` likewise.
    """
    pairs = len(weights)
    start = np.concatenate([weights, thresholds[:1], np.log(np.diff(thresholds))])

    def spread_out(parameters: Floats) -> Floats:
        if not len(thresholds):
            return thresholds
        gaps = np.exp(parameters[pairs + 1 :])
        above = np.concatenate([[0.0], np.cumsum(gaps)])
        return np.asarray(parameters[pairs] + above, dtype=np.float64)

    def cost(parameters: Floats) -> float:
        edges = np.concatenate([[-np.inf], spread_out(parameters), [np.inf]])
        score = scores @ parameters[:pairs]
        chances = ndtr(edges[classes.astype(np.int64) + 1] - score) - ndtr(edges[classes] - score)
        unlikely = -np.log(np.maximum(chances, SMALLEST)).sum()
        return float(unlikely + ((parameters - start) ** 2).sum() / 2) / max(1, len(classes))

    best = minimize(cost, start, method="BFGS").x
    link = Link(values=tuple(values), thresholds=tuple(spread_out(best).tolist()))
    return Weights(tuple(best[:pairs].tolist()), link)


def fit_near(
    start: Floats,
    predicted: Callable[[Floats], Floats],
    ratings: NDArray[np.float32],
    firmness: float,
) -> Floats:
    """Return the parameters under which ratings are closest, `(P,)`, held to where they start.

    Args:
        start: `(P,)`.
        predicted: Gives ratings `(E,)` for parameters.
        ratings: `(E,)`.
        firmness: The ratings that the start is worth.
    """

    def cost(parameters: Floats) -> float:
        squares = ((predicted(parameters) - ratings) ** 2).sum()
        away = ((parameters - start) ** 2).sum()
        return float(squares + firmness * away) / max(1, len(ratings))

    return np.asarray(minimize(cost, start, method="BFGS").x, dtype=np.float64)
