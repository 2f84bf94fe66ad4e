from pathlib import Path

import numpy as np
import pytest

from retrieval.data.history import Histories
from retrieval.data.times import NO_TIME
from retrieval.options import RankBy
from retrieval.run.folder import Run
from retrieval.serving.events import Event
from retrieval.serving.history import (
    HistoryStore,
    KnownHistories,
    StoredHistories,
    histories_of,
)
from retrieval.serving.recommender import Recommender
from retrieval.serving.users import Person, many_users, one_user

USER = 4  # whose list changes
LATER = 1_200_000_000


class OneMoreEvent:
    """What a run stores, and one more rating of one user, given later."""

    def __init__(self, run: Run, event: Event) -> None:
        self.stored, self.event = StoredHistories(run), event
        self.user = int(run.users.numbers(USER))
        self.movie = run.catalogue.number(event.movie_id)

    def read(self, users: np.ndarray) -> KnownHistories:
        stored = self.stored.read(users)
        (offsets, movies, ratings, timestamps), as_stored = stored.histories, stored.as_stored
        own = users == self.user
        ends = offsets[1:][own]
        histories = Histories(
            np.append(0, np.cumsum(np.diff(offsets) + own)),
            np.insert(movies, ends, self.movie),
            np.insert(ratings, ends, self.event.rating or 0.0),
            np.insert(timestamps, ends, LATER),
        )
        return KnownHistories(histories, as_stored & ~own)


def with_one_more(run: Path, event: Event) -> Recommender:
    def store(opened: Run) -> HistoryStore:
        return OneMoreEvent(opened, event)

    return Recommender.load(run, open_store=store)


def test_an_event_of_another_store_counts_as_one_that_comes_with_the_question(
    recommender: Recommender, run: Path
) -> None:
    unseen = recommender.topk(USER, 1)[0].movie.id
    event = Event(unseen, 1.0, LATER)
    live = with_one_more(run, event)
    person = Person(user_id=USER, added=[event])
    for by in RankBy:
        listed = live.topk(USER, 20, rank_by=by)
        assert unseen not in {row.movie.id for row in listed}
        assert listed == recommender.topk(person, 20, rank_by=by)
        assert listed[1:] != recommender.topk(USER, 20, rank_by=by)[1:]
    for at in (None, LATER + 5):
        assert live.rate(USER, 7, at=at) == recommender.rate(person, 7, at=at)
        assert live.explain(USER, 7, at=at) == recommender.explain(person, 7, at=at)
        times = None if at is None else [at, at]
        batch = live.topk_many([3, USER], 20, times=times)
        alone = [recommender.topk(3, 20, at=at), recommender.topk(person, 20, at=at)]
        for ids, rows in zip(batch.movie_ids.tolist(), alone, strict=True):
            assert ids == [row.movie.id for row in rows]
    assert live.topk(3, 20) == recommender.topk(3, 20)
    given = {USER: [Event(1, 5.0), Event(2, 1.0)]}
    answers = [each.rate_many([USER], [7], histories=given).ratings for each in (live, recommender)]
    assert answers[0] == answers[1]  # which replaces what any store has


def test_another_rating_of_a_movie_counts_from_when_it_was_given(
    recommender: Recommender, run: Path
) -> None:
    stored = one_user(recommender.run, USER).histories
    movie = recommender.run.catalogue.movies[stored.movies[0]].id
    other = 1.0 if stored.ratings[0] > 1 else 5.0
    live = with_one_more(run, Event(movie, other, LATER)).snapshot

    def rating(at: int | None) -> float:
        users = one_user(live.run, USER, at, live.histories).histories
        return float(users.ratings[users.movies == stored.movies[0]].item())

    assert [rating(at) for at in (None, LATER + 1, LATER - 1)] == [other, other, stored.ratings[0]]
    times = np.array([LATER + 1, LATER - 1, NO_TIME])
    found, rows = many_users(live.run, np.full(3, USER), {}, times, live.histories)
    ratings = [
        found.histories.ratings[start:end][found.histories.movies[start:end] == stored.movies[0]]
        for start, end in zip(
            found.histories.offsets[rows], found.histories.offsets[rows + 1], strict=True
        )
    ]
    assert [each.tolist() for each in ratings] == [[other], [stored.ratings[0]], [other]]


@pytest.mark.parametrize("users", [[], [3], [5, 0, 5]])
def test_the_histories_of_some_users_are_theirs_in_their_order(
    recommender: Recommender, users: list[int]
) -> None:
    stored = recommender.run.histories
    found = histories_of(stored, np.array(users, np.int64))
    assert len(found.offsets) == len(users) + 1
    for row, user in enumerate(users):
        for name in ("movies", "ratings", "timestamps"):
            own = getattr(found, name)[found.offsets[row] : found.offsets[row + 1]]
            wanted = getattr(stored, name)[stored.offsets[user] : stored.offsets[user + 1]]
            assert own.tolist() == wanted.tolist()


def test_what_a_run_stores_is_as_stored(recommender: Recommender) -> None:
    known = StoredHistories(recommender.run).read(np.array([1, 2]))
    assert known.as_stored.tolist() == [True, True]
    found, _ = many_users(recommender.run, recommender.run.users.ids[1:3], {})
    assert found.stored.tolist() == [1, 2]
    assert found.histories.movies.tolist() == known.histories.movies.tolist()
