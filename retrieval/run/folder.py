"""A run: one folder that holds everything a trained model needs to answer; see `versions`."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from index.arrays import load_array
from index.search import Index
from index.store import CARD_FILE, StaleIndexError, load_index, read_card
from retrieval.blending.blend import Blend, Ranking
from retrieval.blending.link import Link
from retrieval.data.catalogue import Catalogue, read_catalogue, write_catalogue
from retrieval.data.demographics import Demographics
from retrieval.data.history import Histories
from retrieval.data.scale import RatingScale
from retrieval.data.vocabulary import Vocabulary
from retrieval.errors import RunError
from retrieval.options import RankBy, Towers
from retrieval.run.checks import (
    check_blend,
    check_histories,
    check_layout,
    check_numbers,
    check_scale,
    check_users,
    check_vectors,
)
from retrieval.run.versions import CURRENT, MANIFEST, newest, read
from retrieval.storage.damage import AGAIN, readable
from retrieval.storage.files import sha256

CONFIG = "config.json"
CARD = "README.md"
METRICS = "metrics.json"
MOVIES = "movies.json"
USERS = "users.npy"
USER_CODES = "user_codes.npy"
TRAINED_USERS = "trained_users.npy"
HISTORY = "history_{}.npy"
USER_TOWER = "user_tower.onnx"
WEIGHTS = "weights.safetensors"
TOWERS = "towers.json"
BAYESIAN = "bayesian.safetensors"
SEQUENCE = "sequence.json"
SEQUENCE_WEIGHTS = "sequence.safetensors"
SEQUENCE_TOWER = "sequence_tower.onnx"
SEQUENCE_USERS = "sequence_users.npy"
CONTENT = "content.safetensors"
MOODS = "history_moods.npy"
ADDED = "added_vectors.npy"
INDEX = "index"

# Of the manifest beside the run's own files; it holds the sums of what it stands for.
INDEX_CARD = f"{INDEX}/{CARD_FILE}"

# What a manifest may name: files of the run, and nothing outside of it.
LISTED = re.compile(rf"[A-Za-z0-9_]+\.[a-z]+|{re.escape(INDEX_CARD)}")

# Beside what every run has.
FILES_OF = {
    Towers.NEURAL: (WEIGHTS, TOWERS, USER_TOWER),
    Towers.BAYESIAN: (BAYESIAN, MOODS),
    Towers.SEQUENCE: (SEQUENCE, SEQUENCE_WEIGHTS, SEQUENCE_TOWER, SEQUENCE_USERS),
}
FILES = (CONFIG, MOVIES, USERS, USER_CODES, TRAINED_USERS, ADDED, CONTENT, METRICS)


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What a run was made of and how its numbers are to be read."""

    version: int
    towers: tuple[Towers, ...]  # the tower pairs whose vectors are joined, in this order
    blend: Blend  # of the scores of the pairs that predict ratings
    ranking: Ranking | None  # of lists, where there is a sequence pair
    link: Link | None  # from scores to ratings; None: scores are ratings, clipped to the scale
    noise: float | None  # the usual variance of what the link takes for noise
    preset: str
    seed: int
    data: str
    created: str  # ISO 8601
    training_seconds: float
    scale: RatingScale
    centre: float  # the average rating in training
    demographics: Demographics
    history_length: int  # that the neural pair reads
    widths: tuple[int, ...]  # how many components of a movie vector each pair has
    biases: tuple[int, ...]  # components of a movie vector that are no direction of taste
    threads: int | None = None  # that trained it; another number rounds differently


VERSION = 11

