"""The rating scale: what a rating can be, and how it becomes a level or a deviation."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# A scale with more steps than this is cut into this many levels.
MOST_LEVELS = 10


@dataclass(frozen=True, kw_only=True)
class RatingScale:
    """Ratings from lowest to highest, in steps."""

    lowest: float
    highest: float
    step: float

    @property
    def unit(self) -> float:
        """A quarter of the range: one star of five. Models see deviations in this unit."""
        return (self.highest - self.lowest) / 4

    @property
    def levels(self) -> int:
        """How many levels of rating a history tells apart."""
        return min(MOST_LEVELS, 1 + round((self.highest - self.lowest) / self.step))

    def level(self, ratings: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return levels from 0, of the same shape."""
        share = (ratings.astype(np.float64) - self.lowest) / (self.highest - self.lowest)
        return np.rint(share * (self.levels - 1)).clip(0, self.levels - 1).astype(np.int64)

    def deviations(self, ratings: NDArray[np.float32], centre: float) -> NDArray[np.float64]:
        """Return how far ratings lie above the centre, in units, of the same shape."""
        return (ratings.astype(np.float64) - centre) / self.unit

    def clip(self, ratings: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return predictions moved into the scale, of the same shape."""
        return np.clip(ratings, self.lowest, self.highest)


# From the narrowest; data belongs to the first that holds nearly all of it.
USUAL_SCALES = (
    RatingScale(lowest=1, highest=5, step=1),
    RatingScale(lowest=0.5, highest=5, step=0.5),
    RatingScale(lowest=1, highest=10, step=1),
    RatingScale(lowest=0.5, highest=10, step=0.5),
    RatingScale(lowest=0, highest=100, step=1),
)

# The rest are taken for mistakes, and reported.
NEARLY_ALL = 0.999


def fits(ratings: NDArray[np.floating], scale: RatingScale) -> NDArray[np.bool_]:
    """Return which ratings are on a step of the scale, of the same shape; NaN is not."""
    steps = (ratings.astype(np.float64) - scale.lowest) / scale.step
    inside = (ratings >= scale.lowest) & (ratings <= scale.highest)
    with np.errstate(invalid="ignore"):
        return inside & (np.abs(steps - np.rint(steps)) < 1e-6)


def star_scale(ratings: NDArray[np.floating]) -> RatingScale:
    """Return which of MovieLens' two scales ratings `(N,)` are on: half stars or whole ones."""
    whole, half = USUAL_SCALES[:2]
    return half if (fits(ratings, half) & ~fits(ratings, whole)).any() else whole


def scale_of(ratings: NDArray[np.floating]) -> RatingScale | None:
    """Return the scale that ratings `(N,)` are on; None if all are equal and on no usual scale."""
    finite = ratings[np.isfinite(ratings)]
    if not len(finite):
        return None
    for scale in USUAL_SCALES:
        if fits(finite, scale).mean() >= NEARLY_ALL:
            return scale
    values = np.unique(finite.astype(np.float64))
    if len(values) < 2:
        return None
    step = float(np.diff(values).min())
    return RatingScale(lowest=float(values[0]), highest=float(values[-1]), step=step)
