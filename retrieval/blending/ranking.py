"""The ranking: how much the rating counts beside what is likely to be watched, by validation."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.blending.blend import RatingBlend
from retrieval.data.history import seen
from retrieval.data.metrics import discounted_many, listed
from retrieval.options import RankBy
from retrieval.pairs.layout import Part
from retrieval.pairs.training import Asked, RankingSide, RatingSide, TrainingData
from retrieval.pairs.when import When

Floats = NDArray[np.float64]

# Weights of a unit of rating score that are tried: the noise of a rating with the Bayesian pair, a
# star with the neural one alone.
WEIGHTS = (0.0, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, np.inf)

# Of the rating in a blend where nobody is there to ask.
UNKNOWN_WEIGHT = 0.5

# Users whose lists are compared together.
CHUNK = 256


class Ranker(NamedTuple):
    """A pair that ranks."""

    part: Part
    side: RankingSide


class Gain(NamedTuple):
    """What lists are worth at one weight."""

    weight: float
    liked: float  # NDCG@10 of what was liked
    all: float  # of all that was watched


class Choice(NamedTuple):
    """What lists are ranked by, if nobody says."""

    rank_by: RankBy
    weight: float  # of the rating score in a blend, for users who come back
    sitting_weight: float  # the same in the sitting
    gains: list[Gain]  # of lists that are asked for without a time
    visits: int  # visits that chose; where there are none, last events did
    visit_ndcg: float | None  # NDCG@10 of what was liked in them, at the weight that they chose
    coverage: float | None  # share of the movies in lists of ten for these visits


def fit_ranking(
    data: TrainingData,
    rankers: Sequence[Ranker],
    raters: Sequence[RatingSide],
    blend: RatingBlend,
) -> Choice:
    """Choose what lists are ranked by, from events that no pair was trained on.

    What a user watches when back decides, asked before and, as often, when it is known that the
    user is back. In the sitting it is each user's last event.

    Args:
        data: What the pairs were trained on.
        rankers: The pairs that rank, at least one.
        raters: What the pairs that rate say.
        blend: Weights of these.
    """
    dataset, rows, visits = data.dataset, data.last, data.visits
    asking = _Asking(data, rankers, raters, blend)
    users, movies, times = (
        column[rows] for column in (dataset.users, dataset.movies, dataset.timestamps)
    )

    def next_ones(part: slice, count: int) -> NDArray[np.bool_]:
        found = np.zeros((len(movies[part]), count), dtype=bool)
        found[np.arange(len(found)), movies[part]] = True
        return found

    (in_sitting,) = asking.gains(
        [Asked(users, when, times + 1, times) for when in (When.AT, When.IN_SITTING)], [next_ones]
    )
    staying = choose_ranking(in_sitting, dataset.liked(rows))
    if not len(visits.users):
        return staying
    asked = [
        Asked(visits.users, when, visits.asked, visits.back) for when in (When.COMING_BACK, When.AT)
    ]
    liked, watched = asking.gains(asked, [visits.liked_movies, visits.all_movies])
    any_liked = bool(visits.liked.any())
    returning = _chosen(_mean_gains(liked if any_liked else watched, watched))
    best = max(returning.gains, key=lambda gain: gain.liked)
    return returning._replace(
        sitting_weight=staying.sitting_weight,
        visits=len(visits.users),
        visit_ndcg=best.liked if any_liked else None,
        coverage=asking.coverage(asked[0], best.weight),
    )


class _Asking:
    """Asks pairs for lists, each ranked at all of `WEIGHTS`; see `fit_ranking`."""

    def __init__(
        self,
        data: TrainingData,
        rankers: Sequence[Ranker],
        raters: Sequence[RatingSide],
        blend: RatingBlend,
    ) -> None:
        self._histories = data.dataset.histories(~data.unranked)
        self._count = len(data.dataset.movie_vocabulary)
        self._rankers = rankers
        self._raters = list(zip(raters, blend.weights, strict=True))

    def gains(
        self, kinds: Sequence[Asked], answers: Sequence[Callable[[slice, int], NDArray[np.bool_]]]
    ) -> list[Floats]:
        """Return the gains of lists at each weight for V users, `(W, V)`, the mean of some kinds.

        Args:
            kinds: The same users at the same times, asked in several ways.
            answers: Functions of some of the users, and the number of movies M, each of which gives
                what is right, `(B, M)`, and makes one of the gains.
        """
        found = [[np.zeros((len(WEIGHTS), 0))] for _ in answers]
        for part in _parts(kinds[0]):
            some = [asked.part(part) for asked in kinds]
            known = seen(self._histories, some[0].users, self._count)
            rating = self._rating(some[0])  # whether the time is known or not
            scores = [(self._logits(asked), rating) for asked in some]
            for gains, right in zip(found, answers, strict=True):
                relevant = right(part, self._count)
                gains.append(
                    np.mean([gains_by_weight(*both, known, relevant) for both in scores], axis=0)
                )
        return [np.hstack(gains) for gains in found]

    def coverage(self, asked: Asked, weight: float) -> float:
        """Return the share of all movies that are in any list, ranked at a weight of the rating."""
        found = np.zeros(self._count, dtype=bool)
        for some in (asked.part(part) for part in _parts(asked)):
            known = seen(self._histories, some.users, self._count)
            scores = weighed(self._logits(some), self._rating(some), weight)
            found[listed(np.where(known, -np.inf, scores))] = True
        return float(found.mean())

    def _logits(self, asked: Asked) -> Floats:
        """Return the logits of questions, `(B, M)`, of all pairs that rank."""
        logits: Floats = np.sum([ranker.side.logits(asked) for ranker in self._rankers], axis=0)
        return logits

    def _rating(self, asked: Asked) -> Floats:
        """Return the rating scores of questions, `(B, M)`, but for what is the same for movies."""
        scores = np.zeros((len(asked.users), self._count))
        for side, weight in self._raters:
            vectors = side.known_users(asked.users, asked.times).vectors
            scores += weight * (vectors @ side.movies.T).astype(np.float64)
        return scores


def _parts(asked: Asked) -> list[slice]:
    """Return parts of questions: never are all users there by all movies."""
    return [slice(start, start + CHUNK) for start in range(0, len(asked.users), CHUNK)]


def weighed(watch: Floats, rating: Floats, weight: float) -> Floats:
    """Return scores that a list is ranked by, where the rating has a weight, infinite or finite."""
    return rating if weight == np.inf else watch + weight * rating


def gains_by_weight(
    watch: Floats, rating: Floats, seen: NDArray[np.bool_], relevant: NDArray[np.bool_]
) -> Floats:
    """Return what each of `WEIGHTS` gains for V users, `(W, V)`: see `discounted_many`.

    Args:
        watch: `(V, M)` logits of V users for all movies.
        rating: `(V, M)` scores.
        seen: `(V, M)` whether a movie cannot come back.
        relevant: `(V, M)` whether a movie was watched, or liked.
    """
    gains = [
        discounted_many(
            np.where(seen, -np.inf, weighed(watch, rating, weight)),
            relevant,
        )
        for weight in WEIGHTS
    ]
    return np.array(gains)


def choose_ranking(gains: Floats, liked: NDArray[np.bool_]) -> Choice:
    """Return the weight at which most of what users liked next is found.

    Args:
        gains: `(W, V)` as `gains_by_weight` returns them, where one movie is right for each user.
        liked: `(V,)` whether the movies that came next were liked.
    """
    if not len(liked):
        return Choice(RankBy.WATCH, UNKNOWN_WEIGHT, UNKNOWN_WEIGHT, [], 0, None, None)
    if not liked.any():
        liked = ~liked
    return _chosen(_mean_gains(gains[:, liked], gains))


def _mean_gains(liked: Floats, watched: Floats) -> list[Gain]:
    """Return mean gains at each weight, of `(W, V)`, NaN for users for whom nothing is right."""
    return [
        Gain(weight, float(np.nanmean(of_liked)), float(np.nanmean(of_all)))
        for weight, of_liked, of_all in zip(WEIGHTS, liked, watched, strict=True)
    ]


def _chosen(found: list[Gain]) -> Choice:
    best = max(found, key=lambda gain: gain.liked)
    blend = max(found[1:-1], key=lambda gain: gain.liked)  # whoever asks for one gets the best
    alone = {0.0: RankBy.WATCH, np.inf: RankBy.RATING}
    rank_by = alone.get(best.weight, RankBy.BLEND)
    return Choice(rank_by, blend.weight, blend.weight, found, 0, None, None)
