"""Movies without ratings: how much each pair's word on them counts.

Every validation row is asked about once more, as if nobody had rated its movie. So movies count as
often as they are rated: what is asked about is seldom the obscure movie that most movies are. What
a pair says of a user in general counts for more where it says more of the movie, so users' offsets
are weighed once more too.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from retrieval.blending.blend import RatingBlend
from retrieval.blending.link import Link
from retrieval.blending.weights import FIRMNESS, fit_near
from retrieval.data.dataset import Dataset
from retrieval.pairs.training import RatingSide

Floats = NDArray[np.float64]


def fit_unrated(
    sides: Sequence[RatingSide],
    shifted: Sequence[int],
    dataset: Dataset,
    rows: NDArray[np.bool_],
    blend: RatingBlend,
    link: Link,
) -> RatingBlend:
    """Return the blend with the factors and the shift under which ratings are closest.

    Args:
        sides: What the P pairs that rate say.
        shifted: Place of the pair whose bias the shift is added to; empty where none has a bias.
        dataset: All rows.
        rows: `(N,)` mask of the validation rows, all of them held out.
        blend: Blend with the weights of known users.
        link: From scores to ratings.
    """
    users, movies, times = (
        column[rows] for column in (dataset.users, dataset.movies, dataset.timestamps)
    )
    offsets, products = [], []  # of the users, and of the vectors with the movies' biases
    for side, origin in zip(sides, blend.origins, strict=True):
        known = side.known_users(users, times)
        offsets.append(known.offsets - origin)
        products.append((known.vectors * side.unrated_movies()[movies]).sum(axis=1))
    weights = np.array(blend.weights)
    parts = [np.column_stack(each).astype(np.float64) * weights for each in (products, offsets)]
    terms = np.hstack(parts)  # (E, 2 * P)
    share = weights[list(shifted)].sum()
    start = np.append(np.ones(terms.shape[1]), 0.0)

    def predicted(parameters: Floats) -> Floats:
        return link.ratings(terms @ parameters[:-1] + share * parameters[-1])

    *factors, shift = fit_near(start, predicted, dataset.ratings[rows], FIRMNESS).tolist()
    return replace(
        blend,
        unrated_factors=tuple(factors[: len(weights)]),
        unrated_offset_factors=tuple(factors[len(weights) :]),
        unrated_shift=shift,
    )
