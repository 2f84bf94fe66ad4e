"""Which events an evaluation is about: those of a k-core, and those of a file of its own."""

from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from retrieval.data import columns
from retrieval.data.dataset import encode
from retrieval.data.events import PLAYED
from retrieval.data.frames import MovieData
from retrieval.data.times import COUNTERS
from retrieval.errors import RequestError, shown


def core_of(data: MovieData, fewest: int) -> MovieData:
    """Return the events of a k-core: every user and every movie has so many of them or more.

    Published figures leave the others out first, also by what comes after a cut. The catalogue is
    that of the movies that are left.

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
    movies = data.movies[columns.MOVIE_ID].isin(data.ratings[columns.MOVIE_ID][kept])
    return replace(data, ratings=data.ratings[kept], movies=data.movies[movies])


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
    if last < COUNTERS:
        raise RequestError(
            f"the events that are learned from have no times, so nothing in {file} can be said to "
            "come after them"
        )
    early = int((later.ratings[columns.TIMESTAMP] <= last).sum())
    if early:
        moment = pd.Timestamp(last, unit="s").isoformat()
        raise RequestError(
            f"{early} of {len(later.ratings)} events of {file} are not after {moment}, the last "
            "one that is learned from; leave them out"
        )
    if data.scale.lowest < data.scale.highest:
        ratings = later.ratings[columns.RATING]
        low, high = data.scale.lowest, data.scale.highest
        wrong = ratings[(ratings < low) | (ratings > high)]
        if len(wrong):
            raise RequestError(
                f"{file} has a rating of {wrong.iloc[0]:g}; those of the data are from {low:g} to "
                f"{high:g}"
            )
        if later.scale == PLAYED:
            raise RequestError(
                f"{file} has no ratings beside 1, so nobody is said to like anything"
            )
    events, catalogue = later.ratings, later.movies
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


def _with_ids_like(ours: pd.DataFrame, theirs: pd.DataFrame, name: str, file: str) -> pd.DataFrame:
    """Return a frame whose ids are texts where ours are.

    Raises:
        RequestError: They are, and ours are not.
    """
    if pd.api.types.is_integer_dtype(ours[name]):
        if pd.api.types.is_integer_dtype(theirs[name]):
            return theirs
        raise RequestError(
            f"{name} '{shown(theirs[name].iloc[0])}' of {file} is a text; those of the data are "
            "whole numbers"
        )
    return theirs.assign(**{name: theirs[name].astype(str).astype(ours[name].dtype)})
