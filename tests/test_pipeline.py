from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.progress import Progress

from retrieval.data import columns
from retrieval.data.frames import MovieData
from retrieval.errors import RequestError
from retrieval.options import Preset, RankBy, Towers
from retrieval.pipeline.presets import Plan, plan
from retrieval.pipeline.training import train
from retrieval.pipeline import training as pipeline
from retrieval.run.folder import describe_run
from retrieval.serving.recommender import Recommender
from retrieval.serving.users import Event, Person, many_people


@pytest.fixture(scope="module", params=[(Towers.NEURAL,), (Towers.BAYESIAN,)])
def alone(
    request: pytest.FixtureRequest, data: MovieData, tmp_path_factory: pytest.TempPathFactory
) -> Recommender:
    folder = tmp_path_factory.mktemp("alone") / "run"
    with Progress(disable=True) as progress:
        train(data, "world", folder, Preset.QUICK, 0, progress, request.param)
    return Recommender.load(folder)


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
    assert len(config.biases) == 4


def test_doubt_is_less_about_those_who_told_more(recommender: Recommender) -> None:
    told = recommender.run.catalogue.vocabulary.ids[:8].tolist()
    said = list(zip(told, (5.0, 1.0, 4.0, 2.0, 3.0, 3.0, 5.0, 2.0), strict=True))
    people = {900 + count: [Event(*event) for event in said[:count]] for count in (0, 2, 8)}
    audience, rows = many_people(recommender.run, np.array(list(people)), people)
    doubts = recommender.encoder.encode(audience, rows, None).variances.tolist()
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


def test_two_users_are_enough(data: MovieData, tmp_path: Path) -> None:
    busiest = data.ratings[columns.USER_ID].value_counts().index[:2]
    few = replace(data, ratings=data.ratings[data.ratings[columns.USER_ID].isin(busiest)])
    with Progress(disable=True) as progress:
        train(few, "few", tmp_path / "run", Preset.QUICK, 0, progress)
    rows = Recommender.load(tmp_path / "run").topk(int(busiest[0]), 5)
    assert len(rows) == 5


def test_two_sequence_pairs_answer_as_one(
    data: MovieData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def two(preset: Preset, ratings: int) -> Plan:
        return replace(plan(preset, ratings), sequence_pairs=2)

    monkeypatch.setattr(pipeline, "plan", two)
    with Progress(disable=True) as progress:
        trained = train(data, "", tmp_path / "run", Preset.QUICK, 0, progress, [Towers.SEQUENCE])
    recommender = Recommender.load(tmp_path / "run")
    assert trained.watching is not None
    assert len(trained.watching.fits) == 2
    assert recommender.index.dimension == trained.watching.ensemble.dimension
    assert len(recommender.topk(1, 10)) == 10
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
