"""The rating scale: what a rating can be, and how it becomes a class or a deviation."""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

# A scale with more steps than this, or none, is cut into this many classes of equal width.
MOST_LEVELS = 10

# Fractions in more steps than this, from lowest to highest, are on no scale anybody rates on.
MOST_STEPS = 1000

# From here on float32, which holds the ratings, no longer tells whole numbers apart.
LARGEST = 2.0**24


@dataclass(frozen=True, kw_only=True)
class RatingScale:
    """Ratings from lowest to highest, in steps; without a step they are continuous."""

    lowest: float
    highest: float
    step: float | None

    def __str__(self) -> str:
        """Return the scale as messages name it."""
        lowest, highest = f"{self.lowest:.10g}", f"{self.highest:.10g}"
        if self.lowest == self.highest:
            return f"{lowest} alone"
        return f"{lowest} to {highest}" + (
            ", continuous" if self.step is None else f" by {self.step:.10g}"
        )

    @property
    def unit(self) -> float:
        """A quarter of the range: one star of five. Models see deviations in this unit."""
        return (self.highest - self.lowest) / 4 or 1.0

    @property
    def tells_taste(self) -> bool:
        """Whether there are two ratings at least: plays and likes are all the same."""
        return self.highest > self.lowest

    @property
    def classes(self) -> int:
        """How many classes of rating a history tells apart."""
        span = self.highest - self.lowest
        if span == 0:
            return 1
        return MOST_LEVELS if self.step is None else min(MOST_LEVELS, 1 + round(span / self.step))

    def class_of(self, ratings: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return classes from 0, of the same shape."""
        span = self.highest - self.lowest or 1.0
        share = (ratings.astype(np.float64) - self.lowest) / span
        last = self.classes - 1
        places = np.floor(share * self.classes) if self.step is None else np.rint(share * last)
        return places.clip(0, last).astype(np.int64)

    def deviations(self, ratings: NDArray[np.float32], centre: float) -> NDArray[np.float64]:
        """Return how far ratings lie above the centre, in units, of the same shape."""
        return (ratings.astype(np.float64) - centre) / self.unit

    def clip(self, ratings: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return predictions moved into the scale, of the same shape."""
        return np.clip(ratings, self.lowest, self.highest)


WHOLE_STARS = RatingScale(lowest=1, highest=5, step=1)
HALF_STARS = RatingScale(lowest=0.5, highest=5, step=0.5)

# From the narrowest. Of very many ratings nearly all belong to the first that holds them.
USUAL_SCALES = (
    WHOLE_STARS,
    HALF_STARS,
    RatingScale(lowest=0, highest=5, step=0.5),
    RatingScale(lowest=1, highest=10, step=1),
    RatingScale(lowest=0.5, highest=10, step=0.5),
    RatingScale(lowest=0, highest=10, step=0.5),
)
VERY_MANY = 1000

# The ends of what people rate on, from the narrowest.
USUAL_ENDS = ((0, 1), (-1, 1), (0, 4), (1, 5), (0, 5), (1, 10), (0, 10))

# Fewer ratings than this tell only what lies far from all that people rate on.
MANY = 100

# Mistakes are one in a thousand at most, or a single one, and of so many values.
MISTAKES = 0.001
MOST_MISTAKEN = 100


def fits(ratings: NDArray[np.floating], scale: RatingScale) -> NDArray[np.bool_]:
    """Return which ratings are on a step of the scale, of the same shape; NaN is not."""
    exact = ratings.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        noise = _noise(exact, scale.step or 0)
        inside = (exact >= scale.lowest - noise) & (exact <= scale.highest + noise)
        if scale.step is None:
            return inside
        return inside & _on(exact - scale.lowest, scale.step, noise)


def star_scale(ratings: NDArray[np.floating]) -> RatingScale:
    """Return which of MovieLens' two scales ratings `(N,)` are on: half stars or whole ones."""
    half = fits(ratings, HALF_STARS) & ~fits(ratings, WHOLE_STARS)
    return HALF_STARS if half.any() else WHOLE_STARS


def are_stars(ratings: NDArray[np.floating]) -> bool:
    """Return whether ratings `(N,)` are stars, but for one of them or up to a tenth."""
    return bool((~fits(ratings, HALF_STARS)).sum() <= max(1, len(ratings) / 10))


def scale_of(ratings: NDArray[np.floating]) -> RatingScale | None:
    """Return the scale that ratings `(N,)` span, mistakes left out; None if none is a number.

    The step is the greatest that leads to all of them. What is beyond `LARGEST` is a mistake.
    """
    values, counts = np.unique(ratings.astype(np.float64, copy=False), return_counts=True)
    sound = np.abs(values) <= LARGEST
    values, counts = values[sound], counts[sound]
    if not len(values):
        return None
    values = values[~_mistaken(values, counts)]
    lowest, highest = _shortest(values[0]), _shortest(values[-1])
    if highest - lowest <= 2 * _noise(values, 0).max():
        return RatingScale(lowest=lowest, highest=lowest, step=1.0)
    scale = RatingScale(lowest=lowest, highest=highest, step=_common_step(values))
    return scale if fits(values, scale).all() else replace(scale, step=None)


def _noise(values: NDArray[np.float64], step: float) -> NDArray[np.float64]:
    """Return how far values can be from what was meant, having once been float32."""
    return np.asarray(1e-6 * step + np.abs(values) * np.finfo(np.float32).eps)


def _on(values: NDArray[np.float64], step: float, noise: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which values are whole steps, but for noise, of the same shape."""
    steps = values / step
    return np.asarray(np.abs(steps - np.rint(steps)) * step <= noise)


def _shortest(value: float) -> float:
    """Return 0.1 for the float32 that is nearest to it, and any other value as it is."""
    narrow = np.float32(value)
    return float(str(narrow)) if float(narrow) == value else float(value)


def _common_step(values: NDArray[np.float64]) -> float | None:
    """Return the greatest step between values `(V,)`, ascending and distinct, if there is one."""
    gaps = np.diff(values)
    if (values == np.rint(values)).all():
        return float(np.gcd.reduce(gaps.astype(np.int64)))
    noise, span = 4 * float(_noise(values, 0).max()), float(values[-1] - values[0])
    step = 0.0
    for gap in np.unique(gaps[gaps > noise].round(12)).tolist():
        step, rest = max(step, gap), min(step, gap)
        while rest > noise:
            step, rest = rest, min(step % rest, rest - step % rest)
        if step * MOST_STEPS < span:
            return None
    # Cut into whole steps, the span has less noise than its parts.
    return float(f"{span / round(span / step):.9g}")


def _mistaken(values: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which of values `(V,)`, ascending, found so often, are slips and no ratings.

    They are few, and the others show what they are not: on the usual scale that nearly all of very
    many are on; whole numbers, halves or tenths; within reach.
    """
    total = int(counts.sum())
    few = max(1, int(total * MISTAKES))
    if total >= VERY_MANY:
        for scale in USUAL_SCALES:
            off = ~fits(values, scale)
            if counts[off].sum() <= few:
                if off.any() and not _fades_out(values, counts, scale.highest):
                    return off
                break
    off = np.zeros(len(values), dtype=bool)
    if total >= MANY:
        grids = (~_on(values, step, _noise(values, step)) for step in (1.0, 0.5, 0.1))
        off = next((grid for grid in grids if counts[grid].sum() <= few), off)
        off &= (~off).sum() > 2  # two values are on any step
    off[~off] = _far_off(values[~off], counts[~off], few, total)
    return off


def _fades_out(values: NDArray[np.float64], counts: NDArray[np.int64], highest: float) -> bool:
    """Return whether ever fewer lie towards an end and beyond it, as with how often one watched."""
    return bool(counts[values == highest].sum() < 5 * counts[values > highest].sum())


def _far_off(
    values: NDArray[np.float64], counts: NDArray[np.int64], few: int, total: int
) -> NDArray[np.bool_]:
    """Return which of values `(V,)` lie further from the others than these reach."""
    far = np.zeros(len(values), dtype=bool)
    first, last = 0, len(values) - 1
    for _ in range(MOST_MISTAKEN):
        # The end that stands further from its neighbour goes first.
        below = first < last and values[first + 1] - values[first] > values[last] - values[last - 1]
        few -= int(counts[first if below else last])
        first, last = (first + 1, last) if below else (first, last - 1)
        if few < 0 or first > last:
            break
        low, high = _reach(values[first : last + 1], total)
        dropped = np.r_[values[:first], values[last + 1 :]]
        if ((dropped < low) | (dropped > high)).all():
            far[:] = True
            far[first : last + 1] = False
    return far


def _reach(values: NDArray[np.float64], total: int) -> tuple[float, float]:
    """Return between what ratings can lie if values `(V,)`, ascending, are sound ones."""
    low, high = float(values[0]), float(values[-1])
    gaps = np.diff(values)
    if not len(gaps) and total < MANY:
        return -math.inf, math.inf
    if not len(gaps):
        low, high = min(low, -10.0, -high), max(high, 10.0, -low)
    elif total < MANY and low >= -10 and high <= 10:
        low, high = min(low, 0.0), max(high, 10.0)
    elif usual := [ends for ends in USUAL_ENDS if ends[0] <= low and high <= ends[1]]:
        low, high = usual[0]
    elif len(gaps) < 2 or gaps.max() > max(1.001 * gaps.min(), (high - low) / 8):
        # Where they are spread ever more thinly, as play counts are, the next can lie far out.
        return low - 1000 * (high - low), high + 1000 * (high - low)
    return low - (high - low), high + (high - low)
