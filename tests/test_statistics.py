import numpy as np
import pytest

from retrieval.data import statistics as module
from retrieval.data.history import Windows
from retrieval.data.statistics import (
    PRIOR_COUNT,
    movie_statistics_before,
    movie_statistics_of_all,
    running_sums,
    user_statistics,
)


def test_a_user_is_described_by_the_window_alone() -> None:
    deviations = np.array([1.0, -1.0, 2.0, 100.0])
    windows = Windows(np.array([0, 0]), np.array([0, 3]), np.array([0, 0]))
    empty, three = user_statistics(running_sums(deviations), windows)
    assert empty.tolist() == [0.0, 1.0, 0.0]
    mean = 2.0 / (3 + PRIOR_COUNT)
    spread = np.sqrt((6.0 + PRIOR_COUNT) / (3 + PRIOR_COUNT) - mean**2)
    np.testing.assert_allclose(three, [mean, spread, np.log(4)], rtol=1e-6)


def test_a_rating_never_enters_the_statistics_it_is_predicted_from() -> None:
    movies, times = np.array([0, 0, 1, 0, 0]), np.array([5, 3, 1, 5, 9])
    deviations = np.array([1.0, 2.0, 7.0, 3.0, 4.0])
    before = movie_statistics_before(movies, deviations, times)
    # Earlier ratings of movie 0: none at time 3, one at 5 (of the same second none), three at 9.
    np.testing.assert_allclose(np.expm1(before[:, 1]), [1, 0, 0, 1, 3], rtol=1e-6)
    sums = before[:, 0] * (np.expm1(before[:, 1]) + PRIOR_COUNT)
    np.testing.assert_allclose(sums, [2, 0, 0, 2, 6], rtol=1e-6)


def test_changing_a_rating_changes_no_statistic_up_to_it() -> None:
    rng = np.random.default_rng(0)
    movies, times = rng.integers(5, size=60), rng.integers(20, size=60)
    deviations = rng.normal(size=60)
    before = movie_statistics_before(movies, deviations, times)
    for row in range(60):
        changed = deviations.copy()
        changed[row] += 10
        moved = (movie_statistics_before(movies, changed, times) != before).any(axis=1)
        assert not (moved & (times <= times[row])).any()
        assert (moved == ((movies == movies[row]) & (times > times[row]))).all()


def test_all_ratings_enter_the_statistics_of_the_catalogue() -> None:
    found = movie_statistics_of_all(np.array([2, 0, 2]), np.array([1.0, -1.0, 3.0]), 3)
    np.testing.assert_allclose(np.expm1(found[:, 1]), [1, 0, 2], rtol=1e-6)
    np.testing.assert_allclose(found[:, 0] * np.array([6, 5, 7]), [-1, 0, 4], rtol=1e-6)


def test_movies_looked_at_a_few_at_a_time_have_the_same_statistics(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(1)
    movies, times = rng.integers(9, size=200), rng.integers(30, size=200)
    deviations = rng.normal(size=200)
    whole = movie_statistics_before(movies, deviations, times)
    monkeypatch.setattr(module, "TOGETHER", 17)
    np.testing.assert_allclose(movie_statistics_before(movies, deviations, times), whole, atol=1e-6)
