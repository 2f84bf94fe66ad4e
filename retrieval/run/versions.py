"""The folder of a run: whole versions that never change, and a pointer to the one that answers.

    FOLDER/CURRENT        one line, the name of the version that answers
    FOLDER/KEPT           the names of versions beside it that may answer again
    FOLDER/v000003-.../   all its files
    FOLDER/.lock          held by whoever writes
    FOLDER/.checkpoint/   what an interrupted training goes on from
    FOLDER/.retraining/   what an interrupted retraining goes on from

A writer makes a new version beside the old one and moves the pointer, which is one rename: whoever
reads finds the old version whole or the new one, at any moment. The pointer may move back to a
version that is kept, so readers follow its name and compare no numbers. Readers repair and remove
nothing.
"""

import errno
import fcntl
import json
import os
import re
import secrets
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

from pydantic import TypeAdapter, ValidationError

from retrieval.errors import RunError
from retrieval.storage.files import flush, flush_all, new_file, remove

T = TypeVar("T")

CURRENT = "CURRENT"
KEPT = "KEPT"
LOCK = ".lock"
CHECKPOINT = ".checkpoint"
RETRAINING = ".retraining"
REQUEST = "training.json"
MANIFEST = "MANIFEST.json"

# A name that is of this form cannot lead out of the folder.
NAME = re.compile(r"v(\d{6,})-[0-9a-f]{8}")

# Versions that a reader tries to read before it gives up, each removed while it was read.
ATTEMPTS = 100


class Kept(NamedTuple):
    """Names of versions that are kept beside the one that answers."""

    before: tuple[str, ...] = ()  # those that answered before it, the last one first
    others: tuple[str, ...] = ()  # candidates, and versions that were rolled back

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.before, *self.others)

    def only(self, names: Container[str]) -> "Kept":
        """Return those of them that are among some names."""
        return Kept(*(tuple(name for name in part if name in names) for part in self))

    def renamed(self, old: str, new: str) -> "Kept":
        """Return them with another name for one of them."""
        return Kept(*(tuple(new if name == old else name for name in part) for part in self))


def kept(folder: Path) -> Kept:
    """Return the versions of a run that are kept beside the one that answers.

    Raises:
        RunError: The folder holds no run, or the list of what is kept is damaged.
    """
    path = folder / KEPT
    try:
        found = TypeAdapter(Kept).validate_json(path.read_bytes())
    except FileNotFoundError:
        return Kept()
    except (OSError, ValidationError) as error:
        raise RunError(
            f"{path} does not say which versions are kept; remove it to keep none but the one "
            "that answers"
        ) from error
    # A writer that was killed lists the one that answers too, which is not beside itself.
    there = {path.name for path in folder.iterdir() if NAME.fullmatch(path.name) is not None}
    return found.only(there - {current(folder).name})


