"""How far into a log a training went: events up to there are in the run itself."""

import json
from pathlib import Path
from typing import NamedTuple

from pydantic import TypeAdapter

from retrieval.run.folder import LOG_MARK
from retrieval.storage.damage import readable


class Mark(NamedTuple):
    """A place in a log."""

    log: str  # identity of the log
    until: int  # the last entry that was read


def read_mark(folder: Path) -> Mark | None:
    """Read the mark of a version or of a data folder; None where there is none.

    Raises:
        RunError: The file is damaged.
    """
    path = folder / LOG_MARK
    if not path.exists():
        return None
    with readable(path):
        return TypeAdapter(Mark).validate_json(path.read_bytes())


def learned_until(version: Path, log: str) -> int:
    """Return how far into a log the training of a version went; 0 for another log, or none.

    Args:
        version: Folder of the version.
        log: Identity of the log.

    Raises:
        RunError: The mark is damaged.
    """
    mark = read_mark(version)
    return 0 if mark is None or mark.log != log else mark.until


def write_mark(folder: Path, mark: Mark) -> None:
    """Write a mark into an existing folder."""
    (folder / LOG_MARK).write_text(json.dumps(mark._asdict()) + "\n", encoding="utf-8")
