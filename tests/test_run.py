import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from small_worlds import tiny_settings

from retrieval.data.frames import MovieData
from retrieval.errors import RecError, RunError
from retrieval.pairs.bayesian.tower import ARRAYS_FILE
from retrieval.pairs.neural.fitted import HistoryReader
from retrieval.pipeline.indexing import build_index
from retrieval.pipeline.training import train
from retrieval.run.config import CONFIG_FILE
from retrieval.run.folder import METRICS, describe_run, newest_run, open_index, open_run
from retrieval.run.listing import WHOLE
from retrieval.run.manifest import seal
from retrieval.run.promotion import versions
from retrieval.run.versions import CURRENT, MANIFEST, current
from retrieval.serving.recommender import Recommender
from retrieval.storage.arrays import replace_array


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    shutil.copytree(run, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def version(copy: Path) -> Path:
    return current(copy)


def test_a_missing_run_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"there is no run .*rec train --data"):
        open_run(tmp_path / "nothing")
    with pytest.raises(RunError, match="is not a run; make one"):
        open_run(tmp_path)
    with pytest.raises(RunError, match="no run under"):
        newest_run(tmp_path)


@pytest.mark.parametrize(
    "name", ["config.json", "movies.json", "history_movies.npy", "neural_tower.onnx", "users.npy"]
)
def test_damaged_and_missing_files_are_named(version: Path, name: str) -> None:
    whole = (version / name).read_bytes()
    (version / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RunError, match="is not what was written"):
        open_run(version.parent)
    (version / name).unlink()
    with pytest.raises(RunError, match=f"{name} is missing"):
        open_run(version.parent)


def test_every_file_of_a_version_is_vouched_for(version: Path) -> None:
    listed = json.loads((version / MANIFEST).read_text()).keys()
    there = {str(path.relative_to(version)) for path in version.rglob("*") if path.is_file()}
    held_by_the_card = {name for name in there if name.startswith("index/")} - {"index/index.json"}
    assert there - listed - held_by_the_card == {MANIFEST}


@pytest.mark.parametrize(
    "text", ["{", "[]", "[1]", '"x"', "[" * 100_000, '{"config.json": 1}', "\0", "null"]
)
def test_a_broken_manifest_is_named(version: Path, text: str) -> None:
    (version / MANIFEST).write_text(text)
    with pytest.raises(RunError, match=r"MANIFEST\.json|config\.json"):
        open_run(version.parent)


@pytest.mark.parametrize("name", ["../secret.npy", "/etc/hostname", "index/../x.npy", "a/b.npy"])
def test_a_manifest_names_nothing_outside_the_run(version: Path, name: str) -> None:
    sums = json.loads((version / MANIFEST).read_text())
    (version / MANIFEST).write_text(json.dumps(sums | {name: {"sha256": "0"}}))
    with pytest.raises(RunError, match="no file of a run"):
        open_run(version.parent)


def test_no_file_of_a_run_is_a_link(version: Path, tmp_path: Path) -> None:
    (version / "users.npy").rename(tmp_path / "users.npy")
    (version / "users.npy").symlink_to(tmp_path / "users.npy")
    with pytest.raises(RunError, match=r"'users\.npy', no file of a run"):
        open_run(version.parent)


