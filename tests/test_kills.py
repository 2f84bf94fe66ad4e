"""Processes killed at any moment, and several at work on one run."""

import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from retrieval.errors import RunError
from retrieval.pipeline.indexing import add_movies, build_index
from retrieval.run.versions import CHECKPOINT, CURRENT, KEPT, LOCK, current, kept
from retrieval.serving.recommender import Recommender

COMMAND = [sys.executable, "-m", "retrieval"]


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    shutil.copytree(run, tmp_path / "run")
    return tmp_path / "run"


def movies(*ids: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "movie_id": list(ids),
            "title": [f"Late {movie}" for movie in ids],
            "year": pd.Series([1999] * len(ids), dtype="Int64"),
            "genres": "Drama",
            "directors": "",
            "actors": "",
        }
    )


def seconds_of(command: Sequence[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began


def killed_after(command: Sequence[str], seconds: float) -> None:
    """Start a command and kill it after a while, if it has not ended."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()


def tidy(folder: Path) -> bool:
    """Whether nothing is left in a run but the version that answers, and those that are kept."""
    whole = {CURRENT, LOCK, current(folder).name}
    names = kept(folder).names
    return {path.name for path in folder.iterdir()} == whole | ({KEPT, *names} if names else set())


def test_two_who_add_movies_at_once_lose_none(copy: Path) -> None:
    outcomes: dict[int, str] = {}

    def add(movie: int) -> None:
        try:
            outcomes[movie] = f"added {add_movies(copy, movies(movie))}"
        except RunError as error:
            outcomes[movie] = str(error)

    for start in range(1000, 1012, 4):
        writers = [threading.Thread(target=add, args=[start + place]) for place in range(4)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
    added = {movie for movie, outcome in outcomes.items() if outcome == "added 1"}
    others = {outcome for movie, outcome in outcomes.items() if movie not in added}
    assert len(outcomes) == 12
    assert added
    assert all("is being written by another process" in outcome for outcome in others)
    there = Recommender.load(copy)
    assert set(there.run.catalogue.vocabulary.ids[-there.run.catalogue.added :].tolist()) == added
    assert tidy(copy)


def test_runs_loaded_while_they_are_replaced_are_of_one_piece(
    copy: Path, recommender: Recommender
) -> None:
    users = recommender.run.users.ids[:20]
    rated = recommender.run.catalogue.vocabulary.ids[:20]
    expected = recommender.rate_many(users, rated).ratings
    stop, failures, loads = threading.Event(), [], []

    def reading() -> None:
        while not stop.is_set():
            try:
                there = Recommender.load(copy)
                assert len(there.index) == len(there.run.catalogue)
                np.testing.assert_array_equal(there.rate_many(users, rated).ratings, expected)
                loads.append(there.run.model)
            except Exception as error:  # noqa: BLE001 (whatever it is, it is told below)
                failures.append(repr(error))

    readers = [threading.Thread(target=reading) for _ in range(2)]
    for reader in readers:
        reader.start()
    for movie in range(1000, 1010):
        add_movies(copy, movies(movie))
        build_index(copy)
    stop.set()
    for reader in readers:
        reader.join()
    assert failures == []
    assert len(set(loads)) > 2


@pytest.mark.slow
def test_killed_while_changing_a_run_nothing_is_lost(run: Path, tmp_path: Path) -> None:
    (tmp_path / "movies.csv").write_text("movie_id,title,genres\n1000,Late,Drama\n")
    before = Recommender.load(run).topk(42, 10)
    for name, words in {
        "add": ["add-movies", str(tmp_path / "movies.csv")],
        "build": ["build-index", "--kind", "ivf"],
    }.items():
        shutil.copytree(run, tmp_path / name)
        whole = seconds_of([*COMMAND, *words, "--run", str(tmp_path / name)])
        for place in range(6):
            copy = tmp_path / f"{name}-{place}"
            shutil.copytree(run, copy)
            command = [*COMMAND, *words, "--run", str(copy)]
            killed_after(command, whole * (0.7 + 0.06 * place))  # the first part is imports
            rows = Recommender.load(copy).topk(42, 10)
            assert [row.movie.id for row in rows if row.movie.id != 1000][:9] == [
                row.movie.id for row in before
            ][:9]
            seconds_of(command)
            assert tidy(copy)


@pytest.mark.slow
def test_killed_in_training_the_same_command_comes_to_the_same_model(
    world: Path, tmp_path: Path
) -> None:
    words = ["train", "--data", str(world), "--preset", "quick", "--towers", "bayesian,sequence"]
    whole = seconds_of([*COMMAND, *words, "--run", str(tmp_path / "whole")])
    expected = Recommender.load(tmp_path / "whole")
    everyone = expected.run.users.ids
    for place in range(8):
        folder = tmp_path / str(place)
        command = [*COMMAND, *words, "--run", str(folder)]
        killed_after(command, whole * (0.3 + 0.09 * place))
        assert {path.name.split("-")[0] for path in folder.iterdir()} <= {
            CURRENT, LOCK, CHECKPOINT, "v000001", ".v000001",
        }  # fmt: skip
        seconds_of(command)
        assert tidy(folder)
        found = Recommender.load(folder)
        np.testing.assert_array_equal(
            found.topk_many(everyone, 20).scores, expected.topk_many(everyone, 20).scores
        )
