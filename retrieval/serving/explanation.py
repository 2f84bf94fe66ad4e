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
    wanted = run.catalogue.named(movie)
    number = run.catalogue.number(wanted.id)
    users = one_user(run, user, at, snapshot.histories)
    answer = _answers(snapshot, users, number, by, at, at)[0]
    if at is not None:
        users = _until(users, at)
    count = min(MOST, len(users.histories.movies))
    # Without the last event, the time of asking stays what it was.
    last = int(users.histories.timestamps.max(initial=0)) if at is None else at
    answers = _answers(snapshot, _in_parts(users, count), number, by, last, at)
    before, after = answers[: count + 1], answers[count + 1 :]
    effects = (np.diff(before) - np.diff(after)) / 2
    total = float(np.abs(effects).sum())
    events = users.histories
    first = len(events.movies) - count
    influences = [
        Influence(
            movie=run.catalogue.movies[events.movies[first + place]],
            rating=float(events.ratings[first + place]),
            timestamp=int(events.timestamps[first + place]),
            effect=float(effects[place]),
            share=abs(float(effects[place])) / total if total else 0.0,
        )
        for place in np.argsort(-np.abs(effects), kind="stable").tolist()
    ]
    return Explanation(wanted, by, float(answer), float(answer - effects.sum()), influences)


def _until(users: QueryUsers, at: int) -> QueryUsers:
    """Return the one user with what had happened by a time."""
    events = users.histories
    end = int(windows_until(events, np.zeros(1, np.int64), np.array([at])).ends[0])
    cut = Histories(
        np.array([0, end]), events.movies[:end], events.ratings[:end], events.timestamps[:end]
    )
    return users._replace(histories=cut)


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
        as_known=np.repeat(users.as_known, len(kept)),
        codes=np.repeat(users.codes, len(kept), axis=0),
        histories=histories,
        unlearned=users.unlearned * len(kept),
    )


def _answers(
    snapshot: ServingSnapshot,
    users: QueryUsers,
    movie: int,
    by: RankBy,
    rated_at: int | None,
    watched_at: int | None,
) -> NDArray[np.float64]:
    """Return the answers about one movie, `(A,)`.

    Args:
        snapshot: What answers.
        users: The A users.
        movie: Its number.
        by: Score that ranks, or the rating.
        rated_at: Time of asking for the pairs that predict ratings, in seconds; None is not known.
        watched_at: Time of asking for the sequence pair, likewise.
    """
    encoder = snapshot.encoder
    rows = np.arange(len(users.trained))
    vectors = snapshot.vectors_of(np.full(len(rows), movie))
    times = None if rated_at is None else np.full(len(rows), rated_at)
    encoded = encoder.encode(questions_of(users, rows, times))
    if by is RankBy.RATING:
        return encoder.ratings(encoded.offsets, inner_products(encoded.vectors, vectors))
    times = None if watched_at is None else np.full(len(rows), watched_at)
    queries = encoder.queries(questions_of(users, rows, times), encoded.vectors, by)
    return inner_products(queries, vectors)
