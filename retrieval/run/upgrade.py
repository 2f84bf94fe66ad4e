"""Runs of the format before this one, written anew as a version of this one.

What a run answers stays the same to the last bit. The format before knew one weight of the rating
in a blend, and a sequence pair that does not tell users who come back from those who stay.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError
from safetensors.numpy import load_file

from index.arrays import load_array
from index.store import load_index, save_index
from retrieval.data.history import Histories, moment_after
from retrieval.errors import RunError
from retrieval.pairs.sequence import tower as sequence
from retrieval.run.config import CONFIG_FILE, FORMAT, PREVIOUS_FORMAT, RunConfig
from retrieval.run.folder import HISTORY
from retrieval.run.manifest import INDEX, checked_sums, model_of, seal, write_sums
from retrieval.run.versions import current, writing
from retrieval.storage.arrays import save_arrays
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


def _write(version: Path, partial: Path, sums: dict[str, str], config: dict[str, Any]) -> None:
    """Write everything but the index, and seal it."""
    done = {CONFIG_FILE}
    if any(part["name"] == sequence.NAME for part in config["parts"]):
        _without_trends(version / sequence.WEIGHTS_FILE, partial / sequence.WEIGHTS_FILE)
        done.add(sequence.WEIGHTS_FILE)
    for name in sums.keys() - done:
        link_or_copy(version / name, partial / name)
    times = load_array(version / HISTORY.format(Histories._fields[-1]))
    facts = config | {"version": FORMAT, "present": moment_after(times)}
    if (ranking := config["ranking"]) is not None:
        facts["ranking"] = ranking | {"sitting_weight": ranking["rating_weight"]}
    try:
        TypeAdapter(RunConfig).validate_python(facts)
    except ValidationError as error:
        raise RunError(f"{version / CONFIG_FILE}: {error.errors()[0]['msg']}") from error
    (partial / CONFIG_FILE).write_text(json.dumps(facts, indent=2) + "\n")
    seal(partial)


def _without_trends(old: Path, new: Path) -> None:
    """Write the weights of a sequence pair as one for which trends do not count."""
    arrays = load_file(old)
    for name in [name for name in arrays if name.endswith(".rated")]:
        trends = np.zeros((len(arrays[name]), 0), np.float32)
        arrays[name.removesuffix("rated") + "trends"] = trends
    save_arrays(new, arrays)


def _carry_index(version: Path, partial: Path, sums: dict[str, str]) -> None:
    """Take the index over, if there is one of this run."""
    try:
        index = load_index(version / INDEX, model_of(sums), mapped=False)
    except (ValueError, OSError):
        return
    fresh = checked_sums(partial, index=False)
    (partial / INDEX).mkdir()
    save_index(partial / INDEX, index, model_of(fresh))
    write_sums(partial, fresh)
