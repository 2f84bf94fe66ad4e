"""From a run to its index, and movies added to both."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from index.kinds import Kind
from index.search import Index
from index.store import Card, read_card, save_index
from index.tuning import SMALL, Questions, Trial, tune
from retrieval import columns
from retrieval.audience import many_people
from retrieval.catalogue import Catalogue, write_catalogue
from retrieval.choices import Towers
from retrieval.encoder import Encoder
from retrieval.errors import RequestError, RunError
from retrieval.files import new_folder, sha256
from retrieval.pipeline import listed
from retrieval.run import (
    ADDED,
    BAYESIAN,
    CONTENT,
    INDEX,
    MANIFEST,
    MOVIES,
    Run,
    RunConfig,
    open_index,
    open_run,
    seal,
)
from retrieval.towers.bayesian import load_bayesian, save_bayesian, with_movies
from retrieval.towers.content import load_describer
from retrieval.training.pairs import (
    load_ensemble,
    load_pair,
    movie_vectors,
    new_movie_vectors,
)
from retrieval.vocabulary import UNKNOWN

# Users whose lists tell one kind of index from another, and how long the lists are.
USERS, K = 400, 20


class Built(NamedTuple):
    """An index that was built, and what it was chosen from."""

    card: Card
    trials: list[Trial]  # that of the chosen one first; none where there was no choice


def build_index(
    folder: Path,
    kind: Kind | None = None,
    target: float = 0.99,
    report: Callable[[Trial], None] = lambda _: None,
) -> Built:
    """Embed the whole catalogue of a run and index it; an index that was there is replaced.

    Args:
        folder: Of the run.
        kind: Of the index; None is the fastest that finds enough, exact if there are few movies.
        target: What an approximate kind must find of what is exactly the best for users of the
            run, from 0 to 1.
        report: Called with each kind and effort that was tried.

    Raises:
        RunError: The run is missing or damaged.
        RequestError: An impossible target.
    """
    check_target(target)
    run = open_run(folder)
    ids, vectors = run.catalogue.vocabulary.ids, _vectors(run)
    if kind is Kind.EXACT or (kind is None and len(ids) < SMALL):
        return Built(_save(run, Index.build(ids, vectors)), [])
    kinds = tuple(Kind) if kind is None else (kind,)
    tuned = tune(ids, vectors, questions(run), target, kinds, report)
    return Built(_save(run, tuned.chosen), tuned.trials)


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
    audience, rows = many_people(run, users, {})
    rating = encoder.encode(audience, rows, None).vectors
    queries = np.empty_like(rating)
    rankings = np.arange(len(rows)) // 2 % len(encoder.rankings)
    for place, rank_by in enumerate(encoder.rankings):
        own = rankings == place
        queries[own] = encoder.queries(audience, rows[own], None, rating[own], rank_by)
    ends = audience.histories.offsets
    seen = [audience.histories.movies[ends[row] : ends[row + 1]] for row in rows]
    return Questions(queries, K, [run.catalogue.vocabulary.ids[movies] for movies in seen])


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
    run = open_run(folder)
    index, kind = _index_of(run), _kind_of(run)
    unknown = run.catalogue.vocabulary.numbers(movies[columns.MOVIE_ID]) == UNKNOWN
    fresh = movies[unknown]
    if fresh.empty:
        if index is None:
            build_index(folder, kind)
        return 0
    content = load_describer(folder / CONTENT).describe(fresh)
    parts = []
    if Towers.NEURAL in run.config.towers:
        parts.append(_with_offset(new_movie_vectors(load_pair(folder, run.config), content)))
    with new_folder(folder) as partial:
        for path in folder.iterdir():
            if path.is_file():
                shutil.copyfile(path, partial / path.name)
        if Towers.BAYESIAN in run.config.towers:
            pair = with_movies(load_bayesian(folder / BAYESIAN), content.matrix())
            save_bayesian(partial / BAYESIAN, pair)
            parts.append(_with_offset(pair.movies[len(run.catalogue) :]))
        if Towers.SEQUENCE in run.config.towers:
            parts.append(new_movie_vectors(load_ensemble(folder), content))
        vectors = _as_unrated(run.config, np.hstack(parts))
        added = np.vstack([run.added, vectors]) if len(run.added) else vectors
        np.save(partial / ADDED, added)
        everything = [*run.catalogue.movies, *listed(fresh)]
        write_catalogue(partial / MOVIES, Catalogue(everything, len(added)))
        seal(partial)
        if index is not None:
            index.put(fresh[columns.MOVIE_ID].to_numpy(), vectors)
            (partial / INDEX).mkdir()
            save_index(partial / INDEX, index, sha256(partial / MANIFEST))
    if index is None:
        build_index(folder, kind)
    return len(fresh)


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


def _save(run: Run, index: Index) -> Card:
    with new_folder(run.folder / INDEX) as partial:
        return save_index(partial, index, run.model)


def _vectors(run: Run) -> NDArray[np.float32]:
    """Return the vectors of the whole catalogue, the pairs' parts joined: `(M, D)`."""
    vectors = np.hstack([_movie_vectors(run, towers) for towers in run.config.towers])
    rated = np.bincount(run.histories.movies, minlength=len(vectors)) > 0
    vectors[~rated] = _as_unrated(run.config, vectors[~rated])
    return np.vstack([vectors, run.added]) if len(run.added) else vectors


def _as_unrated(config: RunConfig, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return joined vectors `(A, D)` of movies without ratings, with what their parts count."""
    scaled, start, blend = vectors.copy(), 0, config.blend
    rating = [towers for towers in config.towers if towers is not Towers.SEQUENCE]
    for place, towers in enumerate(rating):
        end = start + config.widths[place]
        scaled[:, start:end] *= np.float32(blend.unrated_factors[place])
        scaled[:, end - 1] = blend.unrated_offset_factors[place] - 1
        if towers is Towers.BAYESIAN:
            scaled[:, end - 2] += np.float32(blend.unrated_shift)
        start = end
    return scaled


def _with_offset(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return vectors `(M, D)` with a component that meets users' offsets, for `_as_unrated`."""
    return np.pad(vectors, ((0, 0), (0, 1)))


def _movie_vectors(run: Run, towers: Towers) -> NDArray[np.float32]:
    match towers:
        case Towers.NEURAL:
            return _with_offset(movie_vectors(load_pair(run.folder, run.config)))
        case Towers.BAYESIAN:
            vectors = load_bayesian(run.folder / BAYESIAN).movies
            return _with_offset(vectors[: -run.catalogue.added or None])
        case Towers.SEQUENCE:
            return movie_vectors(load_ensemble(run.folder))
