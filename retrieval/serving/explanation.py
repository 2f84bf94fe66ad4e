"""Explanations: what each event of a history adds to an answer.

An event is added to those before it, and to those after it; the mean of what either does to the
answer is its effect. So the effects of all events add up to what the whole history does.
"""

import numpy as np
from numpy.typing import NDArray

from index.exact import inner_products
from retrieval.data.history import Histories, windows_until
from retrieval.data.vocabulary import UNKNOWN, Id
from retrieval.options import RankBy
from retrieval.serving.encoder import questions_of
from retrieval.serving.results import Explanation, Influence
from retrieval.serving.snapshot import ServingSnapshot
from retrieval.serving.users import Person, QueryUsers, one_user

# Events that are explained by, the latest ones; what came before is there all the same.
MOST = 200


def explain(
    snapshot: ServingSnapshot,
    user: Id | Person,
    movie: Id,
    *,
    by: RankBy | None = None,
    at: int | None = None,
) -> Explanation:
    """Return which events of a history carry an answer, as `Recommender.explain` says.

    Args:
        snapshot: What answers.
        user: Id of a known user, or a person.
        movie: Id or title.
        by: Score that ranks, or the rating; None is what lists are ranked by.
        at: Time of asking, in seconds; None is the time of the last event.

    Raises:
        RequestError: An unknown user or movie, or a ranking that the run's pairs cannot give.
    """
    run, encoder = snapshot.run, snapshot.encoder
    by = encoder.ranking(by)
    wanted, number = run.asked_movie(movie)
    users = one_user(run, user, at, snapshot.histories)
    answer = _answers(snapshot, users, np.array([number]), by, at, at)[0, 0]
    effects, places = effects_of(snapshot, users, np.array([number]), by, at)
    effects, events = effects[:, 0], users.histories
    total = float(np.abs(effects).sum())
    influences = [
        Influence(
            movie=run.catalogue.movies[events.movies[places[row]]],
            rating=float(events.ratings[places[row]]),
            timestamp=int(events.timestamps[places[row]]),
            effect=float(effects[row]),
            share=abs(float(effects[row])) / total if total else 0.0,
        )
        for row in np.argsort(-np.abs(effects), kind="stable").tolist()
    ]
    nobody = one_user(run, Person(history=()), at, snapshot.histories)
    unknown = _answers(snapshot, nobody, np.array([number]), by, at, at)[0, 0]
    baseline = float(answer - effects.sum())
    return Explanation(wanted, by, float(answer), baseline, float(unknown), influences)


def effects_of(
    snapshot: ServingSnapshot,
    users: QueryUsers,
    movies: NDArray[np.int64],
    by: RankBy,
    at: int | None,
    most: int = MOST,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return what each of the latest events of one user adds to answers about M movies, `(E, M)`.

    Args:
        snapshot: What answers.
        users: The user.
        movies: `(M,)` numbers.
        by: Score that ranks, or the rating.
        at: Time of asking, in seconds; None is not known.
        most: How many events are looked at.

    Returns:
        The effects, and `(E,)` the places of the events in the history.
    """
    if at is not None:
        users = _until(users, at)
    events = users.histories
    count = min(most, len(events.movies))
    # Without the last event, the time of asking stays what it was.
    last = int(events.timestamps.max(initial=0)) if at is None else at
    answers = _answers(snapshot, _in_parts(users, count), movies, by, last, at)
    before, after = answers[: count + 1], answers[count + 1 :]
    effects = (np.diff(before, axis=0) - np.diff(after, axis=0)) / 2
    return effects, len(events.movies) - count + np.arange(count)


def _until(users: QueryUsers, at: int) -> QueryUsers:
    """Return the one user with what had happened by a time."""
    events = users.histories
    end = int(windows_until(events, np.zeros(1, np.int64), np.array([at])).ends[0])
    cut = Histories(
        np.array([0, end]), events.movies[:end], events.ratings[:end], events.timestamps[:end]
    )
    # Asked before all that is stored had happened, a user who has rated more is as a new one.
    return users._replace(histories=cut, as_known=users.as_known & (end >= users.settled))


def _in_parts(users: QueryUsers, count: int) -> QueryUsers:
    """Return the one user with parts of the last `count` events, C, and all before: 2 C + 2 users.

    First with none of them, with the oldest one, and so on to all; then with all, without the
    oldest one, and so on to none. The vectors that a run stores of a known user count for none of
    these.
    """
    events = users.histories
    length = len(events.movies)
    places, explained = np.arange(length), np.arange(count + 1)[:, None]
    context = places < length - count
    before = places < length - count + explained
    after = context | (places >= length - count + explained)
    kept = np.vstack([before, after])
    chosen = np.nonzero(kept)[1]
    histories = Histories(
        np.concatenate([[0], np.cumsum(kept.sum(axis=1))]),
        events.movies[chosen],
        events.ratings[chosen],
        events.timestamps[chosen],
    )
    return QueryUsers(
        trained=np.repeat(users.trained, len(kept)),
        stored=np.full(len(kept), UNKNOWN),
        settled=np.zeros(len(kept), np.int64),
        as_known=np.repeat(users.as_known, len(kept)),
        codes=np.repeat(users.codes, len(kept), axis=0),
        histories=histories,
        also_seen=users.also_seen * len(kept),
    )


def _answers(
    snapshot: ServingSnapshot,
    users: QueryUsers,
    movies: NDArray[np.int64],
    by: RankBy,
    rated_at: int | None,
    watched_at: int | None,
) -> NDArray[np.float64]:
    """Return the answers about M movies, `(A, M)`.

    Args:
        snapshot: What answers.
        users: The A users.
        movies: `(M,)` their numbers.
        by: Score that ranks, or the rating.
        rated_at: Time of asking for the pairs that predict ratings, in seconds; None is not known.
        watched_at: Time of asking for the sequence pair, likewise.
    """
    encoder = snapshot.encoder
    rows = np.arange(len(users.trained))
    vectors = snapshot.vectors_of(movies)
    times = None if rated_at is None else np.full(len(rows), rated_at)
    encoded = encoder.encode(questions_of(users, rows, times))
    if by is RankBy.RATING:
        scores = inner_products(encoded.vectors[:, None, :], vectors)
        return encoder.ratings(encoded.offsets[:, None], scores)
    times = None if watched_at is None else np.full(len(rows), watched_at)
    queries = encoder.queries(questions_of(users, rows, times), encoded.vectors, by)
    return inner_products(queries[:, None, :], vectors)
