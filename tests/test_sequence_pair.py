from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from small_worlds import NO_VISITS

from retrieval.data.dataset import Dataset, encode
from retrieval.data.frames import MovieData
from retrieval.data.visits import Visits, last_visits
from retrieval.options import Device, Preset
from retrieval.pairs.content_training import fit_content
from retrieval.pairs.sequence.pair import FittedSequence, SequenceTowers
from retrieval.pairs.sequence.training import sequence_vectors
from retrieval.pairs.sequence.trends import TREND_WIDTH
from retrieval.pairs.training import Asked, TrainingData, TrainingOptions, movie_vectors
from retrieval.pairs.when import When
from retrieval.pipeline.training import last_events
from retrieval.progress import SILENT

SETTINGS = (
    SequenceTowers()
    .settings(Preset.QUICK)
    .model_copy(update={"dimension": 16, "hidden": 32, "blocks": 1, "epochs": 1, "members": 2})
)


class HeldOut(NamedTuple):
    """Rows that are not trained on."""

    last: np.ndarray
    visit_rows: np.ndarray
    visits: Visits

    @property
    def rows(self) -> np.ndarray:
        return np.asarray(self.last | self.visit_rows)


@pytest.fixture(scope="module")
def dataset(data: MovieData) -> Dataset:
    return encode(data)


@pytest.fixture(scope="module")
def held_out(dataset: Dataset) -> HeldOut:
    rng = np.random.default_rng(0)
    rows, visits = last_visits(dataset, 0.25, 1000, rng)
    last = last_events(dataset, rng) & ~np.isin(dataset.users, visits.users)
    assert rows.any()
    assert last.any()
    return HeldOut(last, rows, visits)


def trained(dataset: Dataset, held_out: HeldOut, folder: Path) -> FittedSequence:
    content = fit_content(dataset.movie_frame, 0).describe(dataset.movie_frame)
    nothing = np.zeros(len(dataset.ratings), dtype=bool)
    data = TrainingData(dataset, content, nothing, *held_out)
    options = TrainingOptions(0, folder, Device.CPU, SILENT)
    return SequenceTowers().fit(data, SETTINGS, options)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoint")


@pytest.fixture(scope="module")
def fitted(dataset: Dataset, held_out: HeldOut, checkpoint: Path) -> FittedSequence:
    return trained(dataset, held_out, checkpoint)


def everybody(dataset: Dataset, when: When) -> Asked:
    """All users, asked an hour after all events."""
    users, present = np.arange(len(dataset.user_vocabulary)), dataset.timestamps.max() + 1
    return Asked(users, when, np.full(len(users), present), np.full(len(users), present + 3600))


def test_nothing_of_a_held_out_event_enters_training(
    dataset: Dataset, held_out: HeldOut, fitted: FittedSequence, tmp_path: Path
) -> None:
    hidden, count = held_out.rows, len(dataset.movie_vocabulary)
    movies = np.where(hidden, (dataset.movies + 1) % count, dataset.movies)
    ratings = np.where(hidden, 6 - dataset.ratings, dataset.ratings).astype(np.float32)
    other = replace(dataset, movies=movies, ratings=ratings)
    two = trained(other, held_out, tmp_path / "two")
    np.testing.assert_array_equal(movie_vectors(two.ensemble), movie_vectors(fitted.ensemble))
    for when in When:
        asked = everybody(dataset, when)
        np.testing.assert_array_equal(two.logits(asked), fitted.logits(asked))
    nothing = np.zeros_like(hidden)
    third = trained(other, HeldOut(nothing, nothing, NO_VISITS), tmp_path / "three")
    # There they count.
    assert not np.array_equal(movie_vectors(third.ensemble), movie_vectors(fitted.ensemble))
    assert third.ndcg is None


def test_members_are_trained_apart_and_joined_with_one_copy_of_the_trends(
    fitted: FittedSequence, checkpoint: Path
) -> None:
    width, movies = SETTINGS.dimension, movie_vectors(fitted.ensemble)
    assert fitted.part.width == movies.shape[1] == 2 * width + TREND_WIDTH
    assert fitted.part.trends == TREND_WIDTH
    assert not np.allclose(movies[:, :width], movies[:, width : 2 * width], atol=0.1)
    assert fitted.sequences.trends is not None
    trends = fitted.sequences.trends.features[-1]
    np.testing.assert_allclose(movies[:, 2 * width :], trends * SETTINGS.temperature, rtol=1e-6)
    assert fitted.part.temperature == pytest.approx(2 * SETTINGS.temperature)
    assert len(fitted.fits) == 2
    assert fitted.ndcg is not None
    assert {path.name for path in checkpoint.iterdir()} == {
        "pair-0.safetensors",
        "pair-1.safetensors",
    }


@pytest.mark.parametrize("when", list(When))
def test_a_logit_is_the_dot_product_of_joined_vectors_over_the_temperature(
    dataset: Dataset, fitted: FittedSequence, when: When
) -> None:
    asked = everybody(dataset, when)
    vectors = sequence_vectors(fitted.ensemble, fitted.sequences, asked)
    found = vectors @ movie_vectors(fitted.ensemble).T / fitted.part.temperature
    np.testing.assert_allclose(fitted.logits(asked), found, atol=1e-4)
    trends = vectors[:, -TREND_WIDTH:]
    assert trends.any() == (when is not When.IN_SITTING)


def test_what_is_stored_of_users_is_said_of_their_whole_history_before_they_come_back(
    dataset: Dataset, held_out: HeldOut, fitted: FittedSequence
) -> None:
    histories = dataset.histories(np.ones_like(held_out.last))
    stored = fitted.stored_users(histories)
    fresh = sequence_vectors(
        fitted.ensemble, fitted.sequences, everybody(dataset, When.COMING_BACK)
    )
    # Without their last events in training.
    shorter = np.isin(np.arange(len(stored)), dataset.users[held_out.rows])
    np.testing.assert_allclose(stored[~shorter], fresh[~shorter], atol=1e-6)
    assert not np.allclose(stored[shorter], fresh[shorter], atol=1e-3)
