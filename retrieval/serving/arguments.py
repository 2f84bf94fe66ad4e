"""Values from outside, checked at one door: ids, times and counts."""

import re
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retrieval.data.times import (
    COUNTERS,
    DAY,
    EARLIEST,
    LATEST,
    NO_TIME,
    PER_SECOND,
    TimeUnit,
    meaning,
    seconds_of,
    whole_numbers,
)
from retrieval.data.vocabulary import Id, Ids, Vocabulary
from retrieval.errors import RequestError, shown

LARGEST = 2**63 - 1

YEAR_OR_MONTH = re.compile(r"((?:19|20)[0-9]{2})(-(?:0[1-9]|1[0-2]))?", re.ASCII)

DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([smhd])", re.ASCII)
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": DAY}
LONGEST_DURATION = 3660 * DAY  # ten years

TIME_REMEDY = (
    "give seconds since 1970, or a date from 1990 to 2100 as in 2000, 2000-12-31 "
    "or 2000-12-31T20:00"
)
NUMBER_REMEDY = "give whole seconds since 1970, or a numpy.datetime64, up to 2100"


def checked_ids(values: ArrayLike, what: str, vocabulary: Vocabulary) -> Ids:
    """Return ids of the kind that a vocabulary has, known or not, `(Q,)`.

    Args:
        values: `(Q,)` ids.
        what: Word for what has such ids.
        vocabulary: The ids that are known.

    Raises:
        RequestError: The values are not one list, or one of them is no id of that kind.
    """
    given = _list(values, f"{what} ids")
    if not vocabulary.texts:
        return checked_whole(given, what)
    if given.dtype.kind in "Uiu":
        return np.char.strip(given.astype(str))
    return np.array([checked_id(value, what, vocabulary) for value in given.tolist()], dtype=str)


def checked_whole(values: ArrayLike, what: str) -> NDArray[np.int64]:
    """Return whole numbers `(Q,)`.

    Args:
        values: `(Q,)` numbers.
        what: Word for what has such numbers.

    Raises:
        RequestError: The values are not one list, or one of them is no whole number of 64 bits.
    """
    given = _list(values, f"{what} ids")
    numbers, wrong = _whole(given)
    if given.dtype.kind in "mM":  # a time is no id, though in nanoseconds it is a whole number
        wrong[:] = True
    if wrong.any():
        raise _no_id(given[wrong][0], what)
    return numbers


def checked_id(value: object, what: str, vocabulary: Vocabulary) -> Id:
    """Return one id of the kind that a vocabulary has, known or not.

    Where ids are texts, a whole number is taken as it is written.

    Raises:
        RequestError: It is no such id.
    """
    if type(value) is int and not vocabulary.texts:
        if abs(value) > LARGEST:
            raise _no_id(value, what)
        return value
    if vocabulary.texts:
        if isinstance(value, str):
            return value.strip()
        if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
            return str(value)
        raise RequestError(f"{what} '{shown(value)}' is no id; {vocabulary.described()}")
    if not isinstance(value, (np.integer, np.floating, float, str)):
        raise _no_id(value, what)
    return int(checked_whole(np.array([value]), what)[0])


def checked_times(values: ArrayLike | None, count: int) -> NDArray[np.int64] | None:
    """Return times of asking in seconds, `(Q,)`; None if there is none at all.

    Args:
        values: `(Q,)` whole seconds since 1970 or datetime64; `NO_TIME` or NaT where a question has
            no time.
        count: Number of questions, Q.

    Raises:
        RequestError: There is not one time for each question, or one is no time.
    """
    if values is None:
        return None
    given = _list(values, "times")
    if len(given) != count:
        raise RequestError(
            f"there are {len(given)} times for {count} questions; give one for each, or none"
        )
    if given.dtype.kind == "M":
        given = given.astype("datetime64[s]").astype(np.int64)
    seconds, wrong = _whole(given)
    wrong |= (seconds != NO_TIME) & ((seconds < 0) | (seconds >= LATEST))
    if wrong.any():
        raise _no_time(given[wrong][0], NUMBER_REMEDY)
    return None if len(seconds) and (seconds == NO_TIME).all() else seconds


def checked_time(value: object) -> int | None:
    """Return one time in seconds; None is none.

    Raises:
        RequestError: It is no time.
    """
    if value is None:
        return None
    if type(value) is int and 0 <= value < LATEST:
        return value
    if isinstance(value, (np.integer, np.floating, float, np.datetime64)):
        times = checked_times(np.array([value]), 1)
        return None if times is None else int(times[0])
    raise _no_time(value, NUMBER_REMEDY)


def checked_numbers(values: Sequence[object], what: str) -> NDArray[np.float64]:
    """Return numbers `(Q,)`, which may be infinite or NaN.

    Raises:
        RequestError: One of them is no number.
    """
    for value in values:
        if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
            raise RequestError(f"{what} '{shown(value)}' is no number")
    try:
        return np.array(values, dtype=np.float64)
    except (OverflowError, TypeError, ValueError) as error:
        raise RequestError(f"{what} '{shown(max(values, key=_size))}' is no number") from error


