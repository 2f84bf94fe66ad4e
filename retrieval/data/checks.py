"""The door: tables as read become checked frames, or one report of everything that is wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd

from retrieval.data import columns
from retrieval.data.attributes import Attribute, AttributeKind
from retrieval.data.events import listed_by_movie, rated, timed, without_repeated
from retrieval.data.frames import MovieData
from retrieval.data.ids import Ids, id_column, ids_of, joined
from retrieval.data.kinds import attribute_values
from retrieval.data.report import Report
from retrieval.data.scale import RatingScale
from retrieval.data.table import Table
from retrieval.data.times import NO_TIME
from retrieval.data.values import complain, given, lists, numbers, short_texts
from retrieval.options import Repeats

# The share of the events that may be of movies that the catalogue lacks.
UNKNOWN = 0.5


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is wanted of tables, beside what they say.

    Args:
        stars: Whether ratings can only be stars as in MovieLens, whole or half.
        repeats: Which events of one movie by one user count; None leaves it to the data: the last
            of ratings, all of plays.
        any_year: Whether times before 1990 and after 2100 are times too.
        movie_attributes: Further columns of the movies, by name.
        user_attributes: Further columns of the users, by name.
    """

    stars: bool = False
    repeats: Repeats | None = None
    any_year: bool = False
    movie_attributes: Mapping[str, AttributeKind] = field(default_factory=dict)
    user_attributes: Mapping[str, AttributeKind] = field(default_factory=dict)


def checked(
    events: Table,
    movies: Table | None,
    users: Table | None,
    report: Report,
    wanted: Wanted,
) -> MovieData:
    """Return checked frames.

    Args:
        events: With a user and a movie at least.
        movies: With an id at least; None where there is no such file.
        users: With an id at least; None where there is no such file.
        report: Of what was found wrong in reading.
        wanted: What is wanted of them.

    Raises:
        DataError: With every problem, those already in the report too.
    """
    tables = [
        (events, (columns.USER_ID, columns.MOVIE_ID)),
        *([] if movies is None else [(movies, (columns.MOVIE_ID,))]),
        *([] if users is None else [(users, (columns.USER_ID,))]),
    ]
    # Without its columns no more can be said of a table; a broken line does not end the search.
    complete = [_complete(table, needed, report) for table, needed in tables]
    if not all(complete):
        report.raise_any()
    looked, of_movies, of_users = _ids(events, movies, users, report)
    movie_frame = None
    if movies is not None and of_movies is not None:
        movie_frame = _movies(movies, of_movies, report)
        _add_attributes(movie_frame, movies, wanted.movie_attributes, report)
    if users is None or of_users is None:
        users = Table("users", pd.DataFrame(index=range(0)), range(0))
        of_users = Ids(looked.users.column.iloc[:0], looked.users.wrong[:0])
    user_frame = _users(users, of_users, report)
    _add_attributes(user_frame, users, wanted.user_attributes, report)
    frame, scale = _events(events, looked, wanted, report)
    wrong = looked.movies.wrong
    del looked
    known_ids = frame[columns.MOVIE_ID][~wrong] if wrong.any() else frame[columns.MOVIE_ID]
    movie_frame = _with_unknown(movie_frame, movies, events, known_ids, report)
    del known_ids
    report.raise_any()
    plays = columns.RATING not in events.frame
    repeats = wanted.repeats or (Repeats.ALL if plays else Repeats.LAST)
    return MovieData(
        ratings=_ordered(without_repeated(frame, repeats, events.file, report), events, report),
        movies=movie_frame,
        users=user_frame,
        scale=scale,
        movie_attributes=_attributes(wanted.movie_attributes),
        user_attributes=_attributes(wanted.user_attributes),
        notes=report.notes,
    )


def checked_movies(
    movies: Table, report: Report, attributes: Mapping[str, AttributeKind] | None = None
) -> pd.DataFrame:
    """Return a checked frame of movies: `columns.MOVIES`, then the attributes.

    Raises:
        DataError: With every problem, those already in the report too.
    """
    if not _complete(movies, (columns.MOVIE_ID, columns.TITLE), report):
        report.raise_any()
    column = id_column(movies, columns.MOVIE_ID)
    frame = _movies(movies, ids_of(column, column.kind, report), report)
    _add_attributes(frame, movies, attributes or {}, report)
    report.raise_any()
    return frame


