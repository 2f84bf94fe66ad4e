from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from retrieval.data.dataset import Dataset, encode
from retrieval.data.frames import MovieData
from retrieval.options import Device, Preset
from retrieval.pairs.content import fit_content
from retrieval.pairs.sequence.pair import FittedSequence, SequenceTowers
from retrieval.pairs.training import TrainingData, TrainingOptions
from retrieval.pipeline.training import last_events
from retrieval.progress import SILENT

SETTINGS = (
    SequenceTowers()
    .settings(Preset.QUICK)
    .model_copy(update={"dimension": 16, "hidden": 32, "blocks": 1, "epochs": 1, "members": 2})
)


@pytest.fixture(scope="module")
def dataset(data: MovieData) -> Dataset:
    return encode(data)


@pytest.fixture(scope="module")
def last(dataset: Dataset) -> np.ndarray:
    return last_events(dataset, np.random.default_rng(0))


def trained(dataset: Dataset, last: np.ndarray, folder: Path) -> FittedSequence:
    content = fit_content(dataset.movie_frame, 0).describe(dataset.movie_frame)
    data = TrainingData(dataset, content, np.zeros_like(last), last)
    options = TrainingOptions(0, folder, Device.CPU, SILENT)
    return SequenceTowers().fit(data, SETTINGS, options)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoint")


@pytest.fixture(scope="module")
def fitted(dataset: Dataset, last: np.ndarray, checkpoint: Path) -> FittedSequence:
    return trained(dataset, last, checkpoint)


def test_nothing_of_a_held_out_event_enters_training(
    dataset: Dataset, last: np.ndarray, fitted: FittedSequence, tmp_path: Path
) -> None:
    movies = np.where(last, (dataset.movies + 1) % len(dataset.movie_vocabulary), dataset.movies)
    ratings = np.where(last, 6 - dataset.ratings, dataset.ratings).astype(np.float32)
    other = replace(dataset, movies=movies, ratings=ratings)
    two = trained(other, last, tmp_path / "two")
    np.testing.assert_array_equal(two.movies, fitted.movies)
    users, times = dataset.users[last], dataset.timestamps[last]
    one, other_one = (pair.known_users(users, times, timed=True) for pair in (fitted, two))
    np.testing.assert_array_equal(other_one, one)
    third = trained(other, np.zeros_like(last), tmp_path / "three")  # there they count
    assert not np.array_equal(third.movies, fitted.movies)
    assert third.ndcg is None


def test_members_are_trained_apart_and_joined(fitted: FittedSequence, checkpoint: Path) -> None:
    width = SETTINGS.dimension
    assert fitted.part.width == fitted.movies.shape[1] == 2 * width
    assert not np.allclose(fitted.movies[:, :width], fitted.movies[:, width:], atol=0.1)
    assert fitted.part.temperature == pytest.approx(2 * SETTINGS.temperature)
    assert len(fitted.fits) == 2
    assert fitted.ndcg is not None
    assert {path.name for path in checkpoint.iterdir()} == {
        "pair-0.safetensors",
        "pair-1.safetensors",
    }


def test_what_is_stored_of_users_is_said_of_their_whole_history_without_a_time(
    dataset: Dataset, last: np.ndarray, fitted: FittedSequence
) -> None:
    histories = dataset.histories(np.ones_like(last))
    stored = fitted.stored_users(histories)
    users = np.arange(len(dataset.user_vocabulary))
    at_once = fitted.known_users(users, np.zeros_like(users), timed=False)
    shorter = np.isin(users, dataset.users[last])  # without their last event in training
    np.testing.assert_allclose(stored[~shorter], at_once[~shorter], atol=1e-6)
    assert not np.allclose(stored[shorter], at_once[shorter], atol=1e-3)
