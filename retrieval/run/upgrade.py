"""Runs of the format before this one, written anew as a version of this one.

What a run answers stays the same to the last bit: only names of files and of facts change. The
format before had one pair called neural, which could be the notebook's.
"""

import json
from pathlib import Path
from typing import Any

import onnx
from pydantic import BaseModel, TypeAdapter, ValidationError
from safetensors.numpy import load_file

from index.store import load_index, save_index
from retrieval.errors import RunError
from retrieval.options import Preset
from retrieval.pairs.bayesian import tower as bayesian
from retrieval.pairs.bayesian.settings import preset_settings as bayesian_preset
from retrieval.pairs.neural import tower as neural
from retrieval.pairs.neural.settings import preset_settings as neural_preset
from retrieval.pairs.notebook import tower as notebook
from retrieval.pairs.notebook.settings import preset_settings as notebook_preset
from retrieval.pairs.sequence import tower as sequence
from retrieval.pairs.sequence.settings import preset_settings as sequence_preset
from retrieval.run.config import CONFIG_FILE, FORMAT, PREVIOUS_FORMAT, RunConfig
from retrieval.run.manifest import INDEX, INDEX_CARD, LISTED, model_of, seal, write_sums
from retrieval.run.versions import MANIFEST, current, writing
from retrieval.storage.arrays import save_arrays
from retrieval.storage.damage import AGAIN, readable
from retrieval.storage.files import link_or_copy, sha256

# Cards of the pairs, which become facts and sizes.
NEURAL_CARD, SEQUENCE_CARD = "towers.json", "sequence.json"

# Weights, arrays and columns that had other names.
WEIGHTS = {"event_levels.weight": "event_classes.weight"}
SEQUENCE_WEIGHTS = {".levels.": ".classes.", ".waits.": ".time_gaps."}
ARRAYS = {"level_latents": "class_latents", "mood_law": "session_law"}
COLUMNS = {"levels": "classes", "people": "codes", "waits": "time_gaps", "lags": "relative_times"}

