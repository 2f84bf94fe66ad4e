import numpy as np
import pytest

from retrieval.errors import RequestError
from retrieval.options import RankBy
from retrieval.serving.events import Event
from retrieval.serving.recommender import Recommender
from retrieval.serving.users import Person

EVENTS = [Event(3, 5.0, 100), Event(8, 1.0, 5000), Event(12, 4.0, 9000)]


def answer(recommender: Recommender, events: list[Event], by: RankBy, at: int) -> float:
    if by is RankBy.RATING:
        return recommender.rate(Person(history=events), 20, at=at).rating
    rows = recommender.topk(Person(history=events), 190, rank_by=by, at=at)
    return next(row.score for row in rows if row.movie.id == 20)


@pytest.mark.parametrize("by", RankBy)
def test_an_effect_is_what_an_event_adds_to_those_before_and_to_those_after(
    recommender: Recommender, by: RankBy
) -> None:
    found = recommender.explain(Person(history=EVENTS), 20, by=by, at=9100)
    assert found.answer == pytest.approx(answer(recommender, EVENTS, by, 9100), abs=1e-4)
    assert {influence.movie.id for influence in found.influences} == {3, 8, 12}
    for influence in found.influences:
        place = [event.movie_id for event in EVENTS].index(influence.movie.id)
        parts = (EVENTS[: place + 1], EVENTS[:place], EVENTS[place:], EVENTS[place + 1 :])
        one, none, rest, later = (answer(recommender, part, by, 9100) for part in parts)
        assert influence.effect == pytest.approx((one - none + rest - later) / 2, abs=2e-4)
    sizes = [abs(influence.effect) for influence in found.influences]
    assert sizes == sorted(sizes, reverse=True)
    assert sum(influence.share for influence in found.influences) == pytest.approx(1)


@pytest.mark.parametrize("by", RankBy)
@pytest.mark.parametrize("person", [5, Person(history=EVENTS), Person(user_id=5, added=EVENTS)])
def test_the_baseline_and_the_effects_add_up_to_the_answer(
    recommender: Recommender, person: int | Person, by: RankBy
) -> None:
    found = recommender.explain(person, 20, by=by)
    effects = sum(influence.effect for influence in found.influences)
    assert found.baseline + effects == pytest.approx(found.answer)
    assert abs(effects) > 1e-3


def test_the_baseline_of_a_new_user_is_the_answer_without_a_history(
    recommender: Recommender,
) -> None:
    found = recommender.explain(Person(history=EVENTS), 20, by=RankBy.RATING, at=9100)
    nothing = recommender.rate(Person(history=[]), 20, at=9100).rating
    assert found.baseline == pytest.approx(nothing, abs=1e-4)
    assert found.unknown_user == pytest.approx(nothing, abs=1e-6)


@pytest.mark.parametrize("by", RankBy)
def test_beside_the_baseline_stands_what_somebody_unknown_would_get(
    recommender: Recommender, by: RankBy
) -> None:
    nothing = recommender.explain(Person(history=[]), 20, by=by, at=2_000_000_000)
    for person in (5, Person(user_id=5, added=EVENTS), Person(gender="F", history=EVENTS)):
        found = recommender.explain(person, 20, by=by, at=2_000_000_000)
        assert found.unknown_user == pytest.approx(nothing.answer, abs=1e-5)


def test_a_known_user_is_explained_by_the_stored_history(recommender: Recommender) -> None:
    run = recommender.run
    found = recommender.explain(5, 20, by=RankBy.RATING)
    start, end = run.histories.offsets[run.users.numbers(5) :][:2]
    stored = run.catalogue.vocabulary.ids[run.histories.movies[start:end]]
    assert {row.movie.id for row in found.influences} == set(stored.tolist())
    assert found.answer == recommender.rate(5, 20).rating


@pytest.mark.parametrize("at", [None, 1_000_000_000, 2_000_000_000])
@pytest.mark.parametrize("added", [[], [Event(8, 5.0)], EVENTS])
def test_the_number_that_is_explained_is_the_one_that_is_shown(
    recommender: Recommender, added: list[Event], at: int | None
) -> None:
    movies = len(recommender.run.catalogue)
    for person in (Person(user_id=5, added=added), Person(history=added, gender="F")):
        for by in RankBy:
            listed = recommender.topk(person, movies, rank_by=by, at=at)
            for row in listed[:3]:
                found = recommender.explain(person, row.movie.id, by=by, at=at)
                assert found.answer == (row.rating if by is RankBy.RATING else row.score)
        rated = recommender.rate(person, 20, at=at).rating
        assert recommender.explain(person, 20, by=RankBy.RATING, at=at).answer == rated


def test_who_has_rated_more_is_explained_as_a_new_user_before_all_that_is_stored(
    recommender: Recommender,
) -> None:
    run = recommender.run
    start, end = run.histories.offsets[run.users.numbers(5) :][:2].tolist()
    movies = run.catalogue.vocabulary.ids[run.histories.movies[start:end]].tolist()
    times = run.histories.timestamps[start:end].tolist()
    events = list(map(Event, movies, run.histories.ratings[start:end].tolist(), times))
    more = next(movie.id for movie in run.catalogue.movies if movie.id not in movies)
    grown, then = Person(user_id=5, added=[Event(more, 4.0, times[-1] + 9)]), times[3]
    found = recommender.explain(grown, 20, by=RankBy.RATING, at=then)
    alike = recommender.explain(
        Person(user_id=5, history=[event for event in events if event.timestamp <= then]),
        20,
        by=RankBy.RATING,
        at=then,
    )
    assert found.answer == pytest.approx(alike.answer, abs=1e-6)
    assert found.baseline == pytest.approx(alike.baseline, abs=1e-6)


def test_a_user_without_a_history_has_nothing_to_be_explained_by(recommender: Recommender) -> None:
    found = recommender.explain(Person(gender="F", history=[]), 20)
    assert found.influences == []
    assert np.isfinite(found.answer)


def test_unknown_movies_are_named(recommender: Recommender) -> None:
    with pytest.raises(RequestError, match="unknown movie 99999"):
        recommender.explain(5, 99_999)


def test_what_came_after_the_time_of_asking_explains_nothing(recommender: Recommender) -> None:
    found = recommender.explain(Person(history=EVENTS), 20, at=6000)
    assert {influence.movie.id for influence in found.influences} == {3, 8}
    assert all(influence.share > 0 for influence in found.influences)
