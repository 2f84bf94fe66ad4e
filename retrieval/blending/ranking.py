"""How much the rating counts in a ranking, beside what is likely to be watched: from validation."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.data.metrics import discounted
from retrieval.options import RankBy

Floats = NDArray[np.float64]

# Weights of a unit of rating score that are tried: the noise of a rating with the Bayesian pair, a
# star with the neural one alone.
WEIGHTS = (0.0, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, np.inf)

# Of the rating in a blend where nobody is there to ask.
UNKNOWN_WEIGHT = 0.5


class Gain(NamedTuple):
    """What lists are worth at one weight."""

    weight: float
    liked: float  # NDCG@10 of the last events that were liked
    all: float  # of all last events


class Choice(NamedTuple):
    """What lists are ranked by, if nobody says."""

    rank_by: RankBy
    weight: float  # of the rating score in a blend
    gains: list[Gain]


def gains_by_weight(
    watch: Floats, rating: Floats, seen: NDArray[np.bool_], targets: NDArray[np.int64]
) -> Floats:
    """Return what each of `WEIGHTS` gains for V users, `(W, V)`: see `discounted`.

    Args:
        watch: `(V, M)` logits of V users for all movies.
        rating: `(V, M)` scores.
        seen: `(V, M)` whether a movie cannot come back.
        targets: `(V,)` numbers of the movies that came next.
    """
    gains = [
        discounted(
            np.where(seen, -np.inf, rating if weight == np.inf else watch + weight * rating),
            targets,
        )
        for weight in WEIGHTS
    ]
    return np.array(gains)


def choose_ranking(gains: Floats, liked: NDArray[np.bool_]) -> Choice:
    """Return the weight at which most of what users liked next is found.

    Args:
        gains: `(W, V)` as `gains_by_weight` returns them.
        liked: `(V,)` whether the movies that came next were liked.
    """
    if not len(liked):
        return Choice(RankBy.WATCH, UNKNOWN_WEIGHT, [])
    if not liked.any():
        liked = ~liked
    found = [
        Gain(weight, float(of_all[liked].mean()), float(of_all.mean()))
        for weight, of_all in zip(WEIGHTS, gains, strict=True)
    ]
    best = max(found, key=lambda gain: gain.liked)
    blend = max(found[1:-1], key=lambda gain: gain.liked)  # whoever asks for one gets the best
    alone = {0.0: RankBy.WATCH, np.inf: RankBy.RATING}
    return Choice(alone.get(best.weight, RankBy.BLEND), blend.weight, found)
