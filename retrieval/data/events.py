"""Events as read become checked rows: who, which movie, what rating, when."""

from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from retrieval.data import columns
from retrieval.data.report import Report
from retrieval.data.scale import (
    HALF_STARS,
    LARGEST,
    WHOLE_STARS,
    RatingScale,
    are_stars,
    fits,
    scale_of,
    star_scale,
)
from retrieval.data.table import Table
from retrieval.data.times import COUNTERS, NO_TIME, TimeUnit, meaning, seconds_of, whole_numbers
from retrieval.data.values import Distinct, as_text, complain, distinct, numbers, plain_values
from retrieval.errors import shown
from retrieval.options import Repeats

# What a play or a click counts as where there are no ratings.
PLAYED = RatingScale(lowest=1, highest=1, step=1)

# Words for liked and not liked.
THUMBS = {
    **dict.fromkeys(
        ("up", "thumbs up", "thumbs_up", "like", "liked", "true", "t", "yes", "y"), 1.0
    ),
    **dict.fromkeys(("positive", "love", "loved", "\N{THUMBS UP SIGN}"), 1.0),
    **dict.fromkeys(("down", "thumbs down", "thumbs_down", "dislike", "disliked", "false"), 0.0),
    **dict.fromkeys(("f", "no", "n", "negative", "hate", "hated", "\N{THUMBS DOWN SIGN}"), 0.0),
}


# Of them, those a note lists.
MOST_WORDS = 6


class Ratings(NamedTuple):
    """The ratings of a table."""

    stars: NDArray[np.float64]  # (N,) 0 where they are none
    scale: RatingScale


def rated(table: Table, report: Report, *, stars: bool) -> Ratings:
    """Return the ratings of a table; without a column of ratings, each event counts as one."""
    if columns.RATING not in table.frame:
        report.note(
            f"{table.file}: there is no rating: each event counts as 1, the sequence pair is "
            "trained alone, and rec rate will not be possible"
        )
        return Ratings(np.ones(len(table.frame)), PLAYED)
    values = _numbers(table, report)
    finite = np.isfinite(values)
    what, remedy = f"{table.called(columns.RATING)} is no number", "give a finite number, as 3.5"
    complain(report, table, columns.RATING, ~finite, what, remedy)
    different = pd.unique(values)
    if stars and (fits(different, HALF_STARS).all() or are_stars(values[finite])):
        scale = star_scale(different)
    elif (found := scale_of(values)) is not None:
        scale = found
    else:
        what, remedy = "rating is too large", f"give ratings up to {LARGEST:,.0f}"
        complain(report, table, columns.RATING, finite, what, remedy)
        return Ratings(np.zeros(len(values)), WHOLE_STARS)
    if scale.classes == 1:
        report.note(f"{table.file}: every rating is {scale.lowest:g}: they tell no taste")
    elif scale.step is None:
        report.note(f"{table.file}: ratings are {scale}: cut into {scale.classes} classes")
    if fits(different, scale).all():
        return Ratings(values, scale)
    outside = ~fits(values, scale)
    remedy = f"the others are from {scale}; mend or drop the line"
    what = "rating outside the scale"
    complain(report, table, columns.RATING, finite & outside, what, remedy)
    return Ratings(np.where(outside, 0, values), scale)


def _numbers(table: Table, report: Report) -> NDArray[np.float64]:
    """Return the ratings `(N,)` as numbers, words for liked and not liked as 1 and 0."""
    column = table.frame[columns.RATING]
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "iuf":
        return numbers(column)
    found = distinct(column)
    words = [as_text(value).casefold() for value in found.different]
    thumbs = sorted({word for word in words if word in THUMBS})
    if 2 * len(thumbs) < max(1, sum(map(bool, words))):
        return numbers(column)
    said = ", ".join(f"{word} is {THUMBS[word]:.0f}" for word in thumbs[:MOST_WORDS])
    report.note(f"{table.file}: {table.called(columns.RATING)} is a thumb: {said}")
    return found.spread(np.array([THUMBS.get(word, np.nan) for word in words]), np.nan)


def timed(table: Table, report: Report, *, any_year: bool) -> NDArray[np.int64]:
    """Return the timestamps in seconds `(N,)`, `NO_TIME` where they are none."""
    name = columns.TIMESTAMP
    if name not in table.frame:
        report.note(
            f"{table.file}: there is no time: the order of the file counts, and what needs times "
            "(visits, sittings, time of asking) is off"
        )
        order = np.arange(len(table.frame), dtype=np.int64)
        # Of very many events, several have one place; they stay in the order of the file.
        return order if len(order) <= COUNTERS else order * COUNTERS // len(order)
    found, values = _distinct_times(table.frame[name])
    counts = np.bincount(found.codes[found.codes >= 0], minlength=len(values)) if found else None
    times = seconds_of(values, counts, any_year=any_year)
    seconds = times.seconds if found is None else found.spread(times.seconds, NO_TIME)
    none = seconds == NO_TIME
    if none.any():
        _complain_of_times(table, found, values, seconds, times.unit, report)
    elif len(seconds):
        _note_times(table, seconds, times.unit, report)
    return seconds


def _distinct_times(column: pd.Series) -> tuple[Distinct | None, NDArray[Any]]:
    """Return the distinct times of a column of texts, or None and all values of any other."""
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "iufM":
        return None, plain_values(column)
    if not isinstance(column.dtype, pd.CategoricalDtype):
        moments = _datetimes(column)
        if moments is not None:
            return None, moments
    found = distinct(column)
    moments = _datetimes(pd.Series(found.different))
    return found, found.different if moments is None else moments


