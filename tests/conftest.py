"""A small synthetic world, trained once for all tests that need a run."""

import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from threadpoolctl import ThreadpoolController

from retrieval.data.frames import MovieData
from retrieval.data.layouts import read_folder
from retrieval.data.synthetic import write_world
from retrieval.options import Preset
from retrieval.pairs.bayesian import compiled
from retrieval.pipeline.settings import preset_settings
from retrieval.pipeline.training import train
from retrieval.serving.recommender import Recommender


@pytest.fixture(scope="session")
def libraries() -> ThreadpoolController:
    """The libraries that have threads, which take milliseconds to find."""
    return ThreadpoolController()


@pytest.fixture(autouse=True)
def _threads(libraries: ThreadpoolController) -> Iterator[None]:
    """Put back the number of threads, which the command line sets for its whole process."""
    with libraries.limit():
        yield


@pytest.fixture(autouse=True, scope="session")
def _alone() -> Iterator[None]:
    """Let the sampler do small worlds on one thread in few parts: more would take longer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "FEW", 10**9)
        patch.setattr(compiled, "PARTS", 4)
        yield


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of a parallel session have."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


def made_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """Return a folder that the first worker to come makes, and the others wait for."""
    folder.parent.mkdir(exist_ok=True)
    done = folder.parent.with_suffix(".done")
    with folder.parent.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            make(folder)
            done.touch()
    return folder


@pytest.fixture(scope="session")
def world(shared: Path) -> Path:
    def make(folder: Path) -> None:
        write_world(folder, users=150, movies=200, ratings=6000, seed=1)

    return made_once(shared / "data" / "world", make)


@pytest.fixture(scope="session")
def data(world: Path) -> MovieData:
    return read_folder(world)


@pytest.fixture(scope="session")
def run(world: Path, data: MovieData, shared: Path) -> Path:
    """A run of all pairs, with its index."""
    settings = preset_settings(Preset.QUICK).changed({"sequence.blocks": 1})

    def make(folder: Path) -> None:
        train(data, settings, folder, source=str(world))

    return made_once(shared / "runs" / "run", make)


@pytest.fixture(scope="session")
def recommender(run: Path) -> Recommender:
    return Recommender.load(run)
