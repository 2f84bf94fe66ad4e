"""Movies without ratings: how much each pair's word on them counts.

Every validation row is asked about once more, as if nobody had rated its movie. So movies count as
often as they are rated: what is asked about is seldom the obscure movie that most movies are. What
a pair says of a user in general counts for more where it says more of the movie, so users' offsets
are weighed anew too.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.blending.blend import Blend
from retrieval.blending.link import Link
from retrieval.blending.weights import FIRMNESS, fit_near

Floats = NDArray[np.float64]


class Parts(NamedTuple):
    """What P pairs say of E questions, their movies taken as unrated."""

    offsets: Floats  # (E, P) of the users
    products: Floats  # (E, P) of the vectors, the movies' biases included


def fit_unrated(asked: Parts, ratings: NDArray[np.float32], blend: Blend, link: Link) -> Blend:
    """Return the blend with the factors and the shift under which ratings are closest.

    Args:
        asked: What the pairs say; the last of them is the Bayesian one.
        ratings: `(E,)`.
        blend: With the weights of known users.
        link: From scores to ratings.
    """
    weights = np.array(blend.weights)
    parts = np.hstack([asked.products * weights, asked.offsets * weights])  # (E, 2 * P)
    start = np.append(np.ones(parts.shape[1]), 0.0)

    def predicted(parameters: Floats) -> Floats:
        return link.ratings(parts @ parameters[:-1] + weights[-1] * parameters[-1])

    *factors, shift = fit_near(start, predicted, ratings, FIRMNESS).tolist()
    return replace(
        blend,
        unrated_factors=tuple(factors[: len(weights)]),
        unrated_offset_factors=tuple(factors[len(weights) :]),
        unrated_shift=shift,
    )
