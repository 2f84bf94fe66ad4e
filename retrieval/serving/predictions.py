"""Predicted ratings of pairs of a user and a movie, from one snapshot."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from index.exact import inner_products
from retrieval.errors import RequestError
from retrieval.serving.batching import encode_once
from retrieval.serving.encoder import Encoded, Encoder, why_no_ratings
from retrieval.serving.snapshot import ServingSnapshot
from retrieval.serving.users import QueryUsers

# Pairs scored together: bounds the memory for their vectors.
SCORED = 65_536


class Predictions(NamedTuple):
    """The predicted ratings of Q pairs, and how sure they are where a Bayesian pair says so."""

    ratings: NDArray[np.float64]  # (Q,)
    deviations: NDArray[np.float64] | None  # (Q,) standard deviations of true ratings around them
    chances: NDArray[np.float64] | None  # (Q, L) of each of the link's rating values


def predict(
    snapshot: ServingSnapshot,
    users: QueryUsers,
    rows: NDArray[np.int64],
    movies: NDArray[np.int64],
    times: NDArray[np.int64] | None,
    threads: int,
) -> Predictions:
    """Return the predicted ratings of Q pairs.

    Args:
        snapshot: What answers.
        users: The users.
        rows: `(Q,)` which of them each pair is about.
        movies: `(Q,)` numbers of movies of the catalogue.
        times: `(Q,)` times of asking, in seconds, `NO_TIME` where a pair has none; None is none at
            all.
        threads: Number of threads that share the work.

    Raises:
        RequestError: No pair of the run predicts ratings, or a movie is not in the index.
    """
    encoder, link = snapshot.encoder, snapshot.run.config.link
    check_rates(encoder)
    if not len(movies):
        none = np.zeros(0)
        if link is None:
            return Predictions(none, None, None)
        return Predictions(none, none, link.chances(none, np.ones(0)))
    encoded, which = encode_once(encoder, users, rows, times, threads)
    return judged(encoder, encoded, which, movies, scores_of(snapshot, encoded, which, movies))


def scores_of(
    snapshot: ServingSnapshot,
    encoded: Encoded,
    which: NDArray[np.int64],
    movies: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return the inner products of the vectors that rate of Q pairs, `(Q,)`.

    Args:
        snapshot: What answers.
        encoded: Users.
        which: `(Q,)` which of them each pair is about.
        movies: `(Q,)` numbers.

    Raises:
        RequestError: A movie is not in the index.
    """
    scores, users = np.empty(len(movies)), encoded.vectors
    for start in range(0, len(movies), SCORED):
        part = slice(start, start + SCORED)
        vectors = users if len(users) == 1 else users[which[part]]  # (C, D)
        scores[part] = inner_products(vectors, snapshot.vectors_of(movies[part]))
    return scores


def check_rates(encoder: Encoder) -> None:
    """Raise a `RequestError` if no pair of a run predicts ratings."""
    if not encoder.rates:
        raise RequestError(f"this run predicts no ratings: {why_no_ratings(encoder.run)}")


def judged(
    encoder: Encoder,
    encoded: Encoded,
    which: NDArray[np.int64],
    movies: NDArray[np.int64],
    scores: NDArray[np.float64],
) -> Predictions:
    """Return the ratings that inner products stand for, and how sure they are.

    Args:
        encoder: Who encoded the users.
        encoded: Users.
        which: `(Q,)` which of them each pair is about.
        movies: `(Q,)` numbers.
        scores: `(Q,)` inner products of the vectors of both.
    """
    offsets, link = encoded.offsets[which], encoder.run.config.link
    ratings = encoder.ratings(offsets, scores)
    if link is None:
        return Predictions(ratings, None, None)
    chances = link.chances(offsets + scores, encoder.noise(encoded, which, movies))
    return Predictions(ratings, link.deviations(ratings, chances), chances)
