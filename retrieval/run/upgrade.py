"""Runs of the format before this one, written anew as a version of this one.

What a run answers stays the same to the last bit. In the format before, the index knew movies by
their ids, people had a gender, an age and an occupation and nothing else, and of movies no further
attributes were known.
"""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from safetensors import safe_open

from index.arrays import load_array
from index.store import load_index
from retrieval.data.attributes import AttributeColumns
from retrieval.data.catalogue import Catalogue, read_catalogue
from retrieval.data.listing import attributes_of, frame_of
from retrieval.data.user_attributes import AGE_EDGES, USUAL
from retrieval.errors import RunError
from retrieval.pairs.neural import tower as neural
from retrieval.pairs.notebook import tower as notebook
from retrieval.pairs.sequence import tower as sequence
from retrieval.run.config import CONFIG_FILE, FORMAT, PREVIOUS_FORMAT, RunConfig
from retrieval.run.folder import (
    ADDED,
    ATTRIBUTES,
    CONTENT,
    HIDDEN,
    MOVIES,
    write_hidden,
    write_index,
)
from retrieval.run.manifest import INDEX, checked_sums, model_of, seal
from retrieval.run.versions import current, writing
from retrieval.storage.arrays import save_arrays
from retrieval.storage.damage import readable
from retrieval.storage.files import link_or_copy

# What embedded the attributes of users, of gender, age and occupation, by pair.
EMBEDDED = {
    neural.NAME: ("genders", "age_codes", "occupations"),
    sequence.NAME: ("genders", "ages", "occupations"),
}

# What the attributes of users were called in towers.
OLD_INPUT, INPUT = "demographics", "attributes"


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
    done = {CONFIG_FILE, CONTENT}
    pairs = {part["name"] for part in config["parts"]}
    for pair in (neural, notebook, sequence):
        if pair.NAME in pairs:
            _renamed_sizes(version / pair.SIZES_FILE, partial / pair.SIZES_FILE)
            done.add(pair.SIZES_FILE)
        if pair.NAME in pairs & EMBEDDED.keys():
            _renamed_weights(version, partial, pair.WEIGHTS_FILE, EMBEDDED[pair.NAME])
            done.add(pair.WEIGHTS_FILE)
        if pair.NAME in pairs and pair is not sequence:
            _renamed_input(version / pair.TOWER_FILE, partial / pair.TOWER_FILE)
            done.add(pair.TOWER_FILE)
    for name in sums.keys() - done:
        link_or_copy(version / name, partial / name)
    _with_texts(version / CONTENT, partial / CONTENT)
    movies = _catalogue(version)
    nothing = AttributeColumns(rows=len(movies), columns={})
    frame = frame_of(movies.movies, nothing, range(len(movies)))
    attributes_of(frame).save(partial, ATTRIBUTES)
    write_hidden(partial / HIDDEN, [])
    known = config.pop("demographics")
    facts = {"gender": {"names": known["genders"]}, "age": {"edges": AGE_EDGES}}
    facts["occupation"] = {"names": known["occupations"]}
    coded = [each._asdict() | facts[each.name] for each in USUAL]
    config |= {"version": FORMAT, "user_attributes": {"coded": coded}}
    try:
        TypeAdapter(RunConfig).validate_python(config)
    except ValidationError as error:
        raise RunError(f"{version / CONFIG_FILE}: {error.errors()[0]['msg']}") from error
    (partial / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n")
    seal(partial)


def _catalogue(version: Path) -> Catalogue:
    return read_catalogue(version / MOVIES, len(load_array(version / ADDED)))


def _renamed_sizes(old: Path, new: Path) -> None:
    """Write the card of a pair with one list of the sizes of attributes."""
    facts = json.loads(old.read_text())
    sizes = facts["sizes"]
    sizes["attributes"] = [sizes.pop(name) for name in ("genders", "ages", "occupations")]
    new.write_text(json.dumps(facts, indent=2) + "\n")


def _renamed_weights(version: Path, partial: Path, name: str, old: tuple[str, ...]) -> None:
    """Write the weights of a pair with its embeddings of attributes in one list."""
    arrays = _arrays(version / name)
    for place, embedded in enumerate(old):
        arrays = {
            re.sub(rf"\b{embedded}\.", f"attributes.{place}.", key): array
            for key, array in arrays.items()
        }
    save_arrays(partial / name, arrays)


def _renamed_input(old: Path, new: Path) -> None:
    """Write a tower with another name for the attributes of users."""
    model = onnx.load(old)
    for column in model.graph.input:
        column.name = INPUT if column.name == OLD_INPUT else column.name
    for node in model.graph.node:
        node.input[:] = [INPUT if name == OLD_INPUT else name for name in node.input]
    onnx.save(model, new)


def _with_texts(old: Path, new: Path) -> None:
    """Write what describes movies as one that no further attributes count for."""
    arrays = _arrays(old)
    with safe_open(old, framework="np") as file:
        lists = file.metadata()
    nothing = {"texts_weights": np.zeros(0), "texts_directions": np.zeros((0, 0))}
    save_arrays(new, arrays | nothing, lists | {"texts": "[]", "text_names": "[]", "facts": "[]"})


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    with safe_open(path, framework="np") as file:
        return {name: file.get_tensor(name) for name in file.offset_keys()}


def _carry_index(version: Path, partial: Path, sums: dict[str, str]) -> None:
    """Take the index over, with numbers for ids, if there is one of this run."""
    try:
        index = load_index(version / INDEX, model_of(sums), mapped=False)
    except (ValueError, OSError):
        return
    index = index.with_ids(_catalogue(version).vocabulary.numbers(index.ids))
    write_index(partial, index, checked_sums(partial, index=False))
