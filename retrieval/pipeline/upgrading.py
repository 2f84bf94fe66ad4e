"""Runs of the format before this one, written anew as a version of this one.

In the format before, the user tower of the sequence pair read histories whole, each time anew. What
a run says of users as stored stays the same. Histories longer than the tower reads now begin where
`recent_windows` says.
"""

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from index.arrays import load_array
from index.store import load_index
from retrieval.data.catalogue import read_catalogue
from retrieval.errors import RunError
from retrieval.pairs.sequence.files import NAME, TOWER_FILE
from retrieval.pairs.sequence.pair import SavedSequence
from retrieval.run.checks import check_histories, check_users
from retrieval.run.config import CONFIG_FILE, FORMAT, PREVIOUS_FORMAT, RunConfig
from retrieval.run.folder import (
    ADDED,
    MOVIES,
    TRAINED_USERS,
    USER_CODES,
    USERS,
    facts_of,
    mapped_histories,
    open_version,
    write_index,
)
from retrieval.run.manifest import INDEX, checked_sums, model_of, seal
from retrieval.run.shelves import REMOVED, write_ids
from retrieval.run.versions import current, writing
from retrieval.storage.damage import readable
from retrieval.storage.files import link_or_copy


def upgrade(folder: Path) -> bool:
    """Write a run of the format before as a version of this one, with its index.

    Args:
        folder: Folder of the run.

    Returns:
        Whether there was anything to do.

    Raises:
        RunError: The run is missing, damaged, of an older format, or somebody else is writing it.
    """
    current(folder)  # before anything is written beside what is no run
    with writing(folder) as writer:
        version = current(folder)
        with readable(version / CONFIG_FILE):
            config = json.loads((version / CONFIG_FILE).read_text(encoding="utf-8"))
            found = config["version"]
        if found == FORMAT:
            return False
        if found != PREVIOUS_FORMAT:
            raise RunError(f"{folder} is of format {str(found)[:40]}; train again")
        sums = checked_sums(version, index=False, whole=True)
        with writer.new_version() as partial, readable(version):
            _write(version, partial, folder, sums, config)
            _carry_index(version, partial, sums)
    return True


def _write(
    version: Path, partial: Path, home: Path, sums: dict[str, str], before: dict[str, Any]
) -> None:
    """Write everything but the index, and seal it."""
    settled = before | {"version": FORMAT}
    try:
        config = TypeAdapter(RunConfig).validate_python(settled)
    except ValidationError as error:
        raise RunError(f"{version / CONFIG_FILE}: {error.errors()[0]['msg']}") from error
    for name in sums.keys() - {CONFIG_FILE, TOWER_FILE}:
        link_or_copy(version / name, partial / name)
    write_ids(partial / REMOVED, [])
    (partial / CONFIG_FILE).write_text(json.dumps(settled, indent=2) + "\n")
    catalogue = read_catalogue(partial / MOVIES, len(load_array(partial / ADDED)))
    histories, users = mapped_histories(partial), len(load_array(partial / USERS))
    check_histories(histories, users, len(catalogue) - catalogue.added, config.scale)
    codes, trained = (load_array(partial / name) for name in (USER_CODES, TRAINED_USERS))
    check_users(codes, trained, users, config.user_attributes.sizes)
    for part in config.parts:
        if part.name == NAME:
            facts = facts_of(config, part, catalogue, histories)
            SavedSequence(partial, facts).write_layers(partial)
    seal(partial)
    open_version(partial, home)  # which looks through all of it


def _carry_index(version: Path, partial: Path, sums: dict[str, str]) -> None:
    """Take the index over, if there is one of this run."""
    try:
        index = load_index(version / INDEX, model_of(sums), mapped=False)
    except (ValueError, OSError):
        return
    write_index(partial, index, checked_sums(partial, index=False))
