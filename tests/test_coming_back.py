"""When a question is asked: coming back, at a time, in the sitting; in lists of a whole run."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from retrieval.blending.blend import Ranking
from retrieval.data import columns
from retrieval.data.sittings import PAUSE, sittings
from retrieval.data.times import NO_TIME
from retrieval.errors import RequestError
from retrieval.options import RankBy
from retrieval.pairs.sequence.trends import movie_trends, unwatched_trends
from retrieval.pipeline.indexing import add_movies
from retrieval.serving.encoder import Encoder, questions_of
from retrieval.serving.events import Event
from retrieval.serving.recommender import Recommender
from retrieval.serving.users import Person, many_users

Vectors = NDArray[np.float32]


def trend_columns(recommender: Recommender) -> slice:
    """Which components of joined vectors are trends."""
    layout = recommender.run.config.layout
    part = layout.ranking[-1]
    assert part.trends
    columns = layout.columns(part)
    return slice(columns.stop - part.trends, columns.stop)


def queries(
    recommender: Recommender, users: list[int], at: int | None, *, in_sitting: bool = False
) -> Vectors:
    """The vectors that rank the lists of users by what they will watch."""
    asked, rows = many_users(recommender.run, np.array(users), {})
    times = None if at is None else np.full(len(rows), at)
    questions = questions_of(asked, rows, times, in_sitting=in_sitting)
    rating = np.zeros((len(rows), recommender.index.dimension), np.float32)
    return recommender.encoder.queries(questions, rating, RankBy.WATCH)


@pytest.fixture(scope="module")
def latest(recommender: Recommender) -> int:
    """The user of the last event of all."""
    histories = recommender.run.histories
    place = int(histories.timestamps.argmax())
    number = int(np.searchsorted(histories.offsets, place, side="right")) - 1
    return int(recommender.run.users.ids[number])


@pytest.fixture(scope="module")
def last(recommender: Recommender) -> int:
    """The time of the last event of all."""
    return int(recommender.run.histories.timestamps.max())


def test_the_present_is_the_moment_after_all_events(recommender: Recommender, last: int) -> None:
    assert recommender.run.config.present == last + 1


def test_lists_of_users_who_come_back_differ_from_lists_in_the_sitting(
    recommender: Recommender,
) -> None:
    users = recommender.run.users.ids[:20].tolist()
    back = recommender.topk_many(users, 10, rank_by=RankBy.WATCH)
    stay = recommender.topk_many(users, 10, rank_by=RankBy.WATCH, in_sitting=True)
    assert (back.scores[:, 0] != stay.scores[:, 0]).all()
    assert (back.movie_ids != stay.movie_ids).any(axis=1).mean() > 0.5
    for row, user in enumerate(users[:5]):
        for lists, in_sitting in ((back, False), (stay, True)):
            rows = recommender.topk(user, 10, rank_by=RankBy.WATCH, in_sitting=in_sitting)
            assert [each.movie.id for each in rows] == lists.movie_ids[row].tolist()


def test_trends_count_for_those_who_come_back_alone(
    recommender: Recommender, latest: int, last: int
) -> None:
    users, columns = [latest], trend_columns(recommender)
    assert queries(recommender, users, None)[:, columns].any()
    assert queries(recommender, users, last + PAUSE + 1)[:, columns].any()
    assert not queries(recommender, users, None, in_sitting=True)[:, columns].any()
    for at in (last, last + 1, last + PAUSE):  # within an hour of the last event
        assert not queries(recommender, users, at)[:, columns].any()


def test_at_a_time_before_the_present_a_list_is_one_in_the_sitting(
    recommender: Recommender, last: int
) -> None:
    histories, columns = recommender.run.histories, trend_columns(recommender)
    ends = histories.timestamps[histories.offsets[1:] - 1]
    long_gone = recommender.run.users.ids[ends < last - 100 * PAUSE].tolist()[:5]
    assert len(long_gone) == 5
    assert not queries(recommender, long_gone, last)[:, columns].any()
    assert queries(recommender, long_gone, last + 1)[:, columns].any(axis=1).all()


def test_in_the_sitting_a_time_counts_as_it_did(
    recommender: Recommender, latest: int, last: int
) -> None:
    # The gap to the last event is told to the tower, which is not told of it in a sitting alone.
    at_once = queries(recommender, [latest], None, in_sitting=True)
    scores = [queries(recommender, [latest], last + gap)[0] for gap in (0, 60, PAUSE)]
    assert not np.allclose(scores[1], at_once[0])
    assert not np.allclose(scores[1], scores[2])


def test_lists_with_and_without_a_time_may_come_together_in_the_sitting(
    recommender: Recommender, latest: int, last: int
) -> None:
    later = last + 10**7
    found = recommender.topk_many([latest] * 2, 5, times=[NO_TIME, later], in_sitting=True)
    for row, wanted in enumerate(
        (recommender.topk(latest, 5, in_sitting=True), recommender.topk(latest, 5, at=later))
    ):
        assert found.movie_ids[row].tolist() == [each.movie.id for each in wanted]


def test_a_time_in_a_sitting_is_refused_with_the_time(recommender: Recommender) -> None:
    with pytest.raises(RequestError, match="at 978300000 and in_sitting are two moments"):
        recommender.topk(1, 3, at=978_300_000, in_sitting=True)


@pytest.mark.parametrize("value", ["yes", None, 1.5])
def test_what_is_neither_true_nor_false_is_no_sitting(recommender: Recommender, value: Any) -> None:  # noqa: ANN401 (whatever a caller may give)
    message = f"in_sitting is '{value}'; give True or False"
    with pytest.raises(RequestError, match=message):
        recommender.topk(1, 3, in_sitting=value)
    with pytest.raises(RequestError, match=message):
        recommender.topk_many([1], 3, in_sitting=value)


def test_somebody_without_a_history_comes_back_too(recommender: Recommender) -> None:
    nobody = Person(history=[])
    lists = [
        [row.score for row in recommender.topk(nobody, 5, rank_by=RankBy.WATCH, in_sitting=stays)]
        for stays in (False, True)
    ]
    assert lists[0] != lists[1]


def test_a_user_with_the_stored_history_gets_the_stored_list(recommender: Recommender) -> None:
    run = recommender.run
    user = int(run.users.ids[3])
    start, end = run.histories.offsets[3:5]
    ids = run.catalogue.vocabulary.ids
    history = [
        Event(int(ids[movie]), float(rating), int(time))
        for movie, rating, time in zip(
            *(column[start:end] for column in run.histories[1:]), strict=True
        )
    ]
    # Events in the order in which the run has them; the movies of the same second stay so.
    for given in (Person(user_id=user, history=history), Person(user_id=user, added=history[-1:])):
        for in_sitting in (False, True):
            found, wanted = (
                recommender.topk(who, 20, rank_by=RankBy.WATCH, in_sitting=in_sitting)
                for who in (given, user)
            )
            assert [row.movie.id for row in found] == [row.movie.id for row in wanted]
            scores = [row.score for row in wanted]
            assert [row.score for row in found] == pytest.approx(scores, abs=1e-3)


def test_a_blend_has_a_weight_for_those_who_come_back_and_one_for_the_sitting(
    recommender: Recommender, latest: int, last: int
) -> None:
    run = recommender.run
    ranking = Ranking(rank_by=RankBy.BLEND, rating_weight=2.0, sitting_weight=0.5)
    encoder = Encoder(replace(run, config=replace(run.config, ranking=ranking)))
    users, rows = many_users(run, np.array([latest]), {})

    def weight(at: int | None, *, in_sitting: bool) -> float:
        times = None if at is None else np.array([at])
        questions = questions_of(users, rows, times, in_sitting=in_sitting)
        rating = encoder.encode(questions).vectors
        blended, watched = (
            encoder.queries(questions, rating, rank_by) for rank_by in (RankBy.BLEND, RankBy.WATCH)
        )
        return float((blended - watched)[0] @ rating[0] / (rating[0] @ rating[0]))

    assert weight(None, in_sitting=False) == pytest.approx(2.0, abs=1e-4)
    assert weight(None, in_sitting=True) == pytest.approx(0.5, abs=1e-4)
    assert weight(last + PAUSE, in_sitting=False) == pytest.approx(0.5, abs=1e-4)
    assert weight(last + PAUSE + 1, in_sitting=False) == pytest.approx(2.0, abs=1e-4)


def test_movies_have_the_trends_after_all_events_and_added_ones_those_of_an_unwatched_one(
    run: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    rows = {columns.MOVIE_ID: [9001], columns.TITLE: ["New (2003)"], columns.GENRES: ["Drama"]}
    movies = pd.DataFrame(rows | {columns.DIRECTORS: [""], columns.ACTORS: [""]})
    movies[columns.YEAR] = pd.Series([2003]).astype("Int64")
    add_movies(folder, movies)
    recommender = Recommender.load(folder)
    histories, catalogue = recommender.run.histories, recommender.run.catalogue
    years = np.array([movie.year or np.nan for movie in catalogue.movies], np.float32)
    expected = movie_trends(histories, sittings(histories), years[:-1])
    part = recommender.run.config.layout.ranking[-1]
    scale = recommender.run.config.settings["sequence"]["temperature"]
    assert part.temperature == pytest.approx(scale)
    index = recommender.index
    found = index.vectors[np.argsort(index.ids)]
    trends = found[:, trend_columns(recommender)] / scale
    np.testing.assert_allclose(trends[:-1], expected.features[-1], atol=1e-5)
    new = unwatched_trends(expected.unwatched, years[-1:], recommender.run.config.present)
    np.testing.assert_allclose(trends[-1:], new, atol=1e-5)
