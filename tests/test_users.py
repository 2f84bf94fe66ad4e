import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from retrieval.data import columns
from retrieval.data.layouts import read_movies
from retrieval.data.times import EARLIEST, NO_TIME
from retrieval.data.vocabulary import UNKNOWN
from retrieval.errors import RequestError
from retrieval.pipeline.indexing import add_movies
from retrieval.serving.encoder import questions_of
from retrieval.serving.events import Event
from retrieval.serving.recommender import Recommender
from retrieval.serving.users import Person, QueryUsers, many_users, one_user

LATE = 9001  # a movie that is added after training


@pytest.fixture(scope="module")
def longer(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Recommender:
    """A run with one movie more than it was trained on."""
    folder = tmp_path_factory.mktemp("longer")
    shutil.copytree(run, folder / "run", dirs_exist_ok=True)
    pd.DataFrame(
        {columns.MOVIE_ID: [LATE], columns.TITLE: ["Late (2030)"], columns.GENRES: ["Drama"]}
    ).to_csv(folder / "movies.csv", index=False)
    add_movies(folder / "run", read_movies(folder / "movies.csv"))
    return Recommender.load(folder / "run")


def events(users: QueryUsers, row: int = 0) -> list[tuple[int, float, int]]:
    """Return movie numbers, ratings and times of one of the users."""
    start, end = users.histories.offsets[row : row + 2]
    _, movies, ratings, times = users.histories
    columns = (movies[start:end], ratings[start:end], times[start:end])
    return list(zip(*(column.tolist() for column in columns), strict=True))


def same(left: QueryUsers, right: QueryUsers) -> bool:
    return events(left) == events(right)


def events_of(recommender: Recommender, user: int) -> list[tuple[int, float, int]]:
    return events(one_user(recommender.run, user))


def test_a_known_user_who_tells_more_has_grown(recommender: Recommender) -> None:
    run = recommender.run
    number = int(np.flatnonzero(run.trained_users)[3])
    user = run.users.ids[number].item()
    unseen = recommender.topk(user, 1)[0].movie.id
    stored = events_of(recommender, user)
    ids = run.catalogue.vocabulary.ids
    whole = [Event(ids[movie].item(), rating, time) for movie, rating, time in stored]
    more = [Event(unseen, 4.0)]
    again = whole[2]._replace(timestamp=None)
    grown = [
        Person(user_id=user, added=more),
        Person(user_id=user, history=[*whole, *more]),
        Person(user_id=user, history=whole),  # by nothing
    ]
    others = [
        Person(user_id=user, added=[Event(unseen, 4.0, stored[0][2] - 9)]),  # before
        Person(user_id=user, added=[again]),  # another rating of what was rated
        Person(user_id=user, added=more, gender="F"),  # somebody else, as is told
        Person(history=[*whole, *more]),  # nobody is named
    ]
    for person in (*grown, *others):
        found = one_user(run, person)
        assert found.grown.tolist() == [number if person in grown else UNKNOWN], person
        assert found.as_known.tolist() == [person in grown]
    assert one_user(run, user).grown.tolist() == [UNKNOWN]  # as stored
    histories = {user: [*whole, *more], 10**6: [*whole, *more]}
    found, rows = many_users(run, np.array([10**6, user, user + 1]), histories)
    assert found.grown[rows].tolist() == [UNKNOWN, number, UNKNOWN]
    assert found.as_known[rows].tolist() == [False, True, True]


def test_asked_before_the_stored_events_had_happened_nobody_has_grown(
    recommender: Recommender,
) -> None:
    run = recommender.run
    number = int(np.flatnonzero(run.trained_users)[3])
    user, stored = run.users.ids[number].item(), events_of(recommender, int(run.users.ids[number]))
    unseen = recommender.topk(user, 1)[0].movie.id
    first, last = stored[0][2], stored[-1][2]
    assert first < last
    more = Person(user_id=user, added=[Event(unseen, 4.0, last + 60)])
    rows = np.zeros(1, np.int64)
    for at, grown in ((last + 90, True), (last, True), (last - 1, False), (first - 1, False)):
        asked = one_user(run, more, at)
        found = questions_of(asked, rows, np.array([at]))
        assert found.questions.grown.tolist() == [number if grown else UNKNOWN], at
        assert found.as_known.tolist() == [grown]
        anew = asked._replace(settled=rows, as_known=np.zeros(1, dtype=bool))
        other = questions_of(anew, rows, np.array([at]))
        one, two = (recommender.encoder.encode(each).vectors for each in (found, other))
        assert np.allclose(one, two, atol=1e-6) is not grown


def test_one_rating_more_changes_predictions_by_what_it_says_alone(
    recommender: Recommender,
) -> None:
    run = recommender.run
    vectors = recommender.index.vectors_of(np.arange(len(run.catalogue)))
    moved, folded = [], []
    for number in np.flatnonzero(run.trained_users)[:20].tolist():
        user = run.users.ids[number].item()
        more = [Event(recommender.topk(user, 1)[0].movie.id, 4.0)]
        encoder, rows = recommender.encoder, np.zeros(1, np.int64)
        people = [one_user(run, who) for who in (user, Person(user_id=user, added=more))]
        people.append(people[1]._replace(settled=rows, as_known=np.zeros(1, dtype=bool)))
        stored, grown, anew = (
            encoder.ratings(said.offsets, said.vectors.astype(np.float64) @ vectors.T)
            for said in (encoder.encode(questions_of(who, rows, None)) for who in people)
        )
        moved.append(np.abs(grown - stored).mean())
        folded.append(np.abs(anew - stored).mean())
    assert np.mean(moved) < np.mean(folded) / 2


def test_an_event_without_a_time_happened_just_before_the_question(
    recommender: Recommender,
) -> None:
    run, at = recommender.run, 1_200_000_000
    bare, dated = [Event(1, 5.0)], [Event(1, 5.0, at - 1)]
    assert same(one_user(run, Person(history=bare), at), one_user(run, Person(history=dated), at))
    user = int(run.users.ids[3])
    assert same(
        one_user(run, Person(user_id=user, added=bare), at),
        one_user(run, Person(user_id=user, added=dated), at),
    )
    times = np.array([at, at + 10**7])
    users, rows = many_users(run, np.array([user, user]), {user: bare}, times)
    moments = [events(users, int(row))[0][2] for row in rows]
    assert moments == [at - 1, at + 10**7 - 1]
    for question in ("rate", "topk"):
        answers = [
            getattr(recommender, question)(Person(user_id=user, added=added), 7, at=at)
            for added in (bare, dated)
        ]
        assert answers[0] == answers[1]


def test_without_a_time_of_asking_it_comes_after_the_last_event(recommender: Recommender) -> None:
    run = recommender.run
    user = int(run.users.ids[3])
    stored = events_of(recommender, user)
    unseen = recommender.topk(user, 1)[0].movie.id
    users = one_user(run, Person(user_id=user, added=[Event(unseen, 4.0)]))
    number = run.catalogue.number(unseen)
    assert events(users)[-1] == (number, 4.0, stored[-1][2])
    mixed = one_user(run, Person(history=[Event(2, 3.0), Event(1, 5.0, 1_100_000_000)]))
    assert events(mixed)[-1][2] == events(mixed)[0][2] == 1_100_000_000


def test_what_a_new_user_gives_without_times_is_not_of_1970(recommender: Recommender) -> None:
    history = [Event(1, 5.0), Event(2, 4.0)]
    users = one_user(recommender.run, Person(history=history))
    times = {time for _, _, time in events(users)}
    assert len(times) == 1
    assert times.pop() >= recommender.run.histories.timestamps.max() > EARLIEST
    batch, _ = many_users(recommender.run, np.array([777]), {777: history})
    assert events(batch) == events(users)
    found = recommender.explain(Person(history=history), 5)
    assert all(influence.timestamp > EARLIEST for influence in found.influences)


def test_an_event_of_the_very_second_comes_before_one_without_a_time(
    recommender: Recommender,
) -> None:
    at = 1_200_000_000
    users = one_user(recommender.run, Person(history=[Event(2, 3.0), Event(1, 5.0, at)]), at)
    assert [time for _, _, time in events(users)] == [at, at]


def test_questions_with_and_without_a_time_may_come_together(recommender: Recommender) -> None:
    user = int(recommender.run.users.ids[3])
    at = int(recommender.run.histories.timestamps.max()) + 10**7
    users, times = [user, user, user], [NO_TIME, at, NO_TIME]
    mixed = recommender.topk_many(users, 5, times=times)
    bare, timed = recommender.topk(user, 5), recommender.topk(user, 5, at=at)
    assert bare != timed
    for row, wanted in enumerate([bare, timed, bare]):
        assert mixed.movie_ids[row].tolist() == [each.movie.id for each in wanted]
        assert mixed.scores[row] == pytest.approx([each.score for each in wanted], abs=1e-5)
    ratings = recommender.rate_many(users, [5, 5, 5], times=times).ratings
    wanted_ratings = [
        recommender.rate(user, 5).rating,
        recommender.rate(user, 5, at=at).rating,
        recommender.rate(user, 5).rating,
    ]
    assert ratings.tolist() == pytest.approx(wanted_ratings, abs=1e-6)
    nat = np.array(["NaT", "2030-01-01"], dtype="datetime64[ns]")
    assert len(recommender.rate_many([user, user], [5, 5], times=nat).ratings) == 2


def test_the_last_rating_of_a_movie_counts(
    recommender: Recommender, caplog: pytest.LogCaptureFixture
) -> None:
    run = recommender.run
    once = one_user(run, Person(history=[Event(2, 3.0, 50), Event(1, 5.0, 100)]))
    for history in (
        [Event(1, 2.0, 20), Event(2, 3.0, 50), Event(1, 5.0, 100)],
        [Event(1, 5.0, 100), Event(2, 3.0, 50), Event(1, 2.0, 20)],
        [Event(1, 2.0, 100), Event(2, 3.0, 50), Event(1, 5.0, 100)],
    ):
        assert same(one_user(run, Person(history=history)), once)
    assert "movie 1 comes more than once" in caplog.text
    # What happens after the question has not replaced anything yet.
    history = [Event(1, 2.0, 20), Event(1, 5.0, 100)]
    assert events(one_user(run, Person(history=history), 60))[0][1:] == (2.0, 20)
    users, rows = many_users(run, np.array([7, 7]), {7: history}, np.array([60, 200]))
    assert [events(users, int(row))[0][1] for row in rows] == [2.0, 5.0]


def test_an_added_rating_replaces_the_stored_one_once_it_has_happened(
    recommender: Recommender,
) -> None:
    run = recommender.run
    user = int(run.users.ids[3])
    number, rating, time = events_of(recommender, user)[0]
    other = 1.0 if rating > 1 else 5.0
    movie = run.catalogue.movies[number].id
    later = Person(user_id=user, added=[Event(movie, other, time + 10**9)])
    counted = {number: rating for number, rating, _ in events(one_user(run, later, time + 1))}
    assert counted[number] == rating
    counted = {number: rating for number, rating, _ in events(one_user(run, later))}
    assert counted[number] == other


def test_a_movie_added_after_training_is_seen_and_says_what_its_content_says(
    longer: Recommender, caplog: pytest.LogCaptureFixture
) -> None:
    movies = len(longer.run.catalogue)
    rest = [Event(3, 5.0, 100), Event(8, 1.0, 5000)]
    history = [*rest, Event(LATE, 5.0, 6000)]
    listed = longer.topk(Person(history=history), movies)
    assert not caplog.text
    assert len(listed) == movies - 3
    assert LATE not in {row.movie.id for row in listed}
    everything = longer.topk(Person(history=history), movies, include_seen=True)
    assert LATE in {row.movie.id for row in everything}
    batch = longer.topk_many([1, 555, 2], movies, histories={555: history})
    assert [LATE in row for row in batch.movie_ids.tolist()] == [True, False, True]
    found = longer.explain(Person(history=history), 20)
    assert {influence.movie.id for influence in found.influences} == {3, 8, LATE}
    assert longer.rate(Person(history=history), LATE) > longer.rate(Person(history=rest), LATE)


def test_every_pair_learns_from_a_rating_of_a_movie_added_after_training(
    longer: Recommender,
) -> None:
    run, user = longer.run, int(longer.run.users.ids[3])
    nothing, *said = (
        one_user(run, Person(user_id=user, added=added))
        for added in ([], [Event(LATE, 5.0)], [Event(LATE, 1.0)])
    )
    for part in run.config.parts:
        tower = longer.encoder.tower(part.name)
        before, good, bad = (
            tower.encode(questions_of(each, np.zeros(1, np.int64), None).questions)
            for each in (nothing, *said)
        )
        assert np.abs(good.vectors - bad.vectors).max() > 1e-4, part.name
        assert np.abs(good.vectors - before.vectors).max() > 1e-4, part.name


def test_a_time_before_all_events_is_said(
    recommender: Recommender, caplog: pytest.LogCaptureFixture
) -> None:
    user = int(recommender.run.users.ids[3])
    first = events_of(recommender, user)[0][2]
    recommender.topk(user, 3, at=first)
    recommender.topk_many([user], 3, times=[first])
    assert not caplog.records
    recommender.topk(user, 3, at=first - 1)
    assert "lies before all events of the history" in caplog.text
    recommender.rate_many([user, 5], [5, 5], times=[first - 1, first + 10**9])
    assert f"lies before all events of user {user}: none counts" in caplog.text


def test_histories_of_users_who_are_not_asked_about_are_said(
    recommender: Recommender, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        recommender.rate_many([1], [5], histories={2: [Event(1, 5.0)]})
    assert "histories were given of 1 users who are not asked about" in caplog.text


def test_histories_belong_to_ids_of_any_type_and_to_nothing_else(recommender: Recommender) -> None:
    history = [Event(1, 5.0), Event(5, 1.0)]
    wanted = recommender.rate_many([1], [9], histories={1: history}).ratings
    keys: list[Any] = [np.int32(1), 1.0, "1"]
    for key in keys:
        assert recommender.rate_many([1], [9], histories={key: history}).ratings == wanted
    keys = [1.5, "bob", None, float("nan"), 10**30]
    for key in keys:
        with pytest.raises(RequestError, match="is no id"):
            recommender.rate_many([1], [9], histories={key: history})


def person(**given: Any) -> Person:  # noqa: ANN401 (whatever a caller may give)
    return Person(**given)


def event(movie: Any, rating: Any = 5, *time: Any) -> Event:  # noqa: ANN401
    return Event(movie, rating, *time)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (person(user_id=10**30), "is no id"),
        (person(user_id=1.5), "user '1.5' is no id"),
        (person(user_id=True), "user 'True' is no id"),
        (person(history=[event(10**30, 5)]), "is no id"),
        (person(history=[event(1.5, 5)]), "movie '1.5' is no id"),
        (person(history=[event(1, float("nan"))]), "rating nan of movie 1 is outside the scale"),
        (person(history=[event(1, float("inf"))]), "rating inf of movie 1 is outside the scale"),
        (person(history=[event(1, "five")]), "rating 'five' is no number"),
        (person(history=[event(1, rating=True)]), "rating 'True' is no number"),
        (person(history=[event(1, 5, -1)]), "time -1 would be"),
        (person(history=[event(1, 5, 978_300_760_000)]), "time 978300760000 would be"),
        (person(history=[event(1, 5, 1.5)]), "malformed time '1.5'"),
        (person(history=[(1, 5)]), r"give Event\(movie_id, rating\)"),
        (person(history=[event(1), (2, 5)]), r"holds '\(2, 5\)'; give Event"),
        (person(history=5), "give a list of events"),
        (person(history=np.array(5)), "give a list of events"),
        (person(history=iter([event(1)])), "give a list of events"),
        (person(history=[], age=float("nan")), "age 'nan' is no number"),
        (person(history=[], age=float("inf")), "age 'inf' is no number"),
        (person(history=[], age=1e300), "age 1e\\+300 is not between"),
        (person(history=[], age="abc"), "age 'abc' is no number"),
        (person(history=[], gender=5), "gender '5' is no text"),
        (person(history=[], gender=np.array(["F", "M"])), "gender '.*' is no text"),
    ],
)
def test_impossible_people_are_named(recommender: Recommender, asked: Person, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        recommender.topk(asked, 3)
