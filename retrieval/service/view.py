"""What answers one request: one snapshot of a run, and the log as it was when the request came."""

import time
from collections import OrderedDict
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from threading import Lock
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from index.neighbours import NO_ID
from retrieval.data.catalogue import Catalogue, Movie
from retrieval.data.vocabulary import Id, Vocabulary, id_of
from retrieval.errors import RequestError, shown
from retrieval.options import RankBy
from retrieval.run.folder import Run
from retrieval.run.stores import is_away
from retrieval.service.catalogue import LoggedMovies, Overlay, Shelf, unlisted
from retrieval.service.live import NO_DEEDS, Deeds, LiveEvents, before, one_by_one
from retrieval.service.log import Kind
from retrieval.service.settings import ServiceSettings
from retrieval.serving.arguments import checked_id, checked_time
from retrieval.serving.explanation import effects_of, explain
from retrieval.serving.filters import Filter
from retrieval.serving.lists import ListQueries, best_of, encode_lists, list_options
from retrieval.serving.new_movies import MovieFolding
from retrieval.serving.predictions import Predictions, check_rates, judged, scores_of
from retrieval.serving.recommender import Recommender
from retrieval.serving.results import Explanation, Rating, Similars
from retrieval.serving.snapshot import ServingSnapshot
from retrieval.serving.stopwatch import StageTimes, lap
from retrieval.serving.users import Person, QueryUsers, one_user


class Moment(StrEnum):
    """When a list without a time is asked."""

    NOW = "now"
    COMING_BACK = "coming-back"  # before the user comes back, whenever that is
    IN_SITTING = "in-sitting"  # in the sitting of the last event


# Movies of a list, where nobody says how many.
USUAL_MOVIES = 20

# Seconds without an event after which a user's list need not be as of just now, and how many times
# as long it may then be as of one moment.
DAY, CALM = 24 * 3600, 12

# Movies of a list that takes no longer than others and is kept: more take seconds, and megabytes.
MOST_QUICK = 100

# Lists of different length that are kept of one user.
MOST_LISTS = 3

# Events, the latest ones, that reasons are looked for among.
REASONED = 50


class Reason(NamedTuple):
    """One event that speaks for a movie of a list."""

    movie: Movie
    rating: float | None  # None where nothing is rated
    effect: float  # what the event adds to the score that ranks


class ListedMovie(NamedTuple):
    """One movie of a list."""

    rank: int  # from 1
    movie: Movie
    score: float
    rating: float | None  # where a pair predicts ratings
    deviation: float | None  # standard deviation of the true rating around it, if that is known
    reasons: tuple[Reason, ...]  # the strongest first


@dataclass(frozen=True, eq=False)
class Listed:
    """A list, and what it is a list of.

    Args:
        known: Whether anything is known of the user.
        at: Moment that it is made for, in seconds.
        rank_by: Score that ranks.
        rows: The movies, the best first.
    """

    known: bool
    at: int | None
    rank_by: RankBy
    rows: tuple[ListedMovie, ...]

    @cached_property
    def movies(self) -> tuple[Id, ...]:
        """Ids of the movies."""
        return tuple(row.movie.id for row in self.rows)


class HistoryRow(NamedTuple):
    """One event of a user."""

    movie: Movie
    kind: Kind
    rating: float | None
    timestamp: int  # seconds


class MovieFacts(NamedTuple):
    """One movie, and what is known of it."""

    movie: Movie
    attributes: dict[str, object]
    shelf: Shelf
    ratings: int  # events of it
    mean: float | None  # rating; None where nothing is rated


class Present(NamedTuple):
    """The moment that is the present for one user."""

    at: int  # seconds
    until: float  # the monotonic second after which another moment has come


class EncodedUser(NamedTuple):
    """A user's state, as of one moment."""

    deeds: Deeds  # what the log had of the user
    at: int | None
    until: float  # the monotonic second after which another moment has come
    queries: ListQueries
    made: dict[int, tuple[Overlay, Listed]]  # lists by their length, and the movies they are of

    def holds(self, deeds: Deeds) -> bool:
        """Return whether it still is the state of a user, of whom the log now has these."""
        return self.deeds is deeds and time.monotonic() <= self.until

    def list_of(self, k: int, overlay: Overlay) -> Listed | None:
        """Return the list of so many movies that is kept, if its movies are still those."""
        kept = self.made.get(k)
        return kept[1] if kept is not None and kept[0] is overlay else None

    def keep(self, k: int, overlay: Overlay, made: Listed) -> None:
        """Keep a list, and let go of the oldest one of another length if there are many."""
        if k not in self.made and len(self.made) >= MOST_LISTS:
            self.made.pop(next(iter(self.made)), None)
        self.made[k] = overlay, made


