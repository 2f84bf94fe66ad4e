from dataclasses import replace

import numpy as np
import pytest
from small_worlds import small_world

from retrieval.data import columns
from retrieval.data.dataset import Dataset, encode
from retrieval.data.visits import Visits, last_visits

START, DAY = 10**9, 86_400

# By user id, the sittings as lists of movie ids. The first user comes once, the others come back.
WATCHED = {
    1: [[1, 2, 3]],
    2: [[1, 2], [3]],
    3: [[5], [6, 7], [8, 9, 1]],
    4: [[2], [4, 6]],
    5: [[1], [2]],
}


def dataset() -> Dataset:
    """The world, in a random order of rows: a sitting each day, an event each minute.

    Even movies get 4 stars, which is liked, odd ones 3.
    """
    rows = [
        (user, movie, START + day * DAY + place * 60)
        for user, visits in WATCHED.items()
        for day, movies in enumerate(visits)
        for place, movie in enumerate(movies)
    ]
    rows = [rows[place] for place in np.random.default_rng(0).permutation(len(rows))]
    world = small_world(
        [(user, movie) for user, movie, _ in rows],
        [4.0 if movie % 2 == 0 else 3.0 for _, movie, _ in rows],
        movies=range(1, 12),
    )
    timed = world.ratings.assign(**{columns.TIMESTAMP: [time for _, _, time in rows]})
    return encode(replace(world, ratings=timed))


@pytest.fixture
def all_of_them() -> tuple[Dataset, np.ndarray, Visits]:
    of = dataset()
    return of, *last_visits(of, 1.0, 100, np.random.default_rng(0))


def movies_of(visits: Visits, of: Dataset, place: int) -> list[int]:
    found = visits.movies[visits.owners == place]
    return [int(movie) for movie in of.movie_vocabulary.ids[found]]


def test_the_last_sittings_of_users_who_had_others_are_held_out(
    all_of_them: tuple[Dataset, np.ndarray, Visits],
) -> None:
    of, mask, visits = all_of_them
    users = of.user_vocabulary.ids[visits.users].tolist()
    assert users == [2, 3, 4, 5]  # not the one who came once
    for place, user in enumerate(users):
        assert movies_of(visits, of, place) == WATCHED[user][-1]
    held = {
        (int(user), int(movie))
        for user, movie in zip(
            of.user_vocabulary.ids[of.users[mask]],
            of.movie_vocabulary.ids[of.movies[mask]],
            strict=True,
        )
    }
    assert held == {(user, movie) for user in users for movie in WATCHED[user][-1]}
    assert mask.sum() == len(visits.movies) == 1 + 3 + 2 + 1


def test_what_got_four_of_five_stars_was_liked(
    all_of_them: tuple[Dataset, np.ndarray, Visits],
) -> None:
    of, _, visits = all_of_them
    assert visits.liked.tolist() == (of.movie_vocabulary.ids[visits.movies] % 2 == 0).tolist()
    liked = visits.liked_movies(slice(1, 3), len(of.movie_vocabulary))
    watched = visits.all_movies(slice(1, 3), len(of.movie_vocabulary))
    ids = of.movie_vocabulary.ids
    assert [ids[row].tolist() for row in watched] == [[1, 8, 9], [4, 6]]
    assert [ids[row].tolist() for row in liked] == [[8], [4, 6]]
    assert visits.all_movies(slice(2, 99), len(ids)).shape == (2, len(ids))  # to the last one


def test_users_are_asked_between_the_sitting_before_and_the_visit() -> None:
    of = dataset()
    moments = []
    for seed in range(200):
        _, visits = last_visits(of, 1.0, 100, np.random.default_rng(seed))
        left = np.array([START + 60, START + DAY + 60, START, START])
        back = START + DAY * np.array([1, 2, 1, 1])
        np.testing.assert_array_equal(visits.back, back)
        assert (left <= visits.asked).all()
        assert (visits.asked < back).all()
        moments.append((visits.asked - left) / (back - left))
    shares = np.concatenate(moments)
    assert shares.min() < 0.05
    assert shares.max() > 0.95
    assert abs(shares.mean() - 0.5) < 0.05


@pytest.mark.parametrize(
    ("share", "most", "count"), [(0.5, 100, 2), (1.0, 3, 3), (0.24, 100, 0), (0.0, 100, 0)]
)
def test_a_share_of_them_is_chosen_and_no_more_than_the_most(
    share: float, most: int, count: int
) -> None:
    of = dataset()
    chosen = []
    for seed in range(30):
        mask, visits = last_visits(of, share, most, np.random.default_rng(seed))
        assert len(visits.users) == len(set(visits.users.tolist())) == count
        assert mask.sum() == len(visits.movies)
        assert set(of.users[mask]) == set(visits.users)
        chosen += visits.users.tolist()
    assert len(set(chosen)) == (4 if count else 0)  # anybody may be


def test_where_nobody_came_back_no_visit_is_held_out() -> None:
    of = encode(small_world([(1, 2), (1, 3), (2, 3)]))
    mask, visits = last_visits(of, 1.0, 100, np.random.default_rng(0))
    assert not mask.any()
    assert [len(column) for column in visits] == [0] * 6
    assert visits.all_movies(slice(0, 5), 4).shape == (0, 4)
