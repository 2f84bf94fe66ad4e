"""Which events an evaluation is about."""

from dataclasses import replace

import numpy as np
import pytest
from small_worlds import small_world

from retrieval.data import columns
from retrieval.data.events import PLAYED
from retrieval.data.frames import MovieData
from retrieval.errors import RequestError
from retrieval.evaluation.selection import core_of, in_core, last_moment, with_later


@pytest.fixture
def data() -> MovieData:
    return small_world([(user, movie) for user in (1, 2, 3) for movie in (10, 20, 30)])


def moved(data: MovieData, seconds: int) -> MovieData:
    times = data.ratings[columns.TIMESTAMP] + seconds
    return replace(data, ratings=data.ratings.assign(**{columns.TIMESTAMP: times}))


def later_than(data: MovieData) -> MovieData:
    first = int(data.ratings[columns.TIMESTAMP].min())
    return moved(data, last_moment(data) - first + 1)


def test_who_falls_below_a_core_takes_others_along() -> None:
    # Movie 3 has one event; without it user 2 has one, and without that movie 2 has one.
    users = np.array([0, 0, 1, 1, 2, 2])
    movies = np.array([0, 1, 0, 1, 2, 3])
    assert in_core(users, movies, 1).all()
    assert in_core(users, movies, 2).tolist() == [True] * 4 + [False] * 2
    assert not in_core(users, movies, 3).any()
    assert not len(in_core(users[:0], movies[:0], 2))


def test_a_core_keeps_the_movies_it_has_events_of(data: MovieData) -> None:
    # The last movie has but one event.
    fewer = replace(data, ratings=data.ratings.drop(index=[5, 8]))
    left = core_of(fewer, 2)
    assert sorted(set(left.ratings[columns.MOVIE_ID])) == [10, 20]
    assert left.movies[columns.MOVIE_ID].tolist() == [10, 20]
    with pytest.raises(
        RequestError, match="no user and movie have 9 events; take a smaller --core"
    ):
        core_of(data, 9)


def test_later_events_follow_and_bring_movies_along(data: MovieData) -> None:
    later = later_than(small_world([(1, 10), (4, 40)]))
    later = moved(later, last_moment(data))
    whole = with_later(data, later, "later.csv")
    assert len(whole.ratings) == len(data.ratings) + 2
    assert whole.movies[columns.MOVIE_ID].tolist() == [10, 20, 30, 40]


def test_ids_of_a_file_are_texts_where_those_of_the_data_are(data: MovieData) -> None:
    texts = data.ratings.assign(
        **{name: data.ratings[name].astype(str) for name in (columns.USER_ID, columns.MOVIE_ID)}
    )
    catalogue = data.movies.assign(**{columns.MOVIE_ID: data.movies[columns.MOVIE_ID].astype(str)})
    ours = replace(data, ratings=texts, movies=catalogue)
    whole = with_later(ours, later_than(data), "later.csv")
    assert set(whole.ratings[columns.USER_ID]) == {"1", "2", "3"}
    assert len(whole.movies) == 3
    with pytest.raises(RequestError, match=r"user_id '1' of later\.csv is a text"):
        with_later(data, later_than(ours), "later.csv")


def test_what_cannot_be_later_is_refused(data: MovieData) -> None:
    with pytest.raises(RequestError, match=r"9 of 9 events of later\.csv are not after"):
        with_later(data, data, "later.csv")
    later = later_than(data)
    high = replace(later, ratings=later.ratings.assign(**{columns.RATING: 9.0}))
    with pytest.raises(RequestError, match=r"later\.csv has a rating of 9; .* from 1 to 5"):
        with_later(data, high, "later.csv")
    untimed = moved(data, -last_moment(data))
    with pytest.raises(RequestError, match="learned from have no times"):
        with_later(untimed, later, "later.csv")
    with pytest.raises(RequestError, match=r"later\.csv has no times"):
        with_later(data, untimed, "later.csv")


def test_ratings_of_a_file_are_no_tastes_where_the_data_has_none(data: MovieData) -> None:
    plays = replace(data, scale=PLAYED, ratings=data.ratings.assign(**{columns.RATING: 1.0}))
    whole = with_later(plays, later_than(data), "later.csv")
    assert set(whole.ratings[columns.RATING]) == {1.0}
    with pytest.raises(RequestError, match="no ratings beside 1"):
        with_later(data, later_than(plays), "later.csv")