# Formats that are read: a run of format 10 has no versions, and its index must be built again.
READABLE = (10, VERSION)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One version of a run as read from its folder. Histories are mapped from disk, not loaded."""

    home: Path  # the folder of the run
    folder: Path  # that of the version
    sums: Mapping[str, str]  # sha256 of each file by its name, but for what belongs to the index
    config: RunConfig
    catalogue: Catalogue
    users: Vocabulary
    user_codes: NDArray[np.int64]  # (U, 3)
    trained_users: NDArray[np.bool_]  # (U,) whether the user's own id was trained
    histories: Histories
    added: NDArray[np.float32]  # (A, D) vectors of the movies that were added after training

    @property
    def model(self) -> str:
        """What an index of this run is built from: a sha256 of its files."""
        return model_of(self.sums)


def write_run(
    folder: Path,
    config: RunConfig,
    catalogue: Catalogue,
    users: Vocabulary,
    user_codes: NDArray[np.int64],
    trained_users: NDArray[np.bool_],
    histories: Histories,
) -> None:
    """Write everything but the towers into an existing folder; `seal` it when all is there."""
    (folder / CONFIG).write_text(json.dumps(asdict(config), indent=2) + "\n")
    write_catalogue(folder / MOVIES, catalogue)
    np.save(folder / USERS, users.ids)
    np.save(folder / USER_CODES, user_codes)
    np.save(folder / TRAINED_USERS, trained_users)
    for name, column in histories._asdict().items():
        np.save(folder / HISTORY.format(name), column)
    np.save(folder / ADDED, np.zeros((0, 0), np.float32))


def seal(folder: Path) -> dict[str, str]:
    """Write the sha256 of every file of a version into its manifest; return those of its own."""
    files = [path for path in folder.iterdir() if path.is_file() and path.name != MANIFEST]
    sums = {path.name: sha256(path) for path in sorted(files)}
    write_sums(folder, sums)
    return sums


def own_sums(version: Path) -> dict[str, str]:
    """Return the sha256 of each file of a version by its name, but for what belongs to its index.

    Raises:
        RunError: One of them is missing, truncated or changed.
    """
    return _verified_sums(version, index=False)


def write_sums(folder: Path, sums: Mapping[str, str]) -> None:
    """Write the manifest of a version: sums of its own files, and of the card of its index."""
    whole = dict(sums)
    if (folder / INDEX_CARD).is_file():
        whole[INDEX_CARD] = sha256(folder / INDEX_CARD)
    (folder / MANIFEST).write_text(json.dumps(whole, indent=2) + "\n")


def open_run(folder: Path) -> Run:
    """Open the version of a run that answers, and check its files.

    Raises:
        RunError: There is no run, or a file is missing, truncated or changed.
    """
    return read(folder, lambda version: open_version(version, folder))


def open_version(version: Path, home: Path) -> Run:
    """Open one version of a run: check files against the manifest, and parts against each other.

    Args:
        version: Its folder.
        home: The folder of the run, for what is said of it.

    Raises:
        RunError: A file is missing, truncated or changed, or the files are not of one run.
    """
    if not version.is_dir():
        raise RunError(f"{home / CURRENT} names {version.name}, which is not there; train again")
    sums = _verified_sums(version)
    config = _read_config(version)
    names = {*FILES, *(HISTORY.format(name) for name in Histories._fields)}
    missing = names.union(*(FILES_OF[towers] for towers in config.towers)) - sums.keys()
    if missing:
        raise RunError(f"{version / MANIFEST} does not list {', '.join(sorted(missing))}; {AGAIN}")
    with readable(version):
        return _opened(version, home, config, sums)


def _opened(version: Path, home: Path, config: RunConfig, sums: Mapping[str, str]) -> Run:
    added = load_array(version / ADDED)
    users = load_array(version / USERS)
    run = Run(
        home=home,
        folder=version,
        sums={name: total for name, total in sums.items() if name != INDEX_CARD},
        config=config,
        catalogue=read_catalogue(version / MOVIES, len(added)),
        users=Vocabulary(users),
        user_codes=load_array(version / USER_CODES),
        trained_users=load_array(version / TRAINED_USERS),
        histories=Histories(
            *(mapped_array(version / HISTORY.format(name)) for name in Histories._fields)
        ),
        added=added,
    )
    if users.dtype != np.int64 or users.shape != (len(run.users),):
        raise RunError("its users are not distinct whole numbers")
    if len(config.widths) != len(config.towers) or len({*config.towers}) != len(config.towers):
        raise RunError("it has other tower pairs than parts of movie vectors")
    if (config.ranking is None) == (Towers.SEQUENCE in config.towers):
        raise RunError("it has a sequence pair or what ranks lists, not both")
    check_numbers(asdict(config))
    check_scale(config.scale, config.link)
    rating = len(config.towers) - (Towers.SEQUENCE in config.towers)
    check_blend(config.blend, rating, config.ranking, config.history_length)
    check_users(run.user_codes, run.trained_users, len(users), config.demographics.sizes())
    movies = len(run.catalogue) - len(added)
    check_histories(run.histories, len(users), movies, config.scale)
    check_layout(config.widths, config.biases, added)
    if Towers.BAYESIAN in config.towers:
        events = len(run.histories.movies)
        check_vectors(mapped_array(version / MOODS), (2, events), "session effects")
    if Towers.SEQUENCE in config.towers:
        shape = (len(users), config.widths[-1])
        check_vectors(mapped_array(version / SEQUENCE_USERS), shape, "vectors of users")
    return run


def mapped_array(path: Path) -> NDArray[Any]:
    """Return an array mapped from a file; as a plain one, it is twice as fast to index.

    Raises:
        RunError: The file holds no array.
    """
    with readable(path):
        return load_array(path, mapped=True)


def open_index(run: Run, *, mapped: bool = True) -> Index:
    """Open the index of a run.

    Args:
        run: The run.
        mapped: Whether to map its files instead of loading them; then nothing can be put into an
            approximate index.

    Raises:
        RunError: There is no index, or it is not of this model, or a file is damaged.
    """
    remedy = f"build it again with rec build-index --run {run.home}"
    if not (run.folder / INDEX).is_dir():
        raise RunError(
            f"{run.home} has no index yet; build it with rec build-index --run {run.home}"
        )
    try:
        index = load_index(run.folder / INDEX, run.model, mapped=mapped)
    except StaleIndexError as error:
        raise RunError(f"stale index: {error}; {remedy}") from error
    except ValueError as error:
        raise RunError(f"broken index: {error}; {remedy}") from error
    if not np.array_equal(np.sort(index.ids), np.sort(run.catalogue.vocabulary.ids)):
        raise RunError(
            f"the index holds {len(index)} movies, the run {len(run.catalogue)}; {remedy}"
        )
    if index.dimension != sum(run.config.widths):
        raise RunError(
            f"the index has vectors of {index.dimension} components, the run of "
            f"{sum(run.config.widths)}; {remedy}"
        )
    return index


def describe_run(run: Run) -> dict[str, object]:
    """Return what a run is, for people and programs."""
    config = run.config
    with readable(run.folder / METRICS):
        rmse = json.loads((run.folder / METRICS).read_text(encoding="utf-8"))["validation_rmse"]
    rates = set(config.towers) - {Towers.SEQUENCE}
    unmeasured = "too few ratings to tell" if rates else "predicts no ratings"
    return {
        "run": str(run.home),
        "created": config.created,
        "data": config.data,
        "towers": ", ".join(config.towers),
        "preset": config.preset,
        "seed": config.seed,
        "training seconds": config.training_seconds,
        "validation rmse": unmeasured if rmse is None else rmse,
        "ranks by": RankBy.RATING if config.ranking is None else config.ranking.rank_by,
        "users": len(run.users),
        "movies": len(run.catalogue),
        "ratings": len(run.histories.movies),
        "scale": str(config.scale),
        "index": _index_in_words(run),
    }


def _index_in_words(run: Run) -> str:
    """Return of what kind the index is, and whether it is of this model."""
    try:
        card = read_card(run.folder / INDEX)
    except ValueError:
        return "not built"
    return f"{card.kind}, {card.count:,} movies x {card.dimension}" + (
        "" if card.source == run.model else ", stale"
    )


def newest_run(root: Path) -> Path:
    """Return the run under a folder that was trained last, of those that have an index.

    Raises:
        RunError: There is none.
    """
    return newest(root, _trained_at)


def _trained_at(version: Path) -> str:
    """Return when a version was trained; nothing for one without an index that can be read."""
    try:
        read_card(version / INDEX)
    except ValueError:
        return ""
    return _read_config(version).created


def _verified_sums(version: Path, *, index: bool = True) -> dict[str, str]:
    """Return the manifest of a version, whose files are what it says.

    Args:
        version: Its folder.
        index: Whether the card of the index belongs to it; what builds the index can do without.
    """
    with readable(version / MANIFEST):
        sums = dict(json.loads((version / MANIFEST).read_text(encoding="utf-8")))
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
            found = sha256(path)
        if found != expected:
            raise RunError(f"{path} is not what was written: its sha256 differs; {again}")
    return sums


def model_of(sums: Mapping[str, str]) -> str:
    """Return a sha256 of the files that an index is built from, by their own."""
    return hashlib.sha256(json.dumps(sums, sort_keys=True).encode()).hexdigest()


def _read_config(version: Path) -> RunConfig:
    with readable(version / CONFIG):
        text = (version / CONFIG).read_bytes()
    try:
        config = TypeAdapter(RunConfig).validate_json(text)
    except ValidationError as error:
        raise RunError(f"{version / CONFIG}: {error.errors()[0]['msg']}; train again") from error
    if config.version not in READABLE:
        raise RunError(
            f"{version} is of format {config.version}, this program reads "
            f"{' and '.join(map(str, READABLE))}; train again"
        )
    return config
