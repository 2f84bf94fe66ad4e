"""What the log says of movies, laid over the snapshot of a run: added, changed, hidden, removed."""

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.search import Index
from retrieval.data import columns
from retrieval.data.attributes import AttributeColumns, cell_of
from retrieval.data.catalogue import Catalogue, Movie
from retrieval.data.history import kept_events
from retrieval.data.vocabulary import UNKNOWN, Id, id_of
from retrieval.errors import RequestError, shown
from retrieval.pairs.bayesian.tower import NAME
from retrieval.pairs.protocol import UserVectors
from retrieval.run.folder import Run, open_index
from retrieval.service.live import LiveEvents
from retrieval.service.log import Entry, Kind
from retrieval.serving.encoder import questions_of
from retrieval.serving.new_movies import (
    MovieFolding,
    content_of,
    content_vectors,
    new_movie_variance,
    new_movie_vectors,
)
from retrieval.serving.snapshot import ServingSnapshot
from retrieval.serving.users import one_user

# Facts of which a movie that is put has those that are given, and no others.
WHOLE = (columns.TITLE, columns.YEAR, columns.GENRES)

MOVIES = frozenset({Kind.MOVIE, Kind.HIDE, Kind.SHOW, Kind.REMOVE})


class Shelf(StrEnum):
    """Where a movie is."""

    LISTED = "listed"
    HIDDEN = "hidden"  # no list shows it, everything else does
    REMOVED = "removed"  # nothing shows it, though histories keep it


@dataclass(frozen=True)
class LoggedMovies:
    """What the log says of movies, by their ids as texts, in its order."""

    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    shelves: Mapping[str, Shelf] = field(default_factory=dict)
    # When commands last moved movies in the run, in seconds: what the log says before is void.
    moves: Mapping[str, float] = field(default_factory=dict)

    def with_entries(self, entries: Iterable[Entry]) -> "LoggedMovies":
        """Return what the log says after more of its entries, all of them about movies."""
        facts, shelves = dict(self.facts), dict(self.shelves)
        for entry in entries:
            movie = entry.movie_id or ""
            if entry.kind is Kind.MOVIE:
                facts[movie] = dict(entry.body or {})
            if entry.received < int(self.moves.get(movie, 0)):  # the log has whole seconds
                continue
            match entry.kind:
                case Kind.MOVIE:
                    if shelves.get(movie) is Shelf.REMOVED:
                        shelves[movie] = Shelf.LISTED
                case Kind.HIDE:
                    shelves[movie] = Shelf.HIDDEN
                case Kind.REMOVE:
                    shelves[movie] = Shelf.REMOVED
                case _:
                    shelves[movie] = Shelf.LISTED
        return replace(self, facts=facts, shelves=shelves)


@dataclass(frozen=True)
class Overlay:
    """A snapshot of a run with what the log says of movies.

    Args:
        snapshot: What answers.
        new_movies: Facts of the movies that the run does not have, by number.
    """

    snapshot: ServingSnapshot
    new_movies: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)  # facts, by number

    def shelf(self, number: int) -> Shelf:
        """Return where a movie is, given by number."""
        if self.snapshot.run.removed[number]:
            return Shelf.REMOVED
        return Shelf.HIDDEN if self.snapshot.run.hidden[number] else Shelf.LISTED


def overlaid(base: ServingSnapshot, logged: LoggedMovies) -> Overlay:
    """Lay what the log says of movies over the snapshot of a run.

    A movie that the run has keeps its vector until the next training, whatever its facts are now; a
    new one gets the vector that its facts make likely. Facts that the log took from another run,
    with other attributes, are read as far as they fit.

    Args:
        base: Snapshot as it was loaded.
        logged: What the log says.
    """
    run = base.run
    vocabulary = run.catalogue.vocabulary
    by_id = {id_of(movie, vocabulary): facts for movie, facts in logged.facts.items()}
    new, changed = {}, {}
    movies = list(run.catalogue.movies)
    for movie, facts in by_id.items():
        if movie is None:
            continue
        number = vocabulary.number(movie)
        if number == UNKNOWN:
            new[movie] = facts
        else:
            movies[number] = movie_of(movie, facts)
            fitting = _fitting(run, facts)
            changed[number] = {
                name: fact for name, fact in fitting.items() if name in facts or name in WHOLE
            }
    attributes = run.attributes.changed(changed)
    snapshot = _extended(base, movies, attributes, new) if by_id else base
    new_movies = dict(enumerate(new.values(), start=len(run.catalogue)))
    return shelved(base, Overlay(snapshot, new_movies), logged)


