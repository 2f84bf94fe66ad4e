"""Session effects: what a user adds to every rating of a sitting.

Ratings given in the same second are a group, as when a site shows a page of movies to rate. A group
has a quick effect, independent of all others, and a share in a slow one: an autoregression along
the user's groups.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.pairs.bayesian.compiled import compiled

Floats = NDArray[np.float64]

# Where the correlation of neighbouring groups is looked for.
CORRELATIONS = np.linspace(0.01, 0.99, 99)

# A Gamma prior on precisions that any data outweighs.
SHAPE, RATE = 1.0, 1e-3

# Groups drawn at a time, and those of a user more: so many do not fill the memory.
GROUPS = 2**18


class SessionEffects(NamedTuple):
    """The effects of P groups, and the law that they are drawn from."""

    slow: NDArray[np.float32]  # (P,)
    quick: NDArray[np.float32]  # (P,)
    correlation: float  # of the slow effect from group to group
    slow_variance: float
    quick_variance: float

    def law(self) -> Floats:
        """Return what effects are drawn from: correlation, variances of slow and quick."""
        return np.array([self.correlation, self.slow_variance, self.quick_variance])


def same_second_groups(
    users: NDArray[np.integer], timestamps: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Return the group of each of N ratings, and whether each of P is its user's first, `(P,)`.

    Args:
        users: `(N,)` users, one after the other.
        timestamps: `(N,)` seconds, ascending for each user.
    """
    first, opens = np.ones((2, len(users)), dtype=bool)
    first[1:] = users[1:] != users[:-1]
    opens[1:] = first[1:] | (timestamps[1:] != timestamps[:-1])
    return np.cumsum(opens, dtype=np.int32) - np.int32(1), first[opens]


def no_session_effects(count: int) -> SessionEffects:
    """Return effects to start from: none, of variances that are easily left."""
    slow, quick = np.zeros((2, count), np.float32)
    return SessionEffects(slow, quick, 0.8, 0.03, 0.01)


def draw_session_effects(
    effects: SessionEffects,
    groups_of: NDArray[np.int32],
    first: NDArray[np.bool_],
    weights: NDArray[np.float32],
    residuals: NDArray[np.float32],
    rng: np.random.Generator,
) -> SessionEffects:
    """Return a draw of effects and of what they are drawn from.

    Args:
        effects: Where to start; overwritten.
        groups_of: `(N,)` group of each rating, ascending.
        first: `(P,)` whether a group is its user's first.
        weights: `(N,)` precision of the noise of each rating.
        residuals: `(N,)` ratings less predictions; changed in place.
        rng: Of the draw.
    """
    sums, quick_squares = np.zeros(4), 0.0
    for begin, end in pairwise(_cuts(first).tolist()):
        groups, events = slice(begin, end), slice(*np.searchsorted(groups_of, [begin, end]))
        left = residuals[events]
        _draw_part(
            effects, groups, groups_of[events] - np.int32(begin), first, weights[events], left, rng
        )
        slow, quick = (each[groups].astype(np.float64) for each in (effects.slow, effects.quick))
        sums += _sums_of_neighbours(slow, first[groups])
        quick_squares += float((quick**2).sum())
    count = len(first)
    correlation, variance = _draw_law(sums, count, int(first.sum()), rng)
    quick_variance = _draw_variance(count, quick_squares, rng)
    return SessionEffects(effects.slow, effects.quick, correlation, variance, quick_variance)


