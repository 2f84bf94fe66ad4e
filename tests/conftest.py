"""A small synthetic world, trained once for all tests that need a run."""

from pathlib import Path

import pytest
from rich.progress import Progress

from retrieval.choices import Preset
from retrieval.data.frames import MovieData
from retrieval.data.layouts import read_folder
from retrieval.data.synthetic import write_world
from retrieval.indexing import build_index
from retrieval.pipeline import train
from retrieval.recommender import Recommender


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "world"
    write_world(folder, users=150, movies=200, ratings=6000, seed=1)
    return folder


@pytest.fixture(scope="session")
def data(world: Path) -> MovieData:
    return read_folder(world)


@pytest.fixture(scope="session")
def run(world: Path, data: MovieData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    with Progress(disable=True) as progress:
        train(data, str(world), folder, Preset.QUICK, 0, progress)
    build_index(folder)
    return folder


@pytest.fixture(scope="session")
def recommender(run: Path) -> Recommender:
    return Recommender.load(run)
