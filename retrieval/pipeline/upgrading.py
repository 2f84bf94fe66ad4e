"""Runs of the format before this one, written anew as a version of this one.

In the format before, the ONNX file of a user tower held its embeddings too. What a run answers
stays the same, except for histories that hold movies added after training, which said nothing then.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from index.arrays import load_array
from index.store import load_index
from retrieval.data.attributes import AttributeColumns
from retrieval.data.catalogue import Catalogue, read_catalogue
from retrieval.data.changes import write_changes
from retrieval.errors import RunError
from retrieval.pairs.content import load_content
from retrieval.pairs.neural import files as neural
from retrieval.pairs.neural.new_movies import new_event_rows
from retrieval.pairs.neural.pair import SavedNeural
from retrieval.pairs.notebook import tower as notebook
from retrieval.pairs.notebook.pair import SavedNotebook
from retrieval.pairs.sequence import files as sequence
from retrieval.pairs.sequence.new_movies import new_movie_rows
from retrieval.pairs.sequence.pair import SavedSequence
from retrieval.pipeline.indexing import added_movies
from retrieval.run.checks import check_histories
from retrieval.run.config import CONFIG_FILE, FORMAT, PREVIOUS_FORMAT, RunConfig
from retrieval.run.folder import (
    ADDED,
    ATTRIBUTES,
    CHANGED,
    CONTENT,
    MOVIES,
    USERS,
    facts_of,
    mapped_histories,
    open_version,
    write_index,
)
from retrieval.run.manifest import INDEX, checked_sums, model_of, seal
from retrieval.run.versions import current, writing
from retrieval.storage.arrays import append_rows
from retrieval.storage.damage import readable
from retrieval.storage.files import link_or_copy

# What the names of the files end with that hold user towers.
TOWER = ".onnx"

# The pairs that have such a file, by name.
WITH_TOWERS: Mapping[str, type[SavedNeural | SavedNotebook | SavedSequence]] = {
    neural.NAME: SavedNeural,
    notebook.NAME: SavedNotebook,
    sequence.NAME: SavedSequence,
}


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
    towers = {name for name in sums if name.endswith(TOWER)}
    for name in sums.keys() - {CONFIG_FILE, *towers}:
        link_or_copy(version / name, partial / name)
    write_changes(partial / CHANGED, [])
    (partial / CONFIG_FILE).write_text(json.dumps(settled, indent=2) + "\n")
    catalogue = read_catalogue(partial / MOVIES, len(load_array(partial / ADDED)))
    histories, users = mapped_histories(partial), len(load_array(partial / USERS))
    check_histories(histories, users, len(catalogue) - catalogue.added, config.scale)
    for part in config.parts:
        if part.name in WITH_TOWERS:
            facts = facts_of(config, part, catalogue, histories)
            WITH_TOWERS[part.name](partial, facts).write_tower(partial)
    if catalogue.added:
        _add_rows(partial, config, catalogue)
    seal(partial)
    open_version(partial, home)  # which looks through all of it


def _add_rows(version: Path, config: RunConfig, catalogue: Catalogue) -> None:
    """Write embeddings of movies that were added."""
    attributes = AttributeColumns.load(version, ATTRIBUTES, len(catalogue))
    content = load_content(version / CONTENT).describe(added_movies(catalogue, attributes))
    names = config.layout.names
    if neural.NAME in names:
        append_rows(version / neural.FILES.events, new_event_rows(version, content))
    if sequence.NAME in names:
        append_rows(version / sequence.MOVIES_FILE, new_movie_rows(version, content))


def _carry_index(version: Path, partial: Path, sums: dict[str, str]) -> None:
    """Take the index over, if there is one of this run."""
    try:
        index = load_index(version / INDEX, model_of(sums), mapped=False)
    except (ValueError, OSError):
        return
    write_index(partial, index, checked_sums(partial, index=False))