def _complete(table: Table, needed: Sequence[str], report: Report) -> bool:
    """Return whether a table has rows and all columns that are needed; report what is missing."""
    for name in needed:
        if name not in table.frame:
            header = table.header or ",".join(map(str, table.frame.columns))
            remedy = (
                f"name it {name}, or tell rec init, rec data check or rec train which column it "
                f"is: --columns {name}=NAME"
            )
            report.add(table.file, 1, header, f"column {name} is missing", remedy)
    if not len(table.frame):
        report.add(table.file, None, "", "no rows", "give at least one")
    return len(table.frame) > 0 and all(name in table.frame for name in needed)


class _EventIds(NamedTuple):
    """Who and which movie, of each event."""

    users: Ids
    movies: Ids


def _ids(
    events: Table, movies: Table | None, users: Table | None, report: Report
) -> tuple[_EventIds, Ids | None, Ids | None]:
    """Return the ids of the events, of the movies and of the users, those that join of one kind."""
    sides = []
    for name, other in ((columns.USER_ID, users), (columns.MOVIE_ID, movies)):
        column, own = id_column(events, name), None
        kind = column.kind
        if other is not None:
            looked = id_column(other, name)
            kind = joined(column, looked, report)
            own = ids_of(looked, kind, report)
        sides.append((ids_of(column, kind, report), own))
    (of_users, own_users), (of_movies, own_movies) = sides
    return _EventIds(of_users, of_movies), own_movies, own_users


def _events(
    table: Table, ids: _EventIds, wanted: Wanted, report: Report
) -> tuple[pd.DataFrame, RatingScale]:
    ratings = rated(table, report, stars=wanted.stars)
    frame = pd.DataFrame(
        {
            columns.USER_ID: ids.users.column,
            columns.MOVIE_ID: ids.movies.column,
            columns.RATING: ratings.stars.astype(np.float32),
            columns.TIMESTAMP: timed(table, report, any_year=wanted.any_year),
        },
        copy=False,
    )
    return frame, ratings.scale


def _movies(table: Table, found: Ids, report: Report) -> pd.DataFrame:
    _distinct(table, columns.MOVIE_ID, found, report)
    ids = found.column
    years = np.full(len(ids), np.nan)
    if columns.YEAR in table.frame:
        years = numbers(table.frame[columns.YEAR])
        possible = (years >= 1800) & (years <= 2200) & (years == np.rint(years))
        wrong = given(table, columns.YEAR) & ~possible
        complain(report, table, columns.YEAR, wrong, "impossible year", "give four digits or none")
        years = np.where(wrong, np.nan, years)
    titles = short_texts(table, columns.TITLE, report)
    if (untitled := (titles == "").to_numpy()).any():
        first = table.place(int(np.flatnonzero(untitled)[0]))
        where = "" if untitled.all() else f", the first in line {first[1]}"
        report.note(
            f"{table.file}: {untitled.sum():,} movies have no title{where}: they are called by "
            "their ids"
        )
        titles = titles.where(~untitled, ids.astype(str))
    return pd.DataFrame(
        {
            columns.MOVIE_ID: ids,
            columns.TITLE: titles.astype(str),
            columns.YEAR: pd.Series(years).astype("Int64"),
            **{name: lists(table, name, report) for name in columns.LISTS},
        }
    )


