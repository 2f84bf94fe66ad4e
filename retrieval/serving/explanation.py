"""Explanations: which events of a history carry an answer, by leaving each out in turn."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from index.exact import inner_products
from index.snapshot import Snapshot
from index.vectors import Vectors
from retrieval.data.catalogue import Movie
from retrieval.data.history import Histories, windows_until
from retrieval.data.vocabulary import UNKNOWN
from retrieval.errors import RequestError
from retrieval.options import RankBy
from retrieval.serving.encoder import Encoder
from retrieval.serving.users import Audience, Person, one_person

# Events left out in turn, the latest ones; what came before counts all the same.
MOST = 200


class Influence(NamedTuple):
    """What one event does to an answer."""

    movie: Movie
    rating: float
    timestamp: int
    # The answer with the event less the answer without it, both to someone who tells all events
    # anew: what is stored of a known user cannot be had without one of them.
    effect: float
    share: float  # of the sum of all effects, each taken without its sign
    # What the rating itself, not that it was given, adds to the Bayesian pair's part of the score
    # that a rating is made from, exactly; None for another score, or without that pair.
    carried: float | None


class Explanation(NamedTuple):
    """An answer and what carries it."""

    movie: Movie
    by: RankBy
    # The rating in stars, or the score that ranks the movie, as `rate` and `topk` give it.
    answer: float
    influences: list[Influence]  # strongest first


def explain(
    encoder: Encoder,
    index: Snapshot,
    user: int | Person,
    movie: int | str,
    *,
    by: RankBy | None = None,
    at: int | None = None,
) -> Explanation:
    """Do what `Recommender.explain` says, with what encodes users and with the movies' index."""
    run, wanted = encoder.run, encoder.ranking(by)
    asked = run.catalogue.named(movie)
    audience = one_person(run, user, at)
    answer = _answers(encoder, index, audience, asked.id, wanted, at, at)[0]
    if at is not None:
        audience = _before(audience, at)
    count = min(MOST, len(audience.histories.movies))
    # Whoever loses the last event is still asked at the same time.
    last = int(audience.histories.timestamps.max(initial=0)) if at is None else at
    told = _without_each(audience, count)
    answers = _answers(encoder, index, told, asked.id, wanted, last, at)
    carried = None
    if wanted is RankBy.RATING:
        carried = encoder.carried(audience, index.vectors_of(np.array([asked.id]))[0])
    effects = answers[0] - answers[1:]
    total = float(np.abs(effects).sum())
    events = audience.histories
    first = len(events.movies) - count
    influences = [
        Influence(
            run.catalogue.movies[events.movies[first + place]],
            float(events.ratings[first + place]),
            int(events.timestamps[first + place]),
            float(effects[place]),
            abs(float(effects[place])) / total if total else 0.0,
            None if carried is None else float(carried[first + place]),
        )
        for place in np.argsort(-np.abs(effects), kind="stable").tolist()
    ]
    return Explanation(asked, wanted, float(answer), influences)


def vectors_of(index: Snapshot, movies: NDArray[np.int64]) -> Vectors:
    """Return the vectors `(Q, D)` of movies of the catalogue `(Q,)`, by their ids.

    Raises:
        RequestError: One of them was removed from the index.
    """
    try:
        return index.vectors_of(movies)
    except KeyError as error:
        raise RequestError(
            f"movies are {error.args[0]}; put them back with Index.put, or ask about others"
        ) from error


def _before(audience: Audience, at: int) -> Audience:
    """Return the one person with what had happened by a time."""
    events = audience.histories
    end = int(windows_until(events, np.zeros(1, np.int64), np.array([at])).ends[0])
    cut = Histories(
        np.array([0, end]), events.movies[:end], events.ratings[:end], events.timestamps[:end]
    )
    return audience._replace(histories=cut)


def _without_each(audience: Audience, count: int) -> Audience:
    """Return the one person whole, then without each of the last `count` events, oldest first."""
    events = audience.histories
    length = len(events.movies)
    kept = np.ones((count + 1, length), dtype=bool)
    kept[np.arange(1, count + 1), np.arange(length - count, length)] = False
    places = np.nonzero(kept)[1]
    histories = Histories(
        np.concatenate([[0], np.cumsum(kept.sum(axis=1))]),
        events.movies[places],
        events.ratings[places],
        events.timestamps[places],
    )
    return Audience(
        users=np.repeat(audience.users, count + 1),
        stored=np.full(count + 1, UNKNOWN),
        settled=np.repeat(audience.settled, count + 1),
        codes=np.repeat(audience.codes, count + 1, axis=0),
        histories=histories,
        unlearned=audience.unlearned * (count + 1),
    )


def _answers(
    encoder: Encoder,
    index: Snapshot,
    audience: Audience,
    movie: int,
    by: RankBy,
    rated_at: int | None,
    watched_at: int | None,
) -> NDArray[np.float64]:
    """Return the rating in stars, or the score, that each of A people gives a movie, `(A,)`.

    Args:
        encoder: Encodes them.
        index: Holds the movie.
        audience: The people.
        movie: Its id.
        by: What is asked for.
        rated_at: The time of asking for the pairs that predict ratings; None is not told.
        watched_at: The same for the sequence pair.
    """
    rows = np.arange(len(audience.users))
    vectors = vectors_of(index, np.full(len(rows), movie))
    times = None if rated_at is None else np.full(len(rows), rated_at)
    encoded = encoder.encode(audience, rows, times)
    if by is RankBy.RATING:
        return encoder.ratings(encoded.offsets, inner_products(encoded.vectors, vectors))
    times = None if watched_at is None else np.full(len(rows), watched_at)
    queries = encoder.queries(audience, rows, times, encoded.vectors, by)
    return inner_products(queries, vectors)
