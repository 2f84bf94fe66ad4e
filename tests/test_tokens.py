import numpy as np

from retrieval.data.history import Windows, build_histories
from retrieval.data.scale import RatingScale
from retrieval.pairs.sequence.tokens import (
    NOT_KNOWN,
    RELATIVE_CODES,
    START,
    TIME_GAP_CODES,
    TIMED,
    UNTIMED,
    Tokens,
    return_codes,
    tokens,
    when_codes,
)
from retrieval.pairs.when import When

SCALE = RatingScale(lowest=1.0, highest=5.0, step=1.0)
HISTORIES = build_histories(
    np.array([0, 0, 0, 1]),
    np.array([7, 8, 9, 4]),
    np.array([5.0, 1.0, 3.0, 2.0], dtype=np.float32),
    np.array([100, 100, 108, 50]),
    2,
)


def made(*, timed: bool, length: int = 10) -> Tokens:
    windows = Windows(np.array([0, 3, 4]), np.array([3, 4, 4]), np.array([140, 50, 0]))
    return tokens(np.zeros((3, 3), np.int64), HISTORIES, windows, np.full(3, timed), SCALE, length)


def test_a_start_then_the_events_oldest_first() -> None:
    found = made(timed=True)
    assert found.movies.tolist() == [[0, 8, 9, 10], [0, 5, 0, 0], [0, 0, 0, 0]]
    assert found.classes.tolist() == [[0, 5, 1, 3], [0, 2, 0, 0], [0, 0, 0, 0]]
    assert found.last.tolist() == [3, 1, 0]


def test_longer_histories_lose_their_oldest_events() -> None:
    assert made(timed=True, length=2).movies.tolist() == [[0, 9, 10], [0, 5, 0], [0, 0, 0]]


def test_where_nobody_has_a_history_there_is_a_place_for_one() -> None:
    windows = Windows(np.array([4]), np.array([4]), np.array([0]))
    found = tokens(np.zeros((1, 3), np.int64), HISTORIES, windows, np.array([True]), SCALE, 10)
    assert found.movies.tolist() == [[0, 0]]
    assert found.last.tolist() == [0]
    assert found.relative_times.shape == (1, 2, 2)


def test_time_gaps_say_when_the_next_event_or_the_question_comes() -> None:
    # 0, 8 and 32 seconds: bucket 0, and one more for each doubling.
    assert made(timed=True).time_gaps[0].tolist() == [0, 1, 1 + 4, 1 + 6]
    assert not made(timed=False).time_gaps.any()


def test_relative_times_run_from_the_question_when_it_has_a_time_and_from_the_event_when_not() -> (
    None
):
    timed, untimed = (
        made(timed=True).relative_times[0] % RELATIVE_CODES,
        made(timed=False).relative_times[0] % RELATIVE_CODES,
    )
    assert timed[3].tolist() == [START, TIMED + 6, TIMED + 6, TIMED + 6]
    assert timed[2].tolist()[:3] == [START, TIMED + 4, TIMED + 4]
    assert untimed[3].tolist() == [START, UNTIMED + 4, UNTIMED + 4, UNTIMED]
    assert timed.max() < UNTIMED <= untimed.max() < RELATIVE_CODES


def test_relative_times_say_how_many_tokens_lie_between() -> None:
    assert (made(timed=True).relative_times[0, 3] // RELATIVE_CODES).tolist() == [4, 3, 2, 1]


def test_nothing_looks_ahead() -> None:
    ahead = np.triu(np.ones((4, 4), dtype=bool), 1)
    for relative_times in made(timed=True).relative_times:
        assert (relative_times[ahead] < RELATIVE_CODES).all()
        assert (relative_times[~ahead] >= RELATIVE_CODES).all()


def test_what_comes_later_changes_no_earlier_token() -> None:
    windows = Windows(np.array([0]), np.array([2]), np.array([108]))
    person = np.zeros((1, 3), np.int64)
    shorter = tokens(person, HISTORIES, windows, np.array([True]), SCALE, 10)
    longer = made(timed=True)
    for name in ("movies", "classes", "time_gaps"):
        np.testing.assert_array_equal(getattr(shorter, name)[0], getattr(longer, name)[0, :3])
    np.testing.assert_array_equal(shorter.relative_times[0], longer.relative_times[0, :3, :3])


def test_nobody_comes_back_unless_it_is_said() -> None:
    assert made(timed=True).asked.tolist() == [[0, 0]] * 3


def test_codes_of_those_who_come_back_double_from_the_last_event() -> None:
    since, until = np.array([0, 1, 2, 7, 8]), np.array([NOT_KNOWN, 0, 1, 8, 10**9])
    codes = return_codes(since, until)
    # 1 is less than a second, and one more for each doubling; 0 is not known.
    assert codes[:, 0].tolist() == [1, 2, 3, 4, 5]
    assert codes[:4, 1].tolist() == [0, 1, 2, 5]
    assert codes.max() < TIME_GAP_CODES


PRESENT = 10_000
# Two users with a last event, and one without.
WINDOWS = Windows(np.array([0, 3, 4]), np.array([3, 4, 4]), np.array([PRESENT + 9] * 3))
LAST = np.array([108, PRESENT - 1, 0])


def test_in_the_sitting_nobody_comes_back() -> None:
    assert not when_codes(When.IN_SITTING, WINDOWS, LAST, PRESENT).any()


def test_whoever_is_asked_before_coming_back_is_asked_in_the_present() -> None:
    codes = when_codes(When.COMING_BACK, WINDOWS, LAST, PRESENT)
    since = np.array([PRESENT - 108, 1, 0])  # nothing where there was no event
    np.testing.assert_array_equal(codes, return_codes(since, np.full(3, NOT_KNOWN)))


def test_at_a_time_whoever_left_more_than_an_hour_ago_is_back() -> None:
    codes = when_codes(When.AT, WINDOWS, LAST, PRESENT)
    back = return_codes(np.array([PRESENT - 108]), np.array([PRESENT + 9 - 108]))
    assert codes.tolist() == [*back.tolist(), [0, 0], [0, 0]]
    past = when_codes(When.AT, WINDOWS._replace(times=np.full(3, PRESENT - 1)), LAST, PRESENT)
    assert not past.any()
