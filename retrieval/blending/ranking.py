"""The ranking: how much the rating counts beside what is likely to be watched, by validation."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.blending.blend import RatingBlend
from retrieval.data.history import seen
from retrieval.data.metrics import discounted
from retrieval.options import RankBy
from retrieval.pairs.layout import Part
from retrieval.pairs.training import RankingSide, RatingSide, TrainingData

Floats = NDArray[np.float64]

# Weights of a unit of rating score that are tried: the noise of a rating with the Bayesian pair, a
# star with the neural one alone.
WEIGHTS = (0.0, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, np.inf)

# Of the rating in a blend where nobody is there to ask.
UNKNOWN_WEIGHT = 0.5


# Users whose lists are compared together.
CHUNK = 256

# A rating this far up the scale says that the movie was liked: 4 of 1 to 5.
LIKED = 0.75


class Ranker(NamedTuple):
    """A pair that ranks."""

    part: Part
    side: RankingSide


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


def fit_ranking(
    data: TrainingData,
    rankers: Sequence[Ranker],
    raters: Sequence[RatingSide],
    blend: RatingBlend,
) -> Choice:
    """Choose what lists are ranked by, from last events that no pair was trained on.

    Gains are the mean of what is found when the time of asking is known and when it is not.

    Args:
        data: What the pairs were trained on.
        rankers: The pairs that rank, at least one.
        raters: What the pairs that rate say.
        blend: Weights of these.
    """
    dataset, last = data.dataset, data.last
    users, targets, times = (
        column[last] for column in (dataset.users, dataset.movies, dataset.timestamps)
    )
    count = len(dataset.movie_vocabulary)
    watch_users = [
        np.hstack([ranker.side.known_users(users, times, timed=timed) for ranker in rankers])
        for timed in (True, False)
    ]
    watch_movies = np.hstack(
        [ranker.side.movies / ranker.part.temperature for ranker in rankers]
    )  # (M, W)
    rating_users = np.hstack(
        [
            np.zeros((len(users), 0), np.float32),
            *(
                weight * side.known_users(users, times).vectors
                for side, weight in zip(raters, blend.weights, strict=True)
            ),
        ]
    )
    rating_movies = np.hstack([np.zeros((count, 0), np.float32), *(side.movies for side in raters)])
    histories = dataset.histories(~last)
    gains = [np.zeros((len(WEIGHTS), 0))]
    for start in range(0, len(users), CHUNK):  # never all users by all movies
        part = slice(start, start + CHUNK)
        scores = (rating_users[part] @ rating_movies.T).astype(np.float64)
        known = seen(histories, users[part], count)
        both = [
            gains_by_weight(
                (vectors[part] @ watch_movies.T).astype(np.float64), scores, known, targets[part]
            )
            for vectors in watch_users
        ]
        gains.append(np.mean(both, axis=0))
    liked = dataset.scale.lowest + LIKED * (dataset.scale.highest - dataset.scale.lowest)
    return choose_ranking(np.hstack(gains), dataset.ratings[last] >= liked)


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