def checked_count(value: object, what: str, most: int, of: str) -> int:
    """Return a whole number from 1 to most.

    Args:
        value: The number.
        what: Its name.
        most: Largest number that is possible.
        of: Words for that number.

    Raises:
        RequestError: It is no such number.
    """
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        count = int(value)
        if 1 <= count <= most:
            return count
    raise RequestError(f"{what} is {shown(value)}; it must be from 1 to {most}, {of}")


def parse_time(text: str, *, order: bool = False, years: bool = True) -> int:
    """Read a time as people type it: a date, a year, `now`, or a number whose size tells its unit.

    Args:
        text: The time.
        order: Whether small numbers, which only put events in order, are times too.
        years: Whether four digits are a year.

    Raises:
        RequestError: It is no time, or none from 1990 to 2100.
    """
    written = text.strip()
    if written.casefold() == "now":
        return int(time.time())
    found = YEAR_OR_MONTH.fullmatch(written)
    if found is not None and (years or found[2]):
        written = f"{found[1]}{found[2] or '-01'}-01"
    seconds = int(read_times([written])[0][0])
    counter = order and written.isdecimal()
    if not (EARLIEST <= seconds < LATEST or (counter and 0 <= seconds < COUNTERS)):
        number, no_number = whole_numbers(np.array([written], dtype=object))
        raise _no_time(text if no_number[0] else number[0], TIME_REMEDY)
    return seconds


def parse_duration(text: str) -> int:
    """Read how long something takes, in seconds: 90s, 30m, 2h or 1d.

    Raises:
        RequestError: It is no duration, or none from a second to ten years.
    """
    found = DURATION.fullmatch(text.strip().casefold())
    if found is None:
        raise RequestError(f"'{shown(text)}' is no duration; write 90s, 30m, 2h or 1d")
    seconds = float(found[1]) * SECONDS[found[2]]
    if not 1 <= seconds <= LONGEST_DURATION:
        raise RequestError(f"{shown(text)} is too short or too long; write 1s to 3660d")
    return round(seconds)


def read_times(texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the seconds of a column of times, and where it holds what is none, both `(Q,)`.

    Each value is taken by itself: numbers by their range, as seconds, milli-, micro- or
    nanoseconds, or as days like 20001231; numbers below `COUNTERS` as they are; dates as ISO 8601
    has them, in UTC unless they name a zone. An empty text is `NO_TIME`.
    """
    if not texts:
        return np.zeros(0, np.int64), np.zeros(0, dtype=bool)
    numbers, no_number = whole_numbers(np.array(texts, dtype=object))
    seconds = np.where((numbers >= 0) & (numbers < COUNTERS), numbers, NO_TIME)
    for per in PER_SECOND.values():
        inside = (numbers >= EARLIEST * per) & (numbers < LATEST * per)
        seconds = np.where(inside, numbers // per, seconds)
    seconds[no_number] = NO_TIME
    empty = np.array([not text.strip() for text in texts])
    for place in np.flatnonzero((seconds == NO_TIME) & ~empty).tolist():
        one = np.array([texts[place]], dtype=object)
        found = seconds_of(one if no_number[place] else numbers[place : place + 1])
        if found.unit in {TimeUnit.DATETIMES, TimeUnit.DATES}:
            seconds[place] = found.seconds[0]
    return seconds, (seconds == NO_TIME) & ~empty


def _list(values: ArrayLike, what: str) -> NDArray[np.generic]:
    try:
        given = np.asarray(values)
    except (ValueError, TypeError, OverflowError) as error:  # of lists of unequal length
        raise RequestError(f"the {what} are not one list of numbers") from error
    if given.ndim != 1:
        raise RequestError(f"the {what} must be one list, not of shape {given.shape}")
    return given


def _whole(given: NDArray[np.generic]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    try:
        return whole_numbers(given)
    except (ValueError, TypeError, OverflowError) as error:  # of objects that cannot be compared
        raise RequestError(f"'{shown(given[0])}' is no whole number") from error


def _no_id(value: object, what: str) -> RequestError:
    return RequestError(
        f"{what} '{shown(value)}' is no id; ids are whole numbers from {-LARGEST} to {LARGEST}"
    )


def _no_time(value: object, remedy: str) -> RequestError:
    number = value if isinstance(value, (int, np.integer)) else None
    if number is None or isinstance(number, bool) or abs(int(number)) > LARGEST:
        return RequestError(f"malformed time '{shown(value)}'; {remedy}")
    return RequestError(f"time {shown(number)} would be {meaning(int(number))}; {remedy}")


def _size(value: object) -> float:
    return len(str(value))
