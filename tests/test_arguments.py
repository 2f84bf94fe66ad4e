import time

import numpy as np
import pytest
from numpy.typing import ArrayLike

from retrieval.data.times import NO_TIME
from retrieval.data.vocabulary import Vocabulary
from retrieval.errors import RequestError
from retrieval.serving.arguments import (
    checked_count,
    checked_id,
    checked_ids,
    checked_time,
    checked_times,
    parse_duration,
    parse_time,
    read_times,
)

USERS, CALLED = Vocabulary([1, 2, 5]), Vocabulary(["007", "9f3c", "b:1"])
NEW_YEAR = 978_220_800  # 2000-12-31, in seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2000", 946_684_800),
        ("2000-12", 975_628_800),
        ("2000-12-31", NEW_YEAR),
        ("2000-12-31T20:00", NEW_YEAR + 20 * 3600),
        ("2000-12-31T20:00+02:00", NEW_YEAR + 18 * 3600),
        (" 978220800 ", NEW_YEAR),
        ("978220800123", NEW_YEAR),
        ("978220800123456", NEW_YEAR),
        ("978220800123456789", NEW_YEAR),
        ("20001231", NEW_YEAR),
    ],
)
def test_a_time_is_understood_as_people_type_it(text: str, seconds: int) -> None:
    assert parse_time(text) == seconds


def test_now_is_now() -> None:
    assert abs(parse_time("now") - time.time()) < 5


@pytest.mark.parametrize(
    "text",
    ["2500000", "0", "1985", "1985-01-01", "2101", "2150-01-01", "12345678901", "-5", "noon", "",
     "99999999999999999999", "9" * 5000, "\N{FULLWIDTH DIGIT TWO}000", "2000-13", "1e400"],
)  # fmt: skip
def test_no_time_or_an_implausible_one_is_refused_with_the_remedy(text: str) -> None:
    with pytest.raises(RequestError, match="a date from 1990 to 2100") as caught:
        parse_time(text)
    assert len(str(caught.value)) < 500


def test_what_a_number_would_mean_is_said() -> None:
    with pytest.raises(RequestError, match="time 2500000 would be the year 1970 in any unit"):
        parse_time("2500000")


def test_small_numbers_are_times_where_events_are_counted() -> None:
    assert parse_time("30", order=True) == 30
    assert parse_time("2000", order=True) == 946_684_800
    assert parse_time("2000", order=True, years=False) == 2000


def test_each_value_of_a_column_is_taken_by_itself() -> None:
    texts = ["7", "978220800", "978220800000", "2000-12-31", "", " ", "20001231", "soon", "5e8"]
    seconds, wrong = read_times(texts)
    assert seconds.tolist() == [7, *[NEW_YEAR] * 3, NO_TIME, NO_TIME, NEW_YEAR, NO_TIME, NO_TIME]
    assert wrong.tolist() == [False] * 7 + [True, True]
    assert read_times([])[0].tolist() == []


@pytest.mark.parametrize(
    "values",
    [[1.5], [float("nan")], [float("inf")], [10**30], [-(10**30)], [True], ["x"], [None], [{}],
     [[1, 2]], [[1], [1, 2]], 5, "12", np.zeros((2, 2)), np.array([2**63], np.uint64), [1, [2]]],
)  # fmt: skip
def test_what_is_no_list_of_ids_is_refused(values: ArrayLike) -> None:
    with pytest.raises(RequestError):
        checked_ids(values, "user", USERS)


def test_whole_numbers_of_any_type_are_ids() -> None:
    for values in ([1, 2], (1, 2), [1.0, 2.0], np.array([1, 2], np.uint8), ["1", "2"]):
        assert checked_ids(values, "user", USERS).tolist() == [1, 2]
    assert checked_ids([], "user", USERS).dtype == np.int64
    assert checked_id(np.int32(5), "user", USERS) == checked_id(5, "user", USERS) == 5
    assert checked_id(2**63 - 1, "user", USERS) == 2**63 - 1


@pytest.mark.parametrize("value", [2**63, -(2**63), 1.5, None, [5], True, float("nan"), "x"])
def test_what_is_no_id_is_refused(value: object) -> None:
    with pytest.raises(RequestError, match="is no id"):
        checked_id(value, "user", USERS)


def test_where_ids_are_texts_they_are_taken_as_they_are_written() -> None:
    mixed = np.array(["9f3c", "007", 7], dtype=object)
    assert checked_ids(mixed, "user", CALLED).tolist() == ["9f3c", "007", "7"]
    assert CALLED.numbers(checked_ids(["9f3c", "7", "b:1"], "user", CALLED)).tolist() == [1, -1, 2]
    assert checked_id(" 9f3c ", "user", CALLED) == "9f3c"
    assert checked_id(np.int64(7), "user", CALLED) == "7"
    with pytest.raises(RequestError, match=r"user '1.5' is no id; ids are texts such as '007'"):
        checked_id(1.5, "user", CALLED)
    for value in (1.5, None, True):
        with pytest.raises(RequestError, match="is no id"):
            checked_ids(np.array([value], dtype=object), "user", CALLED)


@pytest.mark.parametrize("kind", ["M8[ns]", "M8[D]", "m8[ns]"])
def test_times_are_no_ids(kind: str) -> None:
    with pytest.raises(RequestError, match="is no id"):
        checked_ids(np.array([1, 2]).astype(kind), "user", USERS)


@pytest.mark.parametrize(
    "values", [[1], [1, 2, 3], [[1, 2]], [-1, 1], [1.5, 1], [float("nan"), 1], [978_300_760_000, 1],
               ["noon", 1], 5],
)  # fmt: skip
def test_what_is_no_list_of_two_times_is_refused(values: ArrayLike) -> None:
    with pytest.raises(RequestError):
        checked_times(values, 2)


def test_times_are_seconds_or_datetimes() -> None:
    assert checked_times(None, 3) is None
    assert checked_times([NO_TIME, NO_TIME], 2) is None
    dates = np.array(["2000-12-31", "NaT"], dtype="datetime64[ms]")
    times = checked_times(dates, 2)
    assert times is not None
    assert times.tolist() == [NEW_YEAR, NO_TIME]
    assert checked_time(np.int64(7)) == checked_time(7) == 7
    assert checked_time(None) is None


@pytest.mark.parametrize(
    "value",
    [-1, 10**30, pytest.param(10**400, id="huge"), 978_300_760_000, True, "x", "2000", 1.5, [1]],
)
def test_what_is_no_time_is_refused(value: object) -> None:
    with pytest.raises(RequestError, match="give whole seconds since 1970"):
        checked_time(value)


@pytest.mark.parametrize("value", [0, -1, 6, 10**30, True, 3.0, "3", None, float("nan")])
def test_what_is_no_count_is_refused(value: object) -> None:
    with pytest.raises(RequestError, match="it must be from 1 to 5, the size"):
        checked_count(value, "k", 5, "the size")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("30m", 1800),
        (" 2 H ", 7200),
        ("1.5h", 5400),
        ("1d", 86_400),
        ("3660d", 316_224_000),
    ],
)
def test_durations_are_read_in_their_units(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("30", "'30' is no duration; write 90s, 30m, 2h or 1d"),
        ("-1h", "no duration"),
        ("1w", "no duration"),
        ("", "no duration"),
        ("0s", "0s is too short or too long; write 1s to 3660d"),
        ("3661d", "3661d is too short or too long"),
        ("9" * 400 + "d", "too short or too long"),
    ],
)
def test_what_is_no_duration_is_refused(text: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        parse_duration(text)
