import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from small_worlds import small_world, tiny_settings

from retrieval.errors import RequestError
from retrieval.options import Preset
from retrieval.pipeline.forgetting import forget_user
from retrieval.pipeline.settings import preset_settings
from retrieval.pipeline.training import train
from retrieval.run.folder import open_run
from retrieval.run.versions import current
from retrieval.serving.recommender import Recommender

USERS, MOVIES, EACH = 40, 30, 12

# Whose id is found in no other number of the world.
GONE = 777_001


def watched() -> list[tuple[int, int]]:
    rng = np.random.default_rng(5)
    users = [*range(1, USERS), GONE]
    return [(user, int(movie)) for user in users for movie in 1 + rng.permutation(MOVIES)[:EACH]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of all pairs."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    train(small_world(watched(), users=[1, GONE]), tiny_settings(), folder)
    return folder


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(run, tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize("user", [1, 17, GONE])
def test_the_others_are_answered_as_before_to_the_last_bit(
    run: Path, copy: Path, user: int
) -> None:
    before = Recommender.load(run)
    others = np.setdiff1d(before.run.users.ids, [user])
    assert forget_user(copy, user) == EACH
    after = Recommender.load(copy)
    assert after.run.users.ids.tolist() == others.tolist()
    movies = np.resize(np.arange(1, MOVIES + 1), len(others))
    for wanted, found in (
        (before.rate_many(others, movies), after.rate_many(others, movies)),
        (before.topk_many(others, 10), after.topk_many(others, 10)),
    ):
        np.testing.assert_array_equal(found.ratings, wanted.ratings)
        np.testing.assert_array_equal(found.movie_ids, wanted.movie_ids)
    with pytest.raises(RequestError, match=f"unknown user {user}"):
        after.topk(user)


def test_nothing_of_the_user_is_left_in_any_file(run: Path, copy: Path) -> None:
    opened = open_run(run)
    number = int(opened.users.numbers(GONE))
    start, end = opened.histories.offsets[number : number + 2]
    times = opened.histories.timestamps[start:end]
    bayesian = load_file(opened.folder / "bayesian.safetensors")["users"][number]
    neural = load_file(opened.folder / "neural.safetensors")["user_ids.weight"][1 + number]
    stored = [
        np.load(opened.folder / f"{pair}_users.npy")[number] for pair in ("neural", "sequence")
    ]
    traces = [np.int64(GONE).tobytes(), str(GONE).encode(), times.tobytes()]
    traces += [array.tobytes() for array in (bayesian, neural, *stored)]
    kept = [path.read_bytes() for path in run.rglob("*") if path.is_file()]
    assert all(any(trace in file for file in kept) for trace in traces if trace != traces[1])
    forget_user(copy, GONE)
    left = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    for trace in traces:
        assert not [path.name for path, file in left.items() if trace in file]


def test_a_user_who_is_not_there_is_named_and_nothing_changes(copy: Path) -> None:
    before = current(copy)
    with pytest.raises(RequestError, match="unknown user 999: ids run from 1 to 777001"):
        forget_user(copy, 999)
    assert current(copy) == before


def test_after_forgetting_movies_are_added_and_another_is_forgotten(copy: Path) -> None:
    forget_user(copy, 3)
    forget_user(copy, 4)
    found = Recommender.load(copy)
    assert not {3, 4} & set(found.run.users.ids.tolist())
    assert len(found.run.histories.movies) == (USERS - 2) * EACH
    assert len(found.topk(5, 5)) == 5


def test_the_notebook_pair_forgets_too(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    settings = preset_settings(Preset.NOTEBOOK).changed({"notebook.epochs": "1"})
    train(small_world(watched(), users=[1, GONE]), settings, folder)
    names = ("notebook_users.npy", "notebook_user_ids.npy")
    before = [np.load(current(folder) / name) for name in names]
    forget_user(folder, GONE)
    for name, array in zip(names, before, strict=True):
        np.testing.assert_array_equal(np.load(current(folder) / name), array[:-1])
    assert len(Recommender.load(folder).topk(1, 5)) == 5