def change_array(name: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    """Return what replaces an array of a version."""

    def crafted(version: Path) -> None:
        np.save(version / name, change(np.load(version / name)))

    return crafted


def change_config(change: Callable[[Any], object]) -> Callable[[Path], None]:
    """Return what changes settings of a version in place."""

    def crafted(version: Path) -> None:
        config = json.loads((version / CONFIG_FILE).read_text())
        change(config)
        (version / CONFIG_FILE).write_text(json.dumps(config))

    return crafted


def put(place: int, value: float) -> Callable[[Any], Any]:
    """Return what puts a value into an array."""

    def changed(array: Any) -> Any:  # noqa: ANN401 (of any type)
        array = array.copy()
        array.flat[place] = value
        return array

    return changed


def change_bayesian(name: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    """Return what replaces an array of the Bayesian pair of a version."""

    def crafted(version: Path) -> None:
        arrays = load_file(version / ARRAYS_FILE)
        arrays[name] = np.ascontiguousarray(change(arrays[name]))
        save_file(arrays, version / ARRAYS_FILE)

    return crafted


def raw(name: str, content: bytes) -> Callable[[Path], None]:
    """Return what replaces a file of a version."""

    def crafted(version: Path) -> None:
        (version / name).write_bytes(content)

    return crafted


HEADER = b"{'descr': '<i8', 'fortran_order': False, 'shape': (1000000000000,), }"
ENDLESS = b"\x93NUMPY\x01\x00v\x00" + HEADER.ljust(117) + b"\n"


@pytest.mark.parametrize(
    "craft",
    [
        change_array("history_movies.npy", put(7, -1)),
        change_array("history_movies.npy", put(7, 200)),
        change_array("history_movies.npy", lambda movies: movies.astype(np.int64)),
        change_array("history_movies.npy", lambda movies: movies[:-1]),
        change_array("history_offsets.npy", put(3, 10**6)),
        change_array("history_offsets.npy", put(0, -1)),
        change_array("history_offsets.npy", put(-1, 10**6)),
        change_array("history_offsets.npy", lambda offsets: offsets[::-1].copy()),
        change_array("history_ratings.npy", put(0, np.nan)),
        change_array("history_ratings.npy", put(0, 1e9)),
        change_array("history_timestamps.npy", lambda times: times.astype(np.float64)),
        change_array("users.npy", put(1, 1)),
        change_array("users.npy", lambda users: users.astype(np.float32)),
        change_array("user_codes.npy", put(0, -1)),
        change_array("user_codes.npy", put(0, 99)),
        change_array("trained_users.npy", lambda trained: trained.astype(np.int8)),
        change_array("added_vectors.npy", lambda _: np.zeros((1, 3), np.float32)),
        raw("users.npy", ENDLESS),
        raw("history_movies.npy", ENDLESS),
        raw("history_movies.npy", b""),
        raw("movies.json", b"[" * 100_000),
        raw("movies.json", b"[{}]"),
        raw("movies.json", b'[{"id": "x", "title": "A", "year": null, "genres": []}]'),
        raw("movies.json", b'[{"id": 1e400, "title": "A", "year": null, "genres": []}]'),
        raw("movies.json", b"[]"),
        raw("movies.json", b"\xff"),
        raw("config.json", b"{}"),
        raw("config.json", b"\xff"),
        raw("config.json", b"[" * 100_000),
        change_config(lambda config: config["parts"][0].update(width=0)),
        change_config(lambda config: config["parts"][0].update(width=-1)),
        change_config(lambda config: config["parts"][0].update(name="unheard of")),
        change_config(lambda config: config["parts"][0].update(name="bayesian")),
        change_config(lambda config: config["parts"][0].update(roles=[])),
        change_config(lambda config: config["parts"][0].update(roles=["dances"])),
        change_config(lambda config: config["parts"].pop()),
        change_config(lambda config: config.update(parts=[])),
        change_config(lambda config: config.update(version=99)),
        change_config(lambda config: config.update(version=11)),
        change_config(lambda config: config.update(version=None)),
        change_config(lambda config: config["blend"].update(weights=[1.0])),
        change_config(lambda config: config["blend"].update(weights=[1.0, float("nan")])),
        change_config(lambda config: config["blend"].update(halfway=0.0)),
        change_config(lambda config: config["link"]["thresholds"].reverse()),
        change_config(lambda config: config["link"]["values"].pop()),
        change_config(lambda config: config["scale"].update(step=0)),
        change_config(lambda config: config["scale"].update(lowest=9)),
        change_config(lambda config: config["parts"][2].update(temperature=0)),
        change_config(lambda config: config.pop("link")),
        lambda version: (version / "neural_tower.onnx").unlink(),
    ],
)
def test_a_crafted_run_with_right_sums_is_refused_on_one_line(
    version: Path, craft: Callable[[Path], None]
) -> None:
    craft(version)
    seal(version)
    with pytest.raises(RunError) as refused:
        open_run(version.parent)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize(
    "craft",
    [
        raw("neural_tower.onnx", b"nothing"),
        change_array("session_effects.npy", put(0, np.inf)),
        change_array("session_effects.npy", lambda effects: effects[:1]),
        change_array("neural_users.npy", put(0, np.nan)),
        change_array("neural_users.npy", lambda vectors: vectors[:-1]),
        change_array("neural_user_ids.npy", lambda rows: rows[:-1]),
        change_array("neural_events.npy", lambda rows: rows[:, :-1]),
        change_array("sequence_movies.npy", lambda rows: rows[:-1]),
        change_array("sequence_movies.npy", lambda rows: rows.astype(np.float64)),
        change_array("sequence_users.npy", put(0, np.nan)),
        change_array("sequence_users.npy", lambda vectors: vectors[:, :-1]),
        change_config(lambda config: config["parts"][1].update(width=66)),
        change_config(lambda config: config["settings"]["neural"].update(history_length=10**9)),
        change_config(lambda config: config["settings"]["sequence"].update(history_length="1")),
        change_config(lambda config: config["settings"].pop("sequence")),
        raw("sequence_tower.onnx", b""),
        raw("bayesian.safetensors", b"nothing"),
        raw("bayesian.safetensors", (8).to_bytes(8, "little") + b"{}      "),
        change_bayesian("users", put(0, np.nan)),
        change_bayesian("users", lambda users: users[:-1]),
        change_bayesian("movies", lambda movies: movies[:-1]),
        change_bayesian("movie_noise", lambda noise: noise[:-1]),
        change_bayesian("covariance", lambda covariance: covariance[:-1]),
        change_bayesian("user_coefficients", lambda rows: rows[:-1]),
        change_bayesian("class_latents", lambda latents: latents[:-1]),
    ],
)
def test_towers_that_cannot_be_read_are_refused_on_one_line(
    version: Path, craft: Callable[[Path], None]
) -> None:
    craft(version)
    seal(version)
    with pytest.raises(RecError) as refused:
        Recommender.load(version.parent)
    assert "\n" not in str(refused.value)


def test_an_index_older_than_the_model_is_refused(copy: Path, data: MovieData) -> None:
    kept = copy.with_name("kept")
    shutil.copytree(current(copy) / "index", kept)
    train(data, tiny_settings(["bayesian"]), copy, seed=1, index=False)
    with pytest.raises(RunError, match="no index yet; build it with rec build-index --run"):
        open_index(open_run(copy))
    shutil.copytree(kept, current(copy) / "index")
    with pytest.raises(RunError, match="another model; build it again with rec build-index --run"):
        open_index(open_run(copy))
    build_index(copy)
    assert len(open_index(open_run(copy))) == len(open_run(copy).catalogue)


def test_a_training_in_place_leaves_a_run_that_answers(copy: Path, data: MovieData) -> None:
    before = Recommender.load(copy)
    train(data, tiny_settings(["bayesian"]), copy, seed=1)
    after = Recommender.load(copy)
    assert after.run.config.layout.names == ("bayesian",)
    assert len(after.topk(42, 5)) == len(before.topk(42, 5)) == 5  # the old one is still mapped
    assert after.run.config.threads is not None


def test_the_same_seed_gives_the_same_model(
    data: MovieData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HistoryReader, "export", lambda _self, path: path.touch())
    monkeypatch.setattr(HistoryReader, "stored_users", lambda *_: np.zeros((0, 0)))
    weights = []
    for place, seed in enumerate((0, 0, 1)):
        folder = tmp_path / str(place)
        train(data, tiny_settings(["neural"]), folder, seed=seed, index=False)
        weights.append((current(folder) / "neural.safetensors").read_bytes())
    assert weights[0] == weights[1] != weights[2]


def test_the_newest_run_was_trained_last_and_has_an_index(copy: Path) -> None:
    names = ("2001", "2003", "2004", "2002")
    for name in names:
        shutil.copytree(copy, copy.with_name(name))
        config = current(copy.with_name(name)) / CONFIG_FILE
        config.write_text(re.sub(r'"created": "[^"]*"', f'"created": "{name}"', config.read_text()))
    shutil.rmtree(copy)
    shutil.rmtree(current(copy.with_name("2003")) / "index")
    (current(copy.with_name("2004")) / "index" / "index.json").write_text('{"kind": "exact"}')
    os.utime(copy.with_name("2001") / CURRENT)  # written last, trained first
    assert newest_run(copy.parent) == copy.with_name("2002")


def test_killed_training_leaves_the_old_run(copy: Path, world: Path) -> None:
    before = current(copy)
    command = [sys.executable, "-m", "retrieval", "train", "--data", str(world)]
    process = subprocess.Popen(
        [*command, "--run", str(copy)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    time.sleep(1.5)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert current(copy) == before
    open_index(open_run(copy))


def test_a_run_describes_itself(copy: Path) -> None:
    assert "Root mean square error" in (current(copy) / "README.md").read_text()
    metrics = json.loads((current(copy) / "metrics.json").read_text())
    assert 0.3 < metrics["validation_rmse"] < 1.3
    facts = describe_run(open_run(copy))
    assert facts["run"] == str(copy)
    assert facts["scale"] == "1 to 5 by 1"


def test_a_version_says_what_its_training_measured(version: Path) -> None:
    (found,) = versions(version.parent)
    assert found.validation_visits
    assert found.validation_visit_ndcg is not None
    assert 0 < found.validation_visit_ndcg < 1
    assert found.validation_coverage is not None
    assert 0 < found.validation_coverage <= 1
    assert len(found.calibration) == 10
    assert sum(group.ratings for group in found.calibration) > 100
    for group in found.calibration:
        assert group.predicted == pytest.approx(group.true, abs=0.6)


def test_a_version_whose_training_measured_less_is_whole(version: Path) -> None:
    path = version / METRICS
    metrics = json.loads(path.read_text())
    for name in ("validation_visits", "validation_visit_ndcg", "validation_coverage"):
        del metrics[name]
    del metrics["calibration"]
    path.write_text(json.dumps(metrics))
    (found,) = versions(version.parent)
    assert found.state == WHOLE
    assert found.validation_rmse is not None
    assert (found.validation_visits, found.validation_visit_ndcg) == (None, None)
    assert (found.validation_coverage, found.calibration) == (None, ())


def test_what_a_run_stores_of_a_user_answers_without_a_time_alone(version: Path) -> None:
    def ratings(at: int | None) -> list[float]:
        recommender = Recommender.load(version.parent)
        return [recommender.rate(user, 1, at=at).rating for user in (1, 2)]

    now = int(time.time())
    untimed, timed = ratings(None), ratings(now)
    path = version / "neural_users.npy"
    said = np.load(path)
    said[0, -1] -= 0.5  # of the first user alone
    replace_array(path, said)
    seal(version)
    build_index(version.parent)
    changed = ratings(None)
    assert changed[0] < untimed[0] - 0.01
    assert changed[1] == untimed[1]
    assert ratings(now) == timed
