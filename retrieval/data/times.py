"""Times: what a column of timestamps is written in, and what it is in seconds since 1970."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

# Nobody rated a movie in a file before 1990; what lies in these years is taken at its word.
EARLIEST = 631_152_000  # 1990
LATEST = 4_102_444_800  # 2100

# Seconds of a day.
DAY = 86_400

# Whole numbers below it, four months of seconds, are no times but count the ratings.
COUNTERS = 10_000_000

# What stands for a value that is no time.
NO_TIME = np.iinfo(np.int64).min


class TimeUnit(StrEnum):
    """What timestamps are written in."""

    SECONDS = "seconds"
    MILLISECONDS = "milliseconds"
    MICROSECONDS = "microseconds"
    NANOSECONDS = "nanoseconds"
    DATES = "dates (YYYYMMDD)"
    DATETIMES = "dates and times"
    ORDER = "an order"


PER_SECOND = {
    TimeUnit.SECONDS: 1,
    TimeUnit.MILLISECONDS: 10**3,
    TimeUnit.MICROSECONDS: 10**6,
    TimeUnit.NANOSECONDS: 10**9,
}


class Times(NamedTuple):
    """A column of N timestamps."""

    seconds: NDArray[np.int64]  # (N,) since 1970, `NO_TIME` where a value is none in the unit
    unit: TimeUnit | None  # of most values; None: no unit makes most of them plausible


def seconds_of(
    values: NDArray[Any], counts: NDArray[np.int64] | None = None, *, any_year: bool = False
) -> Times:
    """Return the seconds of timestamps, in the unit that makes most of them plausible.

    Numbers are recognised by their range, dates and times by their type or form (ISO 8601, UTC
    where no zone is given). The others stand out as mistakes. Numbers below `COUNTERS` are an order
    and stay as they are.

    Args:
        values: `(N,)` whole numbers, floats, datetime64, or texts and other objects.
        counts: `(N,)` how often each value comes; None is once.
        any_year: Whether times before 1990 and after 2100 are times too.
    """
    weights = np.ones(len(values), dtype=np.int64) if counts is None else counts
    if values.dtype.kind == "M":
        seconds = values.astype("datetime64[s]").astype(np.int64)
        return _of_datetimes(seconds, weights, any_year=any_year)
    numbers, wrong = whole_numbers(values, 2**63)
    if values.dtype.kind not in "iuf" and 2 * weights[wrong].sum() > weights.sum():
        seconds, no_dates = _parsed(values, iso_seconds)
        if weights[no_dates].sum() < weights[wrong].sum():
            seconds = np.where(no_dates, NO_TIME, seconds)
            return _of_datetimes(seconds, weights, any_year=any_year)
    return _of_numbers(numbers, wrong, weights, any_year=any_year)


def whole_numbers(
    values: NDArray[Any], exact: int = 2**53
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return values `(N,)` as int64, and where they are no whole numbers of 64 bits `(N,)`.

    `7.0`, `1e3` and ` 7 ` are whole numbers; digits are 0 to 9. What is none becomes 0.

    Args:
        values: `(N,)` integers, floats, or texts and other objects.
        exact: what floats, and texts written as floats, lie below; from 2**53 they are rounded.
    """
    match values.dtype.kind:
        case "i":
            return values.astype(np.int64, copy=False), np.zeros(len(values), dtype=bool)
        case "u":
            wrong = values > np.iinfo(np.int64).max
            return np.where(wrong, 0, values).astype(np.int64), wrong
        case "f":
            floats = values.astype(np.float64)
            wrong = ~((floats == np.rint(floats)) & (np.abs(floats) < exact))
            return np.where(wrong, 0, floats).astype(np.int64), wrong
    return _parsed(values, lambda text: _whole_number(text, exact))


def meaning(number: float) -> str:
    """Return what a number would mean as a time, for a message."""
    years = {unit: _year(number / per) for unit, per in PER_SECOND.items()}
    if len({*years.values()}) == 1:
        return f"{years[TimeUnit.SECONDS]} in any unit"
    return ", ".join(f"{year} in {unit}" for unit, year in years.items())


