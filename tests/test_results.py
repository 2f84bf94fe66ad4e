from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from index.neighbours import NO_ID
from retrieval.data.catalogue import Movie
from retrieval.data.times import NO_TIME
from retrieval.options import RankBy
from retrieval.serving.results import (
    Explanation,
    Influence,
    Rating,
    Ratings,
    Recommendation,
    Recommendations,
    Similar,
    Similars,
    TopK,
)

ALIEN = Movie(3, "Alien <3>", 1979, ("Horror", "Sci-Fi"))
BARE = Movie(8, "Tom & Jerry", None, ())

LISTED = Recommendations((Recommendation(1, ALIEN, 2.5, 4.25), Recommendation(2, BARE, 1.0, None)))
NEAR = Similars((Similar(1, ALIEN, 0.5), Similar(2, BARE, -0.25)))


def test_a_list_is_a_sequence_of_rows_that_does_not_change() -> None:
    assert isinstance(LISTED, Sequence)
    assert len(LISTED) == 2
    assert LISTED[0].movie is ALIEN
    assert LISTED[-1].rank == 2
    assert [row.score for row in LISTED] == [2.5, 1.0]
    assert LISTED[1:] == Recommendations((LISTED[1],))
    assert Recommendations((*LISTED,)) == LISTED
    assert LISTED[:1] != LISTED
    assert not Recommendations(())
    assert hash(LISTED) == hash(LISTED[:])
    for name in ("rows", "more"):
        with pytest.raises(AttributeError):
            setattr(LISTED, name, ())


def test_a_list_becomes_a_frame() -> None:
    frame = LISTED.to_frame()
    assert frame.columns.tolist() == [
        "rank", "movie_id", "title", "year", "genres", "score", "rating",
    ]  # fmt: skip
    assert frame["movie_id"].tolist() == [3, 8]
    assert frame["title"].tolist() == ["Alien <3>", "Tom & Jerry"]
    assert frame["genres"].tolist() == ["Horror|Sci-Fi", ""]
    assert frame["year"].isna().tolist() == [False, True]
    assert frame["year"].iloc[0] == 1979
    assert frame["rating"].iloc[0] == 4.25
    assert np.isnan(frame["rating"].iloc[1])


def test_similar_movies_and_single_ratings_become_frames() -> None:
    assert NEAR[:1].to_frame()["cosine"].tolist() == [0.5]
    assert NEAR[1].movie is BARE
    assert len(NEAR) == 2
    row = Rating(ALIEN, 3.5, None).to_frame()
    assert row.columns.tolist() == ["movie_id", "title", "year", "genres", "rating", "deviation"]
    assert row["rating"].tolist() == [3.5]


def explanation() -> Explanation:
    influences = [
        Influence(ALIEN, 5.0, 978_300_760, 0.5, 0.75),
        Influence(BARE, 1.0, 978_300_761, -0.125, 0.25),
    ]
    return Explanation(BARE, RankBy.WATCH, 1.5, 1.125, 1.0, influences)


def test_an_explanation_becomes_a_frame_of_events() -> None:
    frame = explanation().to_frame()
    assert frame.columns.tolist() == [
        "movie_id", "title", "year", "genres", "rating", "timestamp", "effect", "share",
    ]  # fmt: skip
    assert frame["timestamp"].tolist() == [978_300_760, 978_300_761]
    assert frame["effect"].tolist() == [0.5, -0.125]


def test_the_best_reasons_are_what_raises_an_answer_most() -> None:
    effects = [0.5, -2.0, 0.25, 0.75, 0.125]
    rows = [Influence(ALIEN, 5.0, place, effect, 0.2) for place, effect in enumerate(effects)]
    found = Explanation(BARE, RankBy.WATCH, 1.5, 1.0, 1.0, rows)
    assert [row.effect for row in found.because] == [0.75, 0.5, 0.25]
    disliked = found._replace(influences=[rows[3]._replace(rating=1.0), *rows[:3]])
    assert [row.effect for row in disliked.because] == [0.5, 0.25]


def test_arrays_of_ratings_become_a_frame_of_pairs() -> None:
    ids, numbers = np.array([1, 1]), np.array([3.5, 4.0])
    made = Ratings(
        user_ids=ids, movie_ids=ids + 6, ratings=numbers, deviations=numbers, chances=None
    )
    frame = made.to_frame()
    assert frame.columns.tolist() == ["user_id", "movie_id", "rating", "deviation"]
    assert frame["movie_id"].tolist() == [7, 7]
    bare = Ratings(user_ids=ids, movie_ids=ids, ratings=numbers, deviations=None, chances=None)
    assert bare.to_frame().columns.tolist() == ["user_id", "movie_id", "rating"]


def test_lists_of_many_users_become_a_frame_without_what_is_not_there() -> None:
    made = TopK(
        user_ids=np.array([5, 6, 9]),
        movie_ids=np.array([[3, 8], [8, NO_ID], [NO_ID, NO_ID]]),
        scores=np.array([[2.0, 1.0], [4.0, -np.inf], [-np.inf, -np.inf]]),
        ratings=np.array([[5.0, 4.0], [np.nan, np.nan], [np.nan, np.nan]]),
    )
    frame = made.to_frame()
    assert frame.columns.tolist() == ["user_id", "rank", "movie_id", "score", "rating"]
    assert frame["user_id"].tolist() == [5, 5, 6]
    assert frame["rank"].tolist() == [1, 2, 1]
    assert frame["movie_id"].tolist() == [3, 8, 8]
    assert frame["score"].tolist() == [2.0, 1.0, 4.0]


def test_answers_to_one_user_at_two_times_are_told_apart() -> None:
    ids, ones = np.array([5, 5]), np.ones(2)
    times = np.array([978_300_760, NO_TIME])
    pairs = Ratings(
        user_ids=ids, movie_ids=ids, ratings=ones, deviations=None, chances=None, times=times
    )
    lists = TopK(
        user_ids=ids,
        movie_ids=np.array([[3, 8], [8, 3]]),
        scores=np.ones((2, 2)),
        ratings=np.ones((2, 2)),
        times=times,
    )
    assert pairs.to_frame()["timestamp"].tolist() == [978_300_760, pd.NA]
    assert lists.to_frame()["timestamp"].tolist() == [978_300_760] * 2 + [pd.NA] * 2


def test_a_frame_without_rows_has_the_columns_and_types_of_others() -> None:
    for whole, empty in (
        (LISTED, LISTED[:0]),
        (NEAR, NEAR[:0]),
        (explanation(), explanation()._replace(influences=[])),
    ):
        pd.testing.assert_series_equal(whole.to_frame().dtypes, empty.to_frame().dtypes)
        assert len(empty.to_frame()) == 0


def test_a_notebook_shows_a_table_in_which_titles_are_text() -> None:
    shown = LISTED._repr_html_()
    assert "Alien &lt;3&gt;" in shown
    assert "Tom &amp; Jerry" in shown
    assert "<3>" not in shown
    assert "<td>4.250</td></tr>" in shown  # a rating
    assert "<td></td></tr>" in shown  # none
    assert shown.count("<tr>") == 3
    assert "<caption>Tom &amp; Jerry: watch 1.500</caption>" in explanation()._repr_html_()
    assert "<td>-0.250</td>" in NEAR._repr_html_()
    assert "<td>3.500</td>" in Rating(BARE, 3.5, 0.5)._repr_html_()
