"""Nothing is written where nobody asked for it: neither at home nor among temporary files."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from small_worlds import TINY

# Settings of a training that takes seconds.
LITTLE = [
    word
    for name, value in TINY.items()
    if not name.startswith("sequence.")
    for word in ("--set", f"{name}={value}")
]


@pytest.mark.parametrize(
    "command",
    [
        ["topk", "--user", "42"],
        ["rate", "--user", "42", "--movie", "5"],
        ["explain", "--user", "42", "--movie", "5"],
        ["build-index"],
        ["train", "--preset", "quick", "--towers", "neural,bayesian", *LITTLE],
    ],
    ids=lambda command: str(command[0]),
)
def test_nothing_is_written_at_home(
    command: list[str], run: Path, world: Path, tmp_path: Path
) -> None:
    home, scratch, work = (tmp_path / name for name in ("home", "scratch", "work"))
    for folder in (home, scratch, work):
        folder.mkdir()
    if command[0] == "train":
        words = [*command, "--data", str(world), "--run", str(work / "run")]
    elif command[0] == "build-index":
        words = [*command, "--run", str(copied(run, work / "run"))]
    else:
        words = [*command, "--run", str(run)]
    before = set(run.rglob("*"))
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("XDG", "ORT"))
    }
    subprocess.run(
        [sys.executable, "-m", "retrieval", *words],
        check=True,
        capture_output=True,
        env=kept | {"HOME": str(home), "TMPDIR": str(scratch)},
        cwd=work,
    )
    for folder in (home, scratch):
        assert [path for path in folder.rglob("*") if not path.is_dir()] == []
    assert set(run.rglob("*")) == before
    assert {path.name for path in work.iterdir()} <= {"run"}


def copied(run: Path, target: Path) -> Path:
    shutil.copytree(run, target)
    return target
