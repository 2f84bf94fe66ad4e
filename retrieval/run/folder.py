"""A run: one folder that holds everything a trained model needs to answer; see `versions`."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from index.arrays import load_array
from index.search import Index
from index.store import (
    Card,
    StaleIndexError,
    StoreCard,
    load_index,
    read_card,
    read_store,
    save_index,
)
from retrieval.data.attributes import AttributeColumns
from retrieval.data.catalogue import Catalogue, Movie, read_catalogue, write_catalogue
from retrieval.data.changes import write_changes
from retrieval.data.history import Histories
from retrieval.data.vocabulary import Id, Vocabulary
from retrieval.errors import RequestError, RunError, shown
from retrieval.options import RankBy
from retrieval.pairs.layout import Part
from retrieval.pairs.protocol import RunFacts
from retrieval.pairs.towers import PAIRS
from retrieval.run.checks import (
    check_blend,
    check_histories,
    check_numbers,
    check_parts,
    check_scale,
    check_users,
)
from retrieval.run.config import CONFIG_FILE, RunConfig, read_config
from retrieval.run.manifest import INDEX, INDEX_CARD, checked_sums, model_of, write_sums
from retrieval.run.shelves import HIDDEN, REMOVED, ids_like, read_shelves, write_shelves
from retrieval.run.versions import CURRENT, MANIFEST, newest, read
from retrieval.storage.arrays import mapped_array
from retrieval.storage.damage import AGAIN, readable

CARD = "README.md"
METRICS = "metrics.json"
MOVIES = "movies.json"
ATTRIBUTES = "movie_attributes"  # stem of the files of what else is known of movies
USERS = "users.npy"
USER_CODES = "user_codes.npy"
TRAINED_USERS = "trained_users.npy"
CHANGED = "changed_movies.json"  # what was changed of movies, and what data said of them
HISTORY = "history_{}.npy"
CONTENT = "content.safetensors"
ADDED = "added_vectors.npy"

# How far into the log of a service the data went, where they came from one; a data folder that was
# exported holds it too.
LOG_MARK = "log_mark.json"

# Beside the files of its pairs.
FILES = (
    *(CONFIG_FILE, MOVIES, f"{ATTRIBUTES}.json", USERS, USER_CODES, TRAINED_USERS, ADDED, CONTENT),
    *(METRICS, HIDDEN, REMOVED, CHANGED),
)

# Of what `describe_run` returns.
SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class Run:
    """One version of a run as read from its folder. Histories are mapped from disk, not loaded."""

    home: Path  # the folder of the run
    folder: Path  # that of the version
    sums: Mapping[str, str]  # sha256 of each file by its name, but for those of the index
    config: RunConfig
    catalogue: Catalogue
    users: Vocabulary
    user_codes: NDArray[np.int64]  # (U, C) of attributes
    trained_users: NDArray[np.bool_]  # (U,) whether the user's own id was trained
    histories: Histories
    added: NDArray[np.float32]  # (A, D) vectors of the movies that were added after training
    hidden: NDArray[np.bool_]  # (M,) whether no list shows the movie
    removed: NDArray[np.bool_]  # (M,) whether nothing shows it but histories; it is hidden too
    opened: AttributeColumns | None = None  # attributes, where they are not those on disk

    @cached_property
    def attributes(self) -> AttributeColumns:
        """What else is known of the M movies, mapped from disk where it is asked for.

        Raises:
            RunError: A file of it is damaged.
        """
        if self.opened is not None:
            return self.opened
        return AttributeColumns.load(self.folder, ATTRIBUTES, len(self.catalogue))

    @property
    def model(self) -> str:
        """What an index of this run is built from: a sha256 of its files."""
        return model_of(self.sums)

    def asked_movie(self, movie: Id) -> tuple[Movie, int]:
        """Return a movie that is asked about, by id or title, and its number.

        Raises:
            RequestError: There is no such movie, or it was removed.
        """
        found = self.catalogue.named(movie)
        number = self.catalogue.number(found.id)
        self.check_there(np.array([number]))
        return found, number

    def search(self, text: str, limit: int) -> list[Movie]:
        """Return movies whose titles resemble a text, the nearest first, but for removed ones."""
        found = self.catalogue.search(text, limit + int(self.removed.sum()))
        there = [movie for movie in found if not self.removed[self.catalogue.number(movie.id)]]
        return there[:limit]

    def check_there(self, numbers: NDArray[np.int64]) -> None:
        """Raise a `RequestError` where movies that are asked about `(Q,)` were removed."""
        gone = self.removed[numbers]
        if gone.any():
            movie = self.catalogue.movies[int(numbers[gone][0])]
            raise RequestError(
                f"movie {shown(movie.id)}, {shown(movie)}, was removed; "
                "rec show-movies puts it back"
            )

    def facts(self, part: Part) -> RunFacts:
        """Return what the user tower of a pair is told."""
        return facts_of(self.config, part, self.catalogue, self.histories)


def facts_of(config: RunConfig, part: Part, catalogue: Catalogue, histories: Histories) -> RunFacts:
    """Return what the user tower of a pair is told of a run."""
    return RunFacts(
        part=part,
        settings=config.settings.get(part.name, {}),
        scale=config.scale,
        centre=config.centre,
        attributes=config.user_attributes.sizes,
        histories=histories,
        users=len(histories.offsets) - 1,
        movies=len(catalogue),
        added=catalogue.added,
        present=config.present,
    )


def write_run(
    folder: Path,
    config: RunConfig,
    catalogue: Catalogue,
    users: Vocabulary,
    attributes: AttributeColumns,
    user_codes: NDArray[np.int64],
    trained_users: NDArray[np.bool_],
    histories: Histories,
) -> None:
    """Write everything but the towers into an existing folder; `seal` it when all is there."""
    (folder / CONFIG_FILE).write_text(json.dumps(asdict(config), indent=2) + "\n")
    write_catalogue(folder / MOVIES, catalogue)
    attributes.save(folder, ATTRIBUTES)
    np.save(folder / USERS, users.ids)
    np.save(folder / USER_CODES, user_codes)
    np.save(folder / TRAINED_USERS, trained_users)
    for name, column in histories._asdict().items():
        np.save(folder / HISTORY.format(name), column)
    np.save(folder / ADDED, np.zeros((0, 0), np.float32))
    write_shelves(folder, {HIDDEN: [], REMOVED: []})
    write_changes(folder / CHANGED, [])


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
    sums = checked_sums(version)
    config = read_config(version)
    names = {*FILES, *(HISTORY.format(name) for name in Histories._fields)}
    for part in config.parts:
        names.update(PAIRS[part.name].files if part.name in PAIRS else ())
    missing = names - sums.keys()
    if missing:
        raise RunError(f"{version / MANIFEST} does not list {', '.join(sorted(missing))}; {AGAIN}")
    with readable(version):
        return _opened(version, home, config, sums)


def mapped_histories(version: Path) -> Histories:
    """Return the histories in the folder of a version, mapped from disk and not checked."""
    return Histories(*(mapped_array(version / HISTORY.format(name)) for name in Histories._fields))


def _opened(version: Path, home: Path, config: RunConfig, sums: Mapping[str, str]) -> Run:
    added = load_array(version / ADDED)
    catalogue = read_catalogue(version / MOVIES, len(added))
    users = load_array(version / USERS)
    hidden, removed = (
        np.isin(catalogue.vocabulary.ids, ids_like(ids, catalogue.vocabulary))
        for ids in read_shelves(version).values()
    )
    run = Run(
        home=home,
        folder=version,
        sums={name: total for name, total in sums.items() if name != INDEX_CARD},
        config=config,
        catalogue=catalogue,
        users=Vocabulary(users),
        user_codes=load_array(version / USER_CODES),
        trained_users=load_array(version / TRAINED_USERS),
        histories=mapped_histories(version),
        added=added,
        hidden=hidden | removed,
        removed=removed,
    )
    if users.dtype != run.users.ids.dtype or users.shape != (len(run.users),):
        raise RunError("its users are not distinct whole numbers or texts")
    check_parts(config.parts, PAIRS, added)
    layout = config.layout
    if (config.ranking is None) == bool(layout.ranking):
        raise RunError("it has a pair that ranks or what ranks lists, not both")
    check_numbers(asdict(config))
    check_scale(config.scale, config.link)
    check_blend(config.blend, len(layout.rating))
    check_users(run.user_codes, run.trained_users, len(users), config.user_attributes.sizes)
    movies = len(run.catalogue) - len(added)
    check_histories(run.histories, len(users), movies, config.scale)
    return run


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
    if not np.array_equal(np.sort(index.ids), np.arange(len(run.catalogue))):
        raise RunError(
            f"the index holds {len(index)} movies, the run {len(run.catalogue)}; {remedy}"
        )
    if index.dimension != run.config.layout.dimension:
        raise RunError(
            f"the index has vectors of {index.dimension} components, the run of "
            f"{run.config.layout.dimension}; {remedy}"
        )
    return index


def write_index(
    version: Path, index: Index, sums: Mapping[str, str], store: StoreCard | None = None
) -> Card:
    """Write an index into a sealed version that has none, and seal it with it.

    Args:
        version: Folder of the version.
        index: Index of all movies of the run, by number.
        sums: What the version was sealed with.
        store: Collection of a vector store that holds the index too, if one does.
    """
    (version / INDEX).mkdir()
    card = save_index(version / INDEX, index, model_of(sums), store)
    write_sums(version, sums)
    return card


def describe_run(run: Run) -> dict[str, object]:
    """Return what a run is, for people and programs."""
    config = run.config
    ranking = config.ranking
    return {
        "schema": SCHEMA,
        "run": str(run.home),
        "created": config.created,
        "data": config.data,
        "pairs": list(config.layout.names),
        "preset": config.preset,
        "seed": config.seed,
        "training_seconds": config.training_seconds,
        "rates": bool(config.layout.rating),
        "validation_rmse": validation_rmse(run.folder),
        "ranks_by": RankBy.RATING if ranking is None else ranking.rank_by,
        "users": len(run.users),
        "movies": len(run.catalogue),
        "ratings": len(run.histories.movies),
        "scale": str(config.scale),
        "index": _describe_index(run),
    }


def validation_rmse(version: Path) -> float | None:
    """Return the error of a version on its validation rows; None where it was not measured.

    Raises:
        RunError: The file of its metrics is damaged.
    """
    with readable(version / METRICS):
        metrics = json.loads((version / METRICS).read_text(encoding="utf-8"))
        rmse: float | None = metrics["validation_rmse"]
    return rmse


def _describe_index(run: Run) -> dict[str, object] | None:
    """Return what the index is and whether it is of this model; None where there is none."""
    try:
        card, store = read_card(run.folder / INDEX), read_store(run.folder / INDEX)
    except ValueError:
        return None
    return {
        "kind": card.kind,
        "movies": card.count,
        "dimension": card.dimension,
        "stale": card.source != run.model,
        **({} if store is None else {"store": store.address, "collection": store.collection}),
    }


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
    return read_config(version).created
