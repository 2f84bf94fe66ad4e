"""Session effects: what a user adds to every rating of a sitting.

Ratings given in the same second are a group, as when a site shows a page of movies to rate. A group
has a quick effect, independent of all others, and a share in a slow one: an autoregression along
the user's groups.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.data.history import Histories
from retrieval.pairs.bayesian.compiled import compiled

Floats = NDArray[np.float64]

# Where the correlation of neighbouring groups is looked for.
CORRELATIONS = np.linspace(0.01, 0.99, 99)

# A Gamma prior on precisions that any data outweighs.
SHAPE, RATE = 1.0, 1e-3


class SessionEffects(NamedTuple):
    """The effects of P groups, and the law that they are drawn from."""

    slow: Floats  # (P,)
    quick: Floats  # (P,)
    correlation: float  # of the slow effect from group to group
    slow_variance: float
    quick_variance: float

    def law(self) -> Floats:
        """Return what effects are drawn from: correlation, variances of slow and quick."""
        return np.array([self.correlation, self.slow_variance, self.quick_variance])


def same_second_groups(histories: Histories) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Return the group of each of N ratings, and whether each of P is its user's first, `(P,)`."""
    first = np.zeros(len(histories.timestamps), dtype=bool)
    first[histories.offsets[:-1][np.diff(histories.offsets) > 0]] = True
    opens = first | (np.diff(histories.timestamps, prepend=0) != 0)
    return (np.cumsum(opens) - 1).astype(np.int32), first[opens]


def no_session_effects(count: int) -> SessionEffects:
    """Return effects to start from: none, of variances that are easily left."""
    return SessionEffects(np.zeros(count), np.zeros(count), 0.8, 0.03, 0.01)


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
        effects: Where to start.
        groups_of: `(N,)` group of each rating.
        first: `(P,)` whether a group is its user's first.
        weights: `(N,)` precision of the noise of each rating.
        residuals: `(N,)` ratings less predictions; changed in place.
        rng: Of the draw.
    """
    count = len(first)
    group_weights = np.bincount(groups_of, weights, minlength=count).astype(np.float64)
    sums = np.bincount(groups_of, weights * residuals, minlength=count)  # less both effects
    before = effects.slow + effects.quick
    slow = np.empty(count)
    draw_autoregression(
        first,
        sums + group_weights * effects.slow,
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
    correlation, variance = _draw_law(slow, first, rng)
    return SessionEffects(
        slow, quick, correlation, variance, _draw_variance(count, (quick**2).sum(), rng)
    )


def _draw_law(
    slow: Floats, first: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[float, float]:
    """Return the correlation, drawn with the variance integrated out, then the variance."""
    later, earlier = slow[1:][~first[1:]], slow[:-1][~first[1:]]
    start = (slow[first] ** 2).sum()
    squares, products = (later**2).sum(), (later * earlier).sum()
    rest = 1 - CORRELATIONS**2
    sums = (
        start
        + (squares - 2 * CORRELATIONS * products + CORRELATIONS**2 * (earlier**2).sum()) / rest
    )
    logs = -len(later) / 2 * np.log(rest) - (SHAPE + len(slow) / 2) * np.log(RATE + sums / 2)
    chances = np.exp(logs - logs.max())
    place = int(rng.choice(len(chances), p=chances / chances.sum()))
    return float(CORRELATIONS[place]), _draw_variance(len(slow), float(sums[place]), rng)


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
