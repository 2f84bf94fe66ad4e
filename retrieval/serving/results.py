"""Answers: typed rows and arrays, which become pandas tables, and tables in a notebook."""

import html
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from retrieval.data import columns
from retrieval.data.catalogue import Movie
from retrieval.data.times import NO_TIME
from retrieval.data.vocabulary import Ids
from retrieval.options import RankBy

if TYPE_CHECKING:
    import pandas as pd

COSINE = "cosine"
EFFECT = "effect"
SHARE = "share"

Column = Sequence[Any] | NDArray[Any]

Row = TypeVar("Row")


class Rating(NamedTuple):
    """The predicted rating of one movie by one user."""

    movie: Movie
    rating: float
    deviation: float | None  # standard deviation of the true rating around it, if that is known

    def to_frame(self) -> "pd.DataFrame":
        """Return a table of one row."""
        return _frame(self._columns())

    def _repr_html_(self) -> str:
        return _html(self._columns())

    def _columns(self) -> dict[str, Column]:
        found = _movie_columns([self.movie])
        return found | {columns.RATING: [self.rating], columns.DEVIATION: [self.deviation]}


@dataclass(frozen=True)
class _Rows(Sequence[Row], ABC):
    """A list of rows, which says what its columns are.

    Args:
        rows: Its rows.
    """

    rows: tuple[Row, ...]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)

    @overload
    def __getitem__(self, place: int) -> Row: ...

    @overload
    def __getitem__(self, place: slice) -> Self: ...

    def __getitem__(self, place: int | slice) -> Row | Self:
        """Return the row at a place, from 0, or a part of the list."""
        return type(self)(self.rows[place]) if isinstance(place, slice) else self.rows[place]

    def to_frame(self) -> "pd.DataFrame":
        """Return a table of one row a movie."""
        return _frame(self._columns())

    def _repr_html_(self) -> str:
        return _html(self._columns())

    @abstractmethod
    def _columns(self) -> dict[str, Column]:
        """Return the columns of a table by their names."""


class Recommendation(NamedTuple):
    """One row of a top-k list."""

    rank: int  # from 1
    movie: Movie
    score: float
    rating: float | None  # where a pair predicts ratings


@dataclass(frozen=True)
class Recommendations(_Rows[Recommendation]):
    """A top-k list, best first."""

    def _columns(self) -> dict[str, Column]:
        return {
            columns.RANK: [row.rank for row in self.rows],
            **_movie_columns([row.movie for row in self.rows]),
            columns.SCORE: [row.score for row in self.rows],
            columns.RATING: [row.rating for row in self.rows],
        }


class Similar(NamedTuple):
    """One row of a list of similar movies."""

    rank: int  # from 1
    movie: Movie
    cosine: float


@dataclass(frozen=True)
class Similars(_Rows[Similar]):
    """A list of similar movies, nearest first."""

    def _columns(self) -> dict[str, Column]:
        return {
            columns.RANK: [row.rank for row in self.rows],
            **_movie_columns([row.movie for row in self.rows]),
            COSINE: [row.cosine for row in self.rows],
        }


class Influence(NamedTuple):
    """What one event does to an answer."""

    movie: Movie
    rating: float
    timestamp: int
    effect: float  # what the event adds to the answer
    share: float  # of the sum of all effects, each taken without its sign


class Explanation(NamedTuple):
    """An answer and the events that carry it: the baseline and all effects add up to it."""

    movie: Movie
    by: RankBy
    # The rating, or the score that ranks the movie, as `rate` and `topk` give it.
    answer: float
    baseline: float  # the answer but for the events, with what else is known of the user
    unknown_user: float  # the answer for somebody of whom nothing is known
    influences: list[Influence]  # strongest first

    @property
    def because(self) -> list[Influence]:
        """The events that raise the answer most, at most three of them.

        Nobody wants to watch a movie because of one that disappointed: those rated below the
        user's mean are left out.
        """
        rows = self.influences
        mean = sum(row.rating for row in rows) / max(1, len(rows))
        raising = (row for row in rows if row.effect > 0 and row.rating >= mean)
        return sorted(raising, key=lambda row: row.effect, reverse=True)[:3]

    def to_frame(self) -> "pd.DataFrame":
        """Return a table of one row an event; the column of ratings holds what the user gave."""
        return _frame(self._columns())

    def _repr_html_(self) -> str:
        return _html(self._columns(), f"{self.movie}: {self.by} {self.answer:.3f}")

    def _columns(self) -> dict[str, Column]:
        return {
            **_movie_columns([row.movie for row in self.influences]),
            columns.RATING: [row.rating for row in self.influences],
            columns.TIMESTAMP: [row.timestamp for row in self.influences],
            EFFECT: [row.effect for row in self.influences],
            SHARE: [row.share for row in self.influences],
        }


