"""Which runs are old, which checkpoints nothing goes on from, and how they are removed."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from retrieval.errors import RunError, shown
from retrieval.run.listing import ListedRun, listed_run
from retrieval.run.versions import CHECKPOINT, CURRENT, KEPT, LOCK, NAME, RETRAINING, writing
from retrieval.storage.files import remove


class Removal(NamedTuple):
    """What can go."""

    run: ListedRun
    checkpoint: bool  # only the checkpoint, not the run

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return (self.run.checkpoint or 0) if self.checkpoint else self.run.size

    def __str__(self) -> str:
        """Return what it is, in words."""
        run = self.run
        made = run.checkpoint_written if self.checkpoint or not run.is_run else run.created
        what = "the checkpoint in" if self.checkpoint else "the run"
        if not run.is_run:
            what = "the unfinished training"
        of = f" of {shown(run.data)}" if run.data else ""
        at = f", {made:%Y-%m-%d %H:%M}" if made else ""
        return f"{what} {shown(run.folder)}{of}{at}, {megabytes(self.size)}"


def removable(runs: Sequence[ListedRun], keep: int) -> list[Removal]:
    """Return what can go: runs older than the newest whole ones, and orphaned checkpoints.

    A checkpoint is orphaned where a whole run was trained after it was last written. What somebody
    is writing, what lies elsewhere behind a symbolic link, and runs without a date stay.

    Args:
        runs: Runs as they are listed.
        keep: Number of the newest whole runs that stay, 1 at least.
    """
    whole = [run for run in runs if run.whole and run.created is not None]
    if not whole:
        return []
    newest = whole[0].created
    oldest_kept = whole[keep - 1].created if len(whole) >= keep else None
    found = []
    for run in runs:
        if run.held or run.linked:
            continue
        old = run in whole[keep:] if run.whole else _before(run.created, oldest_kept)
        if run.is_run and old:
            found.append(Removal(run, checkpoint=False))
        elif _before(run.checkpoint_written, newest):
            found.append(Removal(run, checkpoint=run.is_run))
    return found


def remove_run(removal: Removal) -> None:
    """Remove a run or a checkpoint; files of others in the folder stay, and then the folder too.

    Raises:
        RunError: Somebody is writing it, or it has become something else since it was listed.
    """
    folder = removal.run.folder
    with writing(folder):
        there = listed_run(folder)
        same = there.created == removal.run.created and there.versions == removal.run.versions
        if not same or there.checkpoint_written != removal.run.checkpoint_written:
            raise RunError(f"{folder} has changed since it was listed, and is left as it is")
        if removal.checkpoint:
            remove(folder / CHECKPOINT)
            return
        for path in _files(folder):
            remove(path)
        with suppress(OSError):  # something of somebody else's is in it
            folder.rmdir()


def megabytes(size: int) -> str:
    """Return bytes in words."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _files(folder: Path) -> list[Path]:
    """Return what is a run's in a folder, the pointer first and the lock last."""
    versions = [
        path.name
        for path in folder.iterdir()
        if NAME.fullmatch(path.name.removeprefix(".").removesuffix(".partial"))
    ]
    return [folder / name for name in (CURRENT, KEPT, *versions, CHECKPOINT, RETRAINING, LOCK)]


def _before(one: datetime | None, other: datetime | None) -> bool:
    return one is not None and other is not None and one < other
