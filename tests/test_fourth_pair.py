"""A fourth pair, which lives here alone: no module of the product knows of it."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from pydantic import BaseModel, ConfigDict
from small_worlds import everybody_rates, small_world

from retrieval.data.frames import MovieData
from retrieval.data.history import Histories, Windows
from retrieval.evaluation.protocols import evaluate
from retrieval.options import Preset, RankBy, Split
from retrieval.pairs.content import Content
from retrieval.pairs.layout import Part, Role
from retrieval.pairs.protocol import Floats, Numbers, Questions, RunFacts, UserVectors, Vectors
from retrieval.pairs.table import TOWER_PAIRS
from retrieval.pairs.towers import PAIRS, QuerySide
from retrieval.pairs.training import Asked, LatentScale, TrainingData, TrainingOptions
from retrieval.pipeline.indexing import add_movies
from retrieval.pipeline.settings import preset_settings
from retrieval.pipeline.training import train
from retrieval.progress import Stage
from retrieval.serving.recommender import Recommender

NAME, FILE = "popularity", "popularity.npy"

USERS, MOVIES = 30, 12


class PopularitySettings(BaseModel):
    """Ratings of every movie that are made up, each of the average."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prior: float = 1.0


@dataclass(frozen=True)
class PopularityTower:
    """Every user is the same: the average, and a 1 for what a movie is above it."""

    centre: float

    def encode(self, questions: Questions) -> UserVectors:
        count = len(questions.stored)
        ones = np.ones((count, 1), np.float32)
        return UserVectors(ones, np.full(count, self.centre), np.zeros(count, np.float32))

    def forget(self) -> None:
        """Do nothing."""

    def with_movies(self, _content: Content) -> "PopularityTower":
        return self

    def movie_variances(self, numbers: Numbers) -> Floats:
        return np.zeros(len(numbers))


@dataclass(frozen=True)
class FittedPopularity:
    """It rates by what a movie's ratings are above the average, and ranks by the same."""

    movies: Vectors
    centre: float
    scores: Floats
    latent: LatentScale | None = field(default=None, init=False)
    ndcg: float | None = field(default=None, init=False)

    @property
    def part(self) -> Part:
        return Part(name=NAME, roles=(Role.RATES, Role.RANKS), width=1, biased=True)

    @property
    def rating(self) -> "RatingPopularity":
        return RatingPopularity(self.movies, self.centre, self.scores)

    @property
    def ranking(self) -> "RankingPopularity":
        return RankingPopularity(self.movies)

    def save(self, folder: Path, _histories: Histories) -> None:
        np.save(folder / FILE, self.movies)

    def metrics(self) -> dict[str, object]:
        return {"movies": len(self.movies)}


@dataclass(frozen=True)
class RatingPopularity:
    movies: Vectors
    centre: float
    scores: Floats
    latent: LatentScale | None = field(default=None, init=False)

    def unrated_movies(self) -> Vectors:
        return np.zeros_like(self.movies)

    def known_users(self, users: Numbers, _times: Numbers) -> UserVectors:
        return self._anybody(len(users))

    def new_users(self, codes: Numbers, _histories: Histories, _windows: Windows) -> UserVectors:
        return self._anybody(len(codes))

    def _anybody(self, count: int) -> UserVectors:
        ones = np.ones((count, 1), np.float32)
        return UserVectors(ones, np.full(count, self.centre), np.zeros(count, np.float32))


@dataclass(frozen=True)
class RankingPopularity:
    movies: Vectors
    ndcg: float | None = field(default=None, init=False)

    def logits(self, asked: Asked) -> Floats:
        return np.tile(self.movies[:, 0].astype(np.float64), (len(asked.users), 1))


@dataclass(frozen=True)
class SavedPopularity:
    folder: Path

    def movies(self) -> Vectors:
        vectors: Vectors = np.load(self.folder / FILE)
        return vectors

    def add_movies(self, content: Content, _folder: Path) -> Vectors:
        return np.zeros((len(content.genres), 1), np.float32)


