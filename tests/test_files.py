import fcntl
import os
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from retrieval.errors import RecError
from retrieval.storage.files import new_file, new_folder


def _fail_in(writing: AbstractContextManager[Path]) -> None:
    with writing as partial:
        (partial / "a" if partial.is_dir() else partial).write_text("half")
        raise RuntimeError


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        _fail_in(new_file(tmp_path / "out.csv"))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "out.csv").write_text("old")
    with pytest.raises(RuntimeError):
        _fail_in(new_file(tmp_path / "out.csv"))
    assert (tmp_path / "out.csv").read_text() == "old"
    with new_file(tmp_path / "out.csv") as partial:
        partial.write_text("new")
    assert (tmp_path / "out.csv").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


def test_a_symbolic_link_stays_and_what_it_points_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    link = tmp_path / "out.csv"
    link.symlink_to("far/real.csv")
    with new_file(link) as partial:
        assert partial.parent == tmp_path / "far"
        partial.write_text("new")
    assert link.is_symlink()
    assert (tmp_path / "far" / "real.csv").read_text() == "new"


def test_nothing_is_written_through_a_name_that_somebody_laid_out(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept")
    (tmp_path / ".out.csv.partial").symlink_to("precious")
    with new_file(tmp_path / "out.csv") as partial:
        partial.write_text("new")
    assert (tmp_path / "precious").read_text() == "kept"


def test_what_a_killed_process_left_goes_and_what_another_writes_stays(tmp_path: Path) -> None:
    left, held, other = (tmp_path / name for name in (".a.1.partial", ".a.2.partial", ".b.partial"))
    (tmp_path / ".a.3.partial").mkdir()
    for path in (left, held, other):
        path.write_text("half")
    descriptor = os.open(held, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with new_file(tmp_path / "a") as partial:
        partial.write_text("new")
    os.close(descriptor)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".a.2.partial", ".b.partial", "a"]


def test_names_of_any_kind_can_be_written(tmp_path: Path) -> None:
    for name in ("x" * 250 + ".csv", "[a-z]*?.csv", "ä" * 120, ".hidden"):
        with new_file(tmp_path / name) as partial:
            partial.write_text("new")
        assert (tmp_path / name).read_text() == "new"
    assert len(list(tmp_path.iterdir())) == 4


def test_a_folder_is_whole_or_not_there(tmp_path: Path) -> None:
    target = tmp_path / "data"
    with pytest.raises(RuntimeError):
        _fail_in(new_folder(target))
    assert list(tmp_path.iterdir()) == []
    target.mkdir()  # an empty one is as good as none
    with new_folder(target) as partial:
        (partial / "a").write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert (target / "a").read_text() == "new"


def test_a_folder_that_holds_something_is_left_as_it_is(tmp_path: Path) -> None:
    target = tmp_path / "data"
    target.mkdir()
    (target / "thesis.txt").write_text("kept")
    for full in (target, target / "thesis.txt"):
        with pytest.raises(RecError, match="is no empty folder; name a new one"):
            _fail_in(new_folder(full))
    assert (target / "thesis.txt").read_text() == "kept"
