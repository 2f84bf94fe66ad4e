"""The blend: how much the score of each tower pair counts, for whom, and in which ranking."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.options import RankBy

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """What lists are ranked by where there is a sequence pair."""

    rank_by: RankBy  # if nobody says
    rating_weight: float  # of the rating score beside the logit of the sequence pair, in a blend
    temperature: float  # a logit is the dot product of the pair's vectors over this
    history_length: int  # that the pair reads


class Shares(NamedTuple):
    """What each pair counts in Q questions."""

    weights: Floats  # (Q, P)
    offsets: Floats  # (Q,) added to the weighed scores


@dataclass(frozen=True, kw_only=True)
class Blend:
    """Weights of P pairs, in the order of the run's towers."""

    weights: tuple[float, ...]  # for users that training knew
    newcomer_weights: tuple[float, ...]  # for someone who has told nothing
    newcomer_offset: float  # added to that one's score
    halfway: float  # ratings told when a newcomer is halfway to the known
    origin: float  # the rating at which the neural pair's score is 0
    unrated_factors: tuple[float, ...]  # by which the parts of movies without ratings count
    unrated_offset_factors: tuple[float, ...]  # by which users' offsets then count
    unrated_shift: float  # added to the bias of such movies in the Bayesian part

    def of(self, known: NDArray[np.bool_], told: NDArray[np.int64]) -> Shares:
        """Return what the pairs count for people.

        Args:
            known: `(Q,)` whether training knew them as they are.
            told: `(Q,)` how many ratings they have told.
        """
        share = np.where(known, 1.0, told / (told + self.halfway))
        settled, fresh = np.array(self.weights), np.array(self.newcomer_weights)
        weights = share[:, None] * settled + (1 - share)[:, None] * fresh
        return Shares(weights.astype(np.float64), (1 - share) * self.newcomer_offset)

    def scores(self, scores: Floats, known: NDArray[np.bool_], told: NDArray[np.int64]) -> Floats:
        """Return the blended scores `(Q,)` of scores `(Q, P)` of the pairs; see `of`."""
        shares = self.of(known, told)
        return np.asarray(shares.offsets + (scores * shares.weights).sum(axis=1), dtype=np.float64)
