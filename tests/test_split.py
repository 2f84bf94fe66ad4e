import numpy as np
import pytest

from retrieval.data.split import held_out, last_of_each
from retrieval.options import Split

USERS = np.repeat(np.arange(20), 10)
MOVIES = np.tile(np.arange(10), 20) + 10 * (USERS % 4)
TIMES = np.arange(200)[::-1].copy()


def split(which: Split, seed: int = 0) -> np.ndarray:
    return held_out(which, USERS, MOVIES, TIMES, seed)


@pytest.mark.parametrize(("which", "count"), [(Split.RATING, 20), (Split.RATING80, 40)])
def test_random_cuts_hold_out_their_share_and_depend_on_the_seed(which: Split, count: int) -> None:
    assert split(which).sum() == count
    assert (split(which) == split(which)).all()
    assert (split(which, 1) != split(which)).any()


def test_the_last_movie_of_each_user_is_by_time_then_place() -> None:
    users, times = np.array([0, 1, 0, 0, 1]), np.array([5, 7, 9, 9, 7])
    assert last_of_each(users, times).tolist() == [False, False, False, True, True]
    assert split(Split.LEAVE_ONE).sum() == 20


def test_the_time_cut_asks_only_about_known_users_after_all_training() -> None:
    users = np.array([0, 1, 0, 2, 0, 1, 0, 1, 0, 3])
    asked = held_out(Split.TIME, users, np.arange(10), np.arange(10) * 10, 0)
    assert np.flatnonzero(asked).tolist() == [8]


def test_new_users_and_new_movies_are_held_out_whole() -> None:
    for which, groups, count in ((Split.NEW_USERS, USERS, 2), (Split.NEW_MOVIES, MOVIES, 2)):
        asked = split(which)
        chosen = np.unique(groups[asked])
        assert len(chosen) == count
        assert (np.isin(groups, chosen) == asked).all()


@pytest.mark.parametrize("which", Split)
@pytest.mark.parametrize("rows", [1, 4, 9, 200])
def test_one_user_and_one_movie_are_cut_without_an_error(which: Split, rows: int) -> None:
    one = np.zeros(rows, dtype=np.int64)
    mask = held_out(which, one, one, np.arange(rows), 0)
    assert mask.shape == (rows,)


def test_fewer_ratings_than_folds_hold_out_nothing() -> None:
    few = np.arange(9)
    assert not held_out(Split.RATING, few, few, few, 0).any()
    assert held_out(Split.RATING80, few, few, few, 0).sum() == 2
