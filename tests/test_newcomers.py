import numpy as np
import pytest

from retrieval.blending import cold_start as newcomers
from retrieval.blending.blend import Blend
from retrieval.blending.cold_start import TOLD, fit_newcomers, trials
from retrieval.blending.link import Link
from retrieval.data.dataset import Dataset, encode
from retrieval.data.frames import MovieData

LINK = Link(stars=(1.0, 2.0, 3.0, 4.0, 5.0), thresholds=(-1.5, -0.5, 0.5, 1.5))


def blend(weights: tuple[float, ...], offset: float, halfway: float) -> Blend:
    return Blend(
        weights=(0.2, 0.8),
        newcomer_weights=weights,
        newcomer_offset=offset,
        halfway=halfway,
        origin=3.0,
        unrated_factors=(1.0, 1.0),
        unrated_offset_factors=(1.0, 1.0),
        unrated_shift=0.0,
    )


def test_trials_tell_the_first_few_ratings_of_those_before_the_one_asked(data: MovieData) -> None:
    dataset: Dataset = encode(data)
    rng = np.random.default_rng(0)
    rows = rng.random(len(dataset.ratings)) < 0.1
    held_out = rows | (rng.random(len(rows)) < 0.1)
    made = trials(dataset, rows, held_out)
    expected = []
    for told in TOLD:
        for row in np.flatnonzero(rows):
            mine = np.flatnonzero((dataset.users == dataset.users[row]) & ~held_out)
            mine = mine[np.argsort(dataset.timestamps[mine], kind="stable")]
            if (dataset.timestamps[mine] <= dataset.timestamps[row]).sum() >= told:
                events = dataset.movies[mine][:told].tolist()
                expected.append((events, dataset.movies[row], dataset.ratings[row]))
    found = [
        (made.histories.movies[start:end].tolist(), movie, rating)
        for start, end, movie, rating in zip(
            made.windows.starts, made.windows.ends, made.movies, made.ratings, strict=True
        )
    ]
    assert found == expected
    assert set(made.told.tolist()) == set(TOLD)


def test_planted_weights_of_newcomers_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newcomers, "FIRMNESS", 0.0)  # nothing holds them to those of the known
    rng = np.random.default_rng(1)
    planted = blend((0.9, 0.1), 0.3, 5.0)
    told = rng.choice(TOLD, 40_000)
    scores = rng.standard_normal((40_000, 2))
    latents = planted.scores(scores, np.zeros(40_000, bool), told) + rng.standard_normal(40_000)
    ratings = 1 + np.searchsorted(LINK.thresholds, latents).astype(np.float32)
    found = fit_newcomers(scores, told, ratings, blend((0.2, 0.8), 0.0, 1.0), LINK)
    np.testing.assert_allclose(found.newcomer_weights, (0.9, 0.1), atol=0.05)
    assert found.newcomer_offset == pytest.approx(0.3, abs=0.03)
    assert 3.5 < found.halfway < 7
    assert (found.weights, found.origin) == ((0.2, 0.8), 3.0)


def test_few_ratings_leave_newcomers_near_the_known() -> None:
    start = blend((0.2, 0.8), 0.0, 1.0)
    scores = np.array([[1.0, -1.0]])
    found = fit_newcomers(scores, np.array([0]), np.array([5.0], np.float32), start, LINK)
    np.testing.assert_allclose(found.newcomer_weights, (0.2, 0.8), atol=0.1)
    assert found.newcomer_weights != (0.2, 0.8)


def test_weights_go_from_newcomers_to_those_of_the_known() -> None:
    shares = blend((0.9, 0.1), 0.4, 10.0).of(np.array([False, False, True]), np.array([0, 10, 0]))
    np.testing.assert_allclose(shares.weights, [[0.9, 0.1], [0.55, 0.45], [0.2, 0.8]])
    np.testing.assert_allclose(shares.offsets, [0.4, 0.2, 0.0])
