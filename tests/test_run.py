import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from rich.progress import Progress

from retrieval.choices import Preset
from retrieval.data.frames import MovieData
from retrieval.errors import RunError
from retrieval.files import beside, new_file, new_folder, recover
from retrieval.indexing import build_index
from retrieval.pipeline import train
from retrieval.run import newest_run, open_index, open_run


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    shutil.copytree(run, tmp_path / "run")
    return tmp_path / "run"


def test_a_missing_run_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="rec train --data"):
        open_run(tmp_path / "nothing")
    with pytest.raises(RunError, match="no run under"):
        newest_run(tmp_path)


@pytest.mark.parametrize(
    "name", ["config.json", "movies.json", "history_movies.npy", "user_tower.onnx", "users.npy"]
)
def test_damaged_and_missing_files_are_named(copy: Path, name: str) -> None:
    whole = (copy / name).read_bytes()
    (copy / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RunError, match="is not what was written"):
        open_run(copy)
    (copy / name).unlink()
    with pytest.raises(RunError, match=f"{name} is missing"):
        open_run(copy)


def test_a_broken_manifest_is_named(copy: Path) -> None:
    (copy / "MANIFEST.json").write_text("{")
    with pytest.raises(RunError, match=r"MANIFEST\.json is not a manifest"):
        open_run(copy)


def test_an_index_older_than_the_model_is_refused(copy: Path, data: MovieData) -> None:
    old = copy / "index"
    kept = copy.with_name("kept")
    shutil.copytree(old, kept)
    with Progress(disable=True) as progress:
        train(data, "world", copy, Preset.QUICK, 1, progress)
    with pytest.raises(RunError, match="no index yet"):
        open_index(open_run(copy))
    shutil.copytree(kept, old)
    with pytest.raises(RunError, match="another model; rebuild it with rec build-index --run"):
        open_index(open_run(copy))
    build_index(copy)
    assert len(open_index(open_run(copy))) == len(open_run(copy).catalogue)


def test_the_same_seed_gives_the_same_model(copy: Path, data: MovieData, tmp_path: Path) -> None:
    with Progress(disable=True) as progress:
        train(data, "world", tmp_path / "again", Preset.QUICK, 0, progress)
        train(data, "world", tmp_path / "other", Preset.QUICK, 1, progress)
    weights = [
        (folder / "weights.safetensors").read_bytes()
        for folder in (copy, tmp_path / "again", tmp_path / "other")
    ]
    assert weights[0] == weights[1] != weights[2]


def test_the_newest_run_is_found(copy: Path) -> None:
    older = copy.with_name("older")
    shutil.copytree(copy, older)
    os.utime(older / "MANIFEST.json", (1, 1))
    assert newest_run(copy.parent) == copy


def _fail_in(writing: AbstractContextManager[Path]) -> None:
    with writing as partial:
        (partial / "a" if partial.is_dir() else partial).write_text("half")
        raise RuntimeError


def test_a_folder_takes_the_place_of_the_old_one_only_when_whole(tmp_path: Path) -> None:
    target = tmp_path / "run"
    with new_folder(target) as partial:
        (partial / "a").write_text("old")
    with pytest.raises(RuntimeError):
        _fail_in(new_folder(target))
    assert (target / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    with new_folder(target) as partial:
        (partial / "b").write_text("new")
    assert [path.name for path in target.iterdir()] == ["b"]


def test_a_folder_moved_aside_by_a_killed_process_comes_back(tmp_path: Path) -> None:
    target = tmp_path / "run"
    target.mkdir()
    (target / "a").write_text("old")
    target.rename(beside(target, ".replaced"))
    recover(target)
    assert (target / "a").read_text() == "old"


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        _fail_in(new_file(tmp_path / "out.csv"))
    assert list(tmp_path.iterdir()) == []


def test_killed_training_leaves_the_old_run(copy: Path, world: Path) -> None:
    before = (copy / "MANIFEST.json").read_bytes()
    command = [sys.executable, "-m", "retrieval", "train", "--data", str(world)]
    process = subprocess.Popen(
        [*command, "--run", str(copy)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    time.sleep(1.5)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (copy / "MANIFEST.json").read_bytes() == before
    open_index(open_run(copy))


def test_a_run_describes_itself(copy: Path) -> None:
    assert "Root mean square error" in (copy / "README.md").read_text()
    metrics = json.loads((copy / "metrics.json").read_text())
    assert 0.3 < metrics["validation_rmse"] < 1.3
