import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.progress import Progress

from retrieval import columns
from retrieval.audience import Event, Person, many_people
from retrieval.choices import Preset, RankBy, Towers
from retrieval.data.frames import MovieData
from retrieval.data.layouts import read_movies
from retrieval.errors import DataError, RequestError
from retrieval.pipeline import add_movies, build_index, train
from retrieval.recommender import Recommender
from retrieval.run import BAYESIAN, CONTENT, describe_run, open_run
from retrieval.towers.bayesian import load_bayesian, unrated_vectors
from retrieval.towers.content import load_describer
from retrieval.training.pairs import load_pair, new_movie_vectors


@pytest.fixture(scope="module", params=[(Towers.NEURAL,), (Towers.BAYESIAN,)])
def alone(
    request: pytest.FixtureRequest, data: MovieData, tmp_path_factory: pytest.TempPathFactory
) -> Recommender:
    folder = tmp_path_factory.mktemp("alone") / "run"
    with Progress(disable=True) as progress:
        train(data, "world", folder, Preset.QUICK, 0, progress, request.param)
    build_index(folder)
    return Recommender.load(folder)


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    shutil.copytree(run, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def later(tmp_path: Path) -> pd.DataFrame:
    (tmp_path / "movies.csv").write_text(
        "movie_id,title,genres\n0,The First Comedy (2003),Comedy\n7,There Already (1999),Drama\n"
        "9001,A Late Drama (2004),Drama|War\n"
    )
    return read_movies(tmp_path / "movies.csv")


def test_each_pair_answers_alone_and_lists_agree_with_pairs(alone: Recommender) -> None:
    for user in alone.run.users.ids[::20].tolist():
        for row in alone.topk(user, 10):
            assert row.rating == alone.rate(user, row.movie.id).rating
    config = alone.run.config
    movies = alone.run.catalogue.vocabulary.ids[:20]
    answers = alone.rate_many(alone.run.users.ids[:20], movies)
    if config.towers == (Towers.NEURAL,):
        assert config.link is None
        assert answers.deviations is None
        assert answers.chances is None
    else:
        assert answers.deviations is not None
        assert answers.chances is not None
        np.testing.assert_allclose(answers.chances.sum(axis=1), 1.0)
        assert not (alone.run.folder / "user_tower.onnx").exists()


def test_without_a_sequence_pair_lists_are_ranked_by_rating(alone: Recommender) -> None:
    assert alone.topk(1, 20) == alone.topk(1, 20, rank_by=RankBy.RATING)
    with pytest.raises(RequestError, match="cannot rank by watch, only by rating"):
        alone.topk(1, rank_by=RankBy.WATCH)


def test_the_sequence_pair_alone_ranks_and_predicts_no_ratings(
    data: MovieData, tmp_path: Path
) -> None:
    with Progress(disable=True) as progress:
        train(data, "world", tmp_path / "run", Preset.QUICK, 0, progress, [Towers.SEQUENCE])
    build_index(tmp_path / "run")
    alone = Recommender.load(tmp_path / "run")
    rows = alone.topk(1, 20)
    assert rows == alone.topk(1, 20, rank_by=RankBy.WATCH)
    assert {row.rating for row in rows} == {None}
    assert alone.similar(10, 3)[0].cosine <= 1 + 1e-6
    assert describe_run(alone.run)["validation rmse"] == "predicts no ratings"
    with pytest.raises(RequestError, match="this run predicts no ratings"):
        alone.rate(1, 1)
    with pytest.raises(RequestError, match="cannot rank by blend, only by watch"):
        alone.topk(1, rank_by=RankBy.BLEND)


def test_pairs_are_blended_as_validation_wants(recommender: Recommender) -> None:
    config = recommender.run.config
    assert config.towers == tuple(Towers)
    assert sum(config.widths) == recommender.index.dimension
    assert len(config.blend.weights) == len(config.blend.newcomer_weights) == 2
    assert sum(config.blend.weights) > 0.3
    assert config.link is not None
    assert config.link.stars == (1.0, 2.0, 3.0, 4.0, 5.0)
    assert len(config.biases) == 2


def test_doubt_is_less_about_those_who_told_more(recommender: Recommender) -> None:
    told = recommender.run.catalogue.vocabulary.ids[:8].tolist()
    said = list(zip(told, (5.0, 1.0, 4.0, 2.0, 3.0, 3.0, 5.0, 2.0), strict=True))
    people = {900 + count: [Event(*event) for event in said[:count]] for count in (0, 2, 8)}
    audience, rows = many_people(recommender.run, np.array(list(people)), people)
    doubts = recommender.encode(audience, rows, None).variances.tolist()
    assert doubts == sorted(doubts, reverse=True)
    assert doubts[0] > 1.3 * doubts[2]


def test_a_rating_added_moves_what_is_predicted_for_movies_like_it(
    recommender: Recommender,
) -> None:
    user = int(recommender.run.users.ids[3])
    like = recommender.similar(5, 1)[0].movie.id
    rated = [
        recommender.rate(Person(user_id=user, added=[Event(5, stars)]), like).rating
        for stars in (1.0, 5.0)
    ]
    assert rated[0] < rated[1]


def test_the_notebook_takes_no_other_towers(data: MovieData, tmp_path: Path) -> None:
    with Progress(disable=True) as progress, pytest.raises(RequestError, match="notebook"):
        train(data, "", tmp_path / "run", Preset.NOTEBOOK, 0, progress, [Towers.BAYESIAN])


def test_added_movies_are_rated_and_listed_and_leave_the_others_alone(
    copy: Path, later: pd.DataFrame, recommender: Recommender
) -> None:
    assert add_movies(copy, later) == 2
    more = Recommender.load(copy)
    users, movies = recommender.run.users.ids[:30], recommender.run.catalogue.vocabulary.ids[:30]
    before, after = (each.rate_many(users, movies) for each in (recommender, more))
    np.testing.assert_array_equal(before.ratings, after.ratings)
    for user in users[:5].tolist():
        listed = {row.movie.id: row.rating for row in more.topk(user, len(more.run.catalogue))}
        assert {0, 9001} <= listed.keys()
        answer = more.rate(user, "a late drama")
        assert (answer.movie.id, answer.rating) == (9001, listed[9001])
        assert answer.deviation is not None
    assert add_movies(copy, later) == 0


def test_an_added_movie_is_as_one_of_its_kind_that_was_there_unrated(
    copy: Path, data: MovieData, tmp_path: Path, later: pd.DataFrame
) -> None:
    # Train with the movies in the catalogue, unrated, and without: nearly the same vectors.
    whole = pd.concat([data.movies, later[later["movie_id"] != 7]], ignore_index=True)
    folder = tmp_path / "whole"
    with Progress(disable=True) as progress:
        more = replace(data, movies=whole)
        train(more, "world", folder, Preset.QUICK, 0, progress, [Towers.BAYESIAN])
    build_index(folder)
    there, users = Recommender.load(folder), open_run(copy).users.ids
    add_movies(copy, later)
    added = Recommender.load(copy)
    for movie in (0, 9001):
        one, other = (
            each.rate_many(users, np.full(len(users), movie)).ratings for each in (there, added)
        )
        assert np.corrcoef(one, other)[0, 1] > 0.6
        assert abs(one.mean() - other.mean()) < 0.4


def test_histories_may_not_hold_movies_that_training_did_not_know(
    copy: Path, later: pd.DataFrame
) -> None:
    add_movies(copy, later)
    recommender = Recommender.load(copy)
    with pytest.raises(RequestError, match="movie 9001 was added after training"):
        recommender.topk(Person(history=[Event(9001, 4.0)]))


def test_bad_movies_are_all_reported(tmp_path: Path) -> None:
    (tmp_path / "movies.csv").write_text("movie_id,title,year\nx,A,1999\n2,B,19\n2,C,1990\n")
    with pytest.raises(DataError) as error:
        read_movies(tmp_path / "movies.csv")
    assert len(error.value.problems) >= 2
    with pytest.raises(DataError, match="no such file"):
        read_movies(tmp_path / "nothing.csv")


def test_two_users_are_enough(data: MovieData, tmp_path: Path) -> None:
    busiest = data.ratings[columns.USER_ID].value_counts().index[:2]
    few = replace(data, ratings=data.ratings[data.ratings[columns.USER_ID].isin(busiest)])
    with Progress(disable=True) as progress:
        train(few, "few", tmp_path / "run", Preset.QUICK, 0, progress)
    build_index(tmp_path / "run")
    rows = Recommender.load(tmp_path / "run").topk(int(busiest[0]), 5)
    assert len(rows) == 5


def test_movies_without_ratings_count_as_validation_wants(copy: Path, later: pd.DataFrame) -> None:
    before = open_run(copy)
    blend, widths = before.config.blend, before.config.widths
    assert blend.unrated_factors != (1.0, 1.0)
    add_movies(copy, later)
    content = load_describer(copy / CONTENT).describe(later[later["movie_id"] > 200])
    inferred = unrated_vectors(load_bayesian(copy / BAYESIAN), content.matrix())
    neural = new_movie_vectors(load_pair(copy, before.config), content)
    found = Recommender.load(copy).index.vectors_of(np.array([9001]))[0]
    wanted = blend.unrated_factors[1] * inferred[0]
    wanted[-1] += blend.unrated_shift
    np.testing.assert_allclose(found[widths[0] : sum(widths[:2])], wanted, atol=1e-5)
    np.testing.assert_allclose(found[: widths[0]], blend.unrated_factors[0] * neural[0], atol=1e-5)
