"""A run: one folder that holds everything a trained model needs to answer."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from index.search import Index
from index.store import StaleIndexError, load_index, read_card
from retrieval.blend import Blend, Ranking
from retrieval.catalogue import Catalogue, read_catalogue, write_catalogue
from retrieval.choices import RankBy, Towers
from retrieval.data.history import Histories
from retrieval.demographics import Demographics
from retrieval.errors import RunError
from retrieval.files import recover, sha256
from retrieval.link import Link
from retrieval.scale import RatingScale
from retrieval.vocabulary import Vocabulary

CONFIG = "config.json"
MANIFEST = "MANIFEST.json"
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


VERSION = 10


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run as read from its folder. Histories are mapped from disk, not loaded."""

    folder: Path
    config: RunConfig
    catalogue: Catalogue
    users: Vocabulary
    user_codes: NDArray[np.int64]  # (U, 3)
    trained_users: NDArray[np.bool_]  # (U,) whether the user's own id was trained
    histories: Histories
    added: NDArray[np.float32]  # (A, D) vectors of the movies that were added after training

    @property
    def model(self) -> str:
        """What an index of this run is built from: the sha256 of the manifest."""
        return sha256(self.folder / MANIFEST)


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


def seal(folder: Path) -> None:
    """Write the sha256 of every file of the run into its manifest."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    sums = {path.name: sha256(path) for path in files if path.name != MANIFEST}
    (folder / MANIFEST).write_text(json.dumps(sums, indent=2) + "\n")


def open_run(folder: Path) -> Run:
    """Open a run and check every file against the manifest, and the parts against each other.

    Raises:
        RunError: There is no run, or a file is missing, truncated or changed.
    """
    recover(folder)
    if not (folder / MANIFEST).is_file():
        raise RunError(
            f"{folder} is not a run; make one with rec train --data FOLDER --run {folder}"
        )
    _verify(folder)
    config = _read_config(folder)
    added = np.load(folder / ADDED)
    run = Run(
        folder=folder,
        config=config,
        catalogue=read_catalogue(folder / MOVIES, len(added)),
        users=Vocabulary(np.load(folder / USERS)),
        user_codes=np.load(folder / USER_CODES),
        trained_users=np.load(folder / TRAINED_USERS),
        histories=Histories(
            *(mapped_array(folder / HISTORY.format(name)) for name in Histories._fields)
        ),
        added=added,
    )
    _agree(run)
    return run


def mapped_array(path: Path) -> NDArray[Any]:
    """Return an array mapped from a file; as a plain one, it is twice as fast to index."""
    return np.asarray(np.load(path, mmap_mode="r"))


def open_index(run: Run, *, mapped: bool = True) -> Index:
    """Open the index of a run.

    Args:
        run: The run.
        mapped: Whether to map its files instead of loading them; then nothing can be put into an
            approximate index.

    Raises:
        RunError: There is no index, or it is not of this model, or a file is damaged.
    """
    recover(run.folder / INDEX)
    remedy = f"rebuild it with rec build-index --run {run.folder}"
    if not (run.folder / INDEX).is_dir():
        raise RunError(
            f"{run.folder} has no index yet; build it with rec build-index --run {run.folder}"
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
    return index


def describe_run(run: Run) -> dict[str, object]:
    """Return what a run is, for people and programs."""
    config = run.config
    metrics = json.loads((run.folder / METRICS).read_text())
    rmse = metrics["validation_rmse"]
    return {
        "run": str(run.folder),
        "created": config.created,
        "data": config.data,
        "towers": ", ".join(config.towers),
        "preset": config.preset,
        "seed": config.seed,
        "training seconds": config.training_seconds,
        "validation rmse": "predicts no ratings" if rmse is None else rmse,
        "ranks by": RankBy.RATING if config.ranking is None else config.ranking.rank_by,
        "users": len(run.users),
        "movies": len(run.catalogue),
        "ratings": len(run.histories.movies),
        "scale": f"{config.scale.lowest:g} to {config.scale.highest:g}",
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
    """Return the newest run under a folder.

    Raises:
        RunError: There is none.
    """
    runs = [path.parent for path in root.glob(f"[!.]*/{MANIFEST}")]
    if not runs:
        raise RunError(f"no run under {root}/ yet; make one with rec train --data FOLDER")
    return max(runs, key=lambda path: ((path / MANIFEST).stat().st_mtime_ns, path.name))


def _verify(folder: Path) -> None:
    remedy = "train again, or copy the run again from where it is whole"
    try:
        sums: dict[str, Any] = dict(json.loads((folder / MANIFEST).read_text()))
    except (ValueError, TypeError) as error:
        raise RunError(f"{folder / MANIFEST} is not a manifest ({error}); {remedy}") from error
    for name, expected in sums.items():
        path = folder / name
        if not path.is_file():
            raise RunError(f"{path} is missing; {remedy}")
        if sha256(path) != expected:
            raise RunError(f"{path} is not what was written: its sha256 differs; {remedy}")
    missing = {CONFIG, MOVIES, USERS, USER_CODES, TRAINED_USERS, ADDED} - sums.keys()
    if missing:
        raise RunError(f"{folder / MANIFEST} does not list {', '.join(sorted(missing))}; {remedy}")


def _read_config(folder: Path) -> RunConfig:
    try:
        config = TypeAdapter(RunConfig).validate_json((folder / CONFIG).read_text())
    except ValidationError as error:
        raise RunError(f"{folder / CONFIG}: {error.errors()[0]['msg']}; train again") from error
    if config.version != VERSION:
        raise RunError(
            f"{folder} is of format {config.version}, this program reads {VERSION}; train again"
        )
    return config


def _agree(run: Run) -> None:
    users, events = len(run.users), len(run.histories.movies)
    agree = (
        run.user_codes.shape == (users, 3)
        and run.trained_users.shape == (users,)
        and run.histories.offsets.shape == (users + 1,)
        and run.histories.offsets[-1] == events
        and len(run.histories.ratings) == len(run.histories.timestamps) == events
    )
    if not agree:
        raise RunError(f"{run.folder}: its files are not of one run; train again")
