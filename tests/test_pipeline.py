from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_worlds import tiny_settings

from retrieval.data import columns
from retrieval.data.dataset import encode
from retrieval.data.frames import MovieData
from retrieval.errors import RequestError
from retrieval.options import Preset, RankBy
from retrieval.pairs.sequence.trends import TREND_WIDTH
from retrieval.pipeline import training
from retrieval.pipeline.card import Trained
from retrieval.pipeline.settings import preset_settings
from retrieval.pipeline.training import train
from retrieval.run.folder import describe_run
from retrieval.serving.encoder import questions_of
from retrieval.serving.events import Event
from retrieval.serving.recommender import Recommender
from retrieval.serving.users import Person, many_users


@pytest.fixture(scope="module", params=["neural", "bayesian"])
def alone(
    request: pytest.FixtureRequest, data: MovieData, tmp_path_factory: pytest.TempPathFactory
) -> Recommender:
    folder = tmp_path_factory.mktemp("alone") / "run"
    train(data, tiny_settings([request.param]), folder, source="world")
    return Recommender.load(folder)


def test_each_pair_answers_alone_and_lists_agree_with_pairs(alone: Recommender) -> None:
    for user in alone.run.users.ids[::20].tolist():
        for row in alone.topk(user, 10):
            assert row.rating == alone.rate(user, row.movie.id).rating
    config = alone.run.config
    movies = alone.run.catalogue.vocabulary.ids[:20]
    answers = alone.rate_many(alone.run.users.ids[:20], movies)
    if config.layout.names == ("neural",):
        assert config.link is None
        assert answers.deviations is None
        assert answers.chances is None
    else:
        assert answers.deviations is not None
        assert answers.chances is not None
        np.testing.assert_allclose(answers.chances.sum(axis=1), 1.0)
        assert not (alone.run.folder / "neural_tower.onnx").exists()


def test_without_a_sequence_pair_lists_are_ranked_by_rating(alone: Recommender) -> None:
    assert alone.topk(1, 20) == alone.topk(1, 20, rank_by=RankBy.RATING)
    with pytest.raises(RequestError, match="cannot rank by watch, only by rating"):
        alone.topk(1, rank_by=RankBy.WATCH)


@pytest.fixture(scope="module")
def two_members(
    data: MovieData, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Trained, Recommender]:
    """The sequence pair alone, of two members."""
    folder = tmp_path_factory.mktemp("members") / "run"
    settings = tiny_settings(["sequence"]).changed({"sequence.members": 2})
    return train(data, settings, folder), Recommender.load(folder)


def test_the_sequence_pair_alone_ranks_and_predicts_no_ratings(
    two_members: tuple[Trained, Recommender],
) -> None:
    _, alone = two_members
    rows = alone.topk(1, 20)
    assert rows == alone.topk(1, 20, rank_by=RankBy.WATCH)
    assert {row.rating for row in rows} == {None}
    assert alone.similar(10, 3)[0].cosine <= 1 + 1e-6
    facts = describe_run(alone.run)
    assert facts["rates"] is False
    assert facts["validation_rmse"] is None
    with pytest.raises(RequestError, match="this run predicts no ratings"):
        alone.rate(1, 1)
    with pytest.raises(RequestError, match="cannot rank by blend, only by watch"):
        alone.topk(1, rank_by=RankBy.BLEND)


def test_pairs_are_blended_as_validation_wants(recommender: Recommender) -> None:
    config = recommender.run.config
    assert config.layout.names == ("neural", "bayesian", "sequence")
    assert config.layout.dimension == recommender.index.dimension
    assert len(config.blend.weights) == len(config.blend.new_user_weights) == 2
    assert sum(config.blend.weights) > 0.3
    assert config.link is not None
    assert config.link.values == (1.0, 2.0, 3.0, 4.0, 5.0)
    assert [part.biased for part in config.parts] == [True, True, False]


def test_the_variance_is_less_for_users_with_more_ratings(recommender: Recommender) -> None:
    rated = recommender.run.catalogue.vocabulary.ids[:8].tolist()
    events = list(zip(rated, (5.0, 1.0, 4.0, 2.0, 3.0, 3.0, 5.0, 2.0), strict=True))
    new = {900 + count: [Event(*event) for event in events[:count]] for count in (0, 2, 8)}
    users, rows = many_users(recommender.run, np.array(list(new)), new)
    variances = recommender.encoder.encode(questions_of(users, rows, None)).variances.tolist()
    assert variances == sorted(variances, reverse=True)
    assert variances[0] > 1.3 * variances[2]


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


def test_the_notebook_takes_no_other_towers() -> None:
    with pytest.raises(RequestError, match="notebook"):
        preset_settings(Preset.NOTEBOOK, ["bayesian"])


def test_data_and_settings_may_be_named(world: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="unknown preset 'quik'; did you mean quick"):
        train(str(world), "quik", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_two_users_are_enough(data: MovieData, tmp_path: Path) -> None:
    busiest = data.ratings[columns.USER_ID].value_counts().index[:2]
    few = replace(data, ratings=data.ratings[data.ratings[columns.USER_ID].isin(busiest)])
    train(few, tiny_settings(["neural", "bayesian"]), tmp_path / "run")
    rows = Recommender.load(tmp_path / "run").topk(int(busiest[0]), 5)
    assert len(rows) == 5


def test_two_members_of_the_sequence_pair_answer_as_one(
    two_members: tuple[Trained, Recommender],
) -> None:
    trained, recommender = two_members
    measured = trained.metrics["sequence"]
    assert isinstance(measured, dict)
    assert len(measured["members"]) == 2
    assert recommender.index.dimension == 2 * 8 + TREND_WIDTH


def test_last_events_of_a_quarter_of_the_users_are_held_out_at_most(
    data: MovieData, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = encode(data)
    mask = training.last_events(dataset, np.random.default_rng(0))
    assert mask.sum() == int(len(np.unique(dataset.users)) * 0.25)
    for user in np.unique(dataset.users[mask]):
        times = dataset.timestamps[dataset.users == user]
        assert dataset.timestamps[mask & (dataset.users == user)].tolist() == [times.max()]
    monkeypatch.setattr(training, "VALIDATION_USERS", 3)
    assert training.last_events(dataset, np.random.default_rng(0)).sum() == 3
