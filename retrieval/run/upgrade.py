"""Runs of the format before this one, written anew as a version of this one.

What a run answers stays the same but for the last digits of single precision. In the format before,
the neural and the notebook pair encoded users anew for each question, also as they are stored.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from index.arrays import load_array
from index.store import load_index
from retrieval.data.catalogue import read_catalogue
from retrieval.errors import RunError
from retrieval.pairs.neural import tower as neural
from retrieval.pairs.neural.inputs import UNKNOWN_USER, UserInputs
from retrieval.pairs.notebook import tower as notebook
from retrieval.pairs.onnx_tower import OnnxTower
from retrieval.pairs.protocol import Vectors, history_length
from retrieval.run.checks import check_histories, check_users
from retrieval.run.config import CONFIG_FILE, FORMAT, PREVIOUS_FORMAT, RunConfig
from retrieval.run.folder import (
    ADDED,
    MOVIES,
    TRAINED_USERS,
    USER_CODES,
    mapped_histories,
    write_index,
)
from retrieval.run.manifest import INDEX, checked_sums, model_of, seal
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
            _write(version, partial, sums, config)
            _carry_index(version, partial, sums)
    return True


def _write(version: Path, partial: Path, sums: dict[str, str], before: dict[str, Any]) -> None:
    """Write everything but the index, and seal it."""
    for name in sums.keys() - {CONFIG_FILE, neural.USERS_FILE, notebook.USERS_FILE}:
        link_or_copy(version / name, partial / name)
    facts = before | {"version": FORMAT}
    try:
        config = TypeAdapter(RunConfig).validate_python(facts)
    except ValidationError as error:
        raise RunError(f"{version / CONFIG_FILE}: {error.errors()[0]['msg']}") from error
    (partial / CONFIG_FILE).write_text(json.dumps(facts, indent=2) + "\n")
    for pair in (neural, notebook):
        if pair.NAME in config.layout.names:
            tower = OnnxTower(partial / pair.TOWER_FILE, UserInputs._fields)
            length = history_length(config.settings[pair.NAME])
            np.save(partial / pair.USERS_FILE, _stored_users(partial, tower, config, length))
    seal(partial)


def _stored_users(version: Path, tower: OnnxTower, config: RunConfig, length: int) -> Vectors:
    """Return what a user tower says of all users as they are stored."""
    codes, trained = (load_array(version / name) for name in (USER_CODES, TRAINED_USERS))
    histories = mapped_histories(version)
    catalogue = read_catalogue(version / MOVIES, len(load_array(version / ADDED)))
    check_users(codes, trained, len(trained), config.user_attributes.sizes)
    movies = len(catalogue) - catalogue.added
    check_histories(histories, len(trained), movies, config.scale)
    id_rows = np.where(trained, np.arange(len(trained)) + 1, UNKNOWN_USER)
    return neural.stored_users(
        tower, id_rows, codes, histories, config.scale, config.centre, length
    )


def _carry_index(version: Path, partial: Path, sums: dict[str, str]) -> None:
    """Take the index over, if there is one of this run."""
    try:
        index = load_index(version / INDEX, model_of(sums), mapped=False)
    except (ValueError, OSError):
        return
    write_index(partial, index, checked_sums(partial, index=False))
