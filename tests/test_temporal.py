"""Lists after a cut: what is right is found, and nothing of it was known before."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_worlds import small_world, tiny_settings

from retrieval.data import columns
from retrieval.data.frames import MovieData
from retrieval.errors import RequestError
from retrieval.evaluation.metrics import mean_of_groups
from retrieval.evaluation.questions import LaterProtocol
from retrieval.evaluation.selection import with_later
from retrieval.evaluation.temporal import cut_at, evaluate_later
from retrieval.options import Target

Asked = dict[str, dict[str, float]]  # values of metrics by system and name

DAY = 86_400
START = 1_000_000_000
CUT = START + 30 * DAY

# Everybody has watched movies 1 to 20 by the cut, comes back after it, and then watches movie 21,
# a hit of the last days before the cut, and 29, which nobody has watched by then; they like the
# first alone.
USERS, OLD, HIT, UNSEEN, MOVIES = 30, 20, 21, 29, 30


@pytest.fixture(scope="module")
def world() -> MovieData:
    rows = []
    for user in range(1, USERS + 1):
        watched = range(1, OLD + 1) if user <= USERS - 6 else [*range(1, OLD), HIT]
        rows += [(user, movie, START + user * DAY // 2 + movie * 60) for movie in watched]
    rows += [(user, HIT, CUT + 2 * DAY + user) for user in range(1, 11)]
    rows += [(user, UNSEEN, CUT + 2 * DAY + 100 + user) for user in range(1, 11)]
    pairs = [(user, movie) for user, movie, _ in rows]
    made = small_world(pairs, movies=range(1, MOVIES + 1))
    times = pd.Series([time for _, _, time in rows], dtype="int64")
    ratings = made.ratings.copy()
    ratings[columns.TIMESTAMP], ratings[columns.RATING] = times, 5.0
    ratings.loc[::2, columns.RATING] = 2.0
    for movie, rating in ((HIT, 5.0), (UNSEEN, 2.0)):
        ratings.loc[ratings[columns.MOVIE_ID] == movie, columns.RATING] = rating
    return replace(made, ratings=ratings)


@pytest.fixture(scope="module")
def asked(
    world: MovieData, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, float]]:
    folder = tmp_path_factory.mktemp("later") / "run"
    results = evaluate_later(
        world, "world", LaterProtocol(CUT, Target.VISIT), tiny_settings(["bayesian"]), 0, folder
    )
    assert {result.count for result in results} == {10}
    return {
        result.system: {name: metric.value for name, metric in result.metrics.items()}
        for result in results
    }


def test_what_was_popular_lately_finds_what_is_popular_now(
    asked: Asked,
) -> None:
    for name in ("popular in the last 7 days", "popular over all time"):
        assert asked[name]["hr@10"] == 1
        assert asked[name]["recall@100"] == 1  # of 30 movies, 100 are all that are left
    # First of the list is what is left that was watched most: the hit, of two that are right.
    assert asked["popular in the last 7 days"]["mrr"] == 1


def test_what_is_ahead_of_the_best_baseline_is_told_question_by_question(asked: Asked) -> None:
    baselines = [name for name in asked if name.startswith(("popular", "user mean"))]
    most, of_liked = (
        max(asked[name][metric] for name in baselines) for metric in ("ndcg@10", "liked ndcg@10")
    )
    for values in asked.values():
        assert values["ahead"] == pytest.approx(values["ndcg@10"] - most)
        assert values["liked ahead"] == pytest.approx(values["liked ndcg@10"] - of_liked)


def test_the_interval_of_what_is_ahead_is_that_of_the_difference(
    world: MovieData, tmp_path: Path
) -> None:
    protocol, folder = LaterProtocol(CUT, Target.VISIT), tmp_path / "run"
    results = evaluate_later(world, "w", protocol, tiny_settings(["bayesian"]), 0, folder)
    found = {result.system: result.metrics for result in results}
    best = max(
        (name for name in found if not name.startswith("two towers")),
        key=lambda name: found[name]["ndcg@10"].value,
    )
    assert found[best]["ahead"] == (0, 0)
    # Everybody is asked the same here, so differences vary less than what they are made of.
    for metrics in found.values():
        assert metrics["ahead"].half_width <= 1e-9 + metrics["ndcg@10"].half_width


def test_nothing_after_the_cut_makes_anything_popular(asked: Asked) -> None:
    # If it did, movie 29 would be second, and lists would be as good as they can be.
    for name in ("popular over all time", "popular in the last 7 days", "user mean + movie bias"):
        assert asked[name]["ndcg@10"] < 0.99


def test_the_run_answers_and_its_ratings_are_held_against_likes(
    asked: Asked,
) -> None:
    ways = [name for name in asked if name.startswith("two towers")]
    assert len(ways) == 3
    ratings = {"auc", "rmse", "within ±"}
    for name in ways:
        rated = name == "two towers by rating, time not known"
        for metric, value in asked[name].items():
            assert np.isfinite(value) == (rated or metric not in ratings), (name, metric)
    own = asked["two towers by rating, time not known"]
    assert 0 <= own["auc"] <= 1
    assert 0 < own["rmse"] < 4
    assert 0 <= own["within ±"] <= 1


def test_what_is_watched_again_is_neither_right_nor_asked_for_its_rating(
    asked: Asked, world: MovieData, tmp_path: Path
) -> None:
    again = world.ratings[world.ratings[columns.MOVIE_ID] == HIT].tail(10).copy()
    again[columns.MOVIE_ID], again[columns.RATING] = 1, 1.0
    again[columns.TIMESTAMP] += 50
    more = replace(world, ratings=pd.concat([world.ratings, again], ignore_index=True))
    results = evaluate_later(
        more,
        "world",
        LaterProtocol(CUT, Target.VISIT),
        tiny_settings(["bayesian"]),
        0,
        tmp_path / "run",
    )
    (found,) = (
        result for result in results if result.system == "two towers by rating, time not known"
    )
    for name in ("rmse", "auc", "recall@100"):
        assert found.metrics[name].value == pytest.approx(
            asked["two towers by rating, time not known"][name]
        )


def test_a_run_that_knows_what_came_after_is_refused(world: MovieData, tmp_path: Path) -> None:
    settings, folder = tiny_settings(["bayesian"]), tmp_path / "run"
    evaluate_later(world, "world", LaterProtocol(CUT, Target.FIRST), settings, 0, folder)
    again = evaluate_later(
        world, "world", LaterProtocol(CUT, Target.LAST), settings, 0, folder, trained=True
    )
    assert again[0].count == 10
    with pytest.raises(
        RequestError, match=r"was trained on events until 2001-09-24.*after the cut"
    ):
        evaluate_later(
            world,
            "world",
            LaterProtocol(CUT - 20 * DAY, Target.FIRST),
            settings,
            0,
            folder,
            trained=True,
        )


def test_a_cut_that_leaves_nothing_is_refused_before_training(
    world: MovieData, tmp_path: Path
) -> None:
    settings = tiny_settings(["bayesian"])
    with pytest.raises(RequestError, match="nothing comes after 2001"):
        evaluate_later(
            world, "w", LaterProtocol(CUT + 9 * DAY, Target.FIRST), settings, 0, tmp_path / "run"
        )
    with pytest.raises(RequestError, match=r"20 of .* ratings come before"):
        evaluate_later(
            world, "w", LaterProtocol(START + DAY, Target.FIRST), settings, 0, tmp_path / "run"
        )
    assert not (tmp_path / "run").exists()


def test_a_share_is_cut_where_so_many_events_have_happened() -> None:
    times = np.arange(START, START + 11)
    assert cut_at(times, 0.8) == START + 8


def test_users_are_the_sample_where_they_are_asked_often() -> None:
    # Two users who agree with themselves: a hundred questions tell no more than two.
    values, users = np.repeat([1.0, 0.0], 50), np.repeat([3, 8], 50)
    found = mean_of_groups(values, users)
    assert found.value == 0.5
    assert found.half_width == pytest.approx(mean_of_groups(values[::50], users[::50]).half_width)
    assert mean_of_groups(np.ones(4), np.zeros(4, np.int64)).half_width == float("inf")


def test_events_of_a_file_of_their_own_are_asked_as_those_after_a_cut_are(
    world: MovieData, asked: Asked, tmp_path: Path
) -> None:
    late = world.ratings[columns.TIMESTAMP] > CUT
    # A movie that nothing was known of before is one more that lists do not find.
    learned = replace(
        world,
        ratings=world.ratings[~late],
        movies=world.movies[world.movies[columns.MOVIE_ID] != UNSEEN],
    )
    later = replace(world, ratings=world.ratings[late])
    protocol = LaterProtocol(int(learned.ratings[columns.TIMESTAMP].max()), Target.VISIT)
    results = evaluate_later(
        with_later(learned, later, "later.csv"),
        "world",
        protocol,
        tiny_settings(["bayesian"]),
        0,
        tmp_path / "run",
        learned=learned,
    )
    found = {result.system: result.metrics for result in results}
    assert {result.count for result in results} == {10}
    for name in ("popular over all time", "popular in the last 7 days"):
        assert found[name]["ndcg@10"].value == pytest.approx(asked[name]["ndcg@10"])
    ours = found["two towers by rating, time not known"]
    assert ours["recall@100"].value == 0.5  # the hit, of two that are right
    assert np.isfinite(ours["rmse"].value)
