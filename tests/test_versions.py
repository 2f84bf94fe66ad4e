import errno
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from retrieval.errors import RunError
from retrieval.run.promotion import or_as_before
from retrieval.run.versions import (
    CHECKPOINT,
    CURRENT,
    KEPT,
    LOCK,
    MANIFEST,
    check_target,
    current,
    kept,
    newest,
    read,
    unfinished,
    writing,
)

FILES = tuple(f"file-{number}" for number in range(5))


def write(folder: Path, text: str) -> None:
    """Write a version whose files all hold the same."""
    with writing(folder) as writer, writer.new_version() as partial:
        for name in FILES:
            (partial / name).write_text(text)


def found(version: Path) -> str:
    """Return what a version holds, if it is whole and of one piece."""
    texts = set()
    for name in FILES:
        try:
            texts.add((version / name).read_text())
        except OSError as error:
            raise RunError(str(error)) from error
    assert len(texts) == 1, "a mixture of versions"
    return texts.pop()


def test_a_new_version_takes_the_place_of_the_old_one_only_when_whole(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    write(folder, "old")
    with pytest.raises(KeyboardInterrupt):
        _interrupted_in_a_version(folder)
    assert read(folder, found) == "old"
    write(folder, "new")
    assert read(folder, found) == "new"
    assert {path.name for path in folder.iterdir()} == {CURRENT, LOCK, current(folder).name}


def _interrupted_in_a_version(folder: Path) -> None:
    with writing(folder) as writer, writer.new_version() as partial:
        (partial / FILES[0]).write_text("new")
        raise KeyboardInterrupt


def _interrupted_in_training(folder: Path, request: dict[str, object]) -> None:
    with writing(folder) as writer:
        writer.note(request)
        raise KeyboardInterrupt


class Killed(BaseException):
    """The process ends here; nothing is tidied up."""


def kill_at(step: int, monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Let the process end before its so many-th operation on the file system, and tidy nothing.

    Returns:
        The files that are open, which go with a process.
    """
    left, opened = step, set[int]()

    def dying(operation: Callable[..., object]) -> Callable[..., object]:
        def run(*given: object, **named: object) -> object:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed
            result = operation(*given, **named)
            if isinstance(result, int):
                opened.add(result)
            return result

        return run

    for name in ("open", "mkdir", "rename", "replace", "unlink", "rmdir", "fsync"):
        monkeypatch.setattr(os, name, dying(getattr(os, name)))
    close = os.close

    def closing(file: int) -> None:
        opened.discard(file)
        close(file)

    monkeypatch.setattr(os, "close", closing)
    return opened


def test_killed_anywhere_a_writer_leaves_a_whole_version_and_the_next_one_tidies_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    survived = set()
    for step in range(200):
        folder = tmp_path / str(step)
        write(folder, "old")
        with monkeypatch.context() as patch:
            opened = kill_at(step, patch)
            try:
                write(folder, "new")
            except Killed:
                died = True
            else:
                died = False
        for file in opened:
            os.close(file)
        survived.add(read(folder, found))
        write(folder, "third")
        assert read(folder, found) == "third"
        assert {path.name for path in folder.iterdir()} == {CURRENT, LOCK, current(folder).name}
        if not died:
            break
    assert step > 10
    assert survived == {"old", "new"}


def test_readers_beside_a_fast_writer_find_one_whole_version(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    write(folder, "0")
    stop, seen, failures = threading.Event(), set(), []

    def reading() -> None:
        while not stop.is_set():
            try:
                seen.add(read(folder, found))
            except (RunError, AssertionError, OSError) as error:
                failures.append(error)

    readers = [threading.Thread(target=reading) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(1, 60):
        write(folder, str(number))
    stop.set()
    for reader in readers:
        reader.join()
    assert failures == []
    assert len(seen) > 5


def test_a_second_writer_is_refused_before_its_work(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with writing(folder), pytest.raises(RunError, match="is being written by another process"):
        write(folder, "second")
    assert not folder.exists()  # as nothing was kept in it
    write(folder, "after")
    assert read(folder, found) == "after"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("thesis.txt", "ten years of work"),
        (CURRENT, "MANIFEST-000001\n"),  # a database
        (MANIFEST, '{"name": "a web page", "icons": []}'),
        (MANIFEST, '{"config.json": "of another program", "model.bin": ""}'),
        (MANIFEST, "not even JSON"),
        (MANIFEST, "[" * 100_000),
        ("v1", "of something else"),
        (CHECKPOINT, "no folder"),
    ],
)
def test_a_folder_that_holds_no_run_is_left_as_it_is(tmp_path: Path, name: str, text: str) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / name).write_text(text)
    for _ in range(2):
        with pytest.raises(RunError, match=f"holds '{name}' and no run, and is left as it is"):
            write(folder, "new")
    assert [path.name for path in folder.iterdir()] == [name]
    assert (folder / name).read_text() == text


def test_checkpoints_of_another_program_are_left_as_they_are(tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT).mkdir()
    write(tmp_path, "into a folder where one was killed early")
    shutil.rmtree(tmp_path)
    other = tmp_path / CHECKPOINT / "epoch-90.ckpt"
    other.parent.mkdir(parents=True)
    other.write_text("a week of work")
    with pytest.raises(RunError, match=f"holds '{CHECKPOINT}' and no run, and is left as it is"):
        write(tmp_path, "new")
    assert other.read_text() == "a week of work"


def test_a_file_is_no_folder_for_a_run(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("kept")
    with pytest.raises(RunError, match="is no folder; name a new one"):
        write(tmp_path / "run", "new")
    with pytest.raises(RunError, match="is no folder; name a new one"):
        write(Path(os.devnull), "new")
    assert (tmp_path / "run").read_text() == "kept"


def test_files_of_others_beside_a_run_stay(tmp_path: Path) -> None:
    write(tmp_path, "old")
    (tmp_path / "notes.txt").write_text("kept")
    write(tmp_path, "new")
    assert (tmp_path / "notes.txt").read_text() == "kept"
    assert read(tmp_path, found) == "new"


def test_a_version_is_no_folder_for_a_run(tmp_path: Path) -> None:
    write(tmp_path, "old")
    with pytest.raises(RunError, match="is a version of a run; name the run"):
        check_target(current(tmp_path))


def test_links_and_dots_name_runs_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "link").symlink_to("far")
    for number, folder in enumerate((tmp_path / "link", Path(), Path("./"))):
        monkeypatch.chdir(tmp_path / "far")
        for text in (f"{number} first", f"{number} second"):
            write(folder, text)
            assert read(folder, found) == read(tmp_path / "far", found) == text
    assert (tmp_path / "link").is_symlink()


def test_a_pointer_leads_nowhere_else(tmp_path: Path) -> None:
    write(tmp_path / "run", "old")
    write(tmp_path / "other", "other")
    for name in (f"../other/{current(tmp_path / 'other').name}", "/etc", "", "v1", "\xff"):
        (tmp_path / "run" / CURRENT).write_bytes(name.encode("latin-1"))
        with pytest.raises(RunError, match=r"names no version|cannot be read"):
            current(tmp_path / "run")


def test_where_nothing_can_be_written_is_said_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"no run can be written into .*Not a directory"):
        write(tmp_path / "file" / "run", "new")

    def read_only(*_: object) -> int:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "open", read_only)
    with pytest.raises(RunError, match=r"no run can be written into .*Read-only file system"):
        write(tmp_path / "run", "new")


def test_the_newest_is_the_one_made_last_that_can_answer(tmp_path: Path) -> None:
    times = {"a": "2001", "b": "2003", "c": "2002", "without": ""}
    for name, time in times.items():
        write(tmp_path / name, time)
    assert newest(tmp_path, found) == tmp_path / "b"
    shutil.rmtree(current(tmp_path / "b"))  # half removed by hand
    write(tmp_path / "a", "2001")  # written last, made first
    assert newest(tmp_path, found) == tmp_path / "c"
    with pytest.raises(RunError, match="no run under"):
        newest(tmp_path / "nothing", found)


def test_an_interrupted_training_is_found_again_by_what_was_asked_for(tmp_path: Path) -> None:
    asked: dict[str, object] = {"data": "ml-1m", "seed": 1, "towers": []}
    for name, request in (("1", asked), ("2", asked | {"seed": 2}), ("3", asked)):
        with pytest.raises(KeyboardInterrupt):
            _interrupted_in_training(tmp_path / name, request)
    assert unfinished(tmp_path, asked) == tmp_path / "3"
    with writing(tmp_path / "3"):  # somebody else goes on with it
        assert unfinished(tmp_path, asked) == tmp_path / "1"
    write(tmp_path / "3", "done")
    assert unfinished(tmp_path, asked) == tmp_path / "1"
    (tmp_path / "1" / CHECKPOINT / "training.json").write_text("{")
    assert unfinished(tmp_path, asked) is None
    check_target(tmp_path / "1")
    with pytest.raises(RunError, match="its training has not ended; the same rec train goes on"):
        current(tmp_path / "1")


def keep(folder: Path, text: str, count: int) -> str:
    """Write a version whose run keeps so many that answered before; return its name."""
    with writing(folder) as writer, writer.new_version(count) as partial:
        for name in FILES:
            (partial / name).write_text(text)
    return current(folder).name


def candidate(folder: Path, text: str) -> str:
    """Write a version that does not answer; return its name."""
    with writing(folder) as writer, writer.new_candidate() as partial:
        for name in FILES:
            (partial / name).write_text(text)
    return kept(folder).others[0]


def there(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.name.startswith("v")}


def test_so_many_versions_that_answered_are_kept_and_smaller_changes_leave_them(
    tmp_path: Path,
) -> None:
    first, second, third = (keep(tmp_path, text, 1) for text in ("1", "2", "3"))
    assert kept(tmp_path) == ((second,), ())
    assert there(tmp_path) == {second, third}
    write(tmp_path, "3 with a movie hidden")  # nobody needs to go back before that
    fourth = current(tmp_path).name
    assert kept(tmp_path) == ((second,), ())
    assert there(tmp_path) == {second, fourth}
    fifth = keep(tmp_path, "5", 5)
    assert kept(tmp_path) == ((fourth, second), ())
    sixth = keep(tmp_path, "6", 0)
    assert there(tmp_path) == {sixth}
    assert len({first, second, third, fourth, fifth, sixth}) == 6


def test_a_candidate_does_not_answer_until_it_is_promoted(tmp_path: Path) -> None:
    first = keep(tmp_path, "first", 3)
    refused = candidate(tmp_path, "refused")
    second = candidate(tmp_path, "second")
    assert there(tmp_path) == {first, second}  # the next candidate takes the place of one
    assert refused not in kept(tmp_path).names
    assert read(tmp_path, found) == "first"
    with writing(tmp_path) as writer:
        writer.promote(second)
    assert read(tmp_path, found) == "second"
    assert kept(tmp_path) == ((first,), ())
    third = candidate(tmp_path, "third")
    with writing(tmp_path) as writer:
        writer.roll_back(first)
    assert read(tmp_path, found) == "first"
    assert kept(tmp_path) == ((), (second, third))
    with writing(tmp_path) as writer:
        writer.promote(third)
        assert kept(tmp_path) == ((first,), (second,))
        writer.promote(first)
        assert kept(tmp_path) == ((third,), (second,))
        writer.drop(third)
    assert there(tmp_path) == {first, second}
    last = keep(tmp_path, "last", 3)
    assert there(tmp_path) == {first, last}


def test_a_promotion_that_fails_leaves_what_was_before(tmp_path: Path) -> None:
    first, second = (keep(tmp_path, text, 3) for text in ("first", "second"))
    third = candidate(tmp_path, "third")
    before = kept(tmp_path)

    def promoted(error: type[Exception] | None = None) -> None:
        with or_as_before(tmp_path):
            with writing(tmp_path) as writer:
                writer.promote(third)
            if error is not None:
                raise error

    for _ in range(2):
        with pytest.raises(MemoryError):
            promoted(MemoryError)
        assert current(tmp_path).name == second
        assert kept(tmp_path) == before == ((first,), (third,))
    promoted()
    assert kept(tmp_path) == ((second, first), ())


def test_a_version_that_is_kept_is_rewritten_in_its_place(tmp_path: Path) -> None:
    first, second = keep(tmp_path, "1", 1), keep(tmp_path, "2", 1)
    with writing(tmp_path) as writer, writer.in_place_of(first) as partial:
        (partial / "rewritten").touch()
    [name] = kept(tmp_path).before
    assert name.partition("-")[0] == first.partition("-")[0]
    assert there(tmp_path) == {name, second}
    assert (tmp_path / name / "rewritten").exists()


def test_killed_anywhere_while_the_pointer_moves_no_version_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for move in ("promote", "roll_back"):
        for step in range(100):
            folder = tmp_path / f"{move} {step}"
            first, second = keep(folder, "1", 2), keep(folder, "2", 2)
            other = candidate(folder, "3")
            try:
                with monkeypatch.context() as patch:
                    opened = kill_at(step, patch)
                    with writing(folder) as writer:
                        getattr(writer, move)(first)
                died = False
            except Killed:
                died = True
                for file in opened:
                    os.close(file)
            with writing(folder) as writer:
                writer.clean()
            assert there(folder) == {first, second, other}
            assert {current(folder).name, *kept(folder).names} == there(folder)
            assert read(folder, found) in {"1", "2"}
            if not died:
                assert current(folder).name == first
                break
        else:
            pytest.fail("it never ends")


def test_what_says_which_versions_are_kept_is_refused_when_damaged(tmp_path: Path) -> None:
    first, second = keep(tmp_path, "1", 1), keep(tmp_path, "2", 1)
    (tmp_path / KEPT).write_text("[" * 9)
    with pytest.raises(RunError, match="does not say which versions are kept; remove it"):
        write(tmp_path, "3")
    assert there(tmp_path) == {first, second}
    assert read(tmp_path, found) == "2"
    (tmp_path / KEPT).unlink()
    write(tmp_path, "3")
    assert len(there(tmp_path)) == 1


def test_readers_follow_the_pointer_back_and_forth(tmp_path: Path) -> None:
    names = [keep(tmp_path, text, 1) for text in ("1", "2")]
    seen, failures, stop = set[str](), list[BaseException](), threading.Event()

    def follow() -> None:
        while not stop.is_set():
            try:
                seen.add(read(tmp_path, found))
            except BaseException as error:
                failures.append(error)
                raise

    reader = threading.Thread(target=follow)
    reader.start()
    for turn in range(60):
        with writing(tmp_path) as writer:
            writer.promote(names[turn % 2])
    stop.set()
    reader.join()
    assert failures == []
    assert seen == {"1", "2"}
