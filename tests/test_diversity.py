import numpy as np
import pytest

from retrieval.errors import RequestError
from retrieval.options import RankBy
from retrieval.serving.diversity import diversify
from retrieval.serving.recommender import Recommender

SCORES = np.array([1.0, 0.9, 0.8, 0.0])
DIRECTIONS = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])


@pytest.mark.parametrize(
    ("diversity", "wanted"),
    [(0.0, [0, 1, 2, 3]), (0.3, [0, 2, 1, 3]), (1.0, [0, 3, 2, 1])],
)
def test_the_more_diverse_the_less_alike(diversity: float, wanted: list[int]) -> None:
    # After the first: 1 points the same way, 2 stands at a right angle, 3 the other way.
    assert diversify(SCORES, DIRECTIONS, 4, diversity).tolist() == wanted
    assert diversify(SCORES, DIRECTIONS, 2, diversity).tolist() == wanted[:2]


def test_nothing_to_choose_from_gives_nothing() -> None:
    assert diversify(np.zeros(0), np.zeros((0, 2)), 3, 0.5).tolist() == []


def test_equal_scores_are_all_worth_the_same() -> None:
    assert diversify(np.ones(4), DIRECTIONS, 4, 0.5).tolist() == [0, 3, 2, 1]


def test_diverse_lists_are_less_alike_and_keep_the_best_first(recommender: Recommender) -> None:
    def alike(diversity: float) -> float:
        rows = recommender.topk(9, 8, rank_by=RankBy.RATING, diversity=diversity)
        ids = [row.movie.id for row in rows]
        assert len(set(ids)) == 8
        assert ids[0] == recommender.topk(9, 1, rank_by=RankBy.RATING)[0].movie.id
        near = [{row.movie.id: row.cosine for row in recommender.similar(m, 199)} for m in ids]
        return float(np.mean([near[a][ids[b]] for a in range(8) for b in range(a)]))

    assert alike(0.9) < alike(0.5) < alike(0.0)
    assert recommender.topk(9, 8, diversity=0.0) == recommender.topk(9, 8)


def test_ratings_in_a_diverse_list_are_those_of_the_pairs(recommender: Recommender) -> None:
    for row in recommender.topk(9, 8, diversity=0.7):
        assert row.rating == recommender.rate(9, row.movie.id).rating


def test_diversity_is_from_0_to_1(recommender: Recommender) -> None:
    with pytest.raises(RequestError, match=r"diversity is 1\.5; it must be from 0 to 1"):
        recommender.topk(9, 8, diversity=1.5)
