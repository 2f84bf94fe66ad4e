from pathlib import Path

import numpy as np
import pytest

from retrieval.data.history import Histories, build_histories, windows_until
from retrieval.data.scale import RatingScale
from retrieval.data.vocabulary import UNKNOWN
from retrieval.pairs.bayesian.tower import (
    USUAL_COUNT,
    Bayesian,
    BayesianTower,
    Belief,
    fold_in,
    load_bayesian,
    prior,
    save_bayesian,
    with_movies,
)
from retrieval.pairs.protocol import Questions, UserVectors
from retrieval.pairs.when import When

USERS, MOVIES, SIZE = 3, 12, 4
SIZES = (3, 2, 2)
STARS = RatingScale(lowest=1, highest=5, step=1)
CORRELATION = 0.6


@pytest.fixture(scope="module")
def pair() -> Bayesian:
    rng = np.random.default_rng(0)
    root = rng.standard_normal((SIZE, SIZE))

    def vectors(rows: int) -> np.ndarray:
        return rng.standard_normal((rows, SIZE)).astype(np.float32)

    return Bayesian(
        users=vectors(USERS),
        movies=vectors(MOVIES),
        user_variances=np.array([0.1, 0.2, 0.3], np.float32),
        movie_variances=np.ones(MOVIES, np.float32),
        user_coefficients=vectors(1 + sum(SIZES) + MOVIES),
        usual=vectors(1 + sum(SIZES)),
        usual_covariance=2 * np.eye(SIZE),
        movie_coefficients=vectors(5),
        unrated_variance=np.array([2.5]),
        covariance=root @ root.T + np.eye(SIZE),
        movie_noise=rng.gamma(2.0, 1.0, MOVIES).astype(np.float32),
        movie_products=np.eye(SIZE),
        class_latents=np.array([-2.5, -1.2, 0.0, 1.1, 2.8], np.float32),
        session_law=np.array([CORRELATION, 0.05, 0.01]),
    )


@pytest.fixture(scope="module")
def expected(pair: Bayesian) -> Belief:
    return Belief(np.array([0.3, -0.2, 0.5, 0.1]), pair.covariance)


def test_folding_in_is_the_posterior_of_a_linear_regression(
    pair: Bayesian, expected: Belief
) -> None:
    movies = np.array([1, 4, 7, 11, 2])
    classes = np.array([0, 4, 2, 3, 3])
    folded = fold_in(pair, expected, movies, classes)
    # The same as least squares with the prior as further, exact observations.
    met = np.hstack([pair.movies[movies, :-1], np.ones((5, 1))]).astype(np.float64)
    left = pair.class_latents[classes] - pair.movies[movies, -1]
    scale = 1 / np.sqrt(pair.movie_noise[movies].astype(np.float64))
    root = np.linalg.cholesky(np.linalg.inv(expected.covariance)).T
    whole = np.vstack([met * scale[:, None], root])
    aim = np.concatenate([left * scale, root @ expected.mean])
    solved, *_ = np.linalg.lstsq(whole, aim, rcond=None)
    np.testing.assert_allclose(folded.mean, solved, rtol=1e-6)
    assert folded.score_variance(pair) == pytest.approx(np.trace(np.linalg.inv(whole.T @ whole)))


def test_no_ratings_leave_the_prior_and_more_leave_less_variance(
    pair: Bayesian, expected: Belief
) -> None:
    none = np.zeros(0, np.int64)
    empty = fold_in(pair, expected, none, none)
    np.testing.assert_allclose(empty.mean, expected.mean)
    variances = [
        fold_in(pair, expected, np.arange(count), np.full(count, 3)).score_variance(pair)
        for count in (0, 1, 4, 12)
    ]
    assert variances == sorted(variances, reverse=True)
    assert variances[0] == pytest.approx(empty.score_variance(pair))


