import numpy as np
import pytest

from retrieval.errors import RequestError
from retrieval.options import RankBy
from retrieval.serving.encoder import questions_of
from retrieval.serving.events import Event
from retrieval.serving.recommender import Recommender
from retrieval.serving.users import Person, one_user

EVENTS = [Event(3, 5.0, 100), Event(8, 1.0, 5000), Event(12, 4.0, 9000)]


def answer(recommender: Recommender, events: list[Event], by: RankBy, at: int) -> float:
    if by is RankBy.RATING:
        return recommender.rate(Person(history=events), 20, at=at).rating
    rows = recommender.topk(Person(history=events), 190, rank_by=by, at=at)
    return next(row.score for row in rows if row.movie.id == 20)


@pytest.mark.parametrize("by", RankBy)
def test_an_effect_is_what_changes_when_the_event_is_left_out(
    recommender: Recommender, by: RankBy
) -> None:
    found = recommender.explain(Person(history=EVENTS), 20, by=by, at=9100)
    whole = answer(recommender, EVENTS, by, 9100)
    assert found.answer == pytest.approx(whole, abs=1e-4)
    assert {influence.movie.id for influence in found.influences} == {3, 8, 12}
    for influence in found.influences:
        rest = [event for event in EVENTS if event.movie_id != influence.movie.id]
        effect = whole - answer(recommender, rest, by, 9100)
        assert influence.effect == pytest.approx(effect, abs=2e-4)
    sizes = [abs(influence.effect) for influence in found.influences]
    assert sizes == sorted(sizes, reverse=True)
    assert sum(influence.share for influence in found.influences) == pytest.approx(1)


def bayesian_score(recommender: Recommender, events: list[Event], movie: int) -> float:
    run, encoder = recommender.run, recommender.encoder
    users = one_user(run, Person(history=events))
    vector = (
        encoder.encode(questions_of(users, np.zeros(1, np.int64), None)).vectors[0].astype(float)
    )
    layout = run.config.layout
    columns = layout.columns(layout.parts[layout.names.index("bayesian")])
    whole = slice(columns.start, columns.stop + 1)  # the last is the user's offset
    part = recommender.index.vectors_of(np.array([movie]))[0, whole]
    return float(vector[whole] @ part + vector[columns.stop])


def test_a_contribution_is_what_a_rating_adds_to_the_bayesian_score(
    recommender: Recommender,
) -> None:
    def contributions(events: list[Event]) -> dict[int, float]:
        found = recommender.explain(Person(history=events), 20, by=RankBy.RATING)
        return {row.movie.id: row.contribution or 0.0 for row in found.influences}

    other = [EVENTS[0], Event(8, 5.0, 5000), EVENTS[2]]
    before, after = contributions(EVENTS), contributions(other)
    assert after[3] == pytest.approx(before[3])
    assert after[12] == pytest.approx(before[12])
    gained = bayesian_score(recommender, other, 20) - bayesian_score(recommender, EVENTS, 20)
    assert after[8] - before[8] == pytest.approx(gained, abs=1e-5)
    assert abs(gained) > 1e-3


def test_a_score_that_no_rating_is_made_from_has_no_contributions(recommender: Recommender) -> None:
    found = recommender.explain(Person(history=EVENTS), 20, by=RankBy.WATCH)
    assert all(row.contribution is None for row in found.influences)


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
