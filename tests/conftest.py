"""A small synthetic world, trained once for all tests that need a run."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.progress import Progress
from threadpoolctl import threadpool_limits

from retrieval.data.frames import MovieData
from retrieval.data.layouts import read_folder
from retrieval.data.synthetic import write_world
from retrieval.options import Preset
from retrieval.pipeline.training import train
from retrieval.serving.recommender import Recommender


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    """Put back the number of threads, which the command line sets for its whole process."""
    with threadpool_limits():
        yield


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
    return folder


@pytest.fixture(scope="session")
def recommender(run: Path) -> Recommender:
    return Recommender.load(run)
