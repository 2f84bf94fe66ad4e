"""Answers from a run: how a user would rate a movie, and what to watch next. Needs no torch."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

import faiss
import numpy as np
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import ThreadpoolController

from index.exact import inner_products
from index.neighbours import NO_ID, Neighbours
from index.search import Index, Selection
from retrieval.audience import Audience, Event, Person, check_movies, many_people, one_person, some
from retrieval.catalogue import Movie
from retrieval.choices import RankBy
from retrieval.diversity import diversify
from retrieval.encoder import Encoder
from retrieval.errors import RequestError
from retrieval.explanation import Explanation, explain
from retrieval.filters import Filter
from retrieval.run import Run, open_index, open_run
from retrieval.towers.bayesian import Encoded

Result = TypeVar("Result")

# Pairs rated together in a batch: bounds the memory for their vectors.
CHUNK = 65_536

# Users whose lists are made together: bounds the memory for their histories and lists.
USERS = 64

# People whose ratings are encoded together.
PEOPLE = 4096

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
    rank_by: RankBy | None
    allowed: Selection | None  # what a filter lets through
    diversity: float
    include_seen: bool


class Recommender:
    """Answers questions from one run and its index."""

    def __init__(self, encoder: Encoder, index: Index, threads: int) -> None:
        self.encoder, self.index = encoder, index
        self.stopwatch, self._threads = encoder.stopwatch, threads
        self._libraries = ThreadpoolController()

    @classmethod
    def load(cls, folder: Path | str, *, threads: int = 1) -> "Recommender":
        """Load a run.

        Args:
            folder: The run.
            threads: That share the answers to many questions; a single one is fastest alone.

        Raises:
            RunError: The run or its index is missing, damaged or stale.
        """
        faiss.omp_set_num_threads(1)
        run = open_run(Path(folder))
        return cls(Encoder(run), open_index(run), threads)

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
        audience = one_person(self.run, user)
        times = None if at is None else np.array([at])
        asked = self._asked(k, rank_by, wanted, diversity, include_seen=include_seen)
        self.stopwatch.lap("history")
        found = self._topk(audience, np.zeros(1, np.int64), times, asked)
        there = found.movie_ids[0] != NO_ID
        catalogue, rates = self.run.catalogue, self.encoder.rates
        numbers = catalogue.vocabulary.numbers(found.movie_ids[0, there])
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
        self.stopwatch.lap("titles")
        return rows

    def rate(self, user: int | Person, movie: int | str, *, at: int | None = None) -> Rating:
        """Return how a user would rate a movie, given by id or title.

        Raises:
            RequestError: An unknown user or movie.
        """
        asked = self.run.catalogue.named(str(movie))
        times = None if at is None else np.array([at])
        audience = one_person(self.run, user)
        ratings = self._rate(audience, np.zeros(1, np.int64), np.array([asked.id]), times)
        deviation = None if ratings.deviations is None else float(ratings.deviations[0])
        return Rating(asked, float(ratings.ratings[0]), deviation)

    def similar(self, movie: int | str, k: int = 10) -> list[Similar]:
        """Return the movies whose vectors point most nearly the same way (cosine), bias left out.

        Raises:
            RequestError: An unknown movie or an impossible k.
        """
        asked = self.run.catalogue.named(str(movie))
        self._check_k(k)
        directions = self.encoder.directions(self.index.vectors)
        lengths = np.linalg.norm(directions, axis=1)
        row = int(np.flatnonzero(self.index.ids == asked.id)[0])
        cosines = directions @ directions[row] / np.maximum(lengths * lengths[row], 1e-12)
        order = np.lexsort((self.index.ids, -cosines))
        catalogue = self.run.catalogue
        return [
            Similar(rank, catalogue.movies[catalogue.number(int(self.index.ids[place]))], cosine)
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

        A known user is taken as someone who tells all of the history, so that an event can be left
        out; the answer is close to that of the stored user, not the same.

        Args:
            user: An id, or a person.
            movie: An id or a title.
            by: Explain the rating, or the score that ranks by this; None is what lists are ranked
                by.
            at: The time of asking, in seconds; None is the time of the last event.

        Raises:
            RequestError: An unknown user or movie, or a ranking that the run's pairs cannot give.
        """
        return explain(self.encoder, self.index, user, movie, by=by, at=at)

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
            times: `(Q,)` seconds of asking; None is the time of each user's last event.
            histories: Replace what is stored of these users, known or not.

        Raises:
            RequestError: An unknown user without a history, or an unknown movie.
        """
        asked = np.asarray(movies, dtype=np.int64)
        check_movies(self.run, asked)
        audience, rows = many_people(self.run, np.asarray(users, dtype=np.int64), histories or {})
        return self._rate(audience, rows, asked, None if times is None else np.asarray(times))

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
            times: `(Q,)` seconds of asking; None is the time of each user's last event.
            histories: Replace what is stored of these users, known or not.
            rank_by: What ranks the lists; None is what validation chose.
            wanted: Which movies may come; None is all.
            diversity: From 0, the best by score, to 1, the least alike.
            include_seen: Whether movies of a history may come back.

        Raises:
            RequestError: As `topk`; an unknown user without a history.
        """
        audience, rows = many_people(self.run, np.asarray(users, dtype=np.int64), histories or {})
        at = None if times is None else np.asarray(times)
        asked = self._asked(k, rank_by, wanted, diversity, include_seen=include_seen)
        shape = (len(rows), k)
        made = TopK(np.empty(shape, np.int64), np.empty(shape), np.empty(shape))
        # Histories of one length together: nothing is padded.
        order = np.argsort(np.diff(audience.histories.offsets)[rows], kind="stable")
        parts = [order[start : start + USERS] for start in range(0, len(rows), USERS)]

        def fill(part: NDArray[np.int64]) -> None:
            people, which = some(audience, rows[part])
            found = self._topk(people, which, None if at is None else at[part], asked)
            for column, values in zip(made, found, strict=True):
                column[part] = values

        self._share(fill, parts)
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
        depth = asked.k if not asked.diversity else min(CANDIDATES * asked.k, len(self.index))
        seen = None if asked.include_seen else [self._seen(audience, row) for row in rows]
        found = self.index.search(queries, depth, seen, asked.allowed)
        if asked.diversity:
            found = self._diverse(found, asked)
        self.stopwatch.lap("search")
        ratings = np.full(found.ids.shape, np.nan)
        if self.encoder.rates:
            there = found.ids != NO_ID
            which = np.nonzero(there)[0]
            if self.encoder.ranking(asked.rank_by) is RankBy.RATING:
                scores = found.scores[there]
            else:
                movies = self.index.vectors_of(found.ids[there])
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
        encoded, which = self._encode_once(audience, rows, times)
        scores = np.empty(len(movies))
        for start in range(0, len(movies), CHUNK):
            part = slice(start, start + CHUNK)
            vectors = encoded.vectors[which[part]]  # (C, D)
            scores[part] = inner_products(vectors, self.index.vectors_of(movies[part]))
        ratings = self.encoder.ratings(encoded.offsets[which], scores)
        link = self.run.config.link
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
        asked = np.stack([rows, np.zeros_like(rows) if times is None else times], axis=1)
        distinct, which = np.unique(asked, axis=0, return_inverse=True)

        def encode(part: NDArray[np.int64]) -> Encoded:
            people, each = some(audience, part[:, 0])
            return self.encoder.encode(people, each, None if times is None else part[:, 1])

        starts = range(0, max(1, len(distinct)), PEOPLE)
        parts = self._share(encode, [distinct[start : start + PEOPLE] for start in starts])
        return Encoded(*(np.concatenate(column) for column in zip(*parts, strict=True))), which

    def _share(
        self, work: Callable[[NDArray[np.int64]], Result], parts: Sequence[NDArray[np.int64]]
    ) -> list[Result]:
        """Return what becomes of parts, the threads sharing them."""
        if len(parts) == 1:  # which a thread of its own would only delay
            return [work(parts[0])]
        pool = ThreadPoolExecutor(self._threads, "rec", faiss.omp_set_num_threads, (1,))
        # Each thread has a core of its own to multiply matrices on.
        with self._libraries.limit(limits=1, user_api="blas"), pool:
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
        self._check_k(k)
        if not 0 <= diversity <= 1:
            raise RequestError(f"diversity is {diversity:g}; it must be from 0 to 1")
        allowed = None
        if wanted is not None:
            catalogue = self.run.catalogue
            allowed = self.index.select(catalogue.vocabulary.ids[wanted.keeps(catalogue)])
        return _Asked(k, rank_by, allowed, diversity, include_seen)

    def _diverse(self, found: Neighbours, asked: _Asked) -> Neighbours:
        """Return lists of k from longer ones, `(Q, K)`, in the order in which they were chosen."""
        ids = np.full((len(found.ids), asked.k), NO_ID)
        scores = np.full(ids.shape, -np.inf)
        for row, (candidates, their_scores) in enumerate(zip(*found, strict=True)):
            there = candidates != NO_ID
            directions = self.encoder.directions(self.index.vectors_of(candidates[there]))
            places = diversify(their_scores[there], directions, asked.k, asked.diversity)
            ids[row, : len(places)] = candidates[places]
            scores[row, : len(places)] = their_scores[places]
        return Neighbours(ids, scores)

    def _seen(self, audience: Audience, row: int) -> NDArray[np.int64]:
        start, end = audience.histories.offsets[row : row + 2]
        return self.run.catalogue.vocabulary.ids[audience.histories.movies[start:end]]

    def _check_k(self, k: int) -> None:
        movies = len(self.run.catalogue)
        if not 1 <= k <= movies:
            raise RequestError(
                f"k is {k}; it must be from 1 to {movies}, the size of the catalogue"
            )
