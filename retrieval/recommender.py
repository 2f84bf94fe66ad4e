"""Answers from a run: how a user would rate a movie, and what to watch next. Needs no torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import faiss
import numpy as np
from numpy.typing import ArrayLike, NDArray

from index.exact import inner_products
from index.neighbours import NO_ID, Neighbours
from index.search import Index
from retrieval.audience import Audience, Event, Person, check_movies, many_people, one_person
from retrieval.catalogue import Movie
from retrieval.choices import RankBy, Towers
from retrieval.data.history import Windows, whole_windows, windows_until
from retrieval.diversity import diversify
from retrieval.errors import RequestError
from retrieval.filters import Filter
from retrieval.run import (
    BAYESIAN,
    MOODS,
    SEQUENCE_TOWER,
    USER_TOWER,
    Run,
    open_index,
    open_run,
)
from retrieval.towers.bayesian import BayesianTower, Encoded, Questions, load_bayesian
from retrieval.towers.inputs import user_inputs
from retrieval.towers.query import QueryTower, UserVectors
from retrieval.towers.tokens import tokens

# Pairs rated together in a batch: bounds the memory for their vectors.
CHUNK = 65_536

# Users whose lists are made together: bounds the memory for their histories and lists.
USERS = 256

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
    left_out: NDArray[np.int64]  # ids that a filter keeps from everybody
    diversity: float
    include_seen: bool


class Recommender:
    """Answers questions from one run and its index."""

    def __init__(
        self,
        run: Run,
        index: Index,
        neural: QueryTower | None,
        bayesian: BayesianTower | None,
        sequence: QueryTower | None,
    ) -> None:
        self.run, self.index = run, index
        self._neural, self._bayesian, self._sequence = neural, bayesian, sequence

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
        neural, bayesian, sequence = None, None, None
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
        if Towers.SEQUENCE in run.config.towers:
            sequence = QueryTower(run.folder / SEQUENCE_TOWER, threads)
        return cls(run, open_index(run), neural, bayesian, sequence)

    @property
    def rates(self) -> bool:
        """Whether a pair predicts ratings."""
        return self._neural is not None or self._bayesian is not None

    @property
    def rankings(self) -> tuple[RankBy, ...]:
        """What lists can be ranked by."""
        if self._sequence is None:
            return (RankBy.RATING,)
        return tuple(RankBy) if self.rates else (RankBy.WATCH,)

    def ranking(self, rank_by: RankBy | None) -> RankBy:
        """Return what lists are ranked by, asked for or, where it is None, chosen by validation.

        Raises:
            RequestError: The run's pairs cannot rank by this.
        """
        chosen = self.run.config.ranking
        wanted = rank_by or (RankBy.RATING if chosen is None else chosen.rank_by)
        if wanted not in self.rankings:
            raise RequestError(
                f"this run cannot rank by {wanted}, only by {' or '.join(self.rankings)}; "
                "train with --towers neural,bayesian,sequence"
            )
        return wanted

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
        row = np.zeros(1, np.int64)
        asked = self._asked(k, rank_by, wanted, diversity, include_seen=include_seen)
        found = self._topk(audience, row, times, asked)
        catalogue = self.run.catalogue
        return [
            Recommendation(
                rank,
                catalogue.movies[catalogue.number(movie)],
                score,
                rating if self.rates else None,
            )
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
        directions = self._directions(self.index.vectors)
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
        nobody = np.zeros((0, k))
        parts = [TopK(nobody.astype(np.int64), nobody, nobody)]
        for start in range(0, len(rows), USERS):
            part = slice(start, start + USERS)
            parts.append(self._topk(audience, rows[part], None if at is None else at[part], asked))
        return TopK(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def encode(
        self, audience: Audience, rows: NDArray[np.int64], times: NDArray[np.int64] | None
    ) -> Encoded:
        """Return the query vectors of Q questions about ratings.

        Args:
            audience: The people.
            rows: `(Q,)` which of them each question is about.
            times: `(Q,)` seconds of asking; None is the time of each one's last event.
        """
        windows = _windows(audience, rows, times)
        stored = audience.stored[rows]
        blend, towers = self.run.config.blend, self.run.config.towers
        weights, offsets = blend.of(audience.settled[rows], windows.ends - windows.starts)
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
        if self._sequence is not None:  # which has no say in ratings
            vectors.append(np.zeros((len(rows), self.run.config.widths[-1])))
        return Encoded(np.hstack(vectors).astype(np.float32), offsets, variances)

    def queries(
        self,
        audience: Audience,
        rows: NDArray[np.int64],
        times: NDArray[np.int64] | None,
        rating: NDArray[np.float32],
        rank_by: RankBy | None,
    ) -> NDArray[np.float32]:
        """Return the vectors that rank the lists of Q questions, `(Q, D)`.

        Args:
            audience: The people.
            rows: `(Q,)` which of them each question is about.
            times: `(Q,)` seconds of asking; None is the time of each one's last event, not told to
                the sequence pair.
            rating: `(Q, D)` the vectors that rate, as `encode` returns them.
            rank_by: What to rank by; None is what validation chose.

        Raises:
            RequestError: The run's pairs cannot rank by this.
        """
        wanted, ranking = self.ranking(rank_by), self.run.config.ranking
        if self._sequence is None or ranking is None or wanted is RankBy.RATING:
            return rating
        weight = ranking.rating_weight if wanted is RankBy.BLEND else 0.0
        asked = tokens(
            audience.codes[rows],
            audience.histories,
            _windows(audience, rows, times),
            np.full(len(rows), times is not None),
            self.run.config.scale,
            ranking.history_length,
        )
        queries = np.float32(weight) * rating
        queries[:, -self.run.config.widths[-1] :] = (
            self._sequence.encode_tokens(asked) / ranking.temperature
        )
        return queries

    def ratings(
        self, offsets: NDArray[np.float64], scores: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the ratings, of any shape, that offsets and inner products stand for."""
        link = self.run.config.link
        if link is None:
            return self.run.config.scale.clip(offsets + scores)
        return link.ratings(offsets + scores)

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
        asked: _Asked,
    ) -> TopK:
        encoded = self.encode(audience, rows, times)
        queries = self.queries(audience, rows, times, encoded.vectors, asked.rank_by)
        depth = asked.k if not asked.diversity else min(CANDIDATES * asked.k, len(self.index))
        found = self.index.search(queries, depth, self._unwanted(audience, rows, asked))
        if asked.diversity:
            found = self._diverse(found, asked)
        ratings = np.full(found.ids.shape, np.nan)
        if self.rates:
            there = found.ids != NO_ID
            which = np.nonzero(there)[0]
            movies = self.index.vectors_of(found.ids[there])
            scores = inner_products(encoded.vectors[which], movies)
            ratings[there] = self.ratings(encoded.offsets[which], scores)
        return TopK(found.ids, found.scores, ratings)

    def _rate(
        self,
        audience: Audience,
        rows: NDArray[np.int64],
        movies: NDArray[np.int64],
        times: NDArray[np.int64] | None,
    ) -> Ratings:
        if not self.rates:
            raise RequestError(
                "this run predicts no ratings; train with --towers neural,bayesian,sequence"
            )
        encoded, which = self._encode_once(audience, rows, times)
        scores = np.empty(len(movies))
        for start in range(0, len(movies), CHUNK):
            part = slice(start, start + CHUNK)
            vectors = encoded.vectors[which[part]]  # (C, D)
            scores[part] = inner_products(vectors, self.index.vectors_of(movies[part]))
        ratings = self.ratings(encoded.offsets[which], scores)
        link = self.run.config.link
        if link is None:
            return Ratings(ratings, None, None)
        chances = link.chances(encoded.offsets[which] + scores, self._noise(encoded, which, movies))
        return Ratings(ratings, link.deviations(ratings, chances), chances)

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
        left_out = np.zeros(0, np.int64)
        if wanted is not None:
            catalogue = self.run.catalogue
            left_out = catalogue.vocabulary.ids[~wanted.keeps(catalogue)]
        return _Asked(k, rank_by, left_out, diversity, include_seen)

    def _unwanted(
        self, audience: Audience, rows: NDArray[np.int64], asked: _Asked
    ) -> list[NDArray[np.int64]] | None:
        """Return the ids that must not come back, for each of Q questions; None where all may."""
        if not asked.include_seen:
            return [np.union1d(asked.left_out, self._seen(audience, row)) for row in rows]
        return [asked.left_out] * len(rows) if len(asked.left_out) else None

    def _diverse(self, found: Neighbours, asked: _Asked) -> Neighbours:
        """Return lists of k from longer ones, `(Q, K)`, in the order in which they were chosen."""
        ids = np.full((len(found.ids), asked.k), NO_ID)
        scores = np.full(ids.shape, -np.inf)
        for row, (candidates, their_scores) in enumerate(zip(*found, strict=True)):
            there = candidates != NO_ID
            directions = self._directions(self.index.vectors_of(candidates[there]))
            places = diversify(their_scores[there], directions, asked.k, asked.diversity)
            ids[row, : len(places)] = candidates[places]
            scores[row, : len(places)] = their_scores[places]
        return Neighbours(ids, scores)

    def _seen(self, audience: Audience, row: int) -> NDArray[np.int64]:
        start, end = audience.histories.offsets[row : row + 2]
        return self.run.catalogue.vocabulary.ids[audience.histories.movies[start:end]]

    def _directions(self, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return movie vectors `(C, D)` without biases, each pair's part as long as it counts.

        Where a pair predicts ratings, it says what is similar; else the sequence pair does.
        """
        config = self.run.config
        parts = np.split(vectors.astype(np.float64), np.cumsum(config.widths)[:-1], axis=1)
        weights = [*config.blend.weights, *([0.0 if self.rates else 1.0] * bool(self._sequence))]
        joined = np.hstack([weight * part for weight, part in zip(weights, parts, strict=True)])
        return np.delete(joined, config.biases, axis=1)

    def _check_k(self, k: int) -> None:
        movies = len(self.run.catalogue)
        if not 1 <= k <= movies:
            raise RequestError(
                f"k is {k}; it must be from 1 to {movies}, the size of the catalogue"
            )


def _windows(
    audience: Audience, rows: NDArray[np.int64], times: NDArray[np.int64] | None
) -> Windows:
    """Return what Q questions may look at: what had happened when they are asked."""
    if times is None:
        return whole_windows(audience.histories, rows)
    return windows_until(audience.histories, rows, times)
