"""From a run to its index, and movies added to both."""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from index.kinds import Kind
from index.search import Index
from index.store import Card, StoreCard, fingerprint, read_card
from index.stores.address import StoreAddress
from index.stores.backend import Connection
from index.stores.errors import StoreError
from index.stores.loading import connect, load
from index.stores.store import KINDS, Report
from index.stores.trials import StoreTrial, trials
from index.tuning import SMALL, WORTH_TRYING, Questions, Trial, tune
from retrieval.data import columns
from retrieval.data.attributes import AttributeColumns
from retrieval.data.catalogue import Catalogue, write_catalogue
from retrieval.data.listing import frame_of, listed, values_of
from retrieval.data.vocabulary import UNKNOWN
from retrieval.errors import RequestError, RunError
from retrieval.pairs.content import load_content
from retrieval.pairs.table import TOWER_PAIRS
from retrieval.pairs.training import SavedPair
from retrieval.run.config import RunConfig
from retrieval.run.folder import (
    ADDED,
    ATTRIBUTES,
    CONTENT,
    MOVIES,
    Run,
    open_index,
    open_run,
    open_version,
    write_index,
)
from retrieval.run.manifest import INDEX, checked_sums, seal, write_sums
from retrieval.run.stores import address_of, behind, collection_of, store_of
from retrieval.run.versions import Writer, current, writing
from retrieval.serving.arguments import checked_ids
from retrieval.serving.encoder import Encoder, questions_of
from retrieval.serving.users import many_users
from retrieval.storage.arrays import replace_array
from retrieval.storage.files import link_or_copy, new_file

STAGE = "building the index"

_log = logging.getLogger(__name__)

# Users whose lists tell one kind of index from another, and how long the lists are.
USERS, K = 400, 20


class Built(NamedTuple):
    """An index that was built, and what it was chosen from."""

    card: Card
    trials: list[Trial]  # that of the chosen one first; none where there was no choice
    store: StoreCard | None = None
    store_trials: tuple[StoreTrial, ...] = ()  # those of a graph in a store, the last one chosen


def build_index(
    folder: Path,
    kind: Kind | None = None,
    target: float = 0.99,
    report: Callable[[Trial], None] = lambda _: None,
    store: StoreAddress | None = None,
    loaded: Report = lambda _: None,
) -> Built:
    """Embed the whole catalogue of a run and index it; an index that was there is replaced.

    Args:
        folder: Of the run.
        kind: Of the index; None is the fastest that finds enough, exact if there are few movies.
        target: What an approximate kind must find of what is exactly the best for users of the
            run, from 0 to 1.
        report: Function that is called with each trial.
        store: Vector store that finds the candidates, if one does; the kind is then of what it
            holds.
        loaded: Function that is called with the number of vectors that are in the store so far.

    Raises:
        RunError: The run is missing or damaged, or somebody else is writing it; or the store cannot
            be used.
        RequestError: An impossible target, or a kind that no store has.
    """
    check_target(target)
    if store is not None and kind not in {None, *KINDS}:
        raise RequestError(f"a store has no index of kind {kind}; take {' or '.join(KINDS)}")
    current(folder)  # before anything is written beside what is no run
    with writing(folder) as writer, writer.new_version() as partial:
        version = current(folder)
        sums = checked_sums(version, index=False, whole=True)
        _carry_over(version, partial, sums)
        write_sums(partial, sums)
        if store is None:
            return index_version(partial, folder, kind, target, report)
        return _index_in_store(partial, folder, kind, target, store, loaded)


def load_into_store(folder: Path, card: StoreCard) -> None:
    """Load a run into the store that a version before it had.

    Where that fails, the log says why, and the run answers without the store.

    Args:
        folder: Of the run.
        card: Which collection that version had.

    Raises:
        RunError: There is no run.
    """
    current(folder)  # for its error
    try:
        build_index(folder, card.kind, store=address_of(card))
    except RunError as error:
        _log.warning("the run answers without its store: %s", error)


def _index_in_store(
    version: Path, home: Path, kind: Kind | None, target: float, store: StoreAddress, loaded: Report
) -> Built:
    """Index a version that is being written exactly, load it into a store, and seal it."""
    run = open_version(version, home)
    vectors = _vectors(run)
    if kind is None:
        kind = Kind.EXACT if len(vectors) < SMALL else Kind.HNSW
    index = Index.build(np.arange(len(vectors)), vectors)
    card = StoreCard(
        address=store.kept,
        collection=collection_of(store, home),
        fingerprint=fingerprint(index, kind),
        kind=kind,
    )
    connection = _load(store, card, index, loaded)
    tried: tuple[StoreTrial, ...] = ()
    if kind is Kind.HNSW:
        asked = questions(run)
        truth = index.search(asked.queries, asked.k, asked.excluded).ids
        behind_it = Index(behind(connection, index))
        tried = tuple(trials(store.engine, behind_it, asked, truth, target))
        index = index.with_parameters(tried[-1].parameters)
    return Built(write_index(version, index, run.sums, card), [], card, tried)


