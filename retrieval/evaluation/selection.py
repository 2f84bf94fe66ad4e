"""Which events an evaluation is about: those of a k-core, and those of a file of its own."""

from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from retrieval.data import columns
from retrieval.data.dataset import encode
from retrieval.data.events import PLAYED
from retrieval.data.frames import MovieData
from retrieval.data.times import COUNTERS, shown_time
from retrieval.errors import RequestError, shown


def core_of(data: MovieData, fewest: int) -> MovieData:
    """Return the events of a k-core: every user and every movie has so many of them or more.

    Published figures leave the others out first, also by what comes after a cut. Their users and
    movies go with them.

    Args:
        data: All events.
        fewest: Events that a user or a movie needs.

    Raises:
        RequestError: Nothing is left.

    Source: Seidman, "Network structure and minimum degree", Social Networks 1983.
    """
    dataset = encode(data)
    kept = in_core(dataset.users, dataset.movies, fewest)
    if not kept.any():
        raise RequestError(f"no user and movie have {fewest} events; take a smaller --core")
    ratings = data.ratings[kept]
    movies = data.movies[columns.MOVIE_ID].isin(ratings[columns.MOVIE_ID])
    users = data.users[columns.USER_ID].isin(ratings[columns.USER_ID])
    return replace(data, ratings=ratings, movies=data.movies[movies], users=data.users[users])


def in_core(users: NDArray[np.int64], movies: NDArray[np.int64], fewest: int) -> NDArray[np.bool_]:
    """Return which events `(N,)` are of users `(N,)` and movies `(N,)` with so many of them."""
    kept = np.ones(len(users), dtype=bool)
    while True:
        few = np.zeros(len(users), dtype=bool)
        for who in (users, movies):
            few |= kept & (np.bincount(who[kept], minlength=who.max(initial=0) + 1)[who] < fewest)
        if not few.any():
            return kept
        kept &= ~few


def last_moment(data: MovieData) -> int:
    """Return when the last event happened, in seconds."""
    return int(data.ratings[columns.TIMESTAMP].max())


def with_later(data: MovieData, later: MovieData, file: str) -> MovieData:
    """Return all events of data, and those of a file that came after them.

    Movies of the file that the data does not have are in the catalogue with nothing but their ids.

    Args:
        data: What is learned from.
        later: What is asked about.
        file: Name of the file, for messages.

    Raises:
        RequestError: An event of the file is not after the last one of the data, or the two do
            not speak of the same ids or ratings.
    """
    last = last_moment(data)
    for frame, which in ((data, "the events that are learned from have"), (later, f"{file} has")):
        if last_moment(frame) < COUNTERS:
            raise RequestError(
                f"{which} no times, so nobody knows that what is asked about came later"
            )
    early = int((later.ratings[columns.TIMESTAMP] <= last).sum())
    if early:
        raise RequestError(
            f"{early} of {len(later.ratings)} events of {file} are not after {shown_time(last)}, "
            "the last one that is learned from; leave them out"
        )
    events, catalogue = _with_ratings_like(data, later, file), later.movies
    for name in (columns.USER_ID, columns.MOVIE_ID):
        events = _with_ids_like(data.ratings, events, name, file)
    catalogue = _with_ids_like(data.movies, catalogue, columns.MOVIE_ID, file)
    new = catalogue[~catalogue[columns.MOVIE_ID].isin(data.movies[columns.MOVIE_ID])]
    return replace(
        data,
        ratings=pd.concat([data.ratings, events], ignore_index=True),
        movies=pd.concat([data.movies, new[list(columns.MOVIES)]], ignore_index=True),
        movie_attributes=(),
    )


def _with_ratings_like(data: MovieData, later: MovieData, file: str) -> pd.DataFrame:
    """Return later events whose ratings are of the scale of the data.

    Raises:
        RequestError: They are of another.
    """
    low, high = data.scale.lowest, data.scale.highest
    if not data.scale.tells_taste:
        return later.ratings.assign(**{columns.RATING: np.float32(low)})
    if later.scale == PLAYED:
        raise RequestError(f"{file} has no ratings beside 1, so nobody is said to like anything")
    ratings = later.ratings[columns.RATING]
    wrong = ratings[(ratings < low) | (ratings > high)]
    if len(wrong):
        raise RequestError(
            f"{file} has a rating of {wrong.iloc[0]:g}; those of the data are from {low:g} to "
            f"{high:g}"
        )
    return later.ratings


def _with_ids_like(ours: pd.DataFrame, theirs: pd.DataFrame, name: str, file: str) -> pd.DataFrame:
    """Return their frame with ids of the kind of ours.

    Raises:
        RequestError: Ours are whole numbers, and theirs are texts.
    """
    if pd.api.types.is_integer_dtype(ours[name]):
        if pd.api.types.is_integer_dtype(theirs[name]):
            return theirs
        texts = [value for value in theirs[name] if not str(value).isdecimal()]
        example = shown(next(iter(texts or theirs[name])))
        raise RequestError(
            f"{name} '{example}' of {file} is a text; those of the data are whole numbers"
        )
    return theirs.assign(**{name: theirs[name].astype(str).astype(ours[name].dtype)})
