import numpy as np
import pytest
from small_worlds import everybody_rates, small_world

from retrieval.blending.blend import RatingBlend
from retrieval.blending.ranking import Choice, Ranker, choose_ranking, fit_ranking, gains_by_weight
from retrieval.data.dataset import encode
from retrieval.data.history import Histories, Windows
from retrieval.data.metrics import (
    Calibrated,
    calibration,
    discounted,
    discounted_many,
    listed,
)
from retrieval.data.visits import Visits
from retrieval.options import RankBy
from retrieval.pairs.content import Content
from retrieval.pairs.layout import Part, Role
from retrieval.pairs.protocol import Floats, Numbers, UserVectors, Vectors
from retrieval.pairs.training import Asked, LatentScale, TrainingData
from retrieval.pairs.when import When


def test_gain_falls_with_the_rank_and_ends_at_ten() -> None:
    scores = -np.tile(np.arange(30.0), (4, 1))
    gains = discounted(scores, np.array([0, 2, 9, 10]))
    np.testing.assert_allclose(gains, [1, 1 / 2, 1 / np.log2(11), 0])


def test_ties_go_against_the_target() -> None:
    np.testing.assert_allclose(discounted(np.zeros((1, 4)), np.array([1])), [1 / np.log2(5)])
    np.testing.assert_allclose(discounted(np.zeros((1, 40)), np.array([1])), [0])


def test_what_several_right_movies_gain_is_a_share_of_the_best_list() -> None:
    scores = -np.tile(np.arange(30.0), (4, 1))
    right = np.zeros(scores.shape, dtype=bool)
    right[0, [1, 4, 20]] = True  # one of them below the depth
    right[1, :15] = True  # more than a list has room for
    right[2, [11, 12]] = True
    gains = discounted_many(scores, right)
    best = 1 + 1 / np.log2(3) + 1 / np.log2(4)
    np.testing.assert_allclose(gains[:3], [(1 / np.log2(3) + 1 / np.log2(6)) / best, 1, 0])
    assert np.isnan(gains[3])  # nothing is right


def test_one_right_movie_among_several_gains_what_it_does_alone() -> None:
    scores = np.random.default_rng(0).standard_normal((200, 30))
    targets = np.arange(200) % 30
    found = discounted_many(scores, one_each(targets, 30))
    np.testing.assert_allclose(found, discounted(scores, targets))
    fewer = discounted_many(scores[:, :4], one_each(targets % 4, 4))  # than a list has room for
    np.testing.assert_allclose(fewer, discounted(scores[:, :4], targets % 4))


def test_what_was_predicted_is_held_against_what_was_true_in_ten_groups() -> None:
    predicted = np.linspace(5, 1, 100)
    groups = calibration(predicted, predicted + 0.5)
    assert [group.ratings for group in groups] == [10] * 10
    assert groups[0].predicted == pytest.approx(predicted[-10:].mean())
    assert [group.predicted for group in groups] == sorted(group.predicted for group in groups)
    for group in groups:
        assert group.true == pytest.approx(group.predicted + 0.5)


def test_few_ratings_make_fewer_groups_and_none_make_none() -> None:
    predicted = np.array([4.0, 2.0])
    found = calibration(predicted, np.array([5.0, 1.0]))
    assert found == [Calibrated(2.0, 1.0, 1), Calibrated(4.0, 5.0, 1)]
    assert calibration(np.zeros(0), np.zeros(0)) == []


def test_movies_are_listed_that_are_among_the_ten_best_of_anybody_and_can_come() -> None:
    scores = np.tile(-np.arange(30.0), (2, 1))
    scores[1] = -np.inf
    scores[1, [3, 20]] = 0
    assert listed(scores).tolist() == [*range(10), 20]


def one_each(targets: np.ndarray, movies: int) -> np.ndarray:
    return np.asarray(targets[:, None] == np.arange(movies))


def chosen(
    watch: np.ndarray, rating: np.ndarray, seen: np.ndarray, targets: np.ndarray, liked: np.ndarray
) -> Choice:
    right = one_each(targets, watch.shape[1])
    return choose_ranking(gains_by_weight(watch, rating, seen, right), liked)