def current(folder: Path) -> Path:
    """Return the version of a run that answers.

    Raises:
        RunError: The folder holds no run, or one that is not whole.
    """
    try:
        name = (folder / CURRENT).read_text(encoding="ascii").strip()
    except (FileNotFoundError, NotADirectoryError):
        raise RunError(_no_run(folder)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{folder / CURRENT} cannot be read: {error}") from error
    if NAME.fullmatch(name) is None:
        raise RunError(f"{folder / CURRENT} names no version but {name[:40]!r}; train again")
    return folder / name


def name_of(path: Path) -> str:
    """Return the name of the version that a folder is, or becomes when it is whole."""
    return path.name.removeprefix(".").removesuffix(".partial")


def read(folder: Path, reader: Callable[[Path], T]) -> T:
    """Return what `reader` makes of the version that answers.

    A version that is replaced and removed in the midst of it is left for the next one.

    Raises:
        RunError: The folder holds no run, or what the reader raises of one that is still there.
    """
    for _ in range(ATTEMPTS):
        version = current(folder)
        try:
            return reader(version)
        except (RunError, OSError):
            if current(folder) == version:
                raise
    raise RunError(f"{folder} changes faster than it can be read; try again")


def check_target(folder: Path) -> None:
    """Raise a `RunError` if a run cannot be written into a folder: it holds something else."""
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise RunError(f"{folder} is no folder; name a new one with --run FOLDER")
    if NAME.fullmatch(folder.resolve().name) and (folder.resolve().parent / CURRENT).exists():
        raise RunError(f"{folder} is a version of a run; name the run, {folder.resolve().parent}")
    foreign = sorted(path.name for path in folder.iterdir() if not _is_ours(path))
    if foreign and not _holds_run(folder):
        raise RunError(
            f"{folder} holds {foreign[0]!r} and no run, and is left as it is; "
            "name a new folder with --run FOLDER"
        )


def newest(root: Path, made: Callable[[Path], str]) -> Path:
    """Return the run under a folder whose version was made last, by what `made` says of versions.

    Args:
        root: The folder.
        made: Gives a time that sorts as text, or nothing for a version that cannot answer.

    Raises:
        RunError: There is none.
    """
    times = {}
    for marker in root.glob(f"[!.]*/{CURRENT}"):
        try:
            times[marker.parent] = read(marker.parent, made)
        except (RunError, OSError):
            continue  # half removed, or somebody else's
    whole = [folder for folder, time in times.items() if time]
    if not whole:
        raise RunError(
            f"no run under {root}/ that can answer; make one with rec train --data FOLDER"
        )
    return max(whole, key=lambda folder: (times[folder], folder.name))


def unfinished(root: Path, request: dict[str, object]) -> Path | None:
    """Return the folder in which a training of the same request was interrupted, if there is one.

    Args:
        root: Folder of runs.
        request: What `Writer.note` was given.
    """
    for note in sorted(root.glob(f"[!.]*/{CHECKPOINT}/{REQUEST}"), reverse=True):
        folder = note.parent.parent
        try:
            same = json.loads(note.read_text(encoding="utf-8")) == request
        except (OSError, ValueError, RecursionError):
            continue
        ours = os.access(folder, os.W_OK) and not is_held(folder)
        if same and ours and not (folder / CURRENT).exists():
            return folder
    return None


def is_held(folder: Path) -> bool:
    """Return whether somebody is writing a run; nothing is made to find out."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


class Writer:
    """Writes versions of a run, one writer at a time; `writing` makes it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def checkpoint(self) -> Path:
        """Folder where interrupted training is kept."""
        return self.folder / CHECKPOINT

    def note(self, request: dict[str, object]) -> None:
        """Keep what is being trained, for `unfinished`."""
        with new_file(self.checkpoint / REQUEST) as partial:
            partial.write_text(json.dumps(request), encoding="utf-8")

    @contextmanager
    def new_version(self, keep: int | None = None) -> Iterator[Path]:
        """Give a folder to write into, which answers from when the block succeeds.

        Args:
            keep: Number of versions that answered before which are kept, the one that is replaced
                first of all; candidates go. None keeps what was kept, and not the one that is
                replaced.
        """
        self.clean()
        name = self._next_name()
        with self._whole(name) as partial:
            yield partial
        if keep is not None and (self.folder / CURRENT).exists():
            replaced = current(self.folder).name
            self._keep(Kept((replaced, *kept(self.folder).before)[:keep]))
        self._answer_with(name)
        self.clean()

    @contextmanager
    def new_candidate(self) -> Iterator[Path]:
        """Give a folder to write into, which is kept from when the block succeeds.

        It takes the place of the candidate before it, and answers once it is promoted.
        """
        self.clean()
        name = self._next_name()
        with self._whole(name) as partial:
            yield partial
        self._keep(Kept(kept(self.folder).before, (name,)))
        self.clean()

    @contextmanager
    def in_place_of(self, name: str) -> Iterator[Path]:
        """Give a folder to write into, which is kept in place of a version when the block succeeds.

        Its number is that of the version, its name another.
        """
        fresh = f"{name.partition('-')[0]}-{secrets.token_hex(4)}"
        with self._whole(fresh) as partial:
            yield partial
        self._keep(kept(self.folder).renamed(name, fresh))
        self.clean()

    def drop(self, name: str) -> None:
        """Remove a version that is kept."""
        whole = kept(self.folder)
        self._keep(whole.only({*whole.names} - {name}))
        self.clean()

    def promote(self, name: str) -> None:
        """Let a version that is kept answer, and keep the one that answered."""
        whole = kept(self.folder)
        self._keep(Kept((current(self.folder).name, *whole.before), whole.others))
        self._answer_with(name)

    def keep_last(self, count: int) -> None:
        """Remove all versions that answered before but the last ones."""
        whole = kept(self.folder)
        self._keep(Kept(whole.before[:count], whole.others))
        self.clean()

    def roll_back(self, name: str) -> None:
        """Let a version that answered before answer again; the one that answered is kept aside."""
        whole = kept(self.folder)
        self._keep(Kept(whole.before, (current(self.folder).name, *whole.others)))
        self._answer_with(name)

    def go_back(self, name: str, before: Sequence[str]) -> None:
        """Let a version answer again, as if none had been promoted or rolled back since.

        Args:
            name: Version that answered then.
            before: Those that had answered before it, the last one first.
        """
        there = [
            each for each in (current(self.folder).name, *kept(self.folder).names) if each != name
        ]
        answered = tuple(each for each in before if each in there)
        self._keep(Kept(answered, tuple(each for each in there if each not in answered)))
        self._answer_with(name)

    def clean(self) -> None:
        """Remove versions that neither answer nor are kept, and what a killed writer left."""
        used: set[str] = set()
        if (self.folder / CURRENT).exists():
            used = {current(self.folder).name, *kept(self.folder).names}
        for path in self.folder.iterdir():
            if NAME.fullmatch(name_of(path)) and path.name not in used:
                remove(path)

    def _next_name(self) -> str:
        numbers = [0]
        for path in self.folder.iterdir():
            found = NAME.fullmatch(path.name)
            numbers += [] if found is None else [int(found[1])]
        return f"v{max(numbers) + 1:06}-{secrets.token_hex(4)}"

    @contextmanager
    def _whole(self, name: str) -> Iterator[Path]:
        """Give a folder to write into, which has a name when the block succeeds."""
        partial = self.folder / f".{name}.partial"  # see `name_of`
        partial.mkdir()
        try:
            yield partial
            flush_all(partial)
            partial.rename(self.folder / name)
            flush(self.folder)
        finally:
            remove(partial)

    def _answer_with(self, name: str) -> None:
        with new_file(self.folder / CURRENT) as pointer:
            pointer.write_text(name + "\n", encoding="ascii")

    def _keep(self, names: Kept) -> None:
        """Write which versions are kept, before the pointer moves: none is lost in between."""
        if any(names):
            with new_file(self.folder / KEPT) as file:
                file.write_text(json.dumps(names._asdict()) + "\n", encoding="utf-8")
        else:
            (self.folder / KEPT).unlink(missing_ok=True)


@contextmanager
def writing(folder: Path) -> Iterator[Writer]:
    """Let nobody else write a run, and write versions of it.

    A folder that did not exist is made, and removed again if nothing was kept in it.

    Raises:
        RunError: The folder holds something that is no run, somebody else is writing it, or nothing
            can be written there.
    """
    check_target(folder)
    missing = not folder.exists()
    try:
        descriptor = _held(folder)
    except OSError as error:
        raise RunError(
            f"no run can be written into {folder} ({error.strerror}); name another with --run"
        ) from error
    try:
        yield Writer(folder)
    finally:
        if missing:
            _remove_if_unused(folder)
        os.close(descriptor)


def _remove_if_unused(folder: Path) -> None:
    """Remove a folder in which nothing is but the lock."""
    with suppress(OSError):
        if {path.name for path in folder.iterdir()} <= {LOCK}:
            (folder / LOCK).unlink(missing_ok=True)
            folder.rmdir()


def _held(folder: Path) -> int:
    """Return what holds the lock of a run until it is closed; the folder is made."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
        path = folder / LOCK
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(path.stat(), os.fstat(descriptor)):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            raise RunError(
                f"{folder} is being written by another process; wait for it, or name another "
                "folder with --run"
            ) from None
        os.close(descriptor)  # of a lock that was removed in between


def _is_ours(path: Path) -> bool:
    """Return whether something in a folder is what writers put there before there is a run."""
    if path.name == CHECKPOINT:
        names = [part.name for part in path.iterdir()] if path.is_dir() else [path.name]
        return not names or any(name.lstrip(".").startswith(REQUEST) for name in names)
    started = path.name == LOCK or path.name.startswith(f".{CURRENT}.")
    return started or NAME.fullmatch(name_of(path)) is not None


def _holds_run(folder: Path) -> bool:
    """Return whether a folder holds a run, be it damaged; others have a CURRENT of their own."""
    try:
        return NAME.fullmatch((folder / CURRENT).read_text(encoding="ascii").strip()) is not None
    except (OSError, UnicodeDecodeError):
        return False


def _no_run(folder: Path) -> str:
    if not folder.exists():
        return f"there is no run {folder}; make one with rec train --data FOLDER --run {folder}"
    if (folder / CHECKPOINT / REQUEST).is_file():
        return f"{folder} is no run yet: its training has not ended; the same rec train goes on"
    return f"{folder} is not a run; make one with rec train --data FOLDER --run NEW"
