"""The link: from a score to the rating to expect, and how far from it the rating may be."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from retrieval.pairs.normal import normal_distribution

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Link:
    """A rating falls between two thresholds: those around its score plus normal noise.

    The expected rating rises with the score, so one order serves both.
    """

    values: tuple[float, ...]  # the rating of each class, ascending
    thresholds: tuple[float, ...]  # between the classes, ascending, in units of the usual noise

    @cached_property
    def _ends(self) -> Floats:
        return np.array(self.thresholds)  # (T,)

    @cached_property
    def _steps(self) -> Floats:
        return np.diff(self.values)  # (T,) from each class to the next

    def ratings(self, scores: Floats) -> Floats:
        """Return expected ratings, of the same shape, under the usual noise."""
        # No matrix product, which may round differently for other numbers of scores.
        above = normal_distribution(scores[..., None] - self._ends)  # (..., T)
        return np.asarray(self.values[0] + (self._steps * above).sum(axis=-1))

    def chances(self, scores: Floats, variances: Floats) -> Floats:
        """Return the probability of each class, `(..., T + 1)`.

        Args:
            scores: Of any shape.
            variances: Of the noise of each, with 1 the usual.
        """
        ends = (self._ends - scores[..., None]) / np.sqrt(variances)[..., None]
        below = np.concatenate(
            [
                np.zeros_like(scores)[..., None],
                normal_distribution(ends),
                np.ones_like(scores)[..., None],
            ],
            axis=-1,
        )
        return np.asarray(np.diff(below, axis=-1), dtype=np.float64)

    def deviations(self, ratings: Floats, chances: Floats) -> Floats:
        """Return the standard deviations of true ratings around predicted ones.

        Args:
            ratings: Of any shape.
            chances: Of each, `(..., T + 1)`.
        """
        squares = (np.array(self.values) - ratings[..., None]) ** 2  # (..., T + 1)
        return np.asarray(np.sqrt((chances * squares).sum(axis=-1)), dtype=np.float64)
