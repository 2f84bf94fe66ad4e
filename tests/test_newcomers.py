import numpy as np
import pytest

from retrieval.blend import Blend
from retrieval.data.dataset import Dataset, encode
from retrieval.data.frames import MovieData
from retrieval.link import Link
from retrieval.training import newcomers
from retrieval.training.newcomers import TOLD, choose_newcomers, fit_newcomers, trials

LINK = Link(stars=(1.0, 2.0, 3.0, 4.0, 5.0), thresholds=(-1.5, -0.5, 0.5, 1.5))


def test_newcomers_are_whole_users_and_about_as_many_rows_as_asked() -> None:
    users = np.random.default_rng(0).integers(0, 200, 6000)
    chosen = choose_newcomers(users, 600, np.random.default_rng(1))
    assert 540 <= chosen.sum() <= 600
    assert not np.intersect1d(users[chosen], users[~chosen]).size
    assert not choose_newcomers(users, 5, np.random.default_rng(1)).any()


def test_trials_ask_about_everything_after_what_was_told(data: MovieData) -> None:
    dataset: Dataset = encode(data)
    rows = choose_newcomers(dataset.users, 300, np.random.default_rng(0))
    made = trials(dataset, rows)
    owners = np.unique(dataset.users[rows])
    sizes = np.bincount(dataset.users[rows])[owners]
    assert len(made.questions) == sum(
        (size - told) for size in sizes for told in TOLD if told < size
    )
    for question in range(0, len(made.people), 7):
        start, end, time = (int(column[question]) for column in made.windows)
        person = made.people[question]
        assert start == made.histories.offsets[person]
        assert end - start in TOLD
        later = slice(end, made.histories.offsets[person + 1])
        mine = made.questions == question
        np.testing.assert_array_equal(made.movies[mine], made.histories.movies[later])
        np.testing.assert_array_equal(made.ratings[mine], made.histories.ratings[later])
        assert (made.told[mine] == end - start).all()
        assert time == made.histories.timestamps[end]


def test_planted_weights_of_newcomers_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newcomers, "FIRMNESS", 0.0)  # nothing holds them to those of the known
    rng = np.random.default_rng(1)
    blend = Blend(weights=(0.2, 0.8), newcomer_weights=(0.9, 0.1), halfway=5.0, origin=3.0)
    told = rng.choice(TOLD, 40_000)
    scores = rng.standard_normal((40_000, 2))
    latents = (scores * blend.of(np.zeros(40_000, bool), told)).sum(axis=1)
    latents += rng.standard_normal(40_000)
    ratings = 1 + np.searchsorted(LINK.thresholds, latents).astype(np.float32)
    start = Blend(weights=(0.2, 0.8), newcomer_weights=(0.2, 0.8), halfway=1.0, origin=3.0)
    found = fit_newcomers(scores, told, ratings, start, LINK)
    np.testing.assert_allclose(found.newcomer_weights, (0.9, 0.1), atol=0.05)
    assert 3.5 < found.halfway < 7
    assert (found.weights, found.origin) == ((0.2, 0.8), 3.0)


def test_weights_go_from_newcomers_to_those_of_the_known() -> None:
    blend = Blend(weights=(0.2, 0.8), newcomer_weights=(0.9, 0.1), halfway=10.0, origin=3.0)
    weights = blend.of(np.array([False, False, True]), np.array([0, 10, 0]))
    np.testing.assert_allclose(weights, [[0.9, 0.1], [0.55, 0.45], [0.2, 0.8]])