def _datetimes(texts: pd.Series) -> NDArray[np.datetime64] | None:
    """Return texts as datetimes at full speed where all are of one ISO form; None if not."""
    try:
        written = pa.array(texts, pa.large_string())
    except pa.ArrowException:
        return None
    for kind in (pa.timestamp("us"), pa.timestamp("us", "UTC")):
        try:
            written.slice(0, 1).cast(kind)
            moments = written.cast(kind)
        except pa.ArrowException:
            continue
        if moments.null_count:
            return None
        return np.asarray(moments.cast(pa.int64())).view("datetime64[us]").astype("datetime64[s]")
    return None


def _complain_of_times(
    table: Table,
    found: Distinct | None,
    values: NDArray[Any],
    seconds: NDArray[np.int64],
    unit: TimeUnit | None,
    report: Report,
) -> None:
    """Report the values of a column that are no times, each kind in its words."""
    name, none = columns.TIMESTAMP, seconds == NO_TIME
    called = table.called(name)
    form = "seconds since 1970, or dates and times as 2016-02-10T12:00:00Z"
    anyway = "; if the years are right, say so with --any-years"
    if unit is TimeUnit.DATETIMES:
        what = f"{called} is no date and time from 1990 to 2100"
        complain(report, table, name, none, what, f"the others are: give {form}{anyway}")
        return
    if values.dtype.kind == "M":
        given, wrong = values.astype("datetime64[s]").astype(np.int64), np.isnat(values)
    else:
        given, wrong = whole_numbers(values)
    if found is not None:
        given, wrong = found.spread(given, 0), found.spread(wrong, missing=True)
    complain(report, table, name, none & wrong, f"{called} is no whole number", f"give {form}")
    none = none & ~wrong
    negative = none & (given < 0)
    complain(report, table, name, negative, f"negative {called}", f"give {form}")
    none &= ~negative
    what = f"{called} is not plausible"
    if unit is None and none.any():
        remedy = f"it means {meaning(float(given[none][0]))}; give {form}{anyway}"
        complain(report, table, name, none & (np.cumsum(none) == 1), what, remedy)
    elif unit is not None:
        remedy = f"others are {unit}, as this cannot be; mend or drop the line{anyway}"
        complain(report, table, name, none, what, remedy)


def _note_times(
    table: Table, seconds: NDArray[np.int64], unit: TimeUnit | None, report: Report
) -> None:
    """Say what timestamps `(N,)` were taken for, where they are not plain seconds."""
    if unit is TimeUnit.ORDER:
        report.note(
            f"{table.file}: timestamps lie below {COUNTERS:,} and are no times: they are taken for "
            "the order of the ratings, and a time of asking has to be such a number too"
        )
    elif unit is not TimeUnit.SECONDS:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=int(seconds[0]))
        value = table.frame[columns.TIMESTAMP].iloc[0]
        report.note(
            f"{table.file}: timestamps are {unit}: {shown(value)} is taken for "
            f"{moment:%Y-%m-%d %H:%M:%S} UTC, {seconds[0]} seconds since 1970"
        )


def without_repeated(
    frame: pd.DataFrame, repeats: Repeats, file: str, report: Report
) -> pd.DataFrame:
    """Return, of events of one movie by one user, the first or the last, by time, then by place."""
    if repeats is Repeats.ALL:
        return frame
    rows = _repeated(_pairs(frame))
    if not len(rows):
        return frame
    keep: Literal["first", "last"]
    match repeats:
        case Repeats.LAST:
            keep, said = "last", "again later: the last rating counts"
        case Repeats.FIRST:
            keep, said = "first", "before: the first rating counts"
    by_time = frame.iloc[rows].sort_values(columns.TIMESTAMP, kind="stable")
    dropped = by_time.duplicated([columns.USER_ID, columns.MOVIE_ID], keep=keep)
    kept = np.ones(len(frame), dtype=bool)
    kept[by_time.index[dropped]] = False
    report.facts["repeated"] = int((~kept).sum())
    report.note(
        f"{file}: {report.facts['repeated']:,} ratings were left out, as the user rated the "
        f"same movie {said}"
    )
    return frame[kept].reset_index(drop=True)


def _repeated(pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows whose pair comes more than once, ascending."""
    ordered = np.sort(pairs)
    again = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    del ordered
    return np.flatnonzero(pd.Series(pairs, copy=False).isin(again)) if len(again) else again


def _pairs(frame: pd.DataFrame) -> NDArray[np.int64]:
    """Return a number for each pair of user and movie `(N,)`."""
    users, _ = pd.factorize(frame[columns.USER_ID])
    movies, distinct_movies = pd.factorize(frame[columns.MOVIE_ID])
    users = users.astype(np.int64, copy=False)
    users *= len(distinct_movies)
    users += movies
    return users


def listed_by_movie(frame: pd.DataFrame, *, timed: bool) -> bool:
    """Return whether each user's rows ascend by movie, as in MovieLens 10M and later.

    Where times are equal, or there are none, the order of the rows then is not that of rating them,
    and gives the last one away.
    """
    users, movies = (frame[name].array for name in (columns.USER_ID, columns.MOVIE_ID))
    same = np.asarray(users[1:] == users[:-1], dtype=bool)
    ascending = np.asarray(movies[1:] >= movies[:-1], dtype=bool)
    times = frame[columns.TIMESTAMP].to_numpy()
    tied = not timed or (times[1:] == times[:-1])[same].any()
    return bool(same.any() and ascending[same].all() and tied)