def _cuts(first: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return where to cut groups into parts that hold all groups of their users."""
    starts = np.append(np.flatnonzero(first), len(first))
    inside = np.arange(GROUPS, len(first), GROUPS)
    return np.unique(np.concatenate([[0], starts[np.searchsorted(starts, inside)], [len(first)]]))


def _draw_part(
    effects: SessionEffects,
    groups: slice,
    groups_of: NDArray[np.int32],
    first: NDArray[np.bool_],
    weights: NDArray[np.float32],
    residuals: NDArray[np.float32],
    rng: np.random.Generator,
) -> None:
    """Draw the effects of some groups in place, and change the residuals of their ratings.

    Args:
        effects: Of all groups.
        groups: Which are drawn.
        groups_of: `(N,)` which of these each rating is of.
        first: `(P,)` of all groups.
        weights: `(N,)` as in `draw_session_effects`.
        residuals: `(N,)` likewise.
        rng: Of the draw.
    """
    count = groups.stop - groups.start
    before_slow, before_quick = effects.slow[groups], effects.quick[groups]
    group_weights = np.bincount(groups_of, weights, minlength=count).astype(np.float64)
    sums = np.bincount(groups_of, weights * residuals, minlength=count)  # less both effects
    before = before_slow.astype(np.float64) + before_quick
    slow = np.empty(count)
    draw_autoregression(
        first[groups],
        sums + group_weights * before_slow,
        group_weights,
        effects.correlation,
        effects.slow_variance,
        rng.standard_normal(count),
        slow,
    )
    precision = group_weights + 1 / effects.quick_variance
    quick = (sums + group_weights * (before - slow)) / precision
    quick += rng.standard_normal(count) / np.sqrt(precision)
    residuals -= (slow + quick - before)[groups_of].astype(np.float32)
    effects.slow[groups], effects.quick[groups] = slow, quick


def _sums_of_neighbours(slow: Floats, first: NDArray[np.bool_]) -> Floats:
    """Return sums over groups `(4,)`.

    Of squares where series begin, of squares of all others, of squares of those before these, and
    of the products of both.
    """
    later, earlier = slow[1:][~first[1:]], slow[:-1][~first[1:]]
    return np.array(
        [(slow[first] ** 2).sum(), (later**2).sum(), (earlier**2).sum(), (later * earlier).sum()]
    )


def _draw_law(
    sums: Floats, count: int, series: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Return the correlation, drawn with the variance integrated out, then the variance.

    Args:
        sums: `(4,)` as `_sums_of_neighbours` returns them.
        count: P.
        series: Number of groups that are their user's first.
        rng: Of the draw.
    """
    start, later, earlier, products = sums
    rest = 1 - CORRELATIONS**2
    whole = start + (later - 2 * CORRELATIONS * products + CORRELATIONS**2 * earlier) / rest
    logs = -(count - series) / 2 * np.log(rest) - (SHAPE + count / 2) * np.log(RATE + whole / 2)
    chances = np.exp(logs - logs.max())
    place = int(rng.choice(len(chances), p=chances / chances.sum()))
    return float(CORRELATIONS[place]), _draw_variance(count, float(whole[place]), rng)


def _draw_variance(count: int, sum_of_squares: float, rng: np.random.Generator) -> float:
    return float((RATE + sum_of_squares / 2) / rng.gamma(SHAPE + count / 2))


@compiled
def draw_autoregression(
    first: NDArray[np.bool_],
    sums: Floats,
    weights: Floats,
    correlation: float,
    variance: float,
    noise: Floats,
    drawn: Floats,
) -> None:
    """Draw stationary autoregressions given noisy observations: forward filter, backward sample.

    Source: Carter and Kohn, On Gibbs sampling for state space models, Biometrika 1994.

    Args:
        first: `(P,)` where a series begins.
        sums: `(P,)` sum of the observations of each state, weighted by precision.
        weights: `(P,)` sum of their precisions.
        correlation: Of neighbours.
        variance: Of each state.
        noise: `(P,)` standard normal.
        drawn: `(P,)` is written.
    """
    count = len(first)
    means, variances = np.empty(count), np.empty(count)
    step = variance * (1 - correlation * correlation)
    for p in range(count):
        mean, state_variance = 0.0, variance
        if not first[p]:
            mean = correlation * means[p - 1]
            state_variance = correlation * correlation * variances[p - 1] + step
        variances[p] = 1 / (1 / state_variance + weights[p])
        means[p] = variances[p] * (mean / state_variance + sums[p])
    for p in range(count - 1, -1, -1):
        mean, state_variance = means[p], variances[p]
        if p + 1 < count and not first[p + 1]:
            precision = 1 / state_variance + correlation * correlation / step
            mean = (mean / state_variance + correlation * drawn[p + 1] / step) / precision
            state_variance = 1 / precision
        drawn[p] = mean + np.sqrt(state_variance) * noise[p]