class PopularityTowers:
    rates, ranks = True, True

    def settings(self, _preset: Preset) -> PopularitySettings:
        return PopularitySettings()

    def stages(self, _ratings: int, _settings: PopularitySettings) -> list[Stage]:
        return [Stage("popularity pair", 0.1)]

    def rehearse(self, _data: TrainingData, _settings: PopularitySettings, _seed: int) -> None:
        return

    def fit(
        self, data: TrainingData, settings: PopularitySettings, options: TrainingOptions
    ) -> FittedPopularity:
        options.progress.stage("popularity pair")
        dataset, rows = data.dataset, ~data.held_out
        movies, ratings = dataset.movies[rows], dataset.ratings[rows].astype(np.float64)
        centre, count = float(ratings.mean()), len(dataset.movie_vocabulary)
        sums = np.bincount(movies, ratings - centre, minlength=count)
        counts = np.bincount(movies, minlength=count)
        vectors = (sums / (counts + settings.prior)).astype(np.float32)[:, None]
        scores = np.where(data.validation, centre + vectors[dataset.movies, 0], 0.0)
        return FittedPopularity(vectors, centre, scores)

    def saved(self, folder: Path, _facts: RunFacts) -> SavedPopularity:
        return SavedPopularity(folder)


def _open_tower(_folder: Path, facts: RunFacts) -> PopularityTower:
    return PopularityTower(facts.centre)


@pytest.fixture(autouse=True)
def _fourth_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PAIRS, NAME, QuerySide((FILE,), _open_tower))
    monkeypatch.setitem(TOWER_PAIRS, NAME, PopularityTowers())


def _world() -> MovieData:
    """Every user rates every movie alike: movie 1 with 1, movies 2 to 12 ever better."""
    pairs = everybody_rates(USERS, MOVIES)
    ratings = [1 + 4 * (movie - 1) / (MOVIES - 1) for _, movie in pairs]
    # Every user leaves out a movie, so that something is left to list.
    kept = [place for place, (user, movie) in enumerate(pairs) if movie != 1 + user % MOVIES]
    return small_world([pairs[place] for place in kept], [ratings[place] for place in kept])


def test_a_fourth_pair_trains_rates_ranks_and_explains_alone(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    trained = train(_world(), preset_settings(Preset.QUICK, [NAME]), folder)
    assert trained.metrics == {NAME: {"movies": MOVIES}}
    recommender = Recommender.load(folder)
    assert recommender.snapshot.encoder.rankings == tuple(RankBy)
    good, bad = recommender.rate(1, MOVIES).rating, recommender.rate(1, 1).rating
    assert good > 4.5
    assert bad < 1.5
    listed = recommender.topk(2, 5, include_seen=True, rank_by=RankBy.WATCH)
    assert [row.movie.id for row in listed] == [12, 11, 10, 9, 8]
    assert listed[0].rating == pytest.approx(recommender.rate(2, 12).rating)
    explained = recommender.explain(1, MOVIES, by=RankBy.RATING)
    assert explained.answer == pytest.approx(good)
    assert {row.effect for row in explained.influences} == {0.0}  # nobody's history counts


def test_movies_are_added_to_a_run_of_a_fourth_pair(tmp_path: Path) -> None:
    folder, world = tmp_path / "run", _world()
    train(world, preset_settings(Preset.QUICK, [NAME]), folder)
    more = world.movies.head(1).assign(movie_id=99)
    assert add_movies(folder, more) == 1
    recommender = Recommender.load(folder)
    centre = recommender.run.config.centre
    assert recommender.rate(1, 99).rating == pytest.approx(centre)


def test_a_fourth_pair_is_blended_with_another(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    settings = (
        preset_settings(Preset.QUICK, [NAME, "bayesian"])
        .changed({"bayesian.dimension": 2, "bayesian.compressed": 4, "bayesian.burn_in_windows": 1})
        .changed({"bayesian.draws": 3, "popularity.prior": "2"})
    )
    trained = train(_world(), settings, folder)
    assert list(trained.validation_errors) == ["bayesian", NAME, "blend"]
    recommender = Recommender.load(folder)
    assert recommender.run.config.layout.names == ("bayesian", NAME)
    assert recommender.run.config.settings[NAME] == {"prior": 2.0}
    assert recommender.rate(1, MOVIES).deviation is not None
    assert recommender.rate(1, MOVIES).rating > recommender.rate(1, 1).rating + 1


def test_a_fourth_pair_is_evaluated(tmp_path: Path) -> None:
    settings = preset_settings(Preset.QUICK, [NAME])
    for split in (Split.RATING, Split.LEAVE_ONE):
        results = evaluate(_world(), "world", split, settings, 0, tmp_path / split)
        assert any(result.system.startswith("two towers") for result in results)
