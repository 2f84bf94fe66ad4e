"""Runs of the format before this one, written anew as a version of this one.

What a run answers stays the same to the last bit: only names of files and of facts change. The
format before had one pair called neural, which could be the notebook's.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from index.store import load_index, save_index
from retrieval.errors import RunError
from retrieval.pairs.bayesian import tower as bayesian
from retrieval.pairs.bayesian.settings import BayesianSettings
from retrieval.pairs.neural import tower as neural
from retrieval.pairs.neural.settings import NeuralSettings
from retrieval.pairs.notebook import tower as notebook
from retrieval.pairs.notebook.settings import NotebookSettings
from retrieval.pairs.sequence import tower as sequence
from retrieval.pairs.sequence.settings import SequenceSettings
from retrieval.run.config import CONFIG_FILE, FORMAT, PREVIOUS_FORMAT, RunConfig
from retrieval.run.manifest import INDEX, INDEX_CARD, LISTED, model_of, seal, write_sums
from retrieval.run.versions import MANIFEST, current, writing
from retrieval.storage.damage import AGAIN, readable
from retrieval.storage.files import sha256

# Cards of the pairs, which become facts and sizes.
NEURAL_CARD, SEQUENCE_CARD = "towers.json", "sequence.json"

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
        sums = _checked_sums(version)
        with readable(version / CONFIG_FILE):
            config = json.loads((version / CONFIG_FILE).read_text(encoding="utf-8"))
            found = config["version"]
        if found == FORMAT:
            return False
        if found != PREVIOUS_FORMAT:
            raise RunError(f"{folder} is of format {str(found)[:40]}; train again")
        with writer.new_version() as partial, readable(version):
            _write(version, partial, sums, config)
            _carry_index(version, partial, sums)
    return True


def _checked_sums(version: Path) -> dict[str, Any]:
    """Return the sums of a manifest, of this format or the one before, once its files have them."""
    with readable(version / MANIFEST):
        sums = dict(json.loads((version / MANIFEST).read_text(encoding="utf-8")))
        for name, total in sums.items():
            if isinstance(total, str) and (
                LISTED.fullmatch(name) is None
                or (version / name).is_symlink()
                or sha256(version / name) != total
            ):
                raise RunError(f"{version / name} is not what was written; {AGAIN}")
    return sums


def _write(version: Path, partial: Path, sums: dict[str, Any], config: dict[str, Any]) -> None:
    """Write everything but the index, and seal it."""
    names, settings = {"history_moods.npy": bayesian.EFFECTS_FILE}, {}
    pair, cards = neural.NAME, {}
    if NEURAL_CARD in sums:
        card = json.loads((version / NEURAL_CARD).read_text(encoding="utf-8"))
        side = notebook if card["pair"] == notebook.NAME else neural
        pair = side.NAME
        names |= {"user_tower.onnx": side.TOWER_FILE, "weights.safetensors": side.WEIGHTS_FILE}
        model = NotebookSettings if side is notebook else NeuralSettings
        settings[pair] = _settings(model, card["settings"])
        cards[NEURAL_CARD] = side.SIZES_FILE, {"sizes": card["sizes"]}
    if bayesian.NAME in config["towers"]:
        settings[bayesian.NAME] = BayesianSettings().model_dump(mode="json")
    if SEQUENCE_CARD in sums:
        card = json.loads((version / SEQUENCE_CARD).read_text(encoding="utf-8"))
        members = card["pairs"]
        settings[sequence.NAME] = _settings(
            SequenceSettings, card["settings"] | {"members": members}
        )
        facts = {"members": members, "sizes": card["sizes"]}
        cards[SEQUENCE_CARD] = sequence.SIZES_FILE, facts
    for name in sums:
        if name not in {CONFIG_FILE, INDEX_CARD, *cards}:
            _carry(version / name, partial / names.get(name, name))
    for file, facts in cards.values():
        (partial / file).write_text(json.dumps(facts, indent=2) + "\n")
    facts = _config(config, pair) | {"settings": settings}
    try:
        TypeAdapter(RunConfig).validate_python(facts)
    except ValidationError as error:
        raise RunError(f"{version / CONFIG_FILE}: {error.errors()[0]['msg']}") from error
    (partial / CONFIG_FILE).write_text(json.dumps(facts, indent=2) + "\n")
    seal(partial)


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


def _settings(model: type[BaseModel], known: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a pair: those that its card knows, and defaults for the others."""
    named = {RENAMED.get(name, name): value for name, value in known.items()}
    return model.model_validate(named).model_dump(mode="json")


def _carry_index(version: Path, partial: Path, sums: dict[str, Any]) -> None:
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


def _carry(old: Path, new: Path) -> None:
    """Give a file a second name; files of versions never change."""
    try:
        os.link(old, new)
    except OSError:  # a file system without links
        shutil.copyfile(old, new)