def _load(store: StoreAddress, card: StoreCard, index: Index, loaded: Report) -> Connection:
    """Load an index into a store.

    Raises:
        RunError: The store cannot be used.
    """
    connection = Connection(store, card.collection, card.fingerprint, card.kind)
    vectors = index.snapshot.local.vectors
    try:
        client = connect(store)
        load(client, card.collection, card.fingerprint, vectors, card.kind, loaded)
        client.close()
        connection.open()
    except StoreError as error:
        raise RunError(f"{error}; the run is as it was") from error
    return connection


def index_version(
    version: Path,
    home: Path,
    kind: Kind | None = None,
    target: float = 0.99,
    report: Callable[[Trial], None] = lambda _: None,
) -> Built:
    """Index a version that is being written, and seal it; see `build_index`.

    Args:
        version: Its folder; its other files are sealed.
        home: The folder of the run.
        kind: See `build_index`, likewise the others.
        target: See there.
        report: See there.
    """
    run = open_version(version, home)
    vectors = _vectors(run)
    numbers = np.arange(len(vectors))
    if kind is Kind.EXACT or (kind is None and len(vectors) < SMALL):
        built = Built(write_index(version, Index.build(numbers, vectors), run.sums), [])
    else:
        kinds = WORTH_TRYING if kind is None else (kind,)
        tuned = tune(numbers, vectors, questions(run), target, kinds, report)
        built = Built(write_index(version, tuned.chosen, run.sums), tuned.trials)
    return built


def check_target(target: float) -> None:
    """Raise a `RequestError` for a recall that cannot be reached, or always is."""
    if not 0 < target <= 1:
        raise RequestError(f"target recall is {target:g}; it must be above 0 and at most 1")


def questions(run: Run, count: int = USERS) -> Questions:
    """Return what users of a run, drawn at random, ask for: their lists without what they saw.

    Two users after the other ask for each ranking that the run has, so that either half of the
    questions holds all.
    """
    rng = np.random.default_rng(run.config.seed)
    users = rng.choice(run.users.ids, min(count, len(run.users)), replace=False)
    encoder = Encoder(run)
    known, rows = many_users(run, users, {})
    rating = encoder.encode(questions_of(known, rows, None)).vectors
    queries = np.empty_like(rating)
    rankings = np.arange(len(rows)) // 2 % len(encoder.rankings)
    for place, rank_by in enumerate(encoder.rankings):
        own = rankings == place
        asked = questions_of(known, rows[own], None)
        queries[own] = encoder.queries(asked, rating[own], rank_by)
    ends = known.histories.offsets
    seen = [known.histories.movies[ends[row] : ends[row + 1]] for row in rows]
    return Questions(queries, K, [movies.astype(np.int64) for movies in seen])


def add_movies(folder: Path, movies: pd.DataFrame) -> int:
    """Add movies that nobody has rated yet to a run and its index, without training again.

    Args:
        folder: Of the run, which is replaced when the new one is whole.
        movies: With the columns `columns.MOVIES`; those the run has are left as they are.

    Returns:
        How many were added.

    Raises:
        RunError: The run is missing or damaged.
        RequestError: The run's pair cannot tell anything of them.
    """
    current(folder)  # before anything is written beside what is no run
    with writing(folder) as writer:
        run = open_run(folder)
        index, kind = _index_of(run), _kind_of(run)
        fresh = _unknown(run.catalogue, movies)
        if fresh.empty and index is not None:
            return 0
        with writer.new_version() as partial:
            _carry_over(run.folder, partial, run.sums)
            vectors = _add(run, partial, fresh)
            sums = seal(partial)
            if index is None:
                index_version(partial, folder, kind)
                return len(fresh)
            index.put(len(run.catalogue) + np.arange(len(fresh)), vectors)
            write_index(partial, index, sums, _store_with(run, index))
    return len(fresh)


def _store_with(run: Run, index: Index) -> StoreCard | None:
    """Return the collection of a run's store after the index changed: it is loaded anew.

    Raises:
        RunError: The store cannot be used.
    """
    card = store_of(run)
    if card is None:
        return None
    digest = fingerprint(index, card.kind)
    if digest != card.fingerprint:
        card = replace(card, fingerprint=digest)
        _load(address_of(card), card, index, lambda _: None)
    return card


def added_before(home: Path) -> pd.DataFrame | None:
    """Return the movies that were added to a run since it was trained; None where there are none.

    Args:
        home: Folder of the run, where one is.
    """
    try:
        run = open_run(home)
    except RunError:
        return None
    return added_movies(run.catalogue, run.attributes) if run.catalogue.added else None


def added_movies(catalogue: Catalogue, attributes: AttributeColumns) -> pd.DataFrame:
    """Return the movies that were added, by what a run keeps of them: texts are not."""
    count, added = len(catalogue), catalogue.added
    return frame_of(catalogue.movies[count - added :], attributes, range(count - added, count))


