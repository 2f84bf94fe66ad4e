"""Lists: for each question the movies with the highest scores, from one snapshot."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from index.neighbours import NO_ID, Neighbours
from index.rows import Selection
from retrieval.errors import RequestError, shown
from retrieval.options import RankBy
from retrieval.serving.arguments import checked_count, checked_numbers
from retrieval.serving.diversity import diversify
from retrieval.serving.encoder import Encoded, questions_of
from retrieval.serving.filters import Filter
from retrieval.serving.predictions import scores_of
from retrieval.serving.snapshot import ServingSnapshot
from retrieval.serving.stopwatch import StageTimes, lap
from retrieval.serving.users import QueryUsers

# Movies that a diverse list is chosen from, for each of its places.
CANDIDATES = 10


class ListOptions(NamedTuple):
    """What lists are to be, checked."""

    k: int
    rank_by: RankBy
    allowed: Selection | None  # what a filter lets through
    diversity: float
    include_seen: bool
    in_sitting: bool


class ListQueries(NamedTuple):
    """Q questions for lists, encoded: all that lists and ratings need of their users."""

    encoded: Encoded
    queries: NDArray[np.float32]  # (Q, D) that rank
    seen: list[NDArray[np.int64]]  # Q times the numbers of the movies in a history


class Lists(NamedTuple):
    """Lists for Q questions. Rows shorter than K end in `NO_ID`."""

    movies: NDArray[np.int64]  # (Q, K) numbers
    scores: NDArray[np.float64]  # (Q, K), minus infinity where there is no movie
    ratings: NDArray[np.float64]  # (Q, K), NaN where no pair predicts ratings


def list_options(
    snapshot: ServingSnapshot,
    k: int,
    rank_by: RankBy | None,
    filters: Filter | None,
    diversity: float,
    *,
    include_seen: bool,
    in_sitting: bool,
) -> ListOptions:
    """Check what lists are to be.

    Args:
        snapshot: What answers.
        k: Length of a list.
        rank_by: Score that ranks; None is what validation chose.
        filters: Condition on movies; None is none.
        diversity: Weight of unlikeness, from 0 to 1.
        include_seen: Whether movies of a history may come back.
        in_sitting: Whether users who are asked at no time are in the sitting of their last event.

    Raises:
        RequestError: One of them is impossible, or the run's pairs cannot rank so.
    """
    k = checked_k(snapshot, k)
    if not 0 <= checked_numbers([diversity], "diversity")[0] <= 1:
        raise RequestError(f"diversity is {diversity:g}; it must be from 0 to 1")
    for name, value in (("include_seen", include_seen), ("in_sitting", in_sitting)):
        if not isinstance(value, (bool, int, np.bool_)):
            raise RequestError(f"{name} is '{shown(value)}'; give True or False")
    if filters is not None and not isinstance(filters, Filter):
        raise RequestError(f"filters are '{shown(filters)}'; give a Filter")
    allowed = snapshot.allowed(filters)
    ranking = snapshot.encoder.ranking(rank_by)
    return ListOptions(k, ranking, allowed, diversity, include_seen, in_sitting)


def checked_k(snapshot: ServingSnapshot, k: int) -> int:
    """Return how many movies are wanted.

    Raises:
        RequestError: It is no number from 1 to the size of the catalogue.
    """
    return checked_count(k, "k", len(snapshot.run.catalogue), "the size of the catalogue")


def best_movies(
    snapshot: ServingSnapshot,
    users: QueryUsers,
    rows: NDArray[np.int64],
    times: NDArray[np.int64] | None,
    options: ListOptions,
    timer: StageTimes | None = None,
) -> Lists:
    """Return the lists of Q questions.

    Args:
        snapshot: What answers.
        users: The users.
        rows: `(Q,)` which of them each question is about.
        times: `(Q,)` times of asking, in seconds; None is not known.
        options: What the lists are to be.
        timer: Stage times of the request, if anybody measures.
    """
    encoded = encode_lists(
        snapshot, users, rows, times, options.rank_by, in_sitting=options.in_sitting, timer=timer
    )
    return listed(snapshot, encoded, options, timer)


def encode_lists(
    snapshot: ServingSnapshot,
    users: QueryUsers,
    rows: NDArray[np.int64],
    times: NDArray[np.int64] | None,
    rank_by: RankBy,
    *,
    in_sitting: bool = False,
    timer: StageTimes | None = None,
) -> ListQueries:
    """Encode Q questions for lists.

    Args:
        snapshot: What answers.
        users: The users.
        rows: `(Q,)` which of them each question is about.
        times: `(Q,)` times of asking, in seconds; None is not known.
        rank_by: Score that ranks.
        in_sitting: Whether users who are asked at no time are in the sitting of their last event.
        timer: Stage times of the request, if anybody measures.
    """
    found = encode_rankings(
        snapshot, users, rows, times, (rank_by,), in_sitting=in_sitting, timer=timer
    )
    return found[rank_by]


def encode_rankings(
    snapshot: ServingSnapshot,
    users: QueryUsers,
    rows: NDArray[np.int64],
    times: NDArray[np.int64] | None,
    rankings: Sequence[RankBy],
    *,
    in_sitting: bool = False,
    timer: StageTimes | None = None,
) -> dict[RankBy, ListQueries]:
    """Encode Q questions once for lists by several scores, as `encode_lists` does for one."""
    encoder = snapshot.encoder
    questions = questions_of(users, rows, times, in_sitting=in_sitting)
    encoded = encoder.encode(questions, timer)
    seen = [_seen(users, row) for row in rows]
    queries = encoder.queries_by(questions, encoded.vectors, rankings, timer)
    return {rank_by: ListQueries(encoded, vectors, seen) for rank_by, vectors in queries.items()}


def listed(
    snapshot: ServingSnapshot,
    questions: ListQueries,
    options: ListOptions,
    timer: StageTimes | None = None,
) -> Lists:
    """Return the lists of Q questions that were encoded by the same snapshot.

    Args:
        snapshot: What answers.
        questions: The questions, ranked by what the options say.
        options: What the lists are to be.
        timer: Stage times of the request, if anybody measures.
    """
    encoder, encoded = snapshot.encoder, questions.encoded
    found = best_of(snapshot, questions, options)
    lap(timer, "search")
    ratings = np.full(found.ids.shape, np.nan)
    if encoder.rates:
        there = found.ids != NO_ID
        which = np.nonzero(there)[0]
        if options.rank_by is RankBy.RATING:
            scores = found.scores[there]
        else:
            scores = scores_of(snapshot, encoded, which, found.ids[there])
        ratings[there] = encoder.ratings(encoded.offsets[which], scores)
    lap(timer, "ratings")
    return Lists(found.ids, found.scores, ratings)


def best_of(snapshot: ServingSnapshot, questions: ListQueries, options: ListOptions) -> Neighbours:
    """Return the movies of the lists of Q questions, by number, with the scores that rank them.

    Args:
        snapshot: What answers.
        questions: The questions, ranked by what the options say.
        options: What the lists are to be.
    """
    depth = options.k
    if options.diversity:
        depth = min(CANDIDATES * options.k, max(1, len(snapshot.index)))
    seen = None if options.include_seen else questions.seen
    found = snapshot.index.search(questions.queries, depth, seen, options.allowed)
    return _diverse(snapshot, found, options) if options.diversity else found


def _diverse(snapshot: ServingSnapshot, found: Neighbours, options: ListOptions) -> Neighbours:
    """Return lists of k from longer ones, `(Q, K)`, in the order in which they were chosen."""
    ids = np.full((len(found.ids), options.k), NO_ID)
    scores = np.full(ids.shape, -np.inf)
    for row, (candidates, their_scores) in enumerate(zip(*found, strict=True)):
        there = candidates != NO_ID
        directions = snapshot.encoder.directions(snapshot.index.vectors_of(candidates[there]))
        places = diversify(their_scores[there], directions, options.k, options.diversity)
        ids[row, : len(places)] = candidates[places]
        scores[row, : len(places)] = their_scores[places]
    return Neighbours(ids, scores)


def _seen(users: QueryUsers, row: int) -> NDArray[np.int64]:
    """Return the numbers of the movies in one user's history."""
    start, end = users.histories.offsets[row : row + 2]
    seen = users.histories.movies[start:end].astype(np.int64)
    also = users.also_seen[row]
    return np.concatenate([seen, also]) if len(also) else seen
