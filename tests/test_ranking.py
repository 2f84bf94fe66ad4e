import numpy as np
import pytest

from retrieval.blending.ranking import Choice, choose_ranking, gains_by_weight
from retrieval.data.metrics import discounted
from retrieval.options import RankBy


def test_gain_falls_with_the_rank_and_ends_at_ten() -> None:
    scores = -np.tile(np.arange(30.0), (4, 1))
    gains = discounted(scores, np.array([0, 2, 9, 10]))
    np.testing.assert_allclose(gains, [1, 1 / 2, 1 / np.log2(11), 0])


def test_ties_go_against_the_target() -> None:
    np.testing.assert_allclose(discounted(np.zeros((1, 4)), np.array([1])), [1 / np.log2(5)])
    np.testing.assert_allclose(discounted(np.zeros((1, 40)), np.array([1])), [0])


def chosen(
    watch: np.ndarray, rating: np.ndarray, seen: np.ndarray, targets: np.ndarray, liked: np.ndarray
) -> Choice:
    return choose_ranking(gains_by_weight(watch, rating, seen, targets), liked)


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
    assert (found.rank_by, found.gains) == (RankBy.WATCH, [])
