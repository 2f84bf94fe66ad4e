import numpy as np
import pytest

from retrieval.evaluation.baselines import fit_biases, most_rated
from retrieval.evaluation.metrics import (
    coverage,
    discounted_gain,
    hit_rate,
    novelty,
    popularity,
    ranks,
    root_mean_square_error,
    users_by_movie,
)


def test_errors_are_those_worked_by_hand() -> None:
    predicted, true = np.array([3.0, 4.0, 5.0]), np.array([3.0, 2.0, 4.0])
    assert root_mean_square_error(predicted, true).value == pytest.approx(np.sqrt(5 / 3))


def test_the_interval_holds_the_truth_about_nineteen_times_in_twenty() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        value, half = root_mean_square_error(rng.normal(size=300), np.zeros(300))
        held += abs(value - 1.0) <= half
    assert 0.92 < held / 400 < 0.98


def test_one_target_at_each_rank_worked_by_hand() -> None:
    lists = np.array([[5, 6, 7], [6, 5, 7], [7, 6, 5], [1, 2, 3]])
    places = ranks(lists, np.array([5, 5, 5, 5]))
    assert places.tolist() == [0, 1, 2, np.inf]
    assert hit_rate(places, 2).value == 0.5
    gains = [1, 1 / np.log2(3), 0, 0]
    assert discounted_gain(places, 2).value == pytest.approx(np.mean(gains))


def test_what_lists_show_worked_by_hand() -> None:
    lists = np.array([[0, 1], [0, -1], [-1, -1], [3, 0]])
    shares = np.array([0.5, 0.25, 1.0, 0.0])
    assert coverage(lists, 4).value == 0.75
    assert popularity(lists, shares).value == pytest.approx((0.375 + 0.5 + 0.25) / 3)
    # Of 8 users none has rated the last movie: as if one had, which is 3 bits.
    assert novelty(lists, shares, 8).value == pytest.approx((1.5 + 1 + 2) / 3)


def test_biases_recover_a_world_made_of_biases() -> None:
    rng = np.random.default_rng(0)
    users, movies = np.divmod(np.arange(200 * 150), 150)
    user, movie = rng.normal(size=200), rng.normal(size=150)
    ratings = (3 + user[users] + movie[movies]).astype(np.float32)
    biases = fit_biases(users, movies, ratings, 200, 150)
    predicted = biases.centre + biases.users[users] + biases.movies[movies]
    assert np.abs(predicted - ratings).max() < 0.4
    assert np.corrcoef(biases.movies, movie)[0, 1] > 0.999
    np.testing.assert_allclose(biases.movie_means, ratings.reshape(200, 150).mean(0), atol=1e-4)


def test_a_movie_without_ratings_is_average() -> None:
    biases = fit_biases(np.array([0]), np.array([0]), np.array([5], np.float32), 2, 2)
    assert biases.movies[1] == 0
    assert biases.movie_means[1] == biases.centre == 5


def test_most_rated_lists_leave_out_what_was_seen() -> None:
    lists = most_rated(np.array([5.0, 9.0, 1.0]), [np.array([1]), np.array([0, 1, 2])], 2)
    assert lists.tolist() == [[0, 2], [-1, -1]]


def test_who_watches_a_movie_again_is_one_user_of_it() -> None:
    users, movies = np.array([0, 0, 0, 1, 7]), np.array([2, 2, 0, 2, 4], np.int32)
    assert users_by_movie(users, movies, 6).tolist() == [1, 0, 2, 0, 1, 0]
