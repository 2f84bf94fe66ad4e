from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.progress import Progress

from retrieval.data.dataset import Dataset, encode
from retrieval.data.frames import MovieData
from retrieval.data.split import last_of_each
from retrieval.options import Preset
from retrieval.pairs.content import learn_to_describe
from retrieval.pairs.sequence.training import SequenceLoopSettings
from retrieval.pairs.sequence.watch import Watching, choose_last, train_sequence
from retrieval.pipeline.pairs import movie_vectors
from retrieval.pipeline.presets import plan


@pytest.fixture(scope="module")
def dataset(data: MovieData) -> Dataset:
    return encode(data)


@pytest.fixture(scope="module")
def last(dataset: Dataset) -> np.ndarray:
    return choose_last(dataset, np.random.default_rng(0))


def trained(dataset: Dataset, last: np.ndarray, path: Path) -> Watching:
    content = learn_to_describe(dataset.movie_frame, 0).describe(dataset.movie_frame)
    planned = replace(
        plan(Preset.QUICK, len(dataset.ratings)),
        sequence_loop=SequenceLoopSettings(epochs=1, tokens=1024),
    )
    with Progress(disable=True) as progress:
        cpu = torch.device("cpu")
        return train_sequence(dataset, content, last, planned, 0, path, cpu, progress)


def test_the_last_event_of_some_users_is_held_out(dataset: Dataset, last: np.ndarray) -> None:
    every = last_of_each(dataset.users, dataset.timestamps)
    assert not (last & ~every).any()
    assert last.sum() == len(np.unique(dataset.users)) // 4


def test_nothing_of_a_held_out_event_enters_training(
    dataset: Dataset, last: np.ndarray, tmp_path: Path
) -> None:
    expected = movie_vectors(trained(dataset, last, tmp_path / "one").ensemble)
    movies = np.where(last, (dataset.movies + 1) % len(dataset.movie_vocabulary), dataset.movies)
    ratings = np.where(last, 6 - dataset.ratings, dataset.ratings).astype(np.float32)
    other = replace(dataset, movies=movies, ratings=ratings)
    np.testing.assert_array_equal(
        movie_vectors(trained(other, last, tmp_path / "two").ensemble), expected
    )
    third = trained(other, np.zeros_like(last), tmp_path / "three")  # there they count
    assert not np.array_equal(movie_vectors(third.ensemble), expected)