def _with_unknown(
    movies: pd.DataFrame | None,
    table: Table | None,
    events: Table,
    ids: pd.Series,
    report: Report,
) -> pd.DataFrame:
    """Return the movies and those that the events alone know, which are called by their ids."""
    distinct_ids = pd.Series(ids.unique())
    if movies is None or table is None:
        report.note(
            f"{events.file}: there is no table of movies: {len(distinct_ids):,} movies are called "
            "by their ids"
        )
        return _called_by_id(distinct_ids.sort_values(ignore_index=True))
    unknown = distinct_ids[~distinct_ids.isin(movies[columns.MOVIE_ID])]
    if not len(unknown):
        return movies
    mask = ids.isin(unknown).to_numpy()
    count = int(mask.sum())
    if count > UNKNOWN * len(ids):
        what = f"events of unknown movies are {count:,} of {len(ids):,}"
        remedy = (
            f"add the movies to {table.file}, leave the table out, or say which columns join: "
            "--columns movie_id=NAME"
        )
        report.add(*events.place(ids.index[mask][0]), str(ids[mask].iloc[0]), what, remedy)
        return movies
    report.facts |= {"unknown_movie_events": count, "unknown_movies": len(unknown)}
    file, line = events.place(ids.index[mask][0])
    report.note(
        f"{file}: {count:,} events are of {len(unknown):,} movies that {table.file} does not have "
        f"({100 * count / len(ids):.2g} %; the first in line {line}, {ids[mask].iloc[0]}): these "
        "are added, called by their ids"
    )
    added = _called_by_id(unknown.sort_values(ignore_index=True))
    for name in movies.columns.difference(added.columns, sort=False):
        added[name] = _nothing(movies[name], len(added))
    return pd.concat([movies, added], ignore_index=True)


def _nothing(like: pd.Series, rows: int) -> pd.Series:
    """Return a column of no values, of the type of another."""
    if like.dtype == np.int64:
        return pd.Series(np.full(rows, NO_TIME))
    if like.dtype == np.float64:
        return pd.Series(np.full(rows, np.nan))
    return pd.Series([""] * rows, dtype=str)


def _called_by_id(ids: pd.Series) -> pd.DataFrame:
    nothing = pd.Series([""] * len(ids), dtype=str)
    return pd.DataFrame(
        {
            columns.MOVIE_ID: ids,
            columns.TITLE: ids.astype(str),
            columns.YEAR: pd.Series(np.full(len(ids), np.nan)).astype("Int64"),
            **dict.fromkeys(columns.LISTS, nothing),
        }
    )


def _users(table: Table, found: Ids, report: Report) -> pd.DataFrame:
    _distinct(table, columns.USER_ID, found, report)
    ids = found.column
    ages = np.full(len(ids), np.nan)
    if columns.AGE in table.frame:
        ages = numbers(table.frame[columns.AGE])
        wrong = given(table, columns.AGE) & ~((ages >= 0) & (ages <= 130))
        complain(report, table, columns.AGE, wrong, "impossible age", "give years or nothing")
    return pd.DataFrame(
        {
            columns.USER_ID: ids,
            columns.GENDER: short_texts(table, columns.GENDER, report),
            columns.AGE: ages,
            columns.OCCUPATION: short_texts(table, columns.OCCUPATION, report),
        }
    )


def _distinct(table: Table, column: str, ids: Ids, report: Report) -> None:
    repeated = ids.column.duplicated().to_numpy() & ~ids.wrong
    name = table.called(column)
    complain(report, table, column, repeated, f"{name} comes twice", "keep one row for each id")


def _add_attributes(
    frame: pd.DataFrame, table: Table, attributes: Mapping[str, AttributeKind], report: Report
) -> None:
    for name, kind in attributes.items():
        frame[name] = attribute_values(table, name, kind, report)


def _attributes(kinds: Mapping[str, AttributeKind]) -> tuple[Attribute, ...]:
    return tuple(Attribute(name, kind) for name, kind in kinds.items())


def _ordered(frame: pd.DataFrame, events: Table, report: Report) -> pd.DataFrame:
    """Return the events as they are, or shuffled where their order gives the last one away."""
    timed_ = columns.TIMESTAMP in events.frame
    if not listed_by_movie(frame, timed=timed_):
        return frame
    shuffled = frame.sample(frac=1.0, random_state=0, ignore_index=True)
    if not timed_:
        report.note(
            f"{events.file}: the events of each user are listed by movie: their order says "
            "nothing, and is made random"
        )
        shuffled[columns.TIMESTAMP] = np.arange(len(shuffled))
    return shuffled