def shown_time(seconds: int) -> str:
    """Return a moment as text."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _year(seconds: float) -> str:
    try:
        return f"the year {datetime.fromtimestamp(seconds, UTC).year}"
    except (ValueError, OverflowError, OSError):
        return "no year of a calendar"


def _of_datetimes(
    seconds: NDArray[np.int64], weights: NDArray[np.int64], *, any_year: bool
) -> Times:
    """Keep what is plausible: from 1990 to 2100, or from 1970 where most lie before 1990."""
    there = seconds != NO_TIME
    plausible = (seconds >= EARLIEST) & (seconds < LATEST)
    if 2 * weights[plausible].sum() <= weights[there].sum():
        plausible = (seconds >= 0) & (seconds < LATEST)
    if any_year:
        plausible = there
    unit = TimeUnit.DATETIMES if plausible.any() else None
    return Times(np.where(plausible, seconds, NO_TIME), unit)


def _of_numbers(
    numbers: NDArray[np.int64],
    wrong: NDArray[np.bool_],
    weights: NDArray[np.int64],
    *,
    any_year: bool,
) -> Times:
    """Choose the unit that makes most numbers plausible, a quarter of them at least."""
    ranges = {unit: (EARLIEST * per, LATEST * per) for unit, per in PER_SECOND.items()}
    ranges[TimeUnit.DATES] = (19_900_101, 21_001_232)
    ranges[TimeUnit.ORDER] = (0, COUNTERS)
    most, unit, plausible = 0, None, wrong
    for each, (low, high) in ranges.items():
        inside = ~wrong & (numbers >= low) & (numbers < high)
        if (count := int(weights[inside].sum())) > most:
            most, unit, plausible = count, each, inside
        if 2 * most > weights.sum():
            break
    if unit is None or 4 * most < weights[~wrong].sum():
        if not any_year:
            return Times(np.full(len(numbers), NO_TIME), None)
        unit = TimeUnit.SECONDS
    if any_year and unit in PER_SECOND:
        plausible = ~wrong
    if unit is TimeUnit.SECONDS and plausible.all():
        return Times(numbers, unit)
    seconds = numbers // PER_SECOND.get(unit, 1)
    if unit is TimeUnit.DATES:
        seconds, no_days = _parsed(np.where(plausible, numbers, 0), _day_seconds)
        plausible = ~no_days
    return Times(np.where(plausible, seconds, NO_TIME), unit)


def _parsed(
    values: NDArray[Any], parse: Callable[[str], int | None]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return what values `(N,)` are parsed to, 0 where they cannot be, and where they cannot."""
    texts = [str(value).strip() for value in values.tolist()]
    known = {text: parse(text) for text in set(texts)}
    found = [known[text] for text in texts]
    wrong = np.array([number is None for number in found], dtype=bool)
    return np.array([number or 0 for number in found], dtype=np.int64), wrong


WHOLE = re.compile(r"[+-]?[0-9]{1,30}")
DECIMAL = re.compile(r"[+-]?[0-9]{1,30}(\.[0-9]{0,30})?([eE][+-]?[0-9]{1,2})?")


def _whole_number(text: str, exact: int) -> int | None:
    if WHOLE.fullmatch(text):
        number = int(text)
        return number if -(2**63) <= number < 2**63 else None
    if DECIMAL.fullmatch(text):
        decimal = Decimal(text)
        return int(decimal) if decimal == decimal.to_integral() and abs(decimal) < exact else None
    return None


def iso_seconds(text: str) -> int | None:
    """Return the seconds of a time as ISO 8601 has it, in UTC unless it names a zone; else None."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        # Databases write a blank before the zone, or its name.
        tight = re.sub(r"\s+(?=[+-]\d|Z$)", "", re.sub(r"\s*(UTC|GMT)$", "Z", text))
        return None if tight == text else iso_seconds(tight)
    try:
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() // 1)
    except (ValueError, OverflowError):
        return None


def _day_seconds(text: str) -> int | None:
    try:
        day = datetime(int(text[:4]), int(text[4:6]), int(text[6:]), tzinfo=UTC)
    except ValueError:
        return None
    return int(day.timestamp())