class Cache:
    """The states of the users who asked last, for any number of threads."""

    def __init__(self, most: int) -> None:
        self.most, self._kept = most, OrderedDict[tuple[object, ...], EncodedUser]()
        self._changing = Lock()

    def get(self, key: tuple[object, ...]) -> EncodedUser | None:
        """Return what is kept under a key; None is nothing."""
        with self._changing:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def peek(self, key: tuple[object, ...]) -> EncodedUser | None:
        """Return what is kept under a key, without the key counting as asked for."""
        with self._changing:
            return self._kept.get(key)

    def lists_of(self, user: Id) -> list[tuple[Moment, RankBy, list[int]]]:
        """Return for when, by what ranked and how long the lists of a user are kept."""
        with self._changing:
            return [
                (when, rank_by, list(kept.made))
                for when in Moment
                for rank_by in RankBy
                if (kept := self._kept.get((user, when, rank_by))) is not None
            ]

    def put(self, key: tuple[object, ...], user: EncodedUser) -> None:
        """Keep a state, and let go of the one that was asked for longest ago if there are many."""
        with self._changing:
            self._kept[key] = user
            self._kept.move_to_end(key)
            if len(self._kept) > self.most:
                self._kept.popitem(last=False)


@dataclass(frozen=True)
class State:
    """What answers: a snapshot, what the log says beside it, and how far the log was read."""

    base: ServingSnapshot  # as loaded
    overlay: Overlay
    logged: LoggedMovies
    live: LiveEvents
    folding: MovieFolding | None  # moves new movies with their first ratings
    sequence: int
    cache: Cache

    @cached_property
    def ratings(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """How many events of each movie the run stores, and the sum of their ratings, `(M,)`."""
        histories, count = self.base.run.histories, len(self.base.run.catalogue)
        counts = np.bincount(histories.movies, minlength=count)
        sums = np.bincount(histories.movies, histories.ratings, minlength=count)
        return np.asarray(counts, np.int64), np.asarray(sums, np.float64)


@dataclass(frozen=True)
class View:
    """What answers one request: one snapshot, and the log as it was when the request came."""

    state: State
    settings: ServiceSettings
    stale: bool  # whether the log could not be asked what it has by now

    @property
    def snapshot(self) -> ServingSnapshot:
        """The snapshot, with the movies of the log."""
        return self.state.overlay.snapshot

    @property
    def store_away(self) -> bool:
        """Whether the vector store of the run is away, so that vectors of this process answer."""
        return is_away(self.snapshot.index)

    @property
    def catalogue(self) -> Catalogue:
        """The movies."""
        return self.snapshot.run.catalogue

    @property
    def version(self) -> str:
        """Name of the version of the run."""
        return self.snapshot.run.folder.name

    @property
    def created(self) -> str:
        """When the version was trained, as ISO 8601 has it."""
        return self.snapshot.run.config.created

    def user_id(self, text: Id) -> Id:
        """Return the id of a user, known or not, as the run has ids.

        Raises:
            RequestError: It can be nobody's.
        """
        return as_id(text, "user", self.snapshot.run.users)

    def known(self, user: Id) -> bool:
        """Return whether anything is known of a user."""
        return self.state.live.is_known(self.user_id(user))

    def recommend(
        self,
        user: Id | Person,
        k: int = 20,
        *,
        at: int | None = None,
        when: Moment = Moment.NOW,
        rank_by: RankBy | None = None,
        filters: Filter | None = None,
        diversity: float = 0.0,
        include_seen: bool = False,
        reasons: int = 0,
        timer: StageTimes | None = None,
    ) -> Listed:
        """Return what a user, or a person, may want to watch.

        Args:
            user: Id, known or not, or a person.
            k: Length of the list.
            at: Time of asking, in seconds; None is what `when` says.
            when: Without a time, the present moment, before the user comes back, whenever that is,
                or the sitting of the last event.
            rank_by: Score that ranks; None is what validation chose.
            filters: Condition on movies; None lets all through.
            diversity: Weight of unlikeness, from 0 to 1.
            include_seen: Whether movies of the history may come back.
            reasons: How many events are named that speak for each movie.
            timer: Stage times of the request, if anybody measures.

        Raises:
            RequestError: One of them is impossible, or the run's pairs cannot rank so.
        """
        snapshot, overlay = self.snapshot, self.state.overlay
        options = list_options(
            snapshot,
            k,
            rank_by,
            filters,
            diversity,
            include_seen=include_seen,
            in_sitting=when is Moment.IN_SITTING and at is None,
        )
        encoded_user, known = self._encoded_user(user, at, when, options.rank_by, timer)
        given = isinstance(user, Person) or at is not None or filters is not None
        plain = not (given or diversity or include_seen or reasons or k > MOST_QUICK)
        if plain:  # whoever asks twice gets the same list, until something happens
            kept = encoded_user.list_of(k, overlay)
            if kept is not None:
                return kept
        found = best_of(snapshot, encoded_user.queries, options)
        lap(timer, "search")
        there = found.ids[0] != NO_ID
        numbers = found.ids[0, there]
        ratings: list[float | None] = [None] * len(numbers)
        deviations = ratings
        if snapshot.encoder.rates:
            predicted = self._predicted(encoded_user, numbers)
            ratings = predicted.ratings.tolist()
            if predicted.deviations is not None:
                deviations = predicted.deviations.tolist()
        lap(timer, "ratings")
        why = self._reasons(user, encoded_user.at, numbers, options.rank_by, reasons)
        columns = (numbers.tolist(), found.scores[0, there].tolist(), ratings, deviations, why)
        movies = self.catalogue.movies
        rows = tuple(
            ListedMovie(rank, movies[number], *facts)
            for rank, (number, *facts) in enumerate(zip(*columns, strict=True), start=1)
        )
        made = Listed(known, encoded_user.at, options.rank_by, rows)
        if plain:
            encoded_user.keep(k, overlay, made)
        lap(timer, "titles")
        return made

    def make_ready(self, user: Id) -> bool:
        """Make the usual list of a user before anybody asks; return whether there was none.

        Args:
            user: Id of a user of the run, who may be forgotten by now.
        """
        rank_by = self.snapshot.encoder.ranking(None)
        k = min(USUAL_MOVIES, len(self.catalogue))
        known, deeds = self.state.live.known(user)
        kept = self.state.cache.peek((user, Moment.NOW, rank_by))
        ready = kept is not None and kept.holds(deeds) and kept.list_of(k, self.state.overlay)
        if not known or ready:
            return False
        self.recommend(user, k)
        return True

    def prepare(self, user: Id) -> None:
        """Bring up to date what is kept of a user who did something, before the next question.

        Args:
            user: Id of whom the log has news of.
        """
        for when, rank_by, lengths in self.state.cache.lists_of(user):
            for k in lengths:
                self.recommend(user, k, when=when, rank_by=rank_by)

    def rate(
        self, user: Id | Person, movie: Id, *, at: int | None = None, when: Moment = Moment.NOW
    ) -> Rating:
        """Return how a user would rate a movie: the number that lists show beside it.

        Args:
            user: Id, known or not, or a person.
            movie: Id of a movie.
            at: Time of asking, in seconds; None is what `when` says.
            when: As `recommend` takes it.

        Raises:
            RequestError: An unknown movie, or a run whose pairs predict no ratings.
        """
        snapshot, number = self.snapshot, self.movie_number(movie)
        check_rates(snapshot.encoder)
        encoded_user, _ = self._encoded_user(user, at, when, snapshot.encoder.ranking(None))
        made = self._predicted(encoded_user, np.array([number]))
        deviation = None if made.deviations is None else float(made.deviations[0])
        return Rating(self.catalogue.movies[number], float(made.ratings[0]), deviation)

    def explain(
        self,
        user: Id | Person,
        movie: Id,
        *,
        by: RankBy | None = None,
        at: int | None = None,
    ) -> Explanation:
        """Return which events of the history carry a rating, or the score that ranks.

        Args:
            user: Id, known or not, or a person.
            movie: Id of a movie.
            by: Explain the rating, or the score that ranks by this; None is what lists are ranked
                by.
            at: Time of asking, in seconds; None is now.

        Raises:
            RequestError: An unknown movie, or a ranking that the run's pairs cannot give.
        """
        number = self.movie_number(movie)
        encoded_user, _ = self._encoded_user(
            user, at, Moment.NOW, self.snapshot.encoder.ranking(None)
        )
        named = self.catalogue.movies[number].id
        return explain(self.snapshot, self._person(user), named, by=by, at=encoded_user.at)

    def history(self, user: Id) -> list[HistoryRow]:
        """Return the events of a user, the latest first; none of one who is not known."""
        live, movies = self.state.live, self.catalogue.movies
        user = self.user_id(user)
        stored, rated = live.stored(user), self.snapshot.run.config.scale.tells_taste
        kind = Kind.RATING if rated else Kind.PLAY
        rows = [
            HistoryRow(movies[movie], kind, rating if rated else None, timestamp)
            for movie, rating, timestamp in zip(
                *(column.tolist() for column in stored), strict=True
            )
        ]
        rows += [
            HistoryRow(movies[event.movie], event.kind, event.rating, event.timestamp)
            for event in one_by_one(before(live.deeds(user), len(movies)))
        ]
        return sorted(rows, key=lambda row: row.timestamp)[::-1]

    def has_event(self, user: Id, movie: Id, timestamp: int) -> bool:
        """Return whether a user has an event of a movie of the catalogue at a time, in seconds."""
        live, number = self.state.live, self.catalogue.vocabulary.number(movie)
        stored, deeds = live.stored(user), live.deeds(user)
        return bool(
            ((deeds["movie"] == number) & (deeds["timestamp"] == timestamp)).any()
            or ((stored.movies == number) & (stored.timestamps == timestamp)).any()
        )

    def similar(self, movie: Id, k: int) -> Similars:
        """Return the movies whose vectors point most nearly the same way.

        Raises:
            RequestError: An unknown movie or an impossible k.
        """
        number = self.movie_number(movie)
        return Recommender(self.snapshot).similar(self.catalogue.movies[number].id, k)

    def search(self, text: str, limit: int) -> list[Movie]:
        """Return movies whose titles resemble a text, those that were removed left out."""
        return self.snapshot.run.search(text, limit)

    def movie_number(self, movie: Id) -> int:
        """Return the number of a movie, given by id.

        Raises:
            RequestError: There is no such movie, or it was removed.
        """
        number = self.catalogue.number(as_id(movie, "movie", self.catalogue.vocabulary))
        if self.snapshot.run.removed[number]:
            raise unlisted(movie)
        return number

    def movie(self, movie: Id) -> MovieFacts:
        """Return what is known of a movie.

        Raises:
            RequestError: There is no such movie, or it was removed.
        """
        number, run = self.movie_number(movie), self.snapshot.run
        counts, sums = self.state.ratings
        stored = number < len(counts)
        count, total = (int(counts[number]), float(sums[number])) if stored else (0, 0.0)
        more, more_total = self.state.live.rated(number)
        count, total = count + more, total + more_total
        rated = count and run.config.scale.tells_taste
        return MovieFacts(
            self.catalogue.movies[number],
            run.attributes.value(number),
            self.state.overlay.shelf(number),
            count,
            total / count if rated else None,
        )

    def _predicted(self, user: EncodedUser, movies: NDArray[np.int64]) -> Predictions:
        """Return how a user would rate movies, given by number, `(M,)`."""
        encoded, which = user.queries.encoded, np.zeros(len(movies), np.int64)
        scores = scores_of(self.snapshot, encoded, which, movies)
        return judged(self.snapshot.encoder, encoded, which, movies, scores)

    def _person(self, user: Id | Person) -> Id | Person:
        """Return the user of a question as the recommender takes it."""
        if isinstance(user, Person):
            return user
        return self.state.live.asking(self.user_id(user), self.snapshot.run)

    def _users(self, user: Id | Person, at: int | None) -> QueryUsers:
        snapshot = self.snapshot
        return one_user(snapshot.run, self._person(user), at, snapshot.histories)

    def _encoded_user(
        self,
        user: Id | Person,
        at: int | None,
        when: Moment,
        rank_by: RankBy,
        timer: StageTimes | None = None,
    ) -> tuple[EncodedUser, bool]:
        """Return a user's state, kept where nothing has changed since, and whether we know them."""
        at, live = checked_time(at), self.state.live
        if isinstance(user, Person) or at is not None:
            if at is None and when is Moment.NOW:
                at = self._moment(int(time.time())).at
            users = self._users(user, at)
            lap(timer, "history")
            known = not isinstance(user, Person) and self.known(user)
            queries = self._encode(users, at, when, rank_by, timer)
            return EncodedUser(NO_DEEDS, at, 0.0, queries, {}), known
        user = self.user_id(user)
        known, deeds = live.known(user)
        key = (user if known else None, when, rank_by)
        kept = self.state.cache.get(key)
        if kept is None or not kept.holds(deeds):
            moment = self._moment(live.last(user))
            asked = moment.at if when is Moment.NOW else None
            users = self._users(user, asked)
            lap(timer, "history")
            queries = self._encode(users, asked, when, rank_by, timer)
            kept = EncodedUser(deeds, asked, moment.until, queries, {})
            if live.known(user)[1] is deeds:  # else it may be of events that came meanwhile
                self.state.cache.put(key, kept)
        else:
            lap(timer, "history")
        return kept, known

    def _encode(
        self,
        users: QueryUsers,
        at: int | None,
        when: Moment,
        rank_by: RankBy,
        timer: StageTimes | None,
    ) -> ListQueries:
        times = None if at is None else np.array([at])
        return encode_lists(
            self.snapshot,
            users,
            np.zeros(1, np.int64),
            times,
            rank_by,
            in_sitting=when is Moment.IN_SITTING and at is None,
            timer=timer,
        )

    def _moment(self, last: int) -> "Present":
        """Return the present of a user: the same moment for a while, so that answers agree.

        Args:
            last: When the user did something last, in seconds.
        """
        now, grain = int(time.time()), self.settings.refresh_seconds
        if now - last > DAY:
            grain *= CALM
        # Never before what the user did, also where the clock is behind.
        return Present(max(now - now % grain, last), time.monotonic() + grain)

    def _reasons(
        self,
        user: Id | Person,
        at: int | None,
        movies: NDArray[np.int64],
        by: RankBy,
        count: int,
    ) -> list[tuple[Reason, ...]]:
        """Return for each of M movies the events that speak for it most."""
        if not count or not len(movies):
            return [()] * len(movies)
        users = self._users(user, at)
        events = users.histories
        if not len(events.movies):
            return [()] * len(movies)
        effects, places = effects_of(self.snapshot, users, movies, by, at, REASONED)
        rated = self.snapshot.run.config.scale.tells_taste
        if rated:  # nobody wants to watch a movie because of one that was a disappointment
            liked = events.ratings[places] >= events.ratings.mean()
            effects, places = effects[liked], places[liked]
        known = self.catalogue.movies
        found = []
        for column in effects.T:
            best = [row for row in np.argsort(-column, kind="stable")[:count] if column[row] > 0]
            found.append(
                tuple(
                    Reason(
                        known[events.movies[places[row]]],
                        float(events.ratings[places[row]]) if rated else None,
                        float(column[row]),
                    )
                    for row in best
                )
            )
        return found


def latest_users(run: Run, most: int) -> list[Id]:
    """Return the users who were here last, of those whose events a run stores, the last one first.

    Args:
        run: The run.
        most: How many are wanted at most.
    """
    ends = run.histories.offsets[1:]
    there = np.flatnonzero(ends > run.histories.offsets[:-1])
    order = np.argsort(-run.histories.timestamps[ends[there] - 1], kind="stable")[:most]
    found: list[Id] = run.users.ids[there[order]].tolist()
    return found


def as_id(given: Id, what: str, vocabulary: Vocabulary) -> Id:
    """Return an id from an address or a log, where whole numbers are texts too.

    Args:
        given: The id.
        what: Word for what has such ids.
        vocabulary: The ids of the run.

    Raises:
        RequestError: It is no id of the kind that the run has.
    """
    if isinstance(given, str) and not vocabulary.texts:
        number = id_of(given, vocabulary)
        if number is None:
            raise RequestError(f"{what} '{shown(given)}' is no id; {vocabulary.described()}")
        given = number
    return checked_id(given, what, vocabulary)
