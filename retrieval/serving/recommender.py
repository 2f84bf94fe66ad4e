"""Answers from a run: how a user would rate a movie, and what to watch next. Needs no torch."""

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from index.exact import inner_products
from index.neighbours import NO_ID, Neighbours
from index.search import Index, Selection
from index.snapshot import Snapshot
from retrieval.data.catalogue import Movie
from retrieval.data.times import NO_TIME
from retrieval.data.vocabulary import UNKNOWN
from retrieval.errors import RequestError, shown
from retrieval.options import RankBy
from retrieval.pairs.bayesian.tower import Encoded
from retrieval.run.folder import Run, open_index, open_version
from retrieval.run.versions import read
from retrieval.serving.arguments import (
    checked_count,
    checked_ids,
    checked_numbers,
    checked_time,
    checked_times,
)
from retrieval.serving.diversity import diversify
from retrieval.serving.encoder import Encoder
from retrieval.serving.explanation import Explanation, explain, vectors_of
from retrieval.serving.filters import Filter
from retrieval.serving.threads import search_alone
from retrieval.serving.users import (
    Audience,
    Event,
    Person,
    check_movies,
    enumerated,
    many_people,
    one_person,
    some,
)

_log = logging.getLogger(__name__)

Result = TypeVar("Result")

# Pairs rated together in a batch: bounds the memory for their vectors.
CHUNK = 65_536

# Users whose lists are made together: bounds the memory for their histories and lists.
USERS = 64

NOTHING_LEFT = "nothing is left to list: every movie is seen, or kept out by a filter"

# People whose ratings are encoded together.
PEOPLE = 4096

# More would only wait for each other.
MOST_THREADS = 1024

# Movies that a diverse list is chosen from, for each of its places.
CANDIDATES = 10


class Rating(NamedTuple):
    """The predicted rating of one movie by one user."""

    movie: Movie
    rating: float
    deviation: float | None  # standard deviation of the true rating around it, if that is known


class Ratings(NamedTuple):
    """The predicted ratings of Q pairs, and how sure they are where a Bayesian pair says so."""

    ratings: NDArray[np.float64]  # (Q,)
    deviations: NDArray[np.float64] | None  # (Q,) standard deviations of true ratings around them
    chances: NDArray[np.float64] | None  # (Q, L) of each of the link's stars


class Recommendation(NamedTuple):
    """One row of a top-k list."""

    rank: int  # from 1
    movie: Movie
    score: float
    rating: float | None  # where a pair predicts ratings


class Similar(NamedTuple):
    """One row of a list of similar movies."""

    rank: int  # from 1
    movie: Movie
    cosine: float


class TopK(NamedTuple):
    """Lists for Q users. Rows shorter than K end in `NO_ID`."""

    movie_ids: NDArray[np.int64]  # (Q, K)
    scores: NDArray[np.float64]  # (Q, K)
    ratings: NDArray[np.float64]  # (Q, K), NaN where no pair predicts ratings


class _Asked(NamedTuple):
    """What lists are wanted: the arguments of `Recommender.topk`, checked."""

    k: int
    rank_by: RankBy
    allowed: Selection | None  # what a filter lets through
    diversity: float
    include_seen: bool


