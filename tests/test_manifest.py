import json
import os
import shutil
from pathlib import Path

import pytest

from retrieval.errors import RunError
from retrieval.run import manifest
from retrieval.run.folder import open_index, open_run
from retrieval.run.manifest import INDEX_CARD, checked_sums, model_of, seal, write_sums
from retrieval.run.versions import MANIFEST, current
from retrieval.storage.files import sha256

NAMES = ("movies.json", "users.npy", "vectors.safetensors")


@pytest.fixture
def version(tmp_path: Path) -> Path:
    """A sealed folder of some files, with the card of an index."""
    folder = tmp_path / "v000001-00000000"
    (folder / "index").mkdir(parents=True)
    for name in NAMES:
        (folder / name).write_text(f"what is in {name}")
    (folder / INDEX_CARD).write_text("what the index is")
    seal(folder)
    return folder


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are read, in the order in which they are."""
    found: list[str] = []

    def counted(path: Path) -> str:
        found.append(path.name)
        return sha256(path)

    monkeypatch.setattr(manifest, "sha256", counted)
    return found


def put_back(path: Path, text: str) -> None:
    """Write a file, and let it be as old as it was."""
    written = path.stat().st_mtime_ns
    path.write_text(text)
    os.utime(path, ns=(written, written))


def of_own(folder: Path) -> dict[str, str]:
    return {name: sha256(folder / name) for name in NAMES}


def test_a_folder_is_sealed_with_the_sums_of_its_own_files(version: Path) -> None:
    assert seal(version) == of_own(version)
    assert checked_sums(version) == of_own(version) | {INDEX_CARD: sha256(version / INDEX_CARD)}
    entry = json.loads((version / MANIFEST).read_text())["users.npy"]
    facts = (version / "users.npy").stat()
    assert entry == {
        "sha256": sha256(version / "users.npy"),
        "size": facts.st_size,
        "written": facts.st_mtime_ns,
    }


def test_an_untouched_file_is_not_read(version: Path, hashed: list[str]) -> None:
    assert set(checked_sums(version)) == {*NAMES, INDEX_CARD}
    assert hashed == []


def test_what_belongs_together_is_read_whole_where_that_is_asked_for(
    version: Path, hashed: list[str]
) -> None:
    checked_sums(version, whole=True)
    assert sorted(hashed) == sorted([*NAMES, "index.json"])


@pytest.mark.parametrize("text", ["what is in users.np", "what is in users.npy, more", ""])
def test_a_file_of_another_size_is_noticed(version: Path, hashed: list[str], text: str) -> None:
    put_back(version / "users.npy", text)
    there = f"it has {len(text)} bytes instead of 20"
    with pytest.raises(RunError, match=rf"users\.npy is not what was written: {there}"):
        checked_sums(version)
    assert hashed == []


def test_a_large_file_is_known_by_its_size_and_read_where_everything_is(
    version: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest, "SMALL", 19)  # movies.json and users.npy have 22 and 20 bytes
    (version / "users.npy").write_text("what is in USERS.npy")
    os.utime(version / "users.npy", ns=(1, 1))
    checked_sums(version)
    assert hashed == []
    with pytest.raises(RunError, match=r"users\.npy is not what was written: its sha256 differs"):
        checked_sums(version, whole=True)
    (version / "users.npy").write_text("what is in USERS")
    with pytest.raises(RunError, match=r"users\.npy is not what was written: it has 16 bytes"):
        checked_sums(version)


def test_a_file_of_another_time_is_noticed(version: Path, hashed: list[str]) -> None:
    same_size = "what is in USERS.npy"
    (version / "users.npy").write_text(same_size)
    os.utime(version / "users.npy", ns=(1, 1))
    with pytest.raises(RunError, match=r"users\.npy is not what was written"):
        checked_sums(version)
    assert hashed == ["users.npy"]


def test_a_change_that_keeps_size_and_time_is_noticed_by_the_sum_alone(version: Path) -> None:
    put_back(version / "users.npy", "what is in USERS.npy")
    checked_sums(version)
    with pytest.raises(RunError, match=r"users\.npy is not what was written"):
        checked_sums(version, whole=True)


def test_a_file_that_was_only_written_again_is_read_and_is_good(
    version: Path, hashed: list[str]
) -> None:
    before = of_own(version)
    os.utime(version / "users.npy", ns=(1, 1))
    sums = checked_sums(version)
    assert {name: sums[name] for name in NAMES} == before
    assert hashed == ["users.npy"]


def test_a_copied_folder_is_read_whole_and_is_good(
    version: Path, tmp_path: Path, hashed: list[str]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(version, copy, copy_function=shutil.copy)  # as of the time of copying
    for path in copy.rglob("*"):
        os.utime(path, ns=(1, 1))
    assert checked_sums(copy) == checked_sums(version)
    assert sorted(hashed) == sorted([*NAMES, "index.json"])
    (copy / "users.npy").write_text("what is in USERS.npy")
    with pytest.raises(RunError, match=r"users\.npy is not what was written"):
        checked_sums(copy)


def test_sums_without_size_and_time_are_looked_at_whole(version: Path, hashed: list[str]) -> None:
    entries = json.loads((version / MANIFEST).read_text())
    sums = {name: {"sha256": entry["sha256"]} for name, entry in entries.items()}
    (version / MANIFEST).write_text(json.dumps(sums))
    checked_sums(version)
    assert len(hashed) == len(sums)


def test_missing_files_are_named_with_the_remedy(version: Path) -> None:
    (version / INDEX_CARD).unlink()
    with pytest.raises(RunError, match=r"index\.json is missing; build the index again with rec"):
        checked_sums(version)
    (version / "users.npy").unlink()
    with pytest.raises(RunError, match=r"users\.npy is missing; train again"):
        checked_sums(version)


def test_what_builds_the_index_can_do_without_its_card(version: Path) -> None:
    (version / INDEX_CARD).write_text("another index")
    with pytest.raises(RunError, match=r"index\.json is not what was written.*rec build-index"):
        checked_sums(version)
    assert checked_sums(version, index=False, whole=True) == of_own(version)


def test_the_card_of_an_index_is_sealed_with_the_rest(version: Path) -> None:
    (version / INDEX_CARD).write_text("another index")
    write_sums(version, of_own(version))
    assert checked_sums(version)[INDEX_CARD] == sha256(version / INDEX_CARD)
    (version / INDEX_CARD).unlink()
    write_sums(version, of_own(version))
    assert checked_sums(version) == of_own(version)


@pytest.mark.parametrize(
    "name", ["../secret.npy", "/etc/hostname", "index/../x.npy", "a/b.npy", "index/x.json", ""]
)
def test_a_manifest_names_nothing_but_files_of_the_version(version: Path, name: str) -> None:
    entries = json.loads((version / MANIFEST).read_text())
    (version / MANIFEST).write_text(json.dumps(entries | {name: entries["users.npy"]}))
    with pytest.raises(RunError, match="no file of a run"):
        checked_sums(version)


def test_no_file_and_no_folder_of_a_version_is_a_link(version: Path, tmp_path: Path) -> None:
    (version / "users.npy").rename(tmp_path / "users.npy")
    (version / "users.npy").symlink_to(tmp_path / "users.npy")
    with pytest.raises(RunError, match=r"'users\.npy', no file of a run"):
        checked_sums(version)
    (version / "users.npy").unlink()
    (tmp_path / "users.npy").rename(version / "users.npy")
    (version / "index").rename(tmp_path / "index")
    (version / "index").symlink_to(tmp_path / "index")
    with pytest.raises(RunError, match=r"'index/index\.json', no file of a run"):
        checked_sums(version)


@pytest.mark.parametrize(
    "text",
    ["{", "[]", "[1]", '"x"', "\0", "null", '{"users.npy": "0"}', '{"users.npy": {}}', "[" * 10**5],
)
def test_a_broken_manifest_is_named_on_one_line(version: Path, text: str) -> None:
    (version / MANIFEST).write_text(text)
    if text == "[]":  # reads as a manifest of nothing
        assert checked_sums(version) == {}
        return
    # Sums alone are what the format before had; then the config says what to do, and here is none.
    named = "config" if text == '{"users.npy": "0"}' else "MANIFEST"
    with pytest.raises(RunError, match=rf"{named}\.json cannot be read") as refused:
        checked_sums(version)
    assert "\n" not in str(refused.value)


def test_a_model_is_its_files_in_whatever_order(version: Path) -> None:
    sums = of_own(version)
    assert model_of(sums) == model_of(dict(reversed(sums.items())))
    assert model_of(sums) != model_of(sums | {"users.npy": "0" * 64})
    assert model_of(sums) != model_of({name: sums[name] for name in NAMES[:2]})


def test_a_run_is_opened_unread_and_its_copy_is_read_once(
    run: Path, tmp_path: Path, hashed: list[str]
) -> None:
    open_run(run)
    assert hashed == []
    shutil.copytree(run, tmp_path / "copy", copy_function=shutil.copyfile)
    for path in current(tmp_path / "copy").rglob("*"):
        os.utime(path, ns=(1, 1))
    copied = open_run(tmp_path / "copy")
    assert len(hashed) == len(set(hashed)) == len(copied.sums) + 1
    assert copied.model == open_run(run).model
    assert open_index(copied).ids.tolist() == open_index(open_run(run)).ids.tolist()