def world(noise: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    watch, rating = rng.standard_normal((2, 3000, 40))
    targets = (watch + noise * rating + 0.3 * rng.standard_normal(watch.shape)).argmax(axis=1)
    return watch, rating, np.zeros(watch.shape, dtype=bool), targets


@pytest.mark.parametrize(
    ("planted", "rank_by", "least", "most"),
    [(0.0, RankBy.WATCH, 0.05, 0.15), (1.0, RankBy.BLEND, 0.6, 1.5), (1e9, RankBy.RATING, 5, 10)],
)
def test_what_targets_follow_is_what_lists_are_ranked_by(
    planted: float, rank_by: RankBy, least: float, most: float
) -> None:
    found = chosen(*world(planted), np.ones(3000, dtype=bool))
    assert found.rank_by is rank_by
    assert least <= found.weight <= most
    assert found.sitting_weight == found.weight  # nothing else chose


def test_only_liked_targets_choose() -> None:
    watch, rating, seen, targets = world(1e9)
    liked = np.arange(3000) < 1500
    targets[~liked] = watch[~liked].argmax(axis=1)
    assert chosen(watch, rating, seen, targets, liked).rank_by is RankBy.RATING
    assert chosen(watch, rating, seen, targets, ~liked).rank_by is RankBy.WATCH


def test_seen_movies_take_no_place() -> None:
    watch = np.array([[3.0, 2.0, 1.0]])
    seen = np.array([[True, True, False]])
    liked = np.array([True])
    found = chosen(watch, np.zeros((1, 3)), seen, np.array([2]), liked)
    assert found.gains[0].liked == 1.0


def test_with_nobody_to_ask_lists_are_ranked_by_watch() -> None:
    nobody = np.zeros((0, 3))
    found = chosen(nobody, nobody, nobody > 0, np.zeros(0, np.int64), np.zeros(0, dtype=bool))
    assert (found.rank_by, found.gains, found.visits) == (RankBy.WATCH, [], 0)
    assert (found.visit_ndcg, found.coverage) == (None, None)


# Users who have watched the first five movies and then another, of so many.
USERS, MOVIES, LAST = 4, 12, 5
# What users come back to, and what pairs say they do.
BACK, OTHER = 8, 9


class Watched:
    """A pair that foretells the last movie in the sitting, and another for those who come back."""

    ndcg: float | None = None

    def __init__(self) -> None:
        self.asked: list[Asked] = []

    def logits(self, asked: Asked) -> Floats:
        self.asked.append(asked)
        back = asked.when is When.COMING_BACK or (asked.times >= asked.moments).all()
        found = 1.0 * (np.arange(MOVIES) == (OTHER if back else LAST))
        return np.tile(found, (len(asked.users), 1))


class Rated:
    """A pair that says that all users like one movie best."""

    latent: LatentScale | None = None

    @property
    def scores(self) -> Floats:
        raise AssertionError("scores of held out ratings are not asked for")

    @property
    def movies(self) -> Vectors:
        return np.eye(MOVIES, dtype=np.float32)

    def unrated_movies(self) -> Vectors:
        return self.movies

    def known_users(self, users: Numbers, _times: Numbers) -> UserVectors:
        vectors = np.tile(self.movies[BACK], (len(users), 1))
        return UserVectors(vectors, np.zeros(len(users)), np.zeros(len(users), np.float32))

    def new_users(self, codes: Numbers, _histories: Histories, _windows: Windows) -> UserVectors:
        return self.known_users(codes[:, 0], codes[:, 0])


def held_out(visitors: int, *, liked: bool = True) -> TrainingData:
    """Training data where all last events are held out, and the next visit of some users."""
    pairs = everybody_rates(USERS, LAST + 1)
    dataset = encode(small_world(pairs, [5.0] * len(pairs), movies=range(1, MOVIES + 1)))
    nothing = np.zeros((MOVIES, 0), np.float32)
    content = Content(nothing, np.full(MOVIES, np.nan, np.float32), nothing, nothing)
    last = dataset.movies == LAST
    users = np.arange(visitors)
    asked = np.full(visitors, dataset.timestamps.max() + 10**5)
    visits = Visits(
        users, asked, asked + 10**5, users, np.full(visitors, BACK), np.full(visitors, liked)
    )
    return TrainingData(dataset, content, last & False, last, last & False, visits)


def fitted(data: TrainingData) -> tuple[Choice, Watched]:
    ranker, blend = Watched(), RatingBlend.of_known_users((1.0,), (0.0,))
    part = Part(name="watched", roles=(Role.RANKS,), width=MOVIES)
    return fit_ranking(data, [Ranker(part, ranker)], [Rated()], blend), ranker


def test_visits_choose_for_those_who_come_back_and_last_events_for_the_sitting() -> None:
    found, _ = fitted(held_out(3))
    # The smallest weights in a blend at which the right movie is the first one.
    assert (found.rank_by, found.weight, found.sitting_weight) == (RankBy.BLEND, 1.5, 0.1)
    assert found.visits == 3
    assert found.gains[1].liked == pytest.approx(1 / np.log2(3))
    assert found.gains[-1].liked == found.visit_ndcg == 1
    assert found.coverage == pytest.approx((MOVIES - LAST) / MOVIES)  # all that can come


def test_where_nobody_came_back_last_events_choose_for_all() -> None:
    found, _ = fitted(held_out(0))
    assert (found.rank_by, found.weight, found.sitting_weight) == (RankBy.WATCH, 0.1, 0.1)
    assert (found.visits, found.visit_ndcg, found.coverage) == (0, None, None)


def test_where_no_visit_was_liked_all_that_was_watched_chooses() -> None:
    found, _ = fitted(held_out(3, liked=False))
    assert (found.weight, found.sitting_weight) == (1.5, 0.1)
    assert (found.visits, found.visit_ndcg) == (3, None)


def test_users_are_asked_as_runs_ask_them() -> None:
    data = held_out(3)
    _, ranker = fitted(data)
    times = data.dataset.timestamps[data.last]
    kinds = [asked.when for asked in ranker.asked]
    assert kinds == [When.AT, When.IN_SITTING, When.COMING_BACK, When.AT, When.COMING_BACK]
    for asked in ranker.asked[:2]:
        np.testing.assert_array_equal(asked.times, times)
        assert (asked.moments > times).all()  # of what is past
    for asked in ranker.asked[2:]:
        np.testing.assert_array_equal(asked.moments, data.visits.asked)
        np.testing.assert_array_equal(asked.times, data.visits.back)