class Recommender:
    """Answers questions from one run and its index, for any number of threads at once.

    What does not count as it was told (a rating of a movie that was added after training, a time of
    asking before all events) is a warning of the `retrieval` logger. A server, and whoever lets
    several threads share a batch, calls `threads.configure_threads`: nothing here sets how many
    threads a library uses.
    """

    def __init__(self, encoder: Encoder, index: Index, threads: int) -> None:
        self.encoder, self.index = encoder, index
        self.stopwatch = encoder.stopwatch
        self._threads = checked_count(threads, "threads", MOST_THREADS, "which is more than enough")

    @classmethod
    def load(cls, folder: Path | str, *, threads: int = 1) -> "Recommender":
        """Load a run.

        Args:
            folder: The run.
            threads: That share the answers to many questions; a single one is fastest alone.

        Raises:
            RunError: The run or its index is missing, damaged or stale.
        """
        home = Path(folder)

        def whole(version: Path) -> "Recommender":
            run = open_version(version, home)
            return cls(Encoder(run), open_index(run), threads)

        return read(home, whole)

    @property
    def run(self) -> Run:
        """What the answers come from."""
        return self.encoder.run

    def topk(
        self,
        user: int | Person,
        k: int = 20,
        *,
        at: int | None = None,
        rank_by: RankBy | None = None,
        wanted: Filter | None = None,
        diversity: float = 0.0,
        include_seen: bool = False,
    ) -> list[Recommendation]:
        """Return the k movies with the highest scores, or all that are left.

        Args:
            user: An id, or a person.
            k: From 1 to the size of the catalogue.
            at: The time of asking, in seconds; None is the time of the last event, and not told to
                the sequence pair.
            rank_by: What ranks the list; None is what validation chose.
            wanted: Which movies may come; None is all.
            diversity: From 0, the best by score, to 1, the least alike.
            include_seen: Whether movies of the history may come back.

        Raises:
            RequestError: An unknown user, movie or genre, an impossible k or diversity, or a
                ranking that the run's pairs cannot give.
        """
        at = checked_time(at)
        audience = one_person(self.run, user, at)
        times = None if at is None else np.array([at])
        asked = self._asked(k, rank_by, wanted, diversity, include_seen=include_seen)
        self.stopwatch.lap("history")
        found = self._topk(audience, np.zeros(1, np.int64), times, asked)
        there = found.movie_ids[0] != NO_ID
        catalogue, rates = self.run.catalogue, self.encoder.rates
        numbers = catalogue.vocabulary.numbers(found.movie_ids[0, there])
        if (numbers == UNKNOWN).any():  # put into the index, and not into the catalogue
            check_movies(self.run, found.movie_ids[0, there])
        rows = [
            Recommendation(rank, catalogue.movies[number], score, rating if rates else None)
            for rank, (number, score, rating) in enumerate(
                zip(
                    numbers.tolist(),
                    found.scores[0, there].tolist(),
                    found.ratings[0, there].tolist(),
                    strict=True,
                ),
                start=1,
            )
        ]
        if not rows:
            _log.warning("%s", NOTHING_LEFT)
        self.stopwatch.lap("titles")
        return rows

    def rate(self, user: int | Person, movie: int | str, *, at: int | None = None) -> Rating:
        """Return how a user would rate a movie, given by id or title.

        Raises:
            RequestError: An unknown user or movie.
        """
        asked, at = self.run.catalogue.named(movie), checked_time(at)
        times = None if at is None else np.array([at])
        audience = one_person(self.run, user, at)
        ratings = self._rate(audience, np.zeros(1, np.int64), np.array([asked.id]), times)
        deviation = None if ratings.deviations is None else float(ratings.deviations[0])
        return Rating(asked, float(ratings.ratings[0]), deviation)

    def similar(self, movie: int | str, k: int = 10) -> list[Similar]:
        """Return the movies whose vectors point most nearly the same way (cosine), bias left out.

        Raises:
            RequestError: An unknown movie or an impossible k.
        """
        asked = self.run.catalogue.named(movie)
        k = self._checked_k(k)
        catalogue, now = self.run.catalogue, self.index.snapshot
        vectors_of(now, np.array([asked.id]))
        ids, directions = now.ids, self.encoder.directions(now.vectors)
        lengths = np.linalg.norm(directions, axis=1)
        row = int(np.flatnonzero(ids == asked.id)[0])
        cosines = directions @ directions[row] / np.maximum(lengths * lengths[row], 1e-12)
        order = np.lexsort((ids, -cosines))
        return [
            Similar(rank, catalogue.movies[catalogue.number(int(ids[place]))], cosine)
            for rank, (place, cosine) in enumerate(
                [(place, float(cosines[place])) for place in order if place != row][:k], start=1
            )
        ]

    def explain(
        self,
        user: int | Person,
        movie: int | str,
        *,
        by: RankBy | None = None,
        at: int | None = None,
    ) -> Explanation:
        """Return which events of the history carry a movie's rating, or the score that ranks it.

        The answer is the number that `rate`, or the list that is ranked by it, shows. To leave an
        event out, whoever asks is taken as someone who tells all of the history anew; effects are
        differences between answers to such people, which for a known user are close to the answer
        shown, not the same.

        Args:
            user: An id, or a person.
            movie: An id or a title.
            by: Explain the rating, or the score that ranks by this; None is what lists are ranked
                by.
            at: The time of asking, in seconds; None is the time of the last event.

        Raises:
            RequestError: An unknown user or movie, or a ranking that the run's pairs cannot give.
        """
        now = self.index.snapshot
        return explain(self.encoder, now, user, movie, by=by, at=checked_time(at))

    def rate_many(
        self,
        users: ArrayLike,
        movies: ArrayLike,
        *,
        times: ArrayLike | None = None,
        histories: Mapping[int, Sequence[Event]] | None = None,
    ) -> Ratings:
        """Return the predicted ratings of Q pairs.

        Args:
            users: `(Q,)` ids.
            movies: `(Q,)` ids.
            times: `(Q,)` seconds of asking, `NO_TIME` where there is none; None is the time of each
                user's last event.
            histories: Replace what is stored of these users, known or not.

        Raises:
            RequestError: An unknown user without a history, or an unknown movie.
        """
        asked, named = checked_ids(movies, "movie"), checked_ids(users, "user")
        if len(asked) != len(named):
            raise RequestError(f"{len(named)} users and {len(asked)} movies are no pairs")
        check_movies(self.run, asked)
        at = checked_times(times, len(named))
        audience, rows = many_people(self.run, named, {} if histories is None else histories, at)
        return self._rate(audience, rows, asked, at)

    def topk_many(
        self,
        users: ArrayLike,
        k: int = 20,
        *,
        times: ArrayLike | None = None,
        histories: Mapping[int, Sequence[Event]] | None = None,
        rank_by: RankBy | None = None,
        wanted: Filter | None = None,
        diversity: float = 0.0,
        include_seen: bool = False,
    ) -> TopK:
        """Return top-k lists of Q users.

        Args:
            users: `(Q,)` ids.
            k: From 1 to the size of the catalogue.
            times: `(Q,)` seconds of asking, `NO_TIME` where there is none; None is the time of each
                user's last event.
            histories: Replace what is stored of these users, known or not.
            rank_by: What ranks the lists; None is what validation chose.
            wanted: Which movies may come; None is all.
            diversity: From 0, the best by score, to 1, the least alike.
            include_seen: Whether movies of a history may come back.

        Raises:
            RequestError: As `topk`; an unknown user without a history.
        """
        named = checked_ids(users, "user")
        at = checked_times(times, len(named))
        audience, rows = many_people(self.run, named, {} if histories is None else histories, at)
        asked = self._asked(k, rank_by, wanted, diversity, include_seen=include_seen)
        shape = (len(rows), asked.k)
        made = TopK(np.empty(shape, np.int64), np.empty(shape), np.empty(shape))
        timed = np.zeros(len(rows), dtype=bool) if at is None else at != NO_TIME
        # Histories of one length together: nothing is padded.
        order = np.argsort(np.diff(audience.histories.offsets)[rows], kind="stable")
        groups = (order[~timed[order]], order[timed[order]])
        parts = [g[start : start + USERS] for g in groups for start in range(0, len(g), USERS)]

        def fill(part: NDArray[np.int64]) -> None:
            people, which = some(audience, rows[part])
            times = None if at is None or not timed[part[0]] else at[part]
            found = self._topk(people, which, times, asked)
            for column, values in zip(made, found, strict=True):
                column[part] = values

        self._share(fill, parts)
        if (left := made.movie_ids[:, 0] == NO_ID).any():
            of = enumerated(np.unique(named[left]).tolist())
            _log.warning("%s, for user %s", NOTHING_LEFT, of)
        return made

    def _topk(
        self,
        audience: Audience,
        rows: NDArray[np.int64],
        times: NDArray[np.int64] | None,
        asked: _Asked,
    ) -> TopK:
        encoded = self.encoder.encode(audience, rows, times)
        queries = self.encoder.queries(audience, rows, times, encoded.vectors, asked.rank_by)
        now = self.index.snapshot  # which another thread may change in between
        depth = asked.k if not asked.diversity else min(CANDIDATES * asked.k, max(1, len(now)))
        seen = None if asked.include_seen else [self._seen(audience, row) for row in rows]
        found = now.search(queries, depth, seen, asked.allowed)
        if asked.diversity:
            found = self._diverse(now, found, asked)
        self.stopwatch.lap("search")
        ratings = np.full(found.ids.shape, np.nan)
        if self.encoder.rates:
            there = found.ids != NO_ID
            which = np.nonzero(there)[0]
            if asked.rank_by is RankBy.RATING:
                scores = found.scores[there]
            else:
                movies = now.vectors_of(found.ids[there])
                scores = inner_products(encoded.vectors[which], movies)
            ratings[there] = self.encoder.ratings(encoded.offsets[which], scores)
        self.stopwatch.lap("ratings")
        return TopK(found.ids, found.scores, ratings)

    def _rate(
        self,
        audience: Audience,
        rows: NDArray[np.int64],
        movies: NDArray[np.int64],
        times: NDArray[np.int64] | None,
    ) -> Ratings:
        if not self.encoder.rates:
            raise RequestError(
                "this run predicts no ratings; train with --towers neural,bayesian,sequence"
            )
        link = self.run.config.link
        if not len(movies):
            none = np.zeros(0)
            chances = None if link is None else link.chances(none, np.ones(0))
            return Ratings(none, None if link is None else none, chances)
        encoded, which = self._encode_once(audience, rows, times)
        scores, now = np.empty(len(movies)), self.index.snapshot
        for start in range(0, len(movies), CHUNK):
            part = slice(start, start + CHUNK)
            vectors = encoded.vectors[which[part]]  # (C, D)
            scores[part] = inner_products(vectors, vectors_of(now, movies[part]))
        ratings = self.encoder.ratings(encoded.offsets[which], scores)
        if link is None:
            return Ratings(ratings, None, None)
        chances = link.chances(
            encoded.offsets[which] + scores, self.encoder.noise(encoded, which, movies)
        )
        return Ratings(ratings, link.deviations(ratings, chances), chances)

    def _encode_once(
        self, audience: Audience, rows: NDArray[np.int64], times: NDArray[np.int64] | None
    ) -> tuple[Encoded, NDArray[np.int64]]:
        """Encode each distinct (person, time) once; return also which one each question needs."""
        if len(rows) == 1:
            return self.encoder.encode(audience, rows, times), np.zeros(1, np.int64)
        times = np.full(len(rows), NO_TIME) if times is None else times
        asked = np.stack([times != NO_TIME, rows, times], axis=1)
        distinct, which = np.unique(asked, axis=0, return_inverse=True)
        timed = distinct[:, 0] == 1  # those without a time come first

        def encode(part: NDArray[np.int64]) -> Encoded:
            people, each = some(audience, part[:, 1])
            at = part[:, 2] if part[0, 0] else None
            return self.encoder.encode(people, each, at)

        groups = (distinct[~timed], distinct[timed])
        parts = [g[start : start + PEOPLE] for g in groups for start in range(0, len(g), PEOPLE)]
        made = self._share(encode, parts)
        encoded = Encoded(*(np.concatenate(column) for column in zip(*made, strict=True)))
        return encoded, which.reshape(-1)

    def _share(
        self, work: Callable[[NDArray[np.int64]], Result], parts: Sequence[NDArray[np.int64]]
    ) -> list[Result]:
        """Return what becomes of parts, the threads sharing them."""
        if len(parts) == 1:  # which a thread of its own would only delay
            return [work(parts[0])]
        with ThreadPoolExecutor(self._threads, "rec", search_alone) as pool:
            return list(pool.map(work, parts))

    def _asked(
        self,
        k: int,
        rank_by: RankBy | None,
        wanted: Filter | None,
        diversity: float,
        *,
        include_seen: bool,
    ) -> _Asked:
        k = self._checked_k(k)
        if not 0 <= checked_numbers([diversity], "diversity")[0] <= 1:
            raise RequestError(f"diversity is {diversity:g}; it must be from 0 to 1")
        if not isinstance(include_seen, (bool, int, np.bool_)):
            raise RequestError(f"include_seen is '{shown(include_seen)}'; give True or False")
        allowed = None
        if wanted is not None:
            if not isinstance(wanted, Filter):
                raise RequestError(f"wanted is '{shown(wanted)}'; give a Filter")
            catalogue, now = self.run.catalogue, self.index.snapshot
            ids = catalogue.vocabulary.ids[wanted.keeps(catalogue)]
            allowed = now.select(ids[np.isin(ids, now.ids)] if len(now) < len(catalogue) else ids)
        return _Asked(k, self.encoder.ranking(rank_by), allowed, diversity, include_seen)

    def _diverse(self, now: Snapshot, found: Neighbours, asked: _Asked) -> Neighbours:
        """Return lists of k from longer ones, `(Q, K)`, in the order in which they were chosen."""
        ids = np.full((len(found.ids), asked.k), NO_ID)
        scores = np.full(ids.shape, -np.inf)
        for row, (candidates, their_scores) in enumerate(zip(*found, strict=True)):
            there = candidates != NO_ID
            directions = self.encoder.directions(now.vectors_of(candidates[there]))
            places = diversify(their_scores[there], directions, asked.k, asked.diversity)
            ids[row, : len(places)] = candidates[places]
            scores[row, : len(places)] = their_scores[places]
        return Neighbours(ids, scores)

    def _seen(self, audience: Audience, row: int) -> NDArray[np.int64]:
        start, end = audience.histories.offsets[row : row + 2]
        seen = self.run.catalogue.vocabulary.ids[audience.histories.movies[start:end]]
        unlearned = audience.unlearned[row]
        return np.concatenate([seen, unlearned]) if len(unlearned) else seen

    def _checked_k(self, k: int) -> int:
        return checked_count(k, "k", len(self.run.catalogue), "the size of the catalogue")
