"""Answers from a run: how a user would rate a movie, and what to watch next. Needs no torch."""

import logging
import warnings
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import ArrayLike, NDArray

from index.neighbours import NO_ID
from index.snapshot import Snapshot
from retrieval.data.vocabulary import Id, Ids
from retrieval.errors import RequestError
from retrieval.options import RankBy
from retrieval.run.folder import Run
from retrieval.serving.arguments import checked_count, checked_ids, checked_time, checked_times
from retrieval.serving.batching import parts_of, shared, times_of
from retrieval.serving.encoder import Encoder
from retrieval.serving.events import GivenHistories, movie_numbers
from retrieval.serving.explanation import explain
from retrieval.serving.filters import Filter
from retrieval.serving.history import StoredHistories
from retrieval.serving.lists import Lists, best_movies, checked_k, list_options
from retrieval.serving.predictions import predict
from retrieval.serving.results import (
    Explanation,
    Rating,
    Ratings,
    Recommendation,
    Recommendations,
    Similar,
    Similars,
    TopK,
)
from retrieval.serving.snapshot import OpenStore, ServingSnapshot
from retrieval.serving.stopwatch import StageTimes, lap
from retrieval.serving.users import (
    Person,
    enumerated,
    many_users,
    one_user,
    selected,
)

_log = logging.getLogger(__name__)

# Users whose lists are made together: bounds the memory for their histories and lists.
USERS = 64

NOTHING_LEFT = "nothing is left to list: every movie is seen, or kept out by a filter"

# Movies beside those that are wanted among which the nearest ones are found exactly, and the length
# of a vector that points nowhere.
CLOSE, SHORTEST = 32, 1e-12

# More would only wait for each other.
MOST_THREADS = 1024


