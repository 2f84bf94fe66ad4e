import numpy as np
import pytest

from retrieval.data.history import Windows, build_histories, last_times
from retrieval.data.sittings import PAUSE
from retrieval.pairs.when import When, comes_back

PRESENT, LAST = 10**9, 10**9 - 100


def asked(*times: int, counts: int = 3) -> Windows:
    """Windows of so many events each, asked at times."""
    nothing = np.zeros(len(times), np.int64)
    return Windows(nothing, nothing + counts, np.array(times))


def back(when: When, windows: Windows, last: int = LAST, present: int = PRESENT) -> list[bool]:
    found = comes_back(when, windows, np.full(len(windows.times), last), present)
    assert found.dtype == bool
    return [bool(row) for row in found]


def test_whoever_is_asked_before_coming_back_comes_back() -> None:
    assert back(When.COMING_BACK, asked(0, LAST, PRESENT)) == [True] * 3
    assert back(When.COMING_BACK, asked(0, counts=0)) == [True]


def test_in_the_sitting_nobody_comes_back() -> None:
    assert back(When.IN_SITTING, asked(0, LAST, PRESENT + 10**6)) == [False] * 3


def test_more_than_an_hour_after_the_last_event_a_user_is_back() -> None:
    windows = asked(LAST, LAST + PAUSE, LAST + PAUSE + 1)
    assert back(When.AT, windows) == [False, False, True]


def test_at_a_time_before_the_present_nobody_comes_back() -> None:
    windows = asked(PRESENT - 1, PRESENT, PRESENT + 1)
    assert back(When.AT, windows, last=PRESENT - 10**6) == [False, True, True]


def test_whoever_has_no_history_does_not_come_back_at_a_time() -> None:
    assert back(When.AT, asked(PRESENT + 10**6, counts=0), last=0) == [False]


def test_each_question_may_have_a_present_of_its_own() -> None:
    windows, last = asked(PRESENT, PRESENT), np.array([0, 0])
    found = comes_back(When.AT, windows, last, np.array([PRESENT, PRESENT + 1]))
    assert found.tolist() == [True, False]


@pytest.mark.parametrize("when", list(When))
def test_nobody_asked_is_nobody_back(when: When) -> None:
    assert back(when, asked()) == []


def test_the_last_time_is_that_of_the_last_event_in_the_window() -> None:
    histories = build_histories(
        np.array([0, 0, 0, 2]),
        np.arange(4),
        np.ones(4, np.float32),
        np.array([5, 7, 9, 20]),
        3,
    )
    windows = Windows(np.array([0, 0, 3, 3, 0]), np.array([3, 2, 3, 4, 0]), np.zeros(5, np.int64))
    assert last_times(histories, windows).tolist() == [9, 7, 0, 20, 0]
