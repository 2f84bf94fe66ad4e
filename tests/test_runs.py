"""Runs as they are listed and removed; files of others, and of those who write, stay."""

import io
import json
import os
import shutil
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from retrieval.cli.app import main
from retrieval.errors import RunError, shown
from retrieval.run.config import CONFIG_FILE, FORMAT
from retrieval.run.listing import UNFINISHED, WHOLE, list_runs
from retrieval.run.pruning import megabytes, removable, remove_run
from retrieval.run.versions import CHECKPOINT, CURRENT, LOCK, MANIFEST, REQUEST, current, writing

DAY = datetime(2026, 1, 1, tzinfo=UTC)

Make = Callable[[str, int], Path]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs"


@pytest.fixture
def make(run: Path, root: Path) -> Make:
    """Return what makes a run of a name, trained on a day."""

    def made(name: str, day: int) -> Path:
        shutil.copytree(run, root / name)
        change(root / name, created=(DAY + timedelta(days=day)).isoformat(), data=f"data/{name}")
        return root / name

    return made


def change(folder: Path, **facts: object) -> None:
    path = current(folder) / CONFIG_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | facts))


def unfinished(folder: Path, day: int, data: str = "data/left") -> Path:
    """Leave what a killed training leaves."""
    checkpoint = folder / CHECKPOINT
    (checkpoint / "bayesian").mkdir(parents=True)
    (checkpoint / "bayesian" / "draws").write_bytes(bytes(1000))
    (checkpoint / REQUEST).write_text(json.dumps({"data": data, "preset": "best", "seed": 0}))
    seconds = (DAY + timedelta(days=day)).timestamp()
    for path in [*checkpoint.rglob("*"), checkpoint]:
        os.utime(path, (seconds, seconds))
    return folder


def names(root: Path, keep: int) -> list[str]:
    return [removal.run.folder.name for removal in removable(list_runs(root), keep)]