class Recommender:
    """Answers questions from one run, for any number of threads at once.

    It holds one reference to a snapshot: a version of the run with its towers and its index, none
    of which ever changes. Each call reads that reference once and answers from what it found, also
    where `reload` puts another snapshot in its place meanwhile. Calls also share what the towers
    keep of histories that they have read. It changes how long an answer takes and, in the seventh
    digit, its scores.

    What does not count as it was given (a movie that comes more than once in a history, a time of
    asking before all events) is a warning of the `retrieval` logger.

    No call sets how many threads a library uses in the threads that call. The entry point of a
    server does, with `retrieval.serving.threads.configure_threads`.

    Args:
        snapshot: Version of a run that answers first.
        threads: Number of threads that share the answers to many questions; a single question is
            answered fastest by one.

    Raises:
        RequestError: An impossible number of threads.
    """

    def __init__(self, snapshot: ServingSnapshot, *, threads: int = 1) -> None:
        self._snapshot = snapshot
        self._reloading = Lock()
        self._threads = checked_count(threads, "threads", MOST_THREADS, "which is more than enough")

    @classmethod
    def load(
        cls, folder: Path | str, *, threads: int = 1, open_store: OpenStore = StoredHistories
    ) -> "Recommender":
        """Load a run.

        Args:
            folder: Folder of the run.
            threads: Number of threads that share the answers to many questions.
            open_store: Function that gives the source of users' histories for a run.

        Raises:
            RequestError: An impossible number of threads.
            RunError: The run or its index is missing, damaged or stale.
        """
        return cls(ServingSnapshot.load(folder, open_store=open_store), threads=threads)

    @property
    def snapshot(self) -> ServingSnapshot:
        """What answers: whoever needs several facts of one version asks it for them."""
        return self._snapshot

    @property
    def run(self) -> Run:
        """The version of the run that answers."""
        return self._snapshot.run

    @property
    def encoder(self) -> Encoder:
        """The user towers that answer."""
        return self._snapshot.encoder

    @property
    def index(self) -> Snapshot:
        """The index that answers, which does not change."""
        return self._snapshot.index

    def reload(self) -> bool:
        """Answer from the version of the run's folder that is the newest by now.

        It is loaded beside the one that answers, which goes on until the new one takes its place.
        A call that has begun ends as it began. Several threads may ask for it; one loads at a time.

        Returns:
            Whether there was another version.

        Raises:
            RunError: The newest version or its index is damaged or stale; the one before goes on
                answering.
        """
        with self._reloading:
            newest = self._snapshot.newest()
            changed = newest is not self._snapshot
            self._snapshot = newest
            return changed

    def swap(self, snapshot: ServingSnapshot) -> None:
        """Answer from another snapshot.

        Args:
            snapshot: What answers every call that begins from here on.
        """
        with self._reloading:
            self._snapshot = snapshot

    def topk(
        self,
        user: Id | Person,
        k: int = 20,
        *,
        at: int | None = None,
        in_sitting: bool = False,
        rank_by: RankBy | None = None,
        filters: Filter | None = None,
        diversity: float = 0.0,
        include_seen: bool = False,
        timer: StageTimes | None = None,
        wanted: Filter | None = None,
    ) -> Recommendations:
        """Return the k movies with the highest scores, or all that are left.

        Args:
            user: Id of a known user, or a person.
            k: Length of the list, from 1 to the size of the catalogue.
            at: Time of asking, in seconds; None is before the user comes back, whenever that is.
            in_sitting: Whether the user, asked at no time, has just had the last event and goes on
                watching.
            rank_by: Score that ranks the list; None is what validation chose.
            filters: Condition on movies; None lets all through.
            diversity: Weight of unlikeness, from 0, the order of the scores, to 1.
            include_seen: Whether movies of the history may come back.
            timer: Stage times of this request; None measures nothing.
            wanted: Deprecated name of `filters`.

        Raises:
            RequestError: An unknown user, movie or genre, an impossible k or diversity, a ranking
                that the run's pairs cannot give, or a time in a sitting.
        """
        snapshot, filters = self._snapshot, _filters(filters, wanted)
        at = checked_time(at)
        _check_moment(at, in_sitting=in_sitting)
        users = one_user(snapshot.run, user, at, snapshot.histories)
        options = list_options(
            snapshot,
            k,
            rank_by,
            filters,
            diversity,
            include_seen=include_seen,
            in_sitting=in_sitting,
        )
        lap(timer, "history")
        found = best_movies(snapshot, users, np.zeros(1, np.int64), _times(at), options, timer)
        there = found.movies[0] != NO_ID
        catalogue, rates = snapshot.run.catalogue, snapshot.encoder.rates
        rows = tuple(
            Recommendation(rank, catalogue.movies[number], score, rating if rates else None)
            for rank, (number, score, rating) in enumerate(
                zip(
                    found.movies[0, there].tolist(),
                    found.scores[0, there].tolist(),
                    found.ratings[0, there].tolist(),
                    strict=True,
                ),
                start=1,
            )
        )
        if not rows:
            _log.warning("%s", NOTHING_LEFT)
        lap(timer, "titles")
        return Recommendations(rows)

    def rate(self, user: Id | Person, movie: Id, *, at: int | None = None) -> Rating:
        """Return how a user would rate a movie.

        Args:
            user: Id of a known user, or a person.
            movie: Id or title.
            at: Time of asking, in seconds; None is the time of the last event.

        Raises:
            RequestError: An unknown user or movie, or a run whose pairs predict no ratings.
        """
        snapshot = self._snapshot
        (found, number), at = snapshot.run.asked_movie(movie), checked_time(at)
        users = one_user(snapshot.run, user, at, snapshot.histories)
        row = np.zeros(1, np.int64)
        made = predict(snapshot, users, row, np.array([number]), _times(at), self._threads)
        deviation = None if made.deviations is None else float(made.deviations[0])
        return Rating(found, float(made.ratings[0]), deviation)

    def similar(self, movie: Id, k: int = 10) -> Similars:
        """Return the movies whose vectors point most nearly the same way, biases left out.

        Args:
            movie: Id or title.
            k: Length of the list, from 1 to the size of the catalogue.

        Raises:
            RequestError: An unknown movie or an impossible k.
        """
        snapshot = self._snapshot
        catalogue, index = snapshot.run.catalogue, snapshot.index
        _, number = snapshot.run.asked_movie(movie)
        k = checked_k(snapshot, k)
        own = snapshot.vectors_of(np.array([number]))  # (1, D)
        numbers, taste = index.ids, snapshot.encoder.taste
        products = index.vectors @ (own[0] * taste**2).astype(np.float32)  # (N,)
        near = products / np.maximum(snapshot.taste_norms, SHORTEST)
        near[snapshot.run.hidden[numbers] | (numbers == number)] = -np.inf
        # In float32: some more than are wanted, and these exactly.
        count = min(k + CLOSE, len(near))
        places = np.argpartition(-near, count - 1)[:count]
        places = places[np.isfinite(near[places])]
        directions = snapshot.encoder.directions(index.vectors[places])
        direction = snapshot.encoder.directions(own)[0]
        norms = np.linalg.norm(directions, axis=1) * np.linalg.norm(direction)
        cosines = directions @ direction / np.maximum(norms, SHORTEST)
        order = np.lexsort((numbers[places], -cosines))[:k]
        return Similars(
            tuple(
                Similar(rank, catalogue.movies[numbers[places[row]]], float(cosines[row]))
                for rank, row in enumerate(order.tolist(), start=1)
            )
        )

    def explain(
        self,
        user: Id | Person,
        movie: Id,
        *,
        by: RankBy | None = None,
        at: int | None = None,
    ) -> Explanation:
        """Return which events of the history carry a movie's rating, or the score that ranks it.

        The answer is the number that `rate`, or the list that is ranked by it, shows. The effect of
        an event is the mean of what it adds to those before it and of what it adds to those after
        it. The baseline and all effects add up to the answer; for a known user, also one who has
        rated more, the baseline also holds the difference between what training inferred and what
        is inferred anew.

        Args:
            user: Id of a known user, or a person.
            movie: Id or title.
            by: Explain the rating, or the score that ranks by this; None is what lists are ranked
                by.
            at: Time of asking, in seconds; None is as `rate` and `topk` take it.

        Raises:
            RequestError: An unknown user or movie, or a ranking that the run's pairs cannot give.
        """
        return explain(self._snapshot, user, movie, by=by, at=checked_time(at))

    def rate_many(
        self,
        users: ArrayLike,
        movies: ArrayLike,
        *,
        times: ArrayLike | None = None,
        histories: GivenHistories | None = None,
    ) -> Ratings:
        """Return the predicted ratings of Q pairs.

        Args:
            users: `(Q,)` ids.
            movies: `(Q,)` ids.
            times: `(Q,)` times of asking, in seconds, `NO_TIME` where a pair has none; None is the
                time of each user's last event.
            histories: Events by user id that replace the stored ones of these users, known or not.

        Raises:
            RequestError: An unknown user without a history, an unknown movie, or a run whose pairs
                predict no ratings.
        """
        snapshot = self._snapshot
        run = snapshot.run
        user_ids = checked_ids(users, "user", run.users)
        movie_ids = checked_ids(movies, "movie", run.catalogue.vocabulary)
        if len(movie_ids) != len(user_ids):
            raise RequestError(f"{len(user_ids)} users and {len(movie_ids)} movies are no pairs")
        numbers = movie_numbers(run, movie_ids)
        run.check_there(numbers)
        at = checked_times(times, len(user_ids))
        found, rows = many_users(
            run, user_ids, {} if histories is None else histories, at, snapshot.histories
        )
        made = predict(snapshot, found, rows, numbers, at, self._threads)
        return Ratings(user_ids=user_ids, movie_ids=movie_ids, times=at, **made._asdict())

    def topk_many(
        self,
        users: ArrayLike,
        k: int = 20,
        *,
        times: ArrayLike | None = None,
        histories: GivenHistories | None = None,
        in_sitting: bool = False,
        rank_by: RankBy | None = None,
        filters: Filter | None = None,
        diversity: float = 0.0,
        include_seen: bool = False,
        wanted: Filter | None = None,
    ) -> TopK:
        """Return top-k lists of Q users.

        Args:
            users: `(Q,)` ids.
            k: Length of a list, from 1 to the size of the catalogue.
            times: `(Q,)` times of asking, in seconds, `NO_TIME` where a list has none; None is
                before each user comes back.
            histories: Events by user id that replace the stored ones of these users, known or not.
            in_sitting: Whether users who are asked at no time have just had their last event and go
                on watching.
            rank_by: Score that ranks the lists; None is what validation chose.
            filters: Condition on movies; None lets all through.
            diversity: Weight of unlikeness, from 0, the order of the scores, to 1.
            include_seen: Whether movies of a history may come back.
            wanted: Deprecated name of `filters`.

        Raises:
            RequestError: As `topk`; an unknown user without a history.
        """
        snapshot, filters = self._snapshot, _filters(filters, wanted)
        user_ids = checked_ids(users, "user", snapshot.run.users)
        at = checked_times(times, len(user_ids))
        found, rows = many_users(
            snapshot.run, user_ids, {} if histories is None else histories, at, snapshot.histories
        )
        options = list_options(
            snapshot,
            k,
            rank_by,
            filters,
            diversity,
            include_seen=include_seen,
            in_sitting=in_sitting,
        )
        shape = (len(rows), options.k)
        lists = Lists(np.empty(shape, np.int64), np.empty(shape), np.empty(shape))
        # Histories of one length together: nothing is padded.
        order = np.argsort(np.diff(found.histories.offsets)[rows], kind="stable")

        def fill(part: NDArray[np.int64]) -> None:
            some, which = selected(found, rows[part])
            made = best_movies(snapshot, some, which, times_of(part, at), options)
            for column, values in zip(lists, made, strict=True):
                column[part] = values

        shared(fill, parts_of(order, at, USERS), self._threads)
        if (empty := lists.movies[:, 0] == NO_ID).any():
            of = enumerated(np.unique(user_ids[empty]).tolist())
            _log.warning("%s, for user %s", NOTHING_LEFT, of)
        return TopK(
            user_ids=user_ids,
            movie_ids=_ids(snapshot.run, lists.movies),
            scores=lists.scores,
            ratings=lists.ratings,
            times=at,
        )


def _ids(run: Run, movies: NDArray[np.int64]) -> Ids:
    """Return the ids of movies, given by number or `NO_ID`, of the same shape."""
    ids, there = run.catalogue.vocabulary.ids, movies != NO_ID
    found = np.full(movies.shape, "" if run.catalogue.vocabulary.texts else NO_ID, ids.dtype)
    found[there] = ids[movies[there]]
    return found


def _times(at: int | None) -> NDArray[np.int64] | None:
    """Return one question's time of asking as an array, `(1,)`."""
    return None if at is None else np.array([at])


def _check_moment(at: int | None, *, in_sitting: bool) -> None:
    if at is not None and in_sitting:
        raise RequestError(
            f"at {at} and in_sitting are two moments; leave one out: a time less than an hour "
            "after the last event is in the sitting"
        )


def _filters(filters: Filter | None, wanted: Filter | None) -> Filter | None:
    """Return the filter that was given by its name, or by the name that it had before."""
    if wanted is None:
        return filters
    if filters is not None:
        raise RequestError("filters and wanted are the same; give filters alone")
    warnings.warn("wanted= is called filters=", DeprecationWarning, stacklevel=3)
    return wanted
