"""The runs under a folder, and what each is."""

import json
import stat
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from index.store import read_card
from retrieval.errors import shown
from retrieval.run.config import CONFIG_FILE, FORMAT, PREVIOUS_FORMAT
from retrieval.run.folder import METRICS
from retrieval.run.manifest import INDEX
from retrieval.run.versions import CHECKPOINT, CURRENT, MANIFEST, NAME, REQUEST, is_held

WHOLE = "whole"
UNFINISHED = "unfinished"


@dataclass(frozen=True, kw_only=True)
class ListedRun:
    """A run, or a training that was interrupted before there was one."""

    folder: Path
    created: datetime | None  # when it was trained, or last kept a checkpoint; None: nobody knows
    data: str | None
    preset: str | None
    pairs: tuple[str, ...]
    rmse: float | None  # in validation
    ndcg: float | None  # likewise, of last events
    size: int  # bytes on disk
    is_run: bool  # whether there is a run, be it damaged, and no other program's folder
    versions: int
    state: str  # `WHOLE`, or what is the matter
    checkpoint: int | None  # bytes that an unfinished training goes on from, if there are any
    checkpoint_written: datetime | None
    held: bool  # somebody is writing it
    linked: bool  # the name is a symbolic link to a folder elsewhere

    @property
    def whole(self) -> bool:
        """Whether it can answer."""
        return self.state == WHOLE


def list_runs(root: Path) -> list[ListedRun]:
    """Return the runs and unfinished trainings under a folder, the newest first.

    Files are looked at, not read whole: a run whose files are all there, and whose index is of the
    run's format, is taken for whole.
    """
    folders = {path.parent for path in root.glob(f"[!.]*/{CURRENT}")}
    folders |= {path.parent.parent for path in root.glob(f"[!.]*/{CHECKPOINT}/{REQUEST}")}
    found = []
    for folder in folders:
        with suppress(OSError):  # it was removed in between
            found.append(listed_run(folder))
    found = [run for run in found if run.is_run or run.checkpoint is not None]
    oldest = datetime.min.replace(tzinfo=UTC)
    return sorted(found, key=lambda run: (run.created or oldest, run.folder.name), reverse=True)


def listed_run(folder: Path) -> ListedRun:
    """Return what a folder holds.

    Raises:
        OSError: It was removed in between.
    """
    version, state = _version(folder)
    config = _json(version / CONFIG_FILE) if version else {}
    metrics = _json(version / METRICS) if version else {}
    checkpoint, asked = folder / CHECKPOINT, _json(folder / CHECKPOINT / REQUEST)
    if version:
        state = state or version_state(version)
    versions = sum(NAME.fullmatch(path.name) is not None for path in folder.iterdir())
    left = _seconds(checkpoint) if (checkpoint / REQUEST).is_file() else None
    return ListedRun(
        folder=folder,
        created=_time(config.get("created")) if version else left,
        data=_text(config.get("data", asked.get("data"))),
        preset=_text(config.get("preset", asked.get("preset"))),
        pairs=_pairs(config.get("parts", config.get("towers", asked.get("settings")))),
        rmse=_number(metrics.get("validation_rmse")),
        ndcg=_number(metrics.get("validation_ndcg")),
        size=_size(folder),
        is_run=version is not None or versions > 0,
        versions=versions,
        state=state,
        checkpoint=None if left is None else _size(checkpoint),
        checkpoint_written=left,
        held=is_held(folder),
        linked=folder.is_symlink(),
    )


def _version(folder: Path) -> tuple[Path | None, str]:
    """Return the version that answers, if there is a run, and what is the matter with its name."""
    try:
        name = (folder / CURRENT).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None, UNFINISHED
    except (OSError, UnicodeDecodeError) as error:
        return None, f"damaged: {CURRENT} cannot be read ({shown(error)})"
    if NAME.fullmatch(name) is None:
        return None, f"damaged: {CURRENT} names no version"
    missing = "" if (folder / name).is_dir() else f"damaged: {name} is missing"
    return folder / name, missing


def version_state(version: Path) -> str:
    """Return whether a version is whole, or what is the matter with it."""
    config = _json(version / CONFIG_FILE)
    if not config:
        return f"damaged: {CONFIG_FILE} cannot be read"
    if config.get("version") != FORMAT:
        previous = config.get("version") == PREVIOUS_FORMAT
        remedy = "rec runs upgrade" if previous else "train again"
        return f"of format {shown(config.get('version'))}: {remedy}"
    for name in _json(version / MANIFEST) or [MANIFEST]:
        if not (version / name).is_file():
            return f"damaged: {shown(name)} is missing"
    try:
        read_card(version / INDEX)
    except ValueError:
        return "without an index: rec build-index"
    return WHOLE


def _size(folder: Path) -> int:
    """Return the bytes of all files in a folder; what links point to does not count."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):  # it was removed in between
            facts = path.lstat()
            total += facts.st_size if stat.S_ISREG(facts.st_mode) else 0
    return total


def _seconds(folder: Path) -> datetime:
    """Return when something in a folder was last written."""
    times = [folder.stat().st_mtime]
    for path in folder.rglob("*"):
        with suppress(OSError):
            times.append(path.lstat().st_mtime)
    return datetime.fromtimestamp(int(max(times)), UTC)


def _json(path: Path) -> dict[str, object]:
    """Return the object in a file; an empty one for what is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _time(value: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _pairs(parts: object) -> tuple[str, ...]:
    """Return the names of pairs, from parts of vectors, names or settings."""
    if not isinstance(parts, (list, dict)):
        return ()
    return tuple(str(part.get("name") if isinstance(part, dict) else part) for part in parts)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None