def test_order_does_not_matter(pair: Bayesian, expected: Belief) -> None:
    movies, classes = np.array([3, 1, 8]), np.array([4, 0, 2])
    turned = fold_in(pair, expected, movies[::-1], classes[::-1])
    straight = fold_in(pair, expected, movies, classes)
    np.testing.assert_allclose(turned.mean, straight.mean)


def test_which_movies_were_rated_counts_the_more_there_are(pair: Bayesian) -> None:
    codes, facts = np.array([1, 0, 1]), [0, 2, 4, 7]
    known = pair.user_coefficients[facts].sum(axis=0)
    usual = pair.usual[facts].sum(axis=0)
    nothing = prior(pair, codes, SIZES, np.zeros(0, np.int64))
    np.testing.assert_allclose(nothing.mean, known + usual, rtol=1e-5)
    np.testing.assert_allclose(nothing.covariance, pair.covariance + pair.usual_covariance)
    movies = np.arange(USUAL_COUNT)  # half is as usual
    rated = pair.user_coefficients[8 + movies].sum(axis=0) / np.sqrt(USUAL_COUNT)
    half = prior(pair, codes, SIZES, movies)
    np.testing.assert_allclose(half.mean, known + (rated + usual) / 2, rtol=1e-5)
    np.testing.assert_allclose(half.covariance, pair.covariance + pair.usual_covariance / 2)


def tower(pair: Bayesian) -> BayesianTower:
    # User 1 rates at 100 (twice), 200 and 400; user 0 once, user 2 never.
    histories = build_histories(
        np.array([0, 1, 1, 1, 1]),
        np.array([0, 1, 2, 3, 4]),
        np.full(5, 4.0, np.float32),
        np.array([50, 100, 100, 200, 400]),
        USERS,
    )
    effects = np.array([[9.0, 1.0, 1.0, 2.0, 4.0], [9.0, 0.1, 0.1, 0.2, 0.4]], np.float32)
    return BayesianTower(pair, effects, histories, SIZES, STARS)


def ask(of: BayesianTower, user: int, time: int, when: When = When.AT) -> float:
    """The offset of a stored user at a time, less that without a session effect."""
    rows = np.array([user])
    windows = windows_until(of._histories, rows, np.array([time]))  # noqa: SLF001 (as stored)
    codes = np.zeros((1, 3), np.int64)
    nobody, stored = np.array([UNKNOWN]), of._histories  # noqa: SLF001
    questions = Questions(rows, nobody, rows, codes, stored, windows, when)
    return float(of.encode(questions).offsets[0] - of.pair.users[user, -1])


@pytest.mark.parametrize(
    ("time", "effect"),
    [
        (100, 1.1),  # in a group
        (200, 2.2),
        (400, 4.4),
        (150, CORRELATION / (1 + CORRELATION**2) * 3),  # between two
        (300, CORRELATION / (1 + CORRELATION**2) * 6),
        (10, CORRELATION),  # before the first
        (999, CORRELATION * 4),  # after the last
    ],
)
def test_session_effects_are_those_of_the_group_or_of_its_neighbours(
    pair: Bayesian, time: int, effect: float
) -> None:
    assert ask(tower(pair), 1, time) == pytest.approx(effect, abs=1e-5)


def test_without_a_time_or_a_history_there_is_no_session_effect(pair: Bayesian) -> None:
    for when in (When.COMING_BACK, When.IN_SITTING):
        assert ask(tower(pair), 1, 400, when) == pytest.approx(0.0, abs=1e-6)
    assert ask(tower(pair), 2, 400) == pytest.approx(0.0, abs=1e-6)


def test_new_users_are_folded_in_from_what_they_rated_before_asking(pair: Bayesian) -> None:
    of = tower(pair)
    histories = build_histories(
        np.zeros(2, np.int64),
        np.array([5, 6]),
        np.array([5.0, 1.0], np.float32),
        np.array([10, 20]),
        1,
    )
    codes = np.array([[2, 1, 0]])
    windows = windows_until(histories, np.array([0]), np.array([15]))
    nobody = np.array([UNKNOWN])
    questions = Questions(nobody, nobody, nobody, codes, histories, windows, When.AT)
    encoded = of.encode(questions)
    expected = prior(pair, codes[0], SIZES, np.array([5]))
    folded = fold_in(pair, expected, np.array([5]), np.array([4]))
    np.testing.assert_allclose(encoded.vectors[0, :-1], folded.mean[:-1], rtol=1e-5)
    assert encoded.vectors[0, -1] == 1.0
    assert encoded.offsets[0] == pytest.approx(folded.mean[-1])
    assert encoded.variances[0] == pytest.approx(folded.score_variance(pair) + 0.06, rel=1e-5)


