import numpy as np

from retrieval.data.history import Windows, build_histories
from retrieval.data.scale import RatingScale
from retrieval.pairs.sequence.tokens import (
    GAP_CODES,
    START,
    TOLD,
    UNTOLD,
    Tokens,
    tokens,
)

SCALE = RatingScale(lowest=1.0, highest=5.0, step=1.0)
HISTORIES = build_histories(
    np.array([0, 0, 0, 1]),
    np.array([7, 8, 9, 4]),
    np.array([5.0, 1.0, 3.0, 2.0], dtype=np.float32),
    np.array([100, 100, 108, 50]),
    2,
)


def made(*, told: bool, length: int = 10) -> Tokens:
    windows = Windows(np.array([0, 3, 4]), np.array([3, 4, 4]), np.array([140, 50, 0]))
    return tokens(np.zeros((3, 3), np.int64), HISTORIES, windows, np.full(3, told), SCALE, length)


def test_a_start_then_the_events_oldest_first() -> None:
    found = made(told=True)
    assert found.movies.tolist() == [[0, 8, 9, 10], [0, 5, 0, 0], [0, 0, 0, 0]]
    assert found.levels.tolist() == [[0, 5, 1, 3], [0, 2, 0, 0], [0, 0, 0, 0]]
    assert found.last.tolist() == [3, 1, 0]


def test_longer_histories_lose_their_oldest_events() -> None:
    assert made(told=True, length=2).movies.tolist() == [[0, 9, 10], [0, 5, 0], [0, 0, 0]]


def test_where_nobody_has_a_history_there_is_a_place_for_one() -> None:
    windows = Windows(np.array([4]), np.array([4]), np.array([0]))
    found = tokens(np.zeros((1, 3), np.int64), HISTORIES, windows, np.array([True]), SCALE, 10)
    assert found.movies.tolist() == [[0, 0]]
    assert found.last.tolist() == [0]
    assert found.lags.shape == (1, 2, 2)


def test_waits_tell_when_the_next_event_or_the_question_comes() -> None:
    # 0, 8 and 32 seconds: bucket 0, and one more for each doubling.
    assert made(told=True).waits[0].tolist() == [0, 1, 1 + 4, 1 + 6]
    assert not made(told=False).waits.any()


def test_gaps_run_from_the_question_when_told_and_from_the_event_when_not() -> None:
    told, untold = made(told=True).lags[0] % GAP_CODES, made(told=False).lags[0] % GAP_CODES
    assert told[3].tolist() == [START, TOLD + 6, TOLD + 6, TOLD + 6]
    assert told[2].tolist()[:3] == [START, TOLD + 4, TOLD + 4]
    assert untold[3].tolist() == [START, UNTOLD + 4, UNTOLD + 4, UNTOLD]
    assert told.max() < UNTOLD <= untold.max() < GAP_CODES


def test_lags_tell_how_many_tokens_lie_between() -> None:
    assert (made(told=True).lags[0, 3] // GAP_CODES).tolist() == [4, 3, 2, 1]


def test_nothing_looks_ahead() -> None:
    ahead = np.triu(np.ones((4, 4), dtype=bool), 1)
    for lags in made(told=True).lags:
        assert (lags[ahead] < GAP_CODES).all()
        assert (lags[~ahead] >= GAP_CODES).all()


def test_what_comes_later_changes_no_earlier_token() -> None:
    windows = Windows(np.array([0]), np.array([2]), np.array([108]))
    person = np.zeros((1, 3), np.int64)
    shorter = tokens(person, HISTORIES, windows, np.array([True]), SCALE, 10)
    longer = made(told=True)
    for name in ("movies", "levels", "waits"):
        np.testing.assert_array_equal(getattr(shorter, name)[0], getattr(longer, name)[0, :3])
    np.testing.assert_array_equal(shorter.lags[0], longer.lags[0, :3, :3])