def rec(monkeypatch: pytest.MonkeyPatch, *words: str, code: int = 0) -> None:
    monkeypatch.setattr(sys, "argv", ["rec", "runs", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == code


def test_runs_are_listed_newest_first_with_what_they_are(root: Path, make: Make) -> None:
    make("old", 1)
    make("new", 3)
    unfinished(root / "killed", 2)
    new, killed, old = list_runs(root)
    assert [run.folder.name for run in (new, killed, old)] == ["new", "killed", "old"]
    assert (new.state, new.whole, new.data, new.preset) == (WHOLE, True, "data/new", "quick")
    assert new.created == DAY + timedelta(days=3)
    assert new.pairs == ("neural", "bayesian", "sequence")
    assert new.rmse is not None
    assert 0 < new.rmse < 1.2
    assert new.ndcg is not None
    assert 0 < new.ndcg < 1
    files = [path for path in new.folder.rglob("*") if path.is_file()]
    assert new.size == sum(path.stat().st_size for path in files) > 1e5
    assert (new.versions, new.checkpoint) == (1, None)
    assert (killed.state, killed.whole, killed.is_run) == (UNFINISHED, False, False)
    assert (killed.data, killed.preset) == ("data/left", "best")
    assert killed.checkpoint is not None
    assert 1000 < killed.checkpoint == killed.size < 1100


def test_what_is_the_matter_with_a_run_is_said(root: Path, make: Make) -> None:
    for day, name in enumerate(("card", "file", "format", "config", "pointer", "gone", "odd")):
        make(name, day)
    (current(root / "file") / "users.npy").unlink()
    shutil.rmtree(current(root / "card") / "index")
    change(root / "format", version=FORMAT - 1)
    (current(root / "config") / CONFIG_FILE).write_text("{")
    (root / "pointer" / CURRENT).write_text("../../etc")
    shutil.rmtree(current(root / "gone"))
    change(root / "odd", version="\x1b[2J", created="yesterday", data=7, preset=None, parts=5)
    states = {run.folder.name: run.state for run in list_runs(root)}
    assert states == {
        "card": "damaged: index/index.json is missing",
        "file": "damaged: users.npy is missing",
        "format": f"of format {FORMAT - 1}: rec runs upgrade",
        "config": "damaged: config.json cannot be read",
        "pointer": "damaged: CURRENT names no version",
        "gone": states["gone"],
        "odd": r"of format \x1b[2J: train again",
    }
    assert states["gone"].startswith("damaged: v000001-")
    [odd] = [run for run in list_runs(root) if run.folder.name == "odd"]
    assert (odd.created, odd.data, odd.preset, odd.pairs) == (None, None, None, ())


def test_a_run_without_an_index_is_not_whole(root: Path, make: Make) -> None:
    version = current(make("bare", 1))
    shutil.rmtree(version / "index")
    sums = json.loads((version / MANIFEST).read_text())
    kept = {name: entry for name, entry in sums.items() if not name.startswith("index/")}
    (version / MANIFEST).write_text(json.dumps(kept))
    [run] = list_runs(root)
    assert (run.state, run.whole) == ("without an index: rec build-index", False)


def test_listing_writes_nothing_and_needs_no_permission_to(root: Path, make: Make) -> None:
    folder = make("read-only", 1)
    (folder / LOCK).unlink(missing_ok=True)
    folder.chmod(0o555)
    try:
        assert list_runs(root)[0].whole
        assert not (folder / LOCK).exists()
    finally:
        folder.chmod(0o755)
    assert list_runs(root / "nowhere") == []


def test_the_newest_whole_runs_stay_and_older_ones_go(root: Path, make: Make) -> None:
    for day, name in enumerate("abcd"):
        make(name, day)
    assert names(root, 1) == ["c", "b", "a"]
    assert names(root, 3) == ["a"]
    assert names(root, 4) == names(root, 9) == []
    shutil.rmtree(current(root / "d") / "index")  # it cannot answer, so c is the newest that can
    assert names(root, 1) == ["b", "a"]
    shutil.rmtree(current(root / "b") / "index")
    assert names(root, 1) == ["b", "a"]
    assert names(root, 2) == []  # b is newer than a, the second newest that can answer
    change(root / "a", created="some day")
    assert names(root, 1) == ["b"]  # nobody knows how old a is


def test_runs_made_in_the_same_second_are_told_apart(root: Path, make: Make) -> None:
    make("a", 1)
    make("b", 1)
    assert len(names(root, 1)) == 1


def test_a_checkpoint_goes_where_a_whole_run_was_trained_after_it(root: Path, make: Make) -> None:
    unfinished(root / "early", 1)
    unfinished(root / "late", 9)
    assert names(root, 1) == []  # without a run, both may be gone on with
    unfinished(make("run", 5), 4)
    found = {removal.run.folder.name: removal for removal in removable(list_runs(root), 1)}
    assert set(found) == {"early", "run"}
    assert found["run"].checkpoint
    assert not found["early"].checkpoint
    for removal in found.values():
        remove_run(removal)
    assert {path.name for path in root.iterdir()} == {"late", "run"}
    assert list_runs(root)[-1].whole
    assert not (root / "run" / CHECKPOINT).exists()


def test_what_is_being_written_stays(root: Path, make: Make) -> None:
    make("old", 1)
    make("new", 2)
    unfinished(root / "training", 1)
    listed = removable(list_runs(root), 1)
    assert {removal.run.folder.name for removal in listed} == {"old", "training"}
    with writing(root / "old"), writing(root / "training"):
        found = {run.folder.name: run for run in list_runs(root)}
        assert {name for name, run in found.items() if run.held} == {"old", "training"}
        assert found["old"].whole  # it answers while it is written anew
        assert names(root, 1) == []
        for removal in listed:  # listed before somebody began to write
            with pytest.raises(RunError, match="is being written by another process"):
                remove_run(removal)
    assert current(root / "old").is_dir()
    assert (root / "training" / CHECKPOINT / REQUEST).is_file()


def test_a_run_that_was_trained_anew_since_it_was_listed_stays(root: Path, make: Make) -> None:
    make("old", 1)
    make("new", 2)
    [removal] = removable(list_runs(root), 1)
    change(root / "old", created=(DAY + timedelta(days=3)).isoformat())
    with pytest.raises(RunError, match="has changed since it was listed"):
        remove_run(removal)
    assert current(root / "old").is_dir()


def test_what_is_no_run_stays_and_so_do_files_of_others_beside_one(
    root: Path, make: Make, tmp_path: Path
) -> None:
    make("old", 1)
    (root / "old" / "notes.txt").write_text("ten years of work")
    make("older", 0)
    make("new", 2)
    (root / "thesis").mkdir()
    (root / "thesis" / CURRENT).write_text("MANIFEST-000001\n")  # a database
    (root / "page").mkdir()
    (root / "page" / MANIFEST).write_text('{"name": "a web page"}')
    (root / "table.csv").write_text("1,2")
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(root / "older", elsewhere)
    (root / "link").symlink_to(elsewhere)
    assert {run.folder.name for run in list_runs(root)} == {"old", "older", "new", "link"}
    for removal in removable(list_runs(root), 1):
        remove_run(removal)
    assert {path.name for path in root.iterdir()} == {
        "old", "new", "thesis", "page", "table.csv", "link",
    }  # fmt: skip
    assert [path.name for path in (root / "old").iterdir()] == ["notes.txt"]
    assert current(elsewhere).is_dir()
    assert (root / "thesis" / CURRENT).read_text() == "MANIFEST-000001\n"


def test_the_command_lists_for_people_and_programs(
    root: Path, make: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make("new", 3)
    unfinished(make("old", 1), 2)
    rec(monkeypatch, "--in", str(root))
    header, *lines = capsys.readouterr().out.splitlines()[1:]
    assert header.split() == [
        "run", "created", "data", "preset", "RMSE", "NDCG@10", "size", "versions", "state",
    ]  # fmt: skip
    assert lines[0].split()[:5] == ["new", "2026-01-04", "00:00", "new", "quick"]
    assert lines[1].endswith("whole, unfinished training")
    rec(monkeypatch, "--in", str(root), "--json")
    said = json.loads(capsys.readouterr().out)
    assert (said["schema"], said["folder"]) == (1, str(root))
    new, old = said["runs"]
    assert (new["run"], new["whole"], new["checkpoint_bytes"]) == (str(root / "new"), True, None)
    assert new["created"] == "2026-01-04T00:00:00+00:00"
    assert old["checkpoint_bytes"] > 1000
    rec(monkeypatch, "--in", str(root / "none"))
    assert "make one with rec train --data FOLDER" in capsys.readouterr().err


def test_nothing_is_removed_without_a_yes(
    root: Path, make: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make("old", 1)
    make("new", 2)
    words = ["prune", "--in", str(root), "--keep", "1"]
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))  # no terminal: nobody can be asked
    rec(monkeypatch, *words, code=1)
    said = capsys.readouterr().err
    old = shown(root / "old")
    assert f"to remove: the run {old} of data/old, 2026-01-02 00:00, " in said
    assert "give --yes to remove this, or --dry-run" in said
    rec(monkeypatch, *words, "--dry-run", "--json")
    captured = capsys.readouterr()
    assert "would be removed: 1, " in captured.err
    removed = json.loads(captured.out)["removed"]
    assert [(each["run"], each["checkpoint"]) for each in removed] == [(str(root / "old"), False)]
    assert current(root / "old").is_dir()
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    for answer, left in (("n\n", True), ("\n", True), ("y\n", False)):
        monkeypatch.setattr(sys, "stdin", stdin := io.StringIO(answer))
        monkeypatch.setattr(stdin, "isatty", lambda: True)
        rec(monkeypatch, *words)
        captured = capsys.readouterr()
        assert captured.out == ""
        assert "remove this?" in captured.err
        assert ("nothing is removed" in captured.err) == left
        assert (root / "old").exists() == left
    rec(monkeypatch, *words, "--yes")
    assert capsys.readouterr().err == "there is nothing to remove\n"


def test_how_many_stay_has_to_be_said(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["prune", "--in", str(root)], ["prune", "--in", str(root), "--keep", "0"]):
        rec(monkeypatch, *words, code=2)
        assert "--keep" in capsys.readouterr().err


def test_a_run_that_cannot_be_removed_is_said_and_the_others_go(
    root: Path, make: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for day, name in enumerate("abc"):
        make(name, day)
    listed = list_runs(root)
    monkeypatch.setattr("retrieval.run.listing.list_runs", lambda _: listed)
    with writing(root / "a"):
        rec(monkeypatch, "prune", "--in", str(root), "--keep", "1", "--yes")
        said = capsys.readouterr().err
        monkeypatch.undo()
        rec(monkeypatch, "--in", str(root))
        assert "whole, being written\n" in capsys.readouterr().out
    assert f"note: {root / 'a'} is being written by another process" in said
    assert "removed: 1, " in said
    assert {path.name for path in root.iterdir()} == {"a", "c"}


def test_sizes_are_said_in_words() -> None:
    assert [megabytes(size) for size in (0, 123_456, 2_500_000_000)] == [
        "0.0 MB", "0.1 MB", "2.5 GB",
    ]  # fmt: skip


def test_a_run_is_verified_byte_by_byte(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    rec(monkeypatch, "verify", "--run", str(folder))
    assert "is whole: " in capsys.readouterr().err
    changed = current(folder) / "neural_tower.onnx"
    facts, content = changed.stat(), bytearray(changed.read_bytes())
    content[-1] ^= 1
    changed.write_bytes(content)
    os.utime(changed, ns=(facts.st_atime_ns, facts.st_mtime_ns))  # as a failing disk would
    rec(monkeypatch, "verify", "--run", str(folder), code=1)
    assert "its sha256 differs" in capsys.readouterr().err
