"""What the sequence pair's user tower is given: a start, then the recent events, oldest first.

After each token comes a question, what the user watches next: in training the next event answers
it, at query time the last question is the one that is asked.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.data.history import Histories, Windows
from retrieval.data.scale import RatingScale
from retrieval.pairs.lookup import EmbeddingTable
from retrieval.pairs.onnx_tower import Columns
from retrieval.pairs.time_codes import AGE_BUCKETS, doublings
from retrieval.pairs.when import When, comes_back

# Codes of the time between two tokens: the start, then one for each doubling of seconds up to the
# question, and as many up to the event before it where the time of asking is not known.
START, TIMED = 0, 1
UNTIMED = TIMED + AGE_BUCKETS
RELATIVE_CODES = UNTIMED + AGE_BUCKETS

# Codes of the time between a token and the question after it; 0 where the time is not known.
TIME_GAP_CODES = 1 + AGE_BUCKETS

# For seconds until a user is back.
NOT_KNOWN = -1

# Differences of so many seconds, whichever way, are as wide as their numbers can be.
MOST_SECONDS = np.iinfo(np.int32).max // 2


class Tokens(NamedTuple):
    """B users; T is one more than the longest history, and at least 2, so that it has halves.

    N of the tokens are there: all, or all after those that were read before.
    """

    movies: NDArray[np.int64]  # (B, N) number + 1; 0 for the start, and after the last event
    classes: NDArray[np.int64]  # (B, N) of the rating + 1; 0 likewise
    codes: NDArray[np.int64]  # (B, C) codes of attributes
    time_gaps: NDArray[np.int64]  # (B, N) codes
    # (B, N, T) codes, from each question to each token: the code of the time between, plus
    # RELATIVE_CODES for the token before the question and for each one between; less than that is
    # after the question
    relative_times: NDArray[np.int64]
    last: NDArray[np.int64]  # (B,) place of the last token among those that are there
    # (B, 2) codes of the question after the last token, of one who comes back: of the time since
    # the last event when it is asked, and of that until the user is back, 0 where it is not known;
    # both are 0 in the sitting of the last event
    asked: NDArray[np.int64]

    def part(self, rows: slice) -> "Tokens":
        """Return some of the users."""
        return Tokens(*(column[rows] for column in self))

    def columns(self, movies: EmbeddingTable) -> Columns:
        """Return what a user tower is given, with the rows of a table `(B, N, W)` for movies."""
        return self._asdict() | {"movies": movies.rows(self.movies)}

    def until(self, places: int) -> "Tokens":
        """Return the users with the first places alone, at least 2."""
        return Tokens(
            movies=self.movies[:, :places],
            classes=self.classes[:, :places],
            codes=self.codes,
            time_gaps=self.time_gaps[:, :places],
            relative_times=np.ascontiguousarray(self.relative_times[:, :places, :places]),
            last=np.minimum(self.last, places - 1),
            asked=self.asked,
        )

    def padded(self, places: int) -> "Tokens":
        """Return the users with room for at least so many tokens, none of which is looked at."""
        more = (0, max(0, places - self.movies.shape[1]))
        return self._replace(
            movies=np.pad(self.movies, ((0, 0), more)),
            classes=np.pad(self.classes, ((0, 0), more)),
            time_gaps=np.pad(self.time_gaps, ((0, 0), more)),
            relative_times=np.pad(self.relative_times, ((0, 0), more, more)),
        )


# What the layers for tokens after others are given: the states of those, and of the columns above
# what is not about all tokens.
CONTINUED = ("movies", "classes", "time_gaps", "relative_times", "asked", "read")


def tokens(
    codes: NDArray[np.int64],
    histories: Histories,
    windows: Windows,
    timed: NDArray[np.bool_],
    scale: RatingScale,
    length: int,
    asked: NDArray[np.int64] | None = None,
    read: int = 0,
) -> Tokens:
    """Describe users by the last `length` events of their windows.

    Args:
        codes: `(B, C)` codes of attributes.
        histories: The events that the windows point into.
        windows: B of them, with the times of asking.
        timed: `(B,)` whether times of asking count, that of the window and those of its events.
        scale: Of the ratings.
        length: The longest history.
        asked: `(B, 2)` codes of users who come back; None is nobody.
        read: Tokens that are left out, because they were read before.
    """
    counts = np.minimum(windows.counts, length)
    places = np.arange(max(2, 1 + int(counts.max(initial=0))))  # 0 is the start
    there = (places >= 1) & (places <= counts[:, None])  # (B, T)
    positions = np.where(there, (windows.ends - counts - 1)[:, None] + places, 0)
    if not len(histories.movies):
        histories = Histories(
            histories.offsets, np.zeros(1, np.int32), np.zeros(1, np.float32), np.zeros(1, np.int64)
        )
    base = histories.timestamps[positions[:, 1]]
    since = _seconds(np.where(there, histories.timestamps[positions] - base[:, None], 0))
    until, time_gaps = since, np.zeros(since.shape, np.int64)
    if timed.any():
        end = _seconds(np.where(counts > 0, windows.times - base, 0))[:, None]  # (B, 1)
        following = np.concatenate([since[:, 1:], end], axis=1)
        following = np.where(places == counts[:, None], end, following)  # (B, T)
        until = np.where(timed[:, None], following, since)
        known = there & timed[:, None]  # before the first event, nothing came
        time_gaps[known] = 1 + doublings(following - since)[known]
    relative_times = doublings(
        until[:, read:, None] - since[:, None, :], np.where(timed, TIMED, UNTIMED)[:, None, None]
    )  # (B, N, T)
    relative_times[:, :, 0] = START
    relative_times += _distances(length)[read : len(places), : len(places)]
    there, positions = there[:, read:], positions[:, read:]
    return Tokens(
        movies=np.where(there, histories.movies[positions].astype(np.int64) + 1, 0),
        classes=np.where(
            there, scale.class_of(histories.ratings[positions]).astype(np.int64) + 1, 0
        ),
        codes=codes,
        time_gaps=time_gaps[:, read:],
        relative_times=relative_times.astype(np.int64),
        last=counts - read,
        asked=np.zeros((len(codes), 2), np.int64) if asked is None else asked,
    )


def when_codes(
    when: When, windows: Windows, last: NDArray[np.int64], present: NDArray[np.int64] | int
) -> NDArray[np.int64]:
    """Return the codes `(B, 2)` of questions as `Tokens` has them; see `comes_back`."""
    since = np.where(windows.counts > 0, np.maximum(present - last, 0), 0)
    until = windows.times - last if when is When.AT else np.full(len(last), NOT_KNOWN)
    codes = return_codes(since, until)
    codes[~comes_back(when, windows, last, present)] = 0
    return codes


def return_codes(since: NDArray[np.int64], until: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the codes `(B, 2)` of questions of users who come back.

    Args:
        since: `(B,)` seconds from the last event to when the question is asked.
        until: `(B,)` seconds from the last event to when the user is back, or NOT_KNOWN.
    """
    seconds = np.empty((len(since), 2), np.int64)
    seconds[:, 0], seconds[:, 1] = since, until
    codes = 1 + doublings(seconds).astype(np.int64)
    codes[until == NOT_KNOWN, 1] = 0
    return codes


@cache
def _distances(length: int) -> NDArray[np.int32]:
    """Return relative time codes `(L + 1, L + 1)` without the time between."""
    places = np.arange(length + 1, dtype=np.int32)
    codes: NDArray[np.int32] = np.maximum(places[:, None] - places + 1, 0) * np.int32(
        RELATIVE_CODES
    )
    return codes


def _seconds(seconds: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return seconds as half as wide numbers: up to 34 years."""
    return np.minimum(np.maximum(seconds, -MOST_SECONDS), MOST_SECONDS).astype(np.int32)
