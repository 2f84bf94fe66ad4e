"""The manifest of a version: what its files are, so that a change is noticed.

A file that is as large as it was written, and was not written since, is taken for what it was. One
of another time, as in a copy of a run, is read and must have the sha256 that the manifest holds if
it is small; of a large one the size is enough, so that a run of any size is opened at once. All are
read where everything is asked for: `rec runs verify` does.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from index.store import CARD_FILE
from retrieval.errors import RunError
from retrieval.run.config import read_config
from retrieval.run.versions import MANIFEST
from retrieval.storage.damage import AGAIN, readable
from retrieval.storage.files import sha256

INDEX = "index"

# Of the manifest beside the run's own files; it holds the sums of what it stands for.
INDEX_CARD = f"{INDEX}/{CARD_FILE}"

# Files of up to so many bytes are read at opening where their time is another.
SMALL = 2**20

# What a manifest may name: files of the run, and nothing outside of it.
LISTED = re.compile(rf"[A-Za-z0-9_]+\.[a-z]+|{re.escape(INDEX_CARD)}")


class Stamp(NamedTuple):
    """What tells without reading a file that it is as it was written."""

    size: int | None  # bytes; None where a manifest does not say
    written: int | None  # nanoseconds since 1970; None likewise


def seal(folder: Path) -> dict[str, str]:
    """Write the sha256 of every file of a version into its manifest, and return them.

    The files of its index are not among them: the index has a card that vouches for them.

    Raises:
        ValueError: A file has a name that no manifest may hold.
    """
    files = [path for path in folder.iterdir() if path.is_file() and path.name != MANIFEST]
    for path in files:
        if LISTED.fullmatch(path.name) is None:
            raise ValueError(f"{path.name} cannot be a file of a run: use letters, digits, _ and .")
    sums = {path.name: sha256(path) for path in sorted(files)}
    write_sums(folder, sums)
    return sums


def write_sums(folder: Path, sums: Mapping[str, str]) -> None:
    """Write the manifest of a version: sums of its own files, and of the card of its index."""
    whole = dict(sums)
    if (folder / INDEX_CARD).is_file():
        whole[INDEX_CARD] = sha256(folder / INDEX_CARD)
    entries = {
        name: {"sha256": total, **_stamp(folder / name)._asdict()} for name, total in whole.items()
    }
    (folder / MANIFEST).write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")


def checked_sums(version: Path, *, index: bool = True, whole: bool = False) -> dict[str, str]:
    """Return the sha256 of each file of a version by its name.

    Args:
        version: Folder of the version.
        index: Whether the card of the index belongs to it; what builds the index can do without.
        whole: Whether every file is read, be it large, or as old as it was written.

    Raises:
        RunError: A file is missing, truncated or changed.
    """
    with readable(version / MANIFEST):
        entries = dict(json.loads((version / MANIFEST).read_text(encoding="utf-8")))
    if entries and all(isinstance(entry, str) for entry in entries.values()):
        read_config(version)  # which says what to do with a run of an older format
    with readable(version / MANIFEST):
        sums = {name: str(entry["sha256"]) for name, entry in entries.items()}
        stamps = {
            name: Stamp(entry.get("size"), entry.get("written")) for name, entry in entries.items()
        }
    if not index:
        sums.pop(INDEX_CARD, None)
    for name, expected in sums.items():
        path = version / name
        again = "build the index again with rec build-index" if name == INDEX_CARD else AGAIN
        if LISTED.fullmatch(name) is None or path.is_symlink() or path.parent.is_symlink():
            raise RunError(f"{version / MANIFEST} lists {name[:80]!r}, no file of a run; {AGAIN}")
        if not path.is_file():
            raise RunError(f"{path} is missing; {again}")
        with readable(path):
            size, written = path.stat().st_size, stamps[name]
        if written.size is not None and size != written.size:
            raise RunError(
                f"{path} is not what was written: it has {size:,} bytes instead of "
                f"{written.size:,}; {again}"
            )
        with readable(path):
            large = written.size is not None and size > SMALL
            if not whole and (large or _stamp(path) == written):
                continue
            total = sha256(path)
        if total != expected:
            raise RunError(f"{path} is not what was written: its sha256 differs; {again}")
    return sums


def model_of(sums: Mapping[str, str]) -> str:
    """Return a sha256 of the files that an index is built from, by their own."""
    return hashlib.sha256(json.dumps(sums, sort_keys=True).encode()).hexdigest()


def _stamp(path: Path) -> Stamp:
    facts = path.stat()
    return Stamp(facts.st_size, facts.st_mtime_ns)
