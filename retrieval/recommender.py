"""Answers from a run: how a user would rate a movie, and what to watch next. Needs no torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import faiss
import numpy as np
from numpy.typing import ArrayLike, NDArray

from index.exact import inner_products
from index.flat import FlatIndex
from index.neighbours import NO_ID
from retrieval.audience import Audience, Event, Person, check_movies, many_people, one_person
from retrieval.catalogue import Movie
from retrieval.choices import Towers
from retrieval.data.history import Windows, whole_windows, windows_until
from retrieval.errors import RequestError
from retrieval.run import BAYESIAN, MOODS, USER_TOWER, Run, open_index, open_run
from retrieval.towers.bayesian import BayesianTower, Encoded, Questions, load_bayesian
from retrieval.towers.inputs import UNKNOWN_USER, user_inputs
from retrieval.towers.query import QueryTower, UserVectors
from retrieval.vocabulary import UNKNOWN

# Pairs rated together in a batch: bounds the memory for their vectors.
CHUNK = 65_536


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
    rating: float


class Similar(NamedTuple):
    """One row of a list of similar movies."""

    rank: int  # from 1
    movie: Movie
    cosine: float


class TopK(NamedTuple):
    """Lists for Q users. Rows shorter than K end in `NO_ID`."""

    movie_ids: NDArray[np.int64]  # (Q, K)
    scores: NDArray[np.float64]  # (Q, K)
    ratings: NDArray[np.float64]  # (Q, K)


class Recommender:
    """Answers questions from one run and its index."""

    def __init__(
        self,
        run: Run,
        index: FlatIndex,
        neural: QueryTower | None,
        bayesian: BayesianTower | None,
    ) -> None:
        self.run, self.index = run, index
        self._neural, self._bayesian = neural, bayesian

    @classmethod
    def load(cls, folder: Path | str, *, threads: int = 1) -> "Recommender":
        """Load a run.

        Args:
            folder: The run.
            threads: For encoding and searching; one answers a single question fastest.

        Raises:
            RunError: The run or its index is missing, damaged or stale.
        """
        faiss.omp_set_num_threads(threads)
        run = open_run(Path(folder))
        neural, bayesian = None, None
        if Towers.NEURAL in run.config.towers:
            neural = QueryTower(run.folder / USER_TOWER, threads)
        if Towers.BAYESIAN in run.config.towers:
            bayesian = BayesianTower(
                load_bayesian(run.folder / BAYESIAN),
                np.load(run.folder / MOODS, mmap_mode="r"),
                run.histories,
                run.config.demographics.sizes(),
                run.config.scale,
            )
        return cls(run, open_index(run), neural, bayesian)

    def topk(
        self,
        user: int | Person,
        k: int = 20,
        *,
        at: int | None = None,
        include_seen: bool = False,
    ) -> list[Recommendation]:
        """Return the k movies with the highest scores, or all that are left.

        Args:
            user: An id, or a person.
            k: From 1 to the size of the catalogue.
            at: The time of asking, in seconds; None is the time of the last event.
            include_seen: Whether movies of the history may come back.

        Raises:
            RequestError: An unknown user or movie, or an impossible k.
        """
        audience = self._one(user)
        times = None if at is None else np.array([at])
        found = self._topk(audience, np.zeros(1, np.int64), times, k, include_seen=include_seen)
        catalogue = self.run.catalogue
        return [
            Recommendation(rank, catalogue.movies[catalogue.number(movie)], score, rating)
            for rank, (movie, score, rating) in enumerate(
                zip(*(column[0].tolist() for column in found), strict=True), start=1
            )
            if movie != NO_ID
        ]

    def rate(self, user: int | Person, movie: int | str, *, at: int | None = None) -> Rating:
        """Return how a user would rate a movie, given by id or title.

        Raises:
            RequestError: An unknown user or movie.
        """
        asked = self.run.catalogue.named(str(movie))
        times = None if at is None else np.array([at])
        audience = self._one(user)
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
        directions = self._directions()
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
        include_seen: bool = False,
    ) -> TopK:
        """Return top-k lists of Q users.

        Args:
            users: `(Q,)` ids.
            k: From 1 to the size of the catalogue.
            times: `(Q,)` seconds of asking; None is the time of each user's last event.
            histories: Replace what is stored of these users, known or not.
            include_seen: Whether movies of a history may come back.

        Raises:
            RequestError: An unknown user without a history, or an impossible k.
        """
        audience, rows = many_people(self.run, np.asarray(users, dtype=np.int64), histories or {})
        asked = None if times is None else np.asarray(times)
        return self._topk(audience, rows, asked, k, include_seen=include_seen)

    def encode(
        self, audience: Audience, rows: NDArray[np.int64], times: NDArray[np.int64] | None
    ) -> Encoded:
        """Return the query vectors of Q questions.

        Args:
            audience: The people.
            rows: `(Q,)` which of them each question is about.
            times: `(Q,)` seconds of asking; None is the time of each one's last event.
        """
        windows = (
            whole_windows(audience.histories, rows)
            if times is None
            else windows_until(audience.histories, rows, times)
        )
        stored = audience.stored[rows]
        blend, towers = self.run.config.blend, self.run.config.towers
        known = (stored != UNKNOWN) & (audience.users[rows] != UNKNOWN_USER)
        weights, offsets = blend.of(known, windows.ends - windows.starts)
        vectors = []
        variances = np.zeros(len(rows), dtype=np.float32)
        if self._neural is not None:
            weight = weights[:, towers.index(Towers.NEURAL)]
            users = self._encode_neural(self._neural, audience, rows, windows)
            vectors.append(weight[:, None] * users.vectors)
            offsets = offsets + weight * (users.offsets.astype(np.float64) - blend.origin)
        if self._bayesian is not None:
            weight = weights[:, towers.index(Towers.BAYESIAN)]
            asked = Questions(
                stored, audience.codes[rows], audience.histories, windows, times is not None
            )
            answers = self._bayesian.encode(asked)
            vectors.append(weight[:, None] * answers.vectors)
            offsets = offsets + weight * answers.offsets
            variances = answers.variances
        return Encoded(np.hstack(vectors).astype(np.float32), offsets, variances)

    def _encode_neural(
        self, tower: QueryTower, audience: Audience, rows: NDArray[np.int64], windows: Windows
    ) -> UserVectors:
        config = self.run.config
        return tower.encode(
            user_inputs(
                audience.users[rows],
                audience.codes[rows],
                audience.histories,
                windows,
                config.scale,
                config.centre,
                config.history_length,
            )
        )

    def _topk(
        self,
        audience: Audience,
        rows: NDArray[np.int64],
        times: NDArray[np.int64] | None,
        k: int,
        *,
        include_seen: bool,
    ) -> TopK:
        self._check_k(k)
        encoded = self.encode(audience, rows, times)
        seen = None if include_seen else [self._seen(audience, row) for row in rows]
        found = self.index.search(encoded.vectors, k, seen)
        ratings = self._ratings(encoded.offsets[:, None], found.scores)
        return TopK(found.ids, found.scores, np.where(found.ids == NO_ID, np.nan, ratings))

    def _rate(
        self,
        audience: Audience,
        rows: NDArray[np.int64],
        movies: NDArray[np.int64],
        times: NDArray[np.int64] | None,
    ) -> Ratings:
        encoded, which = self._encode_once(audience, rows, times)
        scores = np.empty(len(movies))
        for start in range(0, len(movies), CHUNK):
            part = slice(start, start + CHUNK)
            vectors = encoded.vectors[which[part]]  # (C, D)
            scores[part] = inner_products(vectors, self.index.vectors_of(movies[part]))
        ratings = self._ratings(encoded.offsets[which], scores)
        link = self.run.config.link
        if link is None:
            return Ratings(ratings, None, None)
        chances = link.chances(encoded.offsets[which] + scores, self._noise(encoded, which, movies))
        return Ratings(ratings, link.deviations(ratings, chances), chances)

    def _ratings(
        self, offsets: NDArray[np.float64], scores: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        link = self.run.config.link
        if link is None:
            return self.run.config.scale.clip(offsets + scores)
        return link.ratings(offsets + scores)

    def _noise(
        self, encoded: Encoded, which: NDArray[np.int64], movies: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Return the variance of true ratings' latent values around scores, 1 the usual: `(Q,)`."""
        usual = self.run.config.noise
        if self._bayesian is None or usual is None:
            return np.ones(len(movies))
        numbers = self.run.catalogue.vocabulary.numbers(movies)
        of_movies = self._bayesian.pair.movie_variances[numbers].astype(np.float64)
        return (encoded.variances[which] + of_movies) / usual

    def _encode_once(
        self, audience: Audience, rows: NDArray[np.int64], times: NDArray[np.int64] | None
    ) -> tuple[Encoded, NDArray[np.int64]]:
        """Encode each distinct (person, time) once; return also which one each question needs."""
        asked = np.stack([rows, np.zeros_like(rows) if times is None else times], axis=1)
        distinct, which = np.unique(asked, axis=0, return_inverse=True)
        at = None if times is None else distinct[:, 1]
        return self.encode(audience, distinct[:, 0], at), which

    def _seen(self, audience: Audience, row: int) -> NDArray[np.int64]:
        start, end = audience.histories.offsets[row : row + 2]
        return self.run.catalogue.vocabulary.ids[audience.histories.movies[start:end]]

    def _directions(self) -> NDArray[np.float64]:
        """Return movie vectors without biases, each pair's part as long as it counts: `(M, D)`."""
        biases = self.run.config.biases
        parts = np.split(self.index.vectors.astype(np.float64), np.add(biases, 1)[:-1], axis=1)
        weights = self.run.config.blend.weights
        joined = np.hstack([weight * part for weight, part in zip(weights, parts, strict=True)])
        return np.delete(joined, biases, axis=1)

    def _one(self, user: int | Person) -> Audience:
        return one_person(self.run, user if isinstance(user, Person) else Person(user_id=user))

    def _check_k(self, k: int) -> None:
        movies = len(self.run.catalogue)
        if not 1 <= k <= movies:
            raise RequestError(
                f"k is {k}; it must be from 1 to {movies}, the size of the catalogue"
            )
