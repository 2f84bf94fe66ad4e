"""The blend: how much the score of each pair counts, for whom, and in which ranking."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.options import RankBy

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """What lists are ranked by where a pair ranks."""

    rank_by: RankBy  # if nobody says
    # In a blend, of the rating score beside the logits of what is watched:
    rating_weight: float  # by a user who comes back
    sitting_weight: float  # in the sitting, or at a time before the present


class UserWeights(NamedTuple):
    """What each pair counts for in Q questions."""

    weights: Floats  # (Q, P)
    offsets: Floats  # (Q,) added to the weighed scores


@dataclass(frozen=True, kw_only=True)
class RatingBlend:
    """Weights of the P pairs that rate, in the order of their parts."""

    weights: tuple[float, ...]  # for users that training knew
    new_user_weights: tuple[float, ...]  # for a user without ratings
    new_user_offset: float  # added to the score of such a user
    halfway: float  # number of ratings at which a new user is halfway to a known one
    origins: tuple[float, ...]  # the score of each pair that counts as 0
    unrated_factors: tuple[float, ...]  # by which the parts of movies without ratings count
    unrated_offset_factors: tuple[float, ...]  # by which users' offsets count for such movies
    unrated_shift: float  # added to the bias of such movies in the last part that has one

    @classmethod
    def of_known_users(
        cls, weights: tuple[float, ...], origins: tuple[float, ...]
    ) -> "RatingBlend":
        """Return the blend that weighs every user as a known one and every movie as rated."""
        ones = (1.0,) * len(weights)
        return cls(
            weights=weights,
            new_user_weights=weights,
            new_user_offset=0.0,
            halfway=1.0,
            origins=origins,
            unrated_factors=ones,
            unrated_offset_factors=ones,
            unrated_shift=0.0,
        )

    def of(self, as_known: NDArray[np.bool_], rated: NDArray[np.int64]) -> UserWeights:
        """Return what the pairs count for.

        Args:
            as_known: `(Q,)` whether each user is weighed as a known user.
            rated: `(Q,)` number of ratings that each user has given.
        """
        known = np.array(self.weights, np.float64)
        if as_known.all():
            return UserWeights(np.tile(known, (len(rated), 1)), np.zeros(len(rated)))
        share = np.where(as_known, 1.0, rated / (rated + self.halfway))
        new = np.array(self.new_user_weights)
        weights = share[:, None] * known + (1 - share)[:, None] * new
        return UserWeights(weights.astype(np.float64), (1 - share) * self.new_user_offset)

    def scores(
        self, scores: Floats, as_known: NDArray[np.bool_], rated: NDArray[np.int64]
    ) -> Floats:
        """Return the blended scores `(Q,)` of scores `(Q, P)` of the pairs; see `of`."""
        weights, offsets = self.of(as_known, rated)
        return np.asarray(offsets + (scores * weights).sum(axis=1), dtype=np.float64)
