"""Worlds at the edge of what can be learned from: each trains and answers, without a warning."""

from pathlib import Path

import numpy as np
import pytest
from small_worlds import STARS, everybody_rates, small_world, tiny_settings, without_visits

from retrieval.blending.rating import Rater, fit_blend
from retrieval.data import columns
from retrieval.data.dataset import encode
from retrieval.data.scale import RatingScale
from retrieval.options import Device
from retrieval.pairs.bayesian.inference import infer
from retrieval.pairs.bayesian.pair import BayesianTowers
from retrieval.pairs.bayesian.settings import BayesianSettings
from retrieval.pairs.content_training import fit_content
from retrieval.pairs.neural.fitted import HistoryReader
from retrieval.pairs.sequence import pair as sequence
from retrieval.pairs.sequence.files import CONTINUATION_FILE, TOWER_FILE
from retrieval.pairs.training import TrainingOptions
from retrieval.pipeline.training import train
from retrieval.progress import SILENT
from retrieval.serving.recommender import Recommender

SOME = everybody_rates(15, 10)

WORLDS = {
    "a hundred ratings": small_world(everybody_rates(10, 10)),
    "one movie": small_world(everybody_rates(120, 1)),
    "two movies": small_world(everybody_rates(60, 2)),
    "one user": small_world(everybody_rates(1, 120)),
    "two users": small_world(everybody_rates(2, 60)),
    "one rating each": small_world([(user, user % 20 + 1) for user in range(1, 121)]),
    "users without ratings": small_world(SOME, users=range(1, 90)),
    "movies without ratings": small_world(SOME, movies=range(1, 90)),
    "no genres": small_world(SOME, genres=""),
    "no words": small_world(SOME, title=""),
    "nothing but stop words": small_world(SOME, title="The of"),
    "one title for all": small_world(SOME, title="Big Fish"),
    "one moment": small_world(SOME, time=10**9),
    "no times": small_world(SOME, time=0),
    "every rating equal": small_world(SOME, [5], scale=RatingScale(lowest=5, highest=5, step=1)),
    "yes and no": small_world(SOME, [0, 1], scale=RatingScale(lowest=0, highest=1, step=1)),
    "one yes": small_world(SOME, [1, *[0] * 149], scale=RatingScale(lowest=0, highest=1, step=1)),
    "one rating of the best": small_world(SOME, [5, *[2, 3, 4] * 49, 2, 3]),
    "numbers of plays": small_world(
        SOME, range(1, 351), scale=RatingScale(lowest=1, highest=350, step=1)
    ),
    "very many plays": small_world(
        SOME, range(1, 40_000, 7), scale=RatingScale(lowest=1, highest=39_999, step=1)
    ),
    "continuous ratings": small_world(
        SOME, np.linspace(-1, 1, 149).tolist(), scale=RatingScale(lowest=-1, highest=1, step=None)
    ),
}


@pytest.mark.parametrize("name", [name for name in WORLDS if name != "every rating equal"])
def test_the_bayesian_pair_answers(name: str, tmp_path: Path) -> None:
    world = WORLDS[name]
    train(world, tiny_settings(["bayesian"]), tmp_path / "run", source=name)
    recommender = Recommender.load(tmp_path / "run")
    users, movies = (
        world.ratings[column].to_numpy()[:20] for column in (columns.USER_ID, columns.MOVIE_ID)
    )
    ratings = recommender.rate_many(users, movies).ratings
    assert ((ratings >= world.scale.lowest) & (ratings <= world.scale.highest)).all()
    rows = recommender.topk(int(users[0]), 1, include_seen=True)
    assert len(rows) == 1
    assert np.isfinite(rows[0].score)
    mean = world.ratings[columns.RATING].mean()
    assert abs(ratings.mean() - mean) < 0.3 * (world.scale.highest - world.scale.lowest) + 1e-6


def without_layers(folder: Path, *_: object) -> None:
    (folder / TOWER_FILE).touch()
    (folder / CONTINUATION_FILE).touch()


@pytest.mark.parametrize("name", WORLDS)
def test_all_pairs_train(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Exports take seconds each, and are tested apart.
    monkeypatch.setattr(HistoryReader, "export", lambda _self, path: path.touch())
    monkeypatch.setattr(HistoryReader, "stored_users", lambda *_: np.zeros((0, 0)))
    monkeypatch.setattr(sequence, "write_layers", without_layers)
    trained = train(WORLDS[name], tiny_settings(), tmp_path / "run", index=False)
    assert np.isfinite(list(trained.validation_errors.values())).all()
    assert trained.validation_ndcg is None or np.isfinite(trained.validation_ndcg)
    assert bool(trained.validation_errors) is (name != "every rating equal")


@pytest.mark.parametrize("rating", [1, 5])
def test_a_rating_that_was_wholly_held_out_trains(rating: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    ratings = rng.choice([2, 3, 4], len(SOME))
    ratings[[7, 50, 90]] = rating
    dataset = encode(small_world(SOME, ratings.tolist(), scale=STARS))
    held_out = dataset.ratings == rating
    held_out[::20] = True
    content = fit_content(dataset.movie_frame, 0).describe(dataset.movie_frame).matrix()
    settings = BayesianSettings(
        dimension=2, compressed=4, burn_in_windows=15, draws=30, spacing=1
    ).model_copy(update={"tolerance": -1.0})  # every window is made
    inferred = infer(dataset, content, held_out, held_out, settings, 0, tmp_path / "kept")
    assert len(inferred.errors) == 15
    assert np.isfinite(inferred.thresholds).all()
    assert np.abs(inferred.thresholds).max() < 10
    assert np.isfinite(inferred.pair.users).all()
    assert inferred.values == tuple(sorted({2.0, 3.0, 4.0, float(rating)}))


@pytest.mark.parametrize("rows", [0, 1])
def test_hardly_any_validation_rows_leave_the_blend_where_it_starts(
    rows: int, tmp_path: Path
) -> None:
    dataset = encode(WORLDS["a hundred ratings"])
    validation = np.arange(len(dataset.ratings)) < rows
    content = fit_content(dataset.movie_frame, 0).describe(dataset.movie_frame)
    data = without_visits(dataset, content, validation, np.zeros_like(validation))
    settings = tiny_settings(["bayesian"]).of["bayesian"]
    assert isinstance(settings, BayesianSettings)
    options = TrainingOptions(0, tmp_path / "kept", Device.CPU, SILENT)
    fitted = BayesianTowers().fit(data, settings, options)
    blended = fit_blend(data, [Rater(fitted.part, fitted.rating)])
    assert blended.link is not None
    assert np.isfinite(blended.link.thresholds).all()
    assert 0.5 < blended.blend.weights[0] < 1.5
