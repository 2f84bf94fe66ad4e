from typing import NamedTuple

import numpy as np

from retrieval.data.history import Histories, build_histories
from retrieval.data.sittings import NO_SITTING, PAUSE, sittings
from retrieval.data.times import COUNTERS

START = 10**9


class Found(NamedTuple):
    """The sittings of all events, and with which users come back."""

    starts: np.ndarray
    ends: np.ndarray
    following: np.ndarray
    later: np.ndarray
    openings: np.ndarray


def found(users: list[int], seconds: list[int], user_count: int = 0) -> Found:
    """The sittings of events, given by user in order of time."""
    owners = np.array(users, np.int64)
    histories = build_histories(
        owners,
        np.arange(len(users)),
        np.ones(len(users), np.float32),
        np.array(seconds, np.int64),
        user_count or max(users, default=-1) + 1,
    )
    parts = sittings(histories)
    return Found(*parts.of(np.arange(len(users))), parts.openings)


def test_more_than_an_hour_ends_a_sitting_and_an_hour_does_not() -> None:
    assert PAUSE == 3600
    parts = found([0] * 4, [START, START + 3600, START + 7201, START + 7201])
    assert parts.starts.tolist() == [0, 0, 2, 2]
    assert parts.ends.tolist() == [2, 2, 4, 4]
    assert parts.following.tolist() == [2, 2, NO_SITTING, NO_SITTING]
    assert parts.later.tolist() == [False, False, True, True]
    assert parts.openings.tolist() == [2]


def test_sittings_end_with_their_user() -> None:
    # The second user's events come within the hour of the first one's, the third one's before.
    users, times = [0, 0, 1, 1, 2], [0, 9000, 9000, 99_000, 5]
    parts = found(users, [START + time for time in times])
    assert parts.starts.tolist() == [0, 1, 2, 3, 4]
    assert parts.ends.tolist() == [1, 2, 3, 4, 5]
    assert parts.following.tolist() == [1, NO_SITTING, 3, NO_SITTING, NO_SITTING]
    assert parts.later.tolist() == [False, True, False, True, False]
    assert parts.openings.tolist() == [1, 3]


def test_users_without_events_take_nothing_from_others() -> None:
    # Of five users the first, the third and the last have none.
    parts = found([1, 1, 3], [START, START + 9000, START + 18_000], 5)
    assert parts.starts.tolist() == [0, 1, 2]
    assert parts.following.tolist() == [1, NO_SITTING, NO_SITTING]
    assert parts.later.tolist() == [False, True, False]


def test_where_timestamps_count_events_a_user_has_a_single_sitting() -> None:
    counting = [0, 4000, COUNTERS - 1]
    parts = found([0, 0, 0], counting)
    assert parts.starts.tolist() == [0, 0, 0]
    assert parts.ends.tolist() == [3, 3, 3]
    assert parts.openings.tolist() == []
    times = found([0, 0, 0], [0, 4000, COUNTERS])  # as soon as the latest cannot be a count
    assert times.openings.tolist() == [1, 2]


def test_where_there_are_no_events_there_are_no_sittings() -> None:
    nothing = Histories(
        np.zeros(3, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32), np.zeros(0, np.int64)
    )
    parts = sittings(nothing)
    assert parts.bounds.tolist() == [0]
    assert [len(column) for column in parts.of(np.zeros(0, np.int64))] == [0, 0, 0, 0]
    assert parts.openings.tolist() == []