@dataclass(frozen=True, eq=False, kw_only=True)
class Ratings:
    """The predicted ratings of Q pairs, and how sure they are where a Bayesian pair says so."""

    user_ids: Ids  # (Q,)
    movie_ids: Ids  # (Q,)
    ratings: NDArray[np.float64]  # (Q,)
    deviations: NDArray[np.float64] | None  # (Q,) standard deviations of true ratings around them
    # (Q, L) of each of the link's rating values, as sure as each pair is; ratings are the means
    # under the usual uncertainty, so that one dot product orders them
    chances: NDArray[np.float64] | None
    times: NDArray[np.int64] | None = None  # (Q,) of asking, in seconds, `NO_TIME` without one

    def to_frame(self) -> "pd.DataFrame":
        """Return a table of one row a pair, with deviations and times where there are any."""
        found: dict[str, Column] = {
            columns.USER_ID: self.user_ids,
            columns.MOVIE_ID: self.movie_ids,
            columns.RATING: self.ratings,
        }
        if self.deviations is not None:
            found[columns.DEVIATION] = self.deviations
        if self.times is not None:
            found[columns.TIMESTAMP] = times_told(self.times)
        return _frame(found)


@dataclass(frozen=True, eq=False, kw_only=True)
class TopK:
    """Lists for Q users. Rows shorter than K end in `NO_ID`, or in empty texts."""

    user_ids: Ids  # (Q,)
    movie_ids: Ids  # (Q, K)
    scores: NDArray[np.float64]  # (Q, K), minus infinity where there is no movie
    ratings: NDArray[np.float64]  # (Q, K), NaN where no pair predicts ratings
    times: NDArray[np.int64] | None = None  # (Q,) of asking, in seconds, `NO_TIME` without one

    def to_frame(self) -> "pd.DataFrame":
        """Return a table of one row a movie in a list; a user without a list has no row.

        Times are a column where there are any.
        """
        questions, places = np.nonzero(np.isfinite(self.scores))
        found: dict[str, Column] = {
            columns.USER_ID: self.user_ids[questions],
            columns.RANK: places + 1,
            columns.MOVIE_ID: self.movie_ids[questions, places],
            columns.SCORE: self.scores[questions, places],
            columns.RATING: self.ratings[questions, places],
        }
        if self.times is not None:
            found[columns.TIMESTAMP] = times_told(self.times[questions])
        return _frame(found)


def times_told(times: NDArray[np.int64]) -> list[int | None]:
    """Return times of asking `(Q,)` as a column; None where a question had none."""
    return [None if moment == NO_TIME else moment for moment in times.tolist()]


def _movie_columns(movies: Sequence[Movie]) -> dict[str, Column]:
    return {
        columns.MOVIE_ID: [movie.id for movie in movies],
        columns.TITLE: [movie.title for movie in movies],
        columns.YEAR: [movie.year for movie in movies],
        columns.GENRES: ["|".join(movie.genres) for movie in movies],
    }


# Types of columns that an empty list, or one with gaps, does not show by itself.
_TYPES = {
    columns.RANK: "int64",
    columns.TIMESTAMP: "int64",
    columns.YEAR: "Int64",  # which has gaps
    columns.RATING: "float64",
    columns.SCORE: "float64",
    columns.DEVIATION: "float64",
    COSINE: "float64",
    EFFECT: "float64",
    SHARE: "float64",
}


def _frame(found: Mapping[str, Column]) -> "pd.DataFrame":
    import pandas as pd  # noqa: PLC0415 (answers need no pandas until somebody wants a frame)

    types = {name: _TYPES.get(name, "str") for name in found}
    if any(moment is None for moment in found.get(columns.TIMESTAMP, ())):
        types[columns.TIMESTAMP] = "Int64"  # which has gaps
    for name in {columns.USER_ID, columns.MOVIE_ID} & found.keys():
        types[name] = "str" if np.asarray(found[name]).dtype.kind == "U" else "int64"
    return pd.DataFrame(
        {name: pd.Series(column, dtype=types[name]) for name, column in found.items()}
    )


def _html(found: Mapping[str, Column], caption: str | None = None) -> str:
    """Return a table for a notebook; text in it means nothing but itself."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in found)
    rows = (
        "<tr>" + "".join(f"<td>{html.escape(_cell(value))}</td>" for value in row) + "</tr>"
        for row in zip(*found.values(), strict=True)
    )
    title = "" if caption is None else f"<caption>{html.escape(caption)}</caption>"
    return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)