# Settings that the cards knew under other names.
RENAMED = {
    "strangers": "cold_start_weight",
    "unknown_movies": "unrated_share",
    "penalty": "norm_penalty",
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
        sums = _checked_sums(version)
        with writer.new_version() as partial, readable(version):
            _write(version, partial, sums, config)
            _carry_index(version, partial, sums)
    return True


def _checked_sums(version: Path) -> dict[str, str]:
    """Return the sums of a manifest of the format before, once its files have them."""
    with readable(version / MANIFEST):
        sums: dict[str, str] = dict(json.loads((version / MANIFEST).read_text(encoding="utf-8")))
        for name, total in sums.items():
            if (
                LISTED.fullmatch(name) is None
                or (version / name).is_symlink()
                or sha256(version / name) != total
            ):
                raise RunError(f"{version / name} is not what was written; {AGAIN}")
    return sums


def _write(version: Path, partial: Path, sums: dict[str, str], config: dict[str, Any]) -> None:
    """Write everything but the index, and seal it."""
    pair, settings, spent = neural.NAME, {}, Preset(config["preset"])
    done = {CONFIG_FILE, INDEX_CARD}
    if NEURAL_CARD in sums:
        card = json.loads((version / NEURAL_CARD).read_text(encoding="utf-8"))
        side = notebook if card["pair"] == notebook.NAME else neural
        pair = side.NAME
        preset = notebook_preset if side is notebook else neural_preset
        settings[pair] = _settings(preset(spent), card["settings"])
        _write_sizes(partial / side.SIZES_FILE, card, {})
        _rename_arrays(version / "weights.safetensors", partial / side.WEIGHTS_FILE, WEIGHTS)
        link_or_copy(version / "user_tower.onnx", partial / side.TOWER_FILE)
        done |= {NEURAL_CARD, "weights.safetensors", "user_tower.onnx"}
    if bayesian.NAME in config["towers"]:
        settings[bayesian.NAME] = bayesian_preset(spent).model_dump(mode="json")
        _rename_arrays(version / bayesian.ARRAYS_FILE, partial / bayesian.ARRAYS_FILE, ARRAYS)
        link_or_copy(version / "history_moods.npy", partial / bayesian.EFFECTS_FILE)
        done |= {bayesian.ARRAYS_FILE, "history_moods.npy"}
    if SEQUENCE_CARD in sums:
        card = json.loads((version / SEQUENCE_CARD).read_text(encoding="utf-8"))
        known = card["settings"] | {"members": card["pairs"]}
        settings[sequence.NAME] = _settings(sequence_preset(spent), known)
        _write_sizes(partial / sequence.SIZES_FILE, card, {"members": card["pairs"]})
        weights = sequence.WEIGHTS_FILE
        _rename_arrays(version / weights, partial / weights, SEQUENCE_WEIGHTS)
        _rename_columns(version / sequence.TOWER_FILE, partial / sequence.TOWER_FILE)
        done |= {SEQUENCE_CARD, weights, sequence.TOWER_FILE}
    for name in sums.keys() - done:
        link_or_copy(version / name, partial / name)
    facts = _config(config, pair) | {"settings": settings}
    try:
        TypeAdapter(RunConfig).validate_python(facts)
    except ValidationError as error:
        raise RunError(f"{version / CONFIG_FILE}: {error.errors()[0]['msg']}") from error
    (partial / CONFIG_FILE).write_text(json.dumps(facts, indent=2) + "\n")
    seal(partial)


def _write_sizes(path: Path, card: dict[str, Any], facts: dict[str, Any]) -> None:
    """Write the sizes that a card holds, and facts."""
    sizes = {("classes" if name == "levels" else name): n for name, n in card["sizes"].items()}
    path.write_text(json.dumps(facts | {"sizes": sizes}, indent=2) + "\n")


def _rename_arrays(old: Path, new: Path, names: dict[str, str]) -> None:
    """Write arrays under other names, in each of which some parts are replaced."""
    renamed = {}
    for name, array in load_file(old).items():
        whole = name
        for part, other in names.items():
            whole = whole.replace(part, other)
        renamed[whole] = array
    save_arrays(new, renamed)


def _rename_columns(old: Path, new: Path) -> None:
    """Write a user tower whose columns have other names."""
    try:
        model = onnx.load(old)
    except Exception as error:  # protobuf raises a class of its own
        raise RunError(f"{old} cannot be read as ONNX: {error}") from error
    for column in model.graph.input:
        column.name = COLUMNS.get(column.name, column.name)
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = COLUMNS.get(name, name)
    onnx.save(model, new)


def _config(config: dict[str, Any], pair: str) -> dict[str, Any]:
    """Return what a config of the format before says in this one; the neural pair has a name."""
    parts, end, biases = [], 0, set(config["biases"])
    origins = []
    for name, width in zip(config["towers"], config["widths"], strict=True):
        end += width
        ranks = name == sequence.NAME
        parts.append(
            {
                "name": pair if name == neural.NAME else name,
                "roles": ["ranks" if ranks else "rates"],
                "width": width if ranks else width - 1,
                "biased": not ranks and end - 2 in biases,
                "temperature": config["ranking"]["temperature"] if ranks else 1.0,
            }
        )
        if not ranks:
            origins.append(config["blend"]["origin"] if name == neural.NAME else 0.0)
    blend, ranking, link = config["blend"], config["ranking"], config["link"]
    kept = ("link", "noise", "preset", "seed", "data", "created", "training_seconds", "scale")
    return {
        "version": FORMAT,
        "parts": parts,
        "blend": {
            "weights": blend["weights"],
            "new_user_weights": blend["newcomer_weights"],
            "new_user_offset": blend["newcomer_offset"],
            "halfway": blend["halfway"],
            "origins": origins,
            "unrated_factors": blend["unrated_factors"],
            "unrated_offset_factors": blend["unrated_offset_factors"],
            "unrated_shift": blend["unrated_shift"],
        },
        "ranking": ranking and {name: ranking[name] for name in ("rank_by", "rating_weight")},
        **{name: config[name] for name in kept},
        "link": link and {"values": link["stars"], "thresholds": link["thresholds"]},
        "centre": config["centre"],
        "demographics": config["demographics"],
        "packages": {},
        "threads": config.get("threads"),
    }


def _settings(preset: BaseModel, known: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a pair: those that its card knows, the others as in its preset."""
    named = {RENAMED.get(name, name): value for name, value in known.items()}
    whole = preset.model_dump() | named
    return type(preset).model_validate(whole).model_dump(mode="json")


def _carry_index(version: Path, partial: Path, sums: dict[str, str]) -> None:
    """Take the index over, if there is one of this run."""
    own = {name: total for name, total in sums.items() if name != INDEX_CARD}
    try:
        index = load_index(version / INDEX, model_of(own), mapped=False)
    except (ValueError, OSError):
        return
    manifest = json.loads((partial / MANIFEST).read_text(encoding="utf-8"))
    fresh = {name: entry["sha256"] for name, entry in manifest.items()}
    (partial / INDEX).mkdir()
    save_index(partial / INDEX, index, model_of(fresh))
    write_sums(partial, fresh)
