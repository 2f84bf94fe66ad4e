"""Trends: what movies are like at a moment, apart from anybody's taste.

How often a movie was watched lately beside ever, how new it is here and in the cinemas, and whether
those who come back begin with it. Nothing that happens at the moment or after it counts.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.data.history import Histories, moment_after
from retrieval.data.sittings import Sittings
from retrieval.data.times import DAY

Floats = NDArray[np.float64]
Vectors = NDArray[np.float32]

YEAR = 365.25 * DAY

# Days in which what is counted fades by half; what comes last is never forgotten.
HALF_LIVES = (1.0, 3.0, 7.0, 30.0, 120.0, np.inf)
RETURN_HALF_LIVES = (14.0, 60.0, np.inf)

# Events at the beginning of a sitting for which a user is taken to have come back.
OPENING_EVENTS = 5

# Days since a movie was first watched here, and years since its release, that are told apart.
ARRIVAL_DAYS = (20.0, 60.0, 180.0)
RELEASE_YEARS = (0.7, 2.0, 6.0, 20.0)

# Events, or a share of them, by which a movie is taken to be as popular as it ever was.
PRIOR_EVENTS, PRIOR_SHARE, PRIOR_RETURNS = 5.0, 0.02, 30.0

# Features of a movie at a moment, J.
TREND_WIDTH = len(HALF_LIVES) + len(RETURN_HALF_LIVES) + len(ARRIVAL_DAYS) + len(RELEASE_YEARS)

# Moments that are looked at, half of them evenly spread in time and half by events; fewer where all
# features would have more numbers than this.
MOMENTS, FEWEST_MOMENTS, MOST_NUMBERS = 256, 16, 2**26


class Trends(NamedTuple):
    """The features of M movies at G moments, the last one after all events."""

    times: NDArray[np.int64]  # (G,) seconds, ascending
    features: Vectors  # (G, M, TREND_WIDTH)
    # (TREND_WIDTH,) at the last moment, of a movie that nobody has watched, but for its release
    unwatched: Vectors

    def places(self, times: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the latest moment, `(Q,)`, that is not after each time `(Q,)`, in seconds."""
        return np.maximum(np.searchsorted(self.times, times, side="right") - 1, 0)

    @property
    def present(self) -> int:
        """The last moment, in seconds."""
        return int(self.times[-1])


def movie_trends(histories: Histories, parts: Sittings, years: Vectors) -> Trends:
    """Return the trends of movies.

    Args:
        histories: At least one event.
        parts: The sittings of their events.
        years: `(M,)` of release, NaN where unknown.
    """
    returns = parts.first_events(OPENING_EVENTS)
    came = _by_time(histories.timestamps[returns], histories.movies[returns])
    times, movies = _by_time(histories.timestamps, histories.movies)
    count = len(years)
    moments = _moments(
        times, min(MOMENTS, max(FEWEST_MOMENTS, MOST_NUMBERS // (count * TREND_WIDTH)))
    )
    first = np.full(count, np.inf)
    first[movies[::-1]] = times[::-1]  # of the times of a movie the last one stays: its earliest
    watched = _decayed(times, movies, moments, count, HALF_LIVES)
    opened = _decayed(*came, moments, count, RETURN_HALF_LIVES)
    features = np.empty((len(moments), count, TREND_WIDTH), np.float32)
    unwatched = np.zeros(TREND_WIDTH, np.float32)
    for place, (moment, events, openings) in enumerate(zip(moments, watched, opened, strict=True)):
        popular, unpopular = _popularity(events, openings)
        age = (moment - first) / DAY
        arrivals = np.exp(-np.maximum(age, 0) / np.array(ARRIVAL_DAYS)[:, None]) * (age > 0)
        release = release_features(years, moment)
        features[place] = np.hstack([popular, arrivals.T, release])
        unwatched[: len(unpopular)] = unpopular
    return Trends(moments, features, unwatched)


def release_features(years: NDArray[np.floating], moment: float) -> Floats:
    """Return how new movies `(M,)` are in the cinemas at a moment, `(M, 4)`; 0 is unknown or old.

    Args:
        years: `(M,)` of release, NaN where unknown.
        moment: Seconds since 1970.
    """
    age = np.maximum(1970 + moment / YEAR - years.astype(np.float64), 0)
    features: Floats = np.exp(-age[:, None] / np.array(RELEASE_YEARS))
    return np.where(np.isnan(features), 0.0, features)


def unwatched_trends(unwatched: Vectors, years: Vectors, moment: float) -> Vectors:
    """Return the trends `(A, J)` of movies that nobody has watched.

    Args:
        unwatched: `(J,)` as in `Trends`.
        years: `(A,)` of release, NaN where unknown.
        moment: Seconds since 1970.
    """
    trends = np.tile(unwatched, (len(years), 1))
    trends[:, -len(RELEASE_YEARS) :] = release_features(years, moment)
    return trends


def _moments(times: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return at most so many moments `(G,)` for sorted times; the last is after all of them."""
    after = moment_after(times)
    even = np.linspace(times[0], after, count - count // 2).astype(np.int64)
    by_events = times[np.linspace(0, len(times) - 1, count // 2).astype(np.int64)]
    return np.unique(np.append(np.concatenate([even, by_events]), after))


def _by_time(
    times: NDArray[np.int64], movies: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return times and movies of events in order of time."""
    order = np.argsort(times, kind="stable")
    return times[order], movies[order]


def _decayed(
    times: NDArray[np.int64],
    movies: NDArray[np.int32],
    moments: NDArray[np.int64],
    count: int,
    half_lives: tuple[float, ...],
) -> Iterator[Floats]:
    """Give how often each movie was watched before each moment, faded: `(K, M)`."""
    days = np.array(half_lives)
    bounds = np.searchsorted(times, moments)
    before, start = np.zeros((len(days), count)), 0
    for place, (moment, end) in enumerate(zip(moments.tolist(), bounds.tolist(), strict=True)):
        passed = (moment - moments[place - 1]) / DAY if place else 0.0
        before = before * 0.5 ** (passed / days)[:, None]
        ago = (moment - times[start:end]) / DAY
        for row, half in enumerate(days):
            before[row] += np.bincount(movies[start:end], 0.5 ** (ago / half), count)
        start = end
        yield before.copy()


def _popularity(events: Floats, returns: Floats) -> tuple[Floats, Floats]:
    """Return the popularity of movies `(M, 9)`, and that `(9,)` of one that nobody watched.

    Logarithms: of the share of all events, beside that of a usual movie, then of what the share was
    lately, or of openings, beside that one.

    Args:
        events: `(K, M)` faded counts, the last of them all.
        returns: `(R, M)` likewise, of openings.
    """
    count = events.shape[1]
    padded = np.pad(events, ((0, 0), (0, 1)))  # and a movie that nobody watched
    total = events[-1].sum() + 0.5 * count
    share = (padded[-1] + 0.5) / total  # (M + 1,)
    recent = padded[:-1]
    prior = PRIOR_EVENTS + PRIOR_SHARE * recent.sum(axis=1, keepdims=True)
    lately = (recent + prior * share) / (recent.sum(axis=1, keepdims=True) + prior)
    came = np.pad(returns, ((0, 0), (0, 1)))
    opened = (came + PRIOR_RETURNS * share) / (came.sum(axis=1, keepdims=True) + PRIOR_RETURNS)
    logs = np.log(np.vstack([share * count, lately / share, opened / share])).T  # (M + 1, 9)
    return logs[:-1], logs[-1]
