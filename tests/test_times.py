import re

import numpy as np
import pytest
from numpy.typing import DTypeLike

from retrieval.data.times import NO_TIME, TimeUnit, meaning, seconds_of, whole_numbers

NOON = 1_455_105_600  # 2016-02-10 12:00 UTC
MIDNIGHT = NOON - 43_200


def read(*values: object, kind: DTypeLike = object) -> tuple[list[int | None], TimeUnit | None]:
    times = seconds_of(np.array(values, dtype=kind))
    assert times.seconds.dtype == np.int64
    return [None if time == NO_TIME else time for time in times.seconds.tolist()], times.unit


@pytest.mark.parametrize(
    ("per", "unit"),
    [
        (1, TimeUnit.SECONDS),
        (10**3, TimeUnit.MILLISECONDS),
        (10**6, TimeUnit.MICROSECONDS),
        (10**9, TimeUnit.NANOSECONDS),
    ],
)
@pytest.mark.parametrize("kind", [np.int64, np.uint64, np.float64, str, object])
def test_the_unit_of_numbers_shows_in_their_range(
    per: int, unit: TimeUnit, kind: DTypeLike
) -> None:
    assert read(NOON * per, (NOON + 60) * per, kind=kind) == ([NOON, NOON + 60], unit)


@pytest.mark.parametrize("year", [1990, 2000, 2016, 2099])
def test_every_unit_is_recognised_from_1990_to_2100(year: int) -> None:
    second = int(np.datetime64(f"{year}-06-01T00:00:01").astype("datetime64[s]").astype(np.int64))
    for per in (1, 10**3, 10**6, 10**9):
        assert read(second * per, kind=np.int64)[0] == [second]


def test_fractions_of_seconds_are_cut_off_not_rounded_up() -> None:
    assert read(NOON * 1000 + 999)[0] == [NOON]


def test_dates_without_dashes_are_midnight() -> None:
    assert read(20_160_210, 20_160_211) == ([MIDNIGHT, MIDNIGHT + 86_400], TimeUnit.DATES)
    assert read("20160210", "20160231", "20160211")[0] == [MIDNIGHT, None, MIDNIGHT + 86_400]


def test_counters_are_an_order() -> None:
    assert read(1, 2, 3, kind=np.int64) == ([1, 2, 3], TimeUnit.ORDER)
    assert read(0, 0) == ([0, 0], TimeUnit.ORDER)


@pytest.mark.parametrize("kind", ["s", "ms", "us", "ns"])
def test_datetimes_are_converted_by_type(kind: str) -> None:
    moments = np.array(["2016-02-10T12:00:00.9", "NaT"], dtype=f"datetime64[{kind}]")
    times = seconds_of(moments)
    assert times.seconds.tolist() == [NOON, NO_TIME]
    assert times.unit is TimeUnit.DATETIMES


@pytest.mark.parametrize(
    "text",
    [
        "2016-02-10T12:00:00Z",
        "2016-02-10T12:00:00",
        "2016-02-10 12:00:00",
        " 2016-02-10 12:00 ",
        "2016-02-10 12:00:00.123456789",
        "2016-02-10T13:00:00+01:00",
        "2016-02-10 07:00:00 -0500",
        "2016-02-10 12:00:00 UTC",
        "20160210T120000Z",
    ],
)
def test_dates_and_times_in_text_are_read(text: str) -> None:
    assert read(text, text) == ([NOON, NOON], TimeUnit.DATETIMES)


def test_a_date_is_its_midnight() -> None:
    assert read("2016-02-10") == ([MIDNIGHT], TimeUnit.DATETIMES)


def test_a_few_odd_values_stand_out() -> None:
    odd = [5, NOON * 1000, -3]
    assert read(*odd, *[NOON] * 4)[0] == [None] * 3 + [NOON] * 4
    assert read(f"{NOON}", "noon", "", f"{NOON}")[0] == [NOON, None, None, NOON]
    assert read("2016-02-10", "noon", "10/02/2016", "2016-02-10", "2016-02-10")[0] == [
        *(MIDNIGHT, None, None, MIDNIGHT, MIDNIGHT)
    ]
    assert read(1, 2, NOON)[0] == [1, 2, None]


@pytest.mark.parametrize(
    "values",
    [
        [99_999_999_999_999],
        [50_000_000],
        [-NOON],
        ["noon", "soon"],
        ["0001-01-01"],
        ["9999-12-31T23:59:59Z"],
        [float("nan"), float("inf")],
        [2**64, 10**30],
        [None],
    ],
)
def test_what_no_unit_makes_plausible_is_none(values: list[object]) -> None:
    assert read(*values) == ([None] * len(values), None)


def test_no_times_are_no_times() -> None:
    assert seconds_of(np.array([], dtype=np.int64)).seconds.tolist() == []


def test_datetimes_before_1990_are_kept_where_all_are() -> None:
    assert read(10, 20, kind="datetime64[s]") == ([10, 20], TimeUnit.DATETIMES)
    assert read(0, NOON, NOON, kind="datetime64[s]")[0] == [None, NOON, NOON]


@pytest.mark.parametrize(
    ("value", "number"),
    [
        *(("7", 7), (" 7 ", 7), ("+7", 7), ("7.0", 7), ("7.", 7), ("1e3", 1000), ("-2", -2)),
        *(("0113351", 113_351), (str(2**63 - 1), 2**63 - 1), (2**63 - 1, 2**63 - 1), (7.0, 7)),
    ],
)
def test_whole_numbers_are_read_however_they_are_written(value: object, number: int) -> None:
    numbers, wrong = whole_numbers(np.array([value], dtype=object))
    assert (numbers.tolist(), wrong.tolist()) == ([number], [False])


@pytest.mark.parametrize(
    "value",
    [
        *("", "seven", "7.5", "0x10", "1_0", "٣", "½", "nan", "inf", "1e400", "1e-3", "tt7", "7 8"),
        *(str(2**63), "9007199254740993.0", "1e18", None, True, 7.5, float("nan"), 2.0**53, "7\n8"),
    ],
)
def test_what_is_no_whole_number_of_64_bits_is_wrong(value: object) -> None:
    _, wrong = whole_numbers(np.array([value], dtype=object))
    assert wrong.tolist() == [True]


def test_unsigned_numbers_beyond_64_bits_are_wrong() -> None:
    _, wrong = whole_numbers(np.array([2**63 - 1, 2**63], dtype=np.uint64))
    assert wrong.tolist() == [False, True]


def test_the_meaning_of_a_number_names_years() -> None:
    assert re.match(
        r"no year .* in seconds, the year 5138 in milliseconds", meaning(99_999_999_999_999)
    )
    assert "no year" in meaning(1e300)