def add_again(version: Path, home: Path, movies: pd.DataFrame) -> int:
    """Add movies to a version that is being written, which has no index yet, and seal it.

    Args:
        version: Its folder; its other files are sealed.
        home: Folder of the run.
        movies: With the columns `columns.MOVIES`; those that it has are left as they are.

    Returns:
        How many were added.
    """
    run = open_version(version, home)
    fresh = _unknown(run.catalogue, movies)
    _add(run, version, fresh)
    seal(version)
    return len(fresh)


def _unknown(catalogue: Catalogue, movies: pd.DataFrame) -> pd.DataFrame:
    """Return movies that a catalogue does not have, with ids of its kind.

    Raises:
        RequestError: Ids are texts, and those of the catalogue are not.
    """
    ids = checked_ids(movies[columns.MOVIE_ID].to_numpy(), "movie", catalogue.vocabulary)
    fresh: pd.DataFrame = movies.assign(movie_id=ids)[catalogue.vocabulary.numbers(ids) == UNKNOWN]
    return fresh


def _add(run: Run, version: Path, movies: pd.DataFrame) -> NDArray[np.float32]:
    """Add movies to a version that holds the files of a run; return their vectors `(A, D)`.

    Args:
        run: As it was.
        version: Folder of the new version; what does not change is there.
        movies: With the columns `columns.MOVIES`, none of them in the run.
    """
    if movies.empty:
        return np.zeros((0, run.config.layout.dimension), np.float32)
    content = load_content(run.folder / CONTENT).describe(movies)
    parts = [pair.add_movies(content, version) for pair in _saved(run)]
    vectors = _as_unrated(run.config, run.config.layout.join_movies(parts))
    added = np.vstack([run.added, vectors]) if len(run.added) else vectors
    replace_array(version / ADDED, added)
    attributes = run.attributes
    attributes = attributes.extended(values_of(movies, attributes.attributes))
    everything = [*run.catalogue.movies, *listed(movies)]
    replace_catalogue(version, Catalogue(everything, len(added)), attributes)
    return vectors


def replace_catalogue(version: Path, catalogue: Catalogue, attributes: AttributeColumns) -> None:
    """Write what a version says of movies anew; other versions may share its files."""
    for path in version.glob(f"{ATTRIBUTES}*"):
        path.unlink()
    attributes.save(version, ATTRIBUTES)
    with new_file(version / MOVIES) as partial:
        write_catalogue(partial, catalogue)


@contextmanager
def changed_version(writer: Writer, run: Run) -> Iterator[Path]:
    """Give a folder that holds the files of a run, for what changes none of its movies' vectors.

    When the block succeeds it is sealed, with the index that the run had, and answers.

    Args:
        writer: Who writes the run.
        run: As it was.
    """
    with _changed(run, writer.new_version()) as partial:
        yield partial


@contextmanager
def changed_kept_version(writer: Writer, run: Run) -> Iterator[Path]:
    """Do as `changed_version` with a version that is kept, whose place the new one takes.

    Args:
        writer: Who writes the run.
        run: The version as it was.
    """
    with _changed(run, writer.in_place_of(run.folder.name)) as partial:
        yield partial


@contextmanager
def _changed(run: Run, written: AbstractContextManager[Path]) -> Iterator[Path]:
    index = _index_of(run)
    with written as partial:
        _carry_over(run.folder, partial, run.sums)
        yield partial
        sums = seal(partial)
        if index is not None:
            write_index(partial, index, sums, _store_with(run, index))


def _carry_over(version: Path, partial: Path, names: Iterable[str]) -> None:
    """Take files of a version over into the next."""
    for name in names:
        link_or_copy(version / name, partial / name)


def _index_of(run: Run) -> Index | None:
    """Return the index of a run; None where it is missing, or was left behind by one killed."""
    try:
        return open_index(run, mapped=False)
    except RunError:
        return None


def _kind_of(run: Run) -> Kind | None:
    """Return of what kind the index of a run is, or was; None where nothing says."""
    try:
        return read_card(run.folder / INDEX).kind
    except ValueError:
        return None


def _vectors(run: Run) -> NDArray[np.float32]:
    """Return the vectors of the whole catalogue, the pairs' parts joined: `(M, D)`."""
    vectors = run.config.layout.join_movies([pair.movies() for pair in _saved(run)])
    rated = np.bincount(run.histories.movies, minlength=len(vectors)) > 0
    vectors[~rated] = _as_unrated(run.config, vectors[~rated])
    return np.vstack([vectors, run.added]) if len(run.added) else vectors


def _saved(run: Run) -> list[SavedPair]:
    """Open the pairs of a run in the order of their parts."""
    parts = run.config.parts
    return [TOWER_PAIRS[part.name].saved(run.folder, run.facts(part)) for part in parts]


def _as_unrated(config: RunConfig, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return joined vectors `(A, D)` of movies without ratings, with what their parts count."""
    blend = config.blend
    return config.layout.as_unrated(
        vectors, blend.unrated_factors, blend.unrated_offset_factors, blend.unrated_shift
    )
