"""What data comes to: how many of what, between which times, rated how."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
import pandas as pd

from retrieval.data import columns
from retrieval.data.source import Understood
from retrieval.data.times import COUNTERS, DAY

# Ratings of more values than this are told by classes of equal width.
MOST_VALUES = 20


class Overview(NamedTuple):
    """Counts of data."""

    facts: dict[str, int | str | None]
    rating_values: dict[str, int]  # events by rating, ascending


def overview(found: Understood) -> Overview:
    """Return what data comes to."""
    data = found.data
    events = data.ratings
    times = events[columns.TIMESTAMP].to_numpy()
    first, last = int(times.min()), int(times.max())
    dated = last >= COUNTERS
    facts: dict[str, int | str | None] = {
        "ratings": len(events),
        "users_with_ratings": int(events[columns.USER_ID].nunique()),
        "users_described": len(data.users),
        "movies": len(data.movies),
        "movies_with_ratings": int(events[columns.MOVIE_ID].nunique()),
        "scale": str(data.scale),
        "first": _moment(first) if dated else None,
        "last": _moment(last) if dated else None,
        "days": (last - first) // DAY + 1 if dated else None,
        "repeated": found.facts.get("repeated", 0) or _repeated(events),
        "unknown_movies": found.facts.get("unknown_movies", 0),
        "unknown_movie_events": found.facts.get("unknown_movie_events", 0),
    }
    return Overview(facts, _by_value(events[columns.RATING]))


def _repeated(events: pd.DataFrame) -> int:
    """Return how many events are of a movie that the user had before, of those that are kept."""
    return int(events.duplicated([columns.USER_ID, columns.MOVIE_ID]).sum())


def _moment(seconds: int) -> str:
    return f"{datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds):%Y-%m-%d %H:%M}"


def _by_value(ratings: pd.Series) -> dict[str, int]:
    values, counts = np.unique(ratings.to_numpy(), return_counts=True)
    if len(values) <= MOST_VALUES:
        pairs = zip(values.tolist(), counts.tolist(), strict=True)
        return {f"{value:.6g}": count for value, count in pairs}
    sums, edges = np.histogram(ratings.to_numpy(np.float64), bins=MOST_VALUES // 2)
    return {
        f"{low:.4g} to {high:.4g}": int(count)
        for low, high, count in zip(edges[:-1], edges[1:], sums, strict=True)
    }
