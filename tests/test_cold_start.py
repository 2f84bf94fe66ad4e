from dataclasses import dataclass, field

import numpy as np
import pytest

from retrieval.blending import cold_start as module
from retrieval.blending.blend import RatingBlend
from retrieval.blending.cold_start import GIVEN, Trials, fit_cold_start, new_user_scores, trials
from retrieval.blending.link import Link
from retrieval.data.dataset import Dataset, encode
from retrieval.data.frames import MovieData
from retrieval.data.history import Histories, Windows
from retrieval.pairs.protocol import Floats, Numbers, UserVectors, Vectors
from retrieval.pairs.training import LatentScale, RatingSide

LINK = Link(values=(1.0, 2.0, 3.0, 4.0, 5.0), thresholds=(-1.5, -0.5, 0.5, 1.5))

NOTHING = Histories(
    np.zeros(2, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32), np.zeros(0, np.int64)
)


@dataclass(frozen=True)
class Planted:
    """A pair that gives each trial a score of its own: its movie is the place of the trial."""

    scores: Floats
    latent: LatentScale | None = field(default=None, init=False)

    @property
    def movies(self) -> Vectors:
        return np.ones((len(self.scores), 1), np.float32)

    def unrated_movies(self) -> Vectors:
        return self.movies

    def known_users(self, users: Numbers, _times: Numbers) -> UserVectors:
        return self._said(users)

    def new_users(self, _codes: Numbers, _histories: Histories, windows: Windows) -> UserVectors:
        return self._said(windows.times)

    def _said(self, places: Numbers) -> UserVectors:
        half = (self.scores[places] / 2).astype(np.float32)
        return UserVectors(half[:, None], self.scores[places] - half, np.zeros_like(half))


def asked(given: np.ndarray, ratings: np.ndarray) -> Trials:
    """Return trials of users who have given so many ratings, asked at times that number them."""
    places = np.arange(len(given))
    return Trials(
        histories=NOTHING,
        codes=np.zeros((len(given), 3), np.int64),
        windows=Windows(np.zeros_like(given), given, places),
        movies=places,
        ratings=ratings,
    )


def sides(scores: Floats) -> list[RatingSide]:
    return [Planted(column) for column in scores.T]


def blend(weights: tuple[float, ...], offset: float, halfway: float) -> RatingBlend:
    return RatingBlend(
        weights=(0.2, 0.8),
        new_user_weights=weights,
        new_user_offset=offset,
        halfway=halfway,
        origins=(3.0, 0.0),
        unrated_factors=(1.0, 1.0),
        unrated_offset_factors=(1.0, 1.0),
        unrated_shift=0.0,
    )


def test_trials_give_the_first_few_ratings_of_those_before_the_one_asked(data: MovieData) -> None:
    dataset: Dataset = encode(data)
    rng = np.random.default_rng(0)
    rows = rng.random(len(dataset.ratings)) < 0.1
    held_out = rows | (rng.random(len(rows)) < 0.1)
    made = trials(dataset, rows, held_out)
    expected = []
    for given in GIVEN:
        for row in np.flatnonzero(rows):
            mine = np.flatnonzero((dataset.users == dataset.users[row]) & ~held_out)
            mine = mine[np.argsort(dataset.timestamps[mine], kind="stable")]
            if (dataset.timestamps[mine] <= dataset.timestamps[row]).sum() >= given:
                events = dataset.movies[mine][:given].tolist()
                codes = dataset.user_codes[dataset.users[row]].tolist()
                expected.append((events, codes, dataset.movies[row], dataset.ratings[row]))
    found = [
        (made.histories.movies[start:end].tolist(), codes.tolist(), movie, rating)
        for start, end, codes, movie, rating in zip(
            made.windows.starts,
            made.windows.ends,
            made.codes,
            made.movies,
            made.ratings,
            strict=True,
        )
    ]
    assert found == expected
    assert set(made.given.tolist()) == set(GIVEN)


def test_a_score_of_a_new_user_is_the_offset_and_the_product_with_the_movie() -> None:
    scores = np.array([0.3, -2.0, 5.0])
    made = asked(np.zeros(3, np.int64), np.ones(3, np.float32))
    np.testing.assert_allclose(new_user_scores(Planted(scores), made), scores, rtol=1e-6)


def test_planted_weights_of_new_users_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRMNESS", 0.0)  # nothing holds them to those of the known
    rng = np.random.default_rng(1)
    planted = blend((0.9, 0.1), 0.3, 5.0)
    given = rng.choice(GIVEN, 40_000)
    scores = rng.standard_normal((40_000, 2))
    latents = planted.scores(scores, np.zeros(40_000, bool), given) + rng.standard_normal(40_000)
    ratings = 1 + np.searchsorted(LINK.thresholds, latents).astype(np.float32)
    start = blend((0.2, 0.8), 0.0, 1.0)
    found = fit_cold_start(sides(scores + start.origins), asked(given, ratings), start, LINK)
    np.testing.assert_allclose(found.new_user_weights, (0.9, 0.1), atol=0.05)
    assert found.new_user_offset == pytest.approx(0.3, abs=0.03)
    assert 3.5 < found.halfway < 7
    assert (found.weights, found.origins) == ((0.2, 0.8), (3.0, 0.0))


def test_few_ratings_leave_new_users_near_the_known() -> None:
    start = blend((0.2, 0.8), 0.0, 1.0)
    made = asked(np.array([0]), np.array([5.0], np.float32))
    found = fit_cold_start(sides(np.array([[4.0, -1.0]])), made, start, LINK)
    np.testing.assert_allclose(found.new_user_weights, (0.2, 0.8), atol=0.1)
    assert found.new_user_weights != (0.2, 0.8)


def test_weights_go_from_new_users_to_those_of_the_known() -> None:
    weights = blend((0.9, 0.1), 0.4, 10.0).of(np.array([False, False, True]), np.array([0, 10, 0]))
    np.testing.assert_allclose(weights.weights, [[0.9, 0.1], [0.55, 0.45], [0.2, 0.8]])
    np.testing.assert_allclose(weights.offsets, [0.4, 0.2, 0.0])
