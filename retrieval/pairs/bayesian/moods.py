"""Moods: what a user adds to every rating of a sitting, from page to page.

Ratings given in the same second are a page. A page has a mood of its own, independent of all
others, and a share in a mood that lingers: an autoregression along the user's pages.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.data.history import Histories
from retrieval.pairs.bayesian.compiled import compiled

Floats = NDArray[np.float64]

# Where the correlation of neighbouring pages is looked for.
CORRELATIONS = np.linspace(0.01, 0.99, 99)

# A Gamma prior on precisions that any data outweighs.
SHAPE, RATE = 1.0, 1e-3


class Moods(NamedTuple):
    """The moods of P pages and what they are drawn from."""

    lingering: Floats  # (P,)
    own: Floats  # (P,)
    correlation: float  # of the lingering mood from page to page
    lingering_variance: float
    own_variance: float

    def law(self) -> Floats:
        """Return what moods are drawn from: correlation, variances of lingering and own."""
        return np.array([self.correlation, self.lingering_variance, self.own_variance])


def pages(histories: Histories) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Return the page of each of N ratings, and whether each page is its user's first, `(P,)`."""
    first = np.zeros(len(histories.timestamps), dtype=bool)
    first[histories.offsets[:-1][np.diff(histories.offsets) > 0]] = True
    opens = first | (np.diff(histories.timestamps, prepend=0) != 0)
    return (np.cumsum(opens) - 1).astype(np.int32), first[opens]


def no_moods(count: int) -> Moods:
    """Return moods to start from: none, of variances that are easily left."""
    return Moods(np.zeros(count), np.zeros(count), 0.8, 0.03, 0.01)


def draw_moods(
    moods: Moods,
    pages_of: NDArray[np.int32],
    first: NDArray[np.bool_],
    weights: NDArray[np.float32],
    residuals: NDArray[np.float32],
    rng: np.random.Generator,
) -> Moods:
    """Return a draw of moods and of what they are drawn from.

    Args:
        moods: Where to start.
        pages_of: `(N,)` page of each rating.
        first: `(P,)` whether a page is its user's first.
        weights: `(N,)` precision of the noise of each rating.
        residuals: `(N,)` ratings less predictions; changed in place.
        rng: Of the draw.
    """
    count = len(first)
    page_weights = np.bincount(pages_of, weights, minlength=count).astype(np.float64)
    sums = np.bincount(pages_of, weights * residuals, minlength=count)  # less both moods
    before = moods.lingering + moods.own
    lingering = np.empty(count)
    draw_autoregression(
        first,
        sums + page_weights * moods.lingering,
        page_weights,
        moods.correlation,
        moods.lingering_variance,
        rng.standard_normal(count),
        lingering,
    )
    precision = page_weights + 1 / moods.own_variance
    own = (sums + page_weights * (before - lingering)) / precision
    own += rng.standard_normal(count) / np.sqrt(precision)
    residuals -= (lingering + own - before)[pages_of].astype(np.float32)
    correlation, variance = _draw_law(lingering, first, rng)
    return Moods(lingering, own, correlation, variance, _draw_variance(count, (own**2).sum(), rng))


def _draw_law(
    lingering: Floats, first: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[float, float]:
    """Return the correlation, drawn with the variance integrated out, then the variance."""
    later, earlier = lingering[1:][~first[1:]], lingering[:-1][~first[1:]]
    start = (lingering[first] ** 2).sum()
    squares, products = (later**2).sum(), (later * earlier).sum()
    rest = 1 - CORRELATIONS**2
    sums = (
        start
        + (squares - 2 * CORRELATIONS * products + CORRELATIONS**2 * (earlier**2).sum()) / rest
    )
    logs = -len(later) / 2 * np.log(rest) - (SHAPE + len(lingering) / 2) * np.log(RATE + sums / 2)
    chances = np.exp(logs - logs.max())
    place = int(rng.choice(len(chances), p=chances / chances.sum()))
    return float(CORRELATIONS[place]), _draw_variance(len(lingering), float(sums[place]), rng)


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
        mean, spread = 0.0, variance
        if not first[p]:
            mean = correlation * means[p - 1]
            spread = correlation * correlation * variances[p - 1] + step
        variances[p] = 1 / (1 / spread + weights[p])
        means[p] = variances[p] * (mean / spread + sums[p])
    for p in range(count - 1, -1, -1):
        mean, spread = means[p], variances[p]
        if p + 1 < count and not first[p + 1]:
            precision = 1 / spread + correlation * correlation / step
            mean = (mean / spread + correlation * drawn[p + 1] / step) / precision
            spread = 1 / precision
        drawn[p] = mean + np.sqrt(spread) * noise[p]