def grown(*movies: int) -> Histories:
    """The history of user 1 with movies more, all of one star."""
    return build_histories(
        np.zeros(4 + len(movies), np.int64),
        np.array([1, 2, 3, 4, *movies]),
        np.array([4.0] * 4 + [1.0] * len(movies), np.float32),
        np.array([100, 100, 200, 400, *range(500, 500 + len(movies))]),
        1,
    )


def asked_at(of: BayesianTower, histories: Histories, user: int, time: int) -> UserVectors:
    """What the tower says of a user with a history that goes on, at a time."""
    nobody, row = np.array([UNKNOWN]), np.array([0])
    windows = windows_until(histories, row, np.array([time]))
    codes = np.array([[2, 1, 0]])
    return of.encode(
        Questions(nobody, np.array([user]), nobody, codes, histories, windows, When.AT)
    )


@pytest.mark.parametrize("movies", [(5,), (5, 6), (5, 6, 7, 8, 9, 10)])
def test_what_was_inferred_of_a_user_holds_when_more_is_rated(
    pair: Bayesian, movies: tuple[int, ...]
) -> None:
    histories, codes = grown(*movies), np.array([2, 1, 0])
    told = np.array([1, 2, 3, 4])
    before = fold_in(pair, prior(pair, codes, SIZES, told), told, np.full(4, 3))
    belief = Belief(pair.users[1].astype(np.float64), before.covariance)
    for movie in movies:  # one after the other
        belief = fold_in(pair, belief, np.array([movie]), np.array([0]))
    of = tower(pair)
    for _ in range(2):  # the second time from what was kept
        encoded = asked_at(of, histories, 1, 999)
        np.testing.assert_allclose(encoded.vectors[0, :-1], belief.mean[:-1], rtol=1e-5)
        assert encoded.offsets[0] == pytest.approx(belief.mean[-1])
        assert encoded.variances[0] == pytest.approx(belief.score_variance(pair) + 0.06, rel=1e-5)


def test_few_ratings_and_many_are_folded_in_alike(pair: Bayesian, expected: Belief) -> None:
    movies, classes = np.arange(6), np.array([0, 4, 2, 3, 3, 1])
    at_once = fold_in(pair, expected, movies, classes)
    apart = fold_in(pair, fold_in(pair, expected, movies[:3], classes[:3]), movies[3:], classes[3:])
    np.testing.assert_allclose(at_once.mean, apart.mean)
    np.testing.assert_allclose(at_once.covariance, apart.covariance, atol=1e-12)


def test_added_movies_have_what_their_content_makes_likely(pair: Bayesian) -> None:
    content = np.random.default_rng(1).standard_normal((2, 4)).astype(np.float32)
    more = with_movies(pair, content)
    expected = pair.movie_coefficients[0] + content @ pair.movie_coefficients[1:]
    np.testing.assert_allclose(more.movies[MOVIES:], expected, rtol=1e-5)
    np.testing.assert_array_equal(more.movies[:MOVIES], pair.movies)
    assert more.movie_variances.tolist() == [1.0] * MOVIES + [2.5, 2.5]


def test_a_pair_is_read_back_as_it_was_written(pair: Bayesian, tmp_path: Path) -> None:
    save_bayesian(tmp_path / "pair.safetensors", pair)
    for name, array in load_bayesian(tmp_path / "pair.safetensors")._asdict().items():
        np.testing.assert_array_equal(array, getattr(pair, name), err_msg=name)