def moved(
    overlay: Overlay, folding: MovieFolding, live: LiveEvents, movies: Collection[int]
) -> Overlay:
    """Move the vectors of new movies to where their first ratings say.

    Args:
        overlay: What answers.
        folding: Moves them.
        live: Who rated them how.
        movies: Their numbers.
    """
    snapshot = overlay.snapshot
    encoder, run = snapshot.encoder, snapshot.run
    vectors, variances = [], encoder.further.copy()
    first = len(run.catalogue) - len(variances)
    for number in movies:
        raters = live.raters(number)
        content_vector = content_vectors(run, content_of(run, [overlay.new_movies[number]]))[0]
        made = folding.moved(
            content_vector, _known_raters(snapshot, live, raters), _ratings(raters)
        )
        vectors.append(made.vector)
        variances[number - first] = made.variance
    index = Index(snapshot.index)
    index.put(np.array(list(movies)), np.stack(vectors))
    changed = replace(snapshot, index=index.snapshot, encoder=encoder.with_variances(variances))
    return replace(overlay, snapshot=changed)


def _known_raters(
    snapshot: ServingSnapshot, live: LiveEvents, raters: Mapping[Id, float]
) -> UserVectors:
    """Return users as the Bayesian user tower knows them by the movies that training knew.

    What they said of new movies is to move those, and would count twice.
    """
    run, tower = snapshot.run, snapshot.encoder.tower(NAME)
    first = len(run.catalogue) - run.catalogue.added
    said = []
    for user in raters:
        asking = one_user(run, live.asking(user, run), None, snapshot.histories)
        histories = kept_events(asking.histories, asking.histories.movies < first)
        question = questions_of(asking._replace(histories=histories), np.zeros(1, np.int64), None)
        said.append(tower.encode(question.questions))
    return UserVectors(*(np.concatenate(column) for column in zip(*said, strict=True)))


def _ratings(raters: Mapping[Id, float]) -> NDArray[np.float64]:
    return np.array(list(raters.values()))


def movie_of(movie: Id, facts: Mapping[str, Any]) -> Movie:
    """Return a movie as people see it."""
    return Movie(
        movie,
        str(facts.get(columns.TITLE, movie)),
        facts.get(columns.YEAR),
        tuple(facts.get(columns.GENRES) or ()),
    )


def _extended(
    base: ServingSnapshot,
    movies: list[Movie],
    attributes: AttributeColumns,
    new: Mapping[Id, Mapping[str, Any]],
) -> ServingSnapshot:
    """Return a snapshot with other facts of its movies, and with new ones at the end."""
    run = base.run
    described = [_fitting(run, facts) for facts in new.values()]
    count = len(movies)
    movies += [movie_of(movie, facts) for movie, facts in new.items()]
    catalogue = Catalogue(movies, run.catalogue.added + len(new))
    if not new:
        return replace(base, run=replace(run, catalogue=catalogue, opened=attributes))
    content = content_of(run, list(new.values()))
    vectors = new_movie_vectors(run, content)
    # An approximate index that is mapped from its file takes no more vectors.
    fixed = base.index.backend.fixed
    index = open_index(run, mapped=False) if fixed else Index(base.index)
    index.put(np.arange(count, len(movies)), vectors)
    grown = replace(
        run,
        catalogue=catalogue,
        added=np.vstack([run.added, vectors]) if len(run.added) else vectors,
        hidden=np.append(run.hidden, np.zeros(len(new), bool)),
        removed=np.append(run.removed, np.zeros(len(new), bool)),
        opened=attributes.extended(described),
    )
    variances = np.full(len(new), new_movie_variance(run))
    encoder = base.encoder.with_movies(grown, content, variances)
    return replace(base, run=grown, index=index.snapshot, encoder=encoder)


def _fitting(run: Run, facts: Mapping[str, Any]) -> dict[str, object]:
    """Return the facts that fit the attributes of a run."""
    fitting = {}
    for attribute in run.attributes.attributes:
        with suppress(RequestError):
            cell_of(attribute, facts.get(attribute.name))
            fitting[attribute.name] = facts.get(attribute.name)
    return fitting


def shelved(base: ServingSnapshot, overlay: Overlay, logged: LoggedMovies) -> Overlay:
    """Leave out of lists what is hidden or removed.

    Args:
        base: Snapshot as it was loaded.
        overlay: What answers.
        logged: What the log says.
    """
    run = overlay.snapshot.run
    vocabulary = run.catalogue.vocabulary
    hidden, removed = np.zeros((2, len(run.catalogue)), dtype=bool)
    hidden[: len(base.run.hidden)] = base.run.hidden
    removed[: len(base.run.removed)] = base.run.removed
    for movie, shelf in logged.shelves.items():
        known = id_of(movie, vocabulary)
        number = UNKNOWN if known is None else vocabulary.number(known)
        if number != UNKNOWN:
            hidden[number] = shelf is not Shelf.LISTED
            removed[number] = shelf is Shelf.REMOVED
    snapshot = overlay.snapshot
    if not (np.array_equal(hidden, run.hidden) and np.array_equal(removed, run.removed)):
        changed = replace(run, hidden=hidden, removed=removed, opened=run.attributes)
        snapshot = replace(snapshot, run=changed)
    return replace(overlay, snapshot=snapshot)


def unlisted(movie: Id) -> RequestError:
    """Return the error of a movie that was removed."""
    return RequestError(f"movie {shown(movie)} was removed; put it again with its facts")
