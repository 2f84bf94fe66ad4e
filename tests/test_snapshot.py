import shutil
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest

from index.search import Index
from retrieval.errors import RequestError, RunError
from retrieval.run.versions import CURRENT, writing
from retrieval.serving.recommender import Recommender
from retrieval.serving.snapshot import ServingSnapshot


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    shutil.copytree(run, tmp_path / "run")
    return tmp_path / "run"


def rewrite(folder: Path) -> None:
    """Write a version like the one that answers, in its place."""
    with writing(folder) as writer, writer.new_version() as partial:
        shutil.copytree(
            folder / (folder / CURRENT).read_text().strip(), partial, dirs_exist_ok=True
        )


def test_a_snapshot_cannot_be_changed(recommender: Recommender) -> None:
    snapshot = recommender.snapshot
    for name in ("run", "encoder", "index", "histories"):
        with pytest.raises(FrozenInstanceError):
            setattr(snapshot, name, None)
    assert recommender.run is snapshot.run
    assert recommender.encoder is snapshot.encoder
    assert recommender.index is snapshot.index


def test_the_newest_snapshot_is_the_same_until_there_is_another_version(copy: Path) -> None:
    snapshot = ServingSnapshot.load(copy)
    assert snapshot.newest() is snapshot
    rewrite(copy)
    newer = snapshot.newest()
    assert newer.run.folder != snapshot.run.folder
    assert newer.run.home == snapshot.run.home == copy
    assert newer.newest() is newer


def test_a_version_that_is_gone_still_answers(copy: Path, recommender: Recommender) -> None:
    loaded = Recommender.load(copy)
    rewrite(copy)
    assert not loaded.run.folder.exists()
    assert loaded.topk(5, 20) == recommender.topk(5, 20)
    assert loaded.explain(5, 7) == recommender.explain(5, 7)


def test_reloading_takes_the_newest_version_if_there_is_another_one(
    copy: Path, recommender: Recommender
) -> None:
    loaded = Recommender.load(copy)
    before = loaded.snapshot
    assert not loaded.reload()
    assert loaded.snapshot is before
    rewrite(copy)
    assert loaded.reload()
    assert loaded.snapshot is not before
    assert loaded.topk(5, 20) == recommender.topk(5, 20)


def test_a_version_that_is_damaged_does_not_take_the_place_of_one_that_answers(copy: Path) -> None:
    loaded = Recommender.load(copy)
    before, rows = loaded.snapshot, loaded.topk(5, 20)
    rewrite(copy)
    version = copy / (copy / CURRENT).read_text().strip()
    (version / "users.npy").write_bytes(b"")
    with pytest.raises(RunError, match=r"users\.npy"):
        loaded.reload()
    assert loaded.snapshot is before
    assert loaded.topk(5, 20) == rows


def test_another_index_changes_nothing_else(recommender: Recommender) -> None:
    snapshot = recommender.snapshot
    index = Index(snapshot.index)
    number, other = (snapshot.run.catalogue.number(movie) for movie in (5, 7))
    index.remove([number])
    less = snapshot.with_index(index.snapshot)
    assert less.run is snapshot.run
    assert len(less.index) == len(snapshot.index) - 1
    np.testing.assert_array_equal(
        less.vectors_of(np.array([other])), snapshot.vectors_of(np.array([other]))
    )
    with pytest.raises(RequestError, match=r"not in the index: \[5\]; ask about others"):
        less.vectors_of(np.array([number]))
