"""Histories: each user's events in order of time, as flat arrays with offsets.

The history of a question is a slice of these arrays, so histories of any number of questions share
one copy, and a slice that ends before an event cannot hold it or a later one.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Events whose users are looked at together, and those of a user more.
TOGETHER = 2**18


class Histories(NamedTuple):
    """The events of U users; those of user u are `offsets[u]:offsets[u + 1]`, oldest first."""

    offsets: NDArray[np.int64]  # (U + 1,)
    movies: NDArray[np.int32]  # (N,) numbers
    ratings: NDArray[np.float32]  # (N,)
    timestamps: NDArray[np.int64]  # (N,) seconds


class Windows(NamedTuple):
    """For each of B questions, the slice of events that came before it, and when it is asked."""

    starts: NDArray[np.int64]  # (B,)
    ends: NDArray[np.int64]  # (B,)
    times: NDArray[np.int64]  # (B,) seconds

    @property
    def counts(self) -> NDArray[np.int64]:
        """How many events are in each, `(B,)`."""
        return self.ends - self.starts

    def part(self, rows: NDArray[np.generic] | slice) -> "Windows":
        """Return some of the windows."""
        return Windows(self.starts[rows], self.ends[rows], self.times[rows])


class Recent(NamedTuple):
    """The last L events of each window, latest first, as positions in the flat arrays."""

    positions: NDArray[np.int64]  # (B, L), 0 where there is no event
    present: NDArray[np.bool_]  # (B, L)


def time_order(users: NDArray[np.int64], timestamps: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the order by user, then time, then place in the file."""
    return np.lexsort((timestamps, users))  # lexsort is stable


def build_histories(
    users: NDArray[np.int64],
    movies: NDArray[np.integer],
    ratings: NDArray[np.float32],
    timestamps: NDArray[np.int64],
    user_count: int,
) -> Histories:
    """Sort events by user and time, ties in the order given.

    Args:
        users: `(N,)` numbers.
        movies: `(N,)` numbers.
        ratings: `(N,)`.
        timestamps: `(N,)` seconds.
        user_count: U.
    """
    order = time_order(users, timestamps)
    return Histories(
        offsets=np.concatenate([[0], np.cumsum(np.bincount(users, minlength=user_count))]),
        movies=movies[order].astype(np.int32),
        ratings=ratings[order].astype(np.float32),
        timestamps=timestamps[order].astype(np.int64),
    )


def first_times(histories: Histories) -> NDArray[np.bool_]:
    """Return which events are a user's first of that movie, `(N,)`: lists hold no others."""
    first = np.empty(len(histories.movies), dtype=bool)
    users = np.searchsorted(histories.offsets, np.arange(0, len(first), TOGETHER), side="right") - 1
    cuts = np.append(histories.offsets[users], len(first))
    for begin, end in pairwise(np.unique(cuts).tolist()):
        owners = np.searchsorted(histories.offsets, np.arange(begin, end), side="right")
        movies = histories.movies[begin:end]
        first[begin:end] = first_of_pairs(owners, movies)
    return first


def first_of_pairs(owners: NDArray[np.integer], movies: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Return which of N events, in order of time, are their owner's first of the movie, `(N,)`."""
    order = np.lexsort((movies, owners))  # lexsort is stable
    again = (np.diff(owners[order]) == 0) & (np.diff(movies[order]) == 0)
    first = np.empty(len(order), dtype=bool)
    first[order] = np.append(True, ~again)[: len(order)]
    return first


def spans(starts: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the positions of spans one after the other: `counts` of them from each start."""
    begins = np.cumsum(counts) - counts
    positions: NDArray[np.int64] = np.arange(counts.sum()) + np.repeat(starts - begins, counts)
    return positions


def moment_after(timestamps: NDArray[np.int64]) -> int:
    """Return the moment after all events, in seconds: the present, to whoever knows no others."""
    return int(timestamps.max(initial=-1)) + 1


def windows_until(
    histories: Histories, users: NDArray[np.int64], times: NDArray[np.int64]
) -> Windows:
    """Return, for each question, the window of its user's events up to the time of asking.

    Args:
        histories: Of U users.
        users: `(B,)` numbers.
        times: `(B,)` seconds; an event of the very second counts as before.
    """
    starts, ends = histories.offsets[users], histories.offsets[users + 1]
    low, high = starts.copy(), ends.copy()
    while (open_ := low < high).any():
        middle = (low + high) // 2
        before = np.zeros(len(users), dtype=bool)
        before[open_] = histories.timestamps[middle[open_]] <= times[open_]
        low = np.where(open_ & before, middle + 1, low)
        high = np.where(open_ & ~before, middle, high)
    return Windows(starts, low, times)


def whole_windows(histories: Histories, users: NDArray[np.int64]) -> Windows:
    """Return the windows of all events of users `(B,)`, asked at the time of the last one."""
    starts, ends = histories.offsets[users], histories.offsets[users + 1]
    windows = Windows(starts, ends, starts)
    return windows._replace(times=last_times(histories, windows))


def last_times(histories: Histories, windows: Windows) -> NDArray[np.int64]:
    """Return the time of the last event in each window, `(B,)`, 0 where there is none."""
    there = windows.ends > windows.starts
    if there.all():
        return histories.timestamps[windows.ends - 1]
    last = np.zeros(len(there), np.int64)
    last[there] = histories.timestamps[windows.ends[there] - 1]
    return last


def seen(histories: Histories, users: NDArray[np.int64], movie_count: int) -> NDArray[np.bool_]:
    """Return whether users `(B,)` have events of movies, `(B, M)`."""
    mask = np.zeros((len(users), movie_count), dtype=bool)
    for row, user in enumerate(users):
        mask[row, histories.movies[histories.offsets[user] : histories.offsets[user + 1]]] = True
    return mask


def shortened(windows: Windows, rng: np.random.Generator) -> Windows:
    """Return windows that keep only some events in a row, asked at the same times.

    A third are left whole; of the others, every order of magnitude of length is as likely. They
    start anywhere: the first few events would name their user, and be learned by heart.
    """
    counts = windows.counts.astype(np.float64)
    kept = np.floor((counts + 1) ** rng.random(len(counts)) - 1 + 1e-9)  # 0 to count - 1
    kept = np.where(rng.random(len(counts)) < 1 / 3, counts, kept)
    starts = windows.starts + (rng.random(len(counts)) * (counts - kept + 1)).astype(np.int64)
    return Windows(starts, starts + kept.astype(np.int64), windows.times)


def recent(windows: Windows, length: int) -> Recent:
    """Return the last `length` events of each window; L is the longest there is, at least 1."""
    counts = np.minimum(windows.counts, length)
    ranks = np.arange(max(1, int(counts.max(initial=0))))  # 0 is the latest event
    present = ranks[None, :] < counts[:, None]
    return Recent(np.where(present, windows.ends[:, None] - 1 - ranks[None, :], 0), present)


def kept_events(histories: Histories, kept: NDArray[np.bool_]) -> Histories:
    """Return histories without some of their events, given by a mask `(N,)` of those that stay."""
    offsets, movies, ratings, timestamps = histories
    before = np.concatenate([[0], np.cumsum(kept)])
    return Histories(before[offsets], movies[kept], ratings[kept], timestamps[kept])
