"""What a service answers: the run, and what the log says by then."""

import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NoReturn
from unittest.mock import Mock

import numpy as np
import pytest

from retrieval.data.vocabulary import Id
from retrieval.errors import RequestError, RunError
from retrieval.options import RankBy
from retrieval.pairs.bayesian.tower import BayesianTower
from retrieval.pairs.sequence.tower import SequenceTower
from retrieval.pipeline.changing import change_movies
from retrieval.pipeline.hiding import hide_movies, remove_movies, show_movies
from retrieval.pipeline.indexing import changed_version
from retrieval.run.folder import open_run
from retrieval.run.shelves import HIDDEN, REMOVED, read_ids
from retrieval.run.versions import writing
from retrieval.service import engine as service_engine
from retrieval.service import live as live_events
from retrieval.service.catalogue import Shelf
from retrieval.service.engine import Engine
from retrieval.service.export import export
from retrieval.service.log import Kind, Log, LogError, NewEvent, open_log
from retrieval.service.mark import Mark, write_mark
from retrieval.service.settings import ServiceSettings
from retrieval.service.view import CALM, MOST_QUICK, USUAL_MOVIES, Moment, View, latest_users
from retrieval.serving.events import Event
from retrieval.serving.filters import Filter
from retrieval.serving.recommender import Recommender
from retrieval.serving.users import Person

USER = 4
NOBODY = 987_654
WAIT = 20.0  # seconds, far more than a swap takes


def settings_of(run: Path, folder: Path) -> ServiceSettings:
    return ServiceSettings(
        run=run, database=str(folder / "log.db"), poll_seconds=0.05, prepared_users=0
    )


@pytest.fixture
def engine(run: Path, tmp_path: Path) -> Iterator[Engine]:
    engine = Engine.open(settings_of(run, tmp_path))
    yield engine
    engine.close()


def wait_until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT
    while not done() and time.monotonic() < end:
        time.sleep(0.02)
    assert done()


def learn_the_log(engine: Engine) -> None:
    """Leave the run of a service as a training on all of its log leaves it."""
    folder, log = engine.settings.run, open_log(engine.settings.database)
    with writing(folder) as writer, changed_version(writer, open_run(folder)) as version:
        write_mark(version, Mark(log.identity, log.head()))
    log.close()


def told(engine: Engine, kind: Kind, user: int, movie: Id, rating: float | None = None) -> None:
    event = NewEvent(
        kind=kind,
        user_id=str(user),
        movie_id=str(movie),
        rating=rating,
        timestamp=int(time.time()),
    )
    engine.add_events([event])


def movies(view: View, user: int | Person, k: int = 10) -> list[Id]:
    return [row.movie.id for row in view.recommend(user, k).rows]


def test_a_user_whom_nobody_knows_gets_the_list_of_a_new_user(engine: Engine) -> None:
    listed = engine.view().recommend(NOBODY, 5)
    assert not listed.known
    assert [row.movie.id for row in listed.rows] == movies(engine.view(), Person(), 5)
    assert engine.view().recommend(USER, 5).known


def test_the_list_of_a_known_user_is_that_of_the_recommender(
    engine: Engine, recommender: Recommender
) -> None:
    for when, sitting in ((Moment.COMING_BACK, False), (Moment.IN_SITTING, True)):
        listed = engine.view().recommend(USER, 10, when=when)
        wanted = recommender.topk(USER, 10, in_sitting=sitting)
        assert [(row.movie, row.score, row.rating) for row in listed.rows] == [
            (row.movie, row.score, row.rating) for row in wanted
        ]
    asked = engine.view().recommend(USER, 10)
    assert asked.at is not None
    assert abs(asked.at - time.time()) <= CALM * engine.settings.refresh_seconds
    wanted = recommender.topk(USER, 10, at=asked.at)
    assert [(row.movie, row.rating) for row in asked.rows] == [
        (row.movie, row.rating) for row in wanted
    ]


def test_lists_are_ready_before_anybody_asks(run: Path, tmp_path: Path) -> None:
    changes = {"prepared_users": 12, "cached_users": 15}
    engine = Engine.open(settings_of(run, tmp_path).model_copy(update=changes))
    state, stored = engine.view().state, open_run(run)
    users = latest_users(stored, len(stored.users))
    lasts = [int(state.live.stored(user).timestamps.max()) for user in users]
    assert lasts == sorted(lasts, reverse=True)
    assert len(users) == int((np.diff(stored.histories.offsets) > 0).sum())
    assert latest_users(stored, 3) == users[:3]
    rank_by = engine.view().snapshot.encoder.ranking(None)
    until = time.monotonic() + WAIT
    while (kept := state.cache.peek((users[11], Moment.NOW, rank_by))) is None or not kept.made:
        assert time.monotonic() < until
        time.sleep(0.01)
    engine.close()
    assert state.cache.peek((users[12], Moment.NOW, rank_by)) is None
    for user in users[:12]:
        ready = engine.view().recommend(user)
        kept = state.cache.peek((user, Moment.NOW, rank_by))
        assert kept is not None
        assert ready is kept.made[USUAL_MOVIES][1]
        wanted = engine.view().recommend(user, at=ready.at)
        assert ready.rows == wanted.rows


def test_lists_are_made_ready_of_what_users_did_since(engine: Engine) -> None:
    movie = movies(engine.view(), USER)[0]
    told(engine, Kind.RATING, USER, movie, 1.0)
    gone = next(user for user in latest_users(open_run(engine.settings.run), 2) if user != USER)
    engine.forget(gone)
    view = engine.view()
    assert not view.make_ready(gone)
    assert view.make_ready(USER)
    assert not view.make_ready(USER)
    assert movie not in movies(view, USER, USUAL_MOVIES)


def test_the_usual_list_is_kept_beside_lists_of_other_lengths(engine: Engine) -> None:
    for k in range(1, 6):
        engine.view().recommend(USER, k)
    assert engine.view().make_ready(USER)
    assert not engine.view().make_ready(USER)


def test_who_was_here_today_is_asked_about_as_of_just_now(engine: Engine) -> None:
    grain = engine.settings.refresh_seconds
    calm = engine.view().recommend(USER, 5)
    assert calm.at is not None
    assert calm.at % (CALM * grain) == 0
    told(engine, Kind.PLAY, USER, movies(engine.view(), USER)[0])
    lively = engine.view().recommend(USER, 5)
    assert lively.at is not None
    assert time.time() - grain - 1 <= lively.at <= time.time()


def test_the_rating_of_a_movie_is_the_one_that_the_list_shows(engine: Engine) -> None:
    for row in engine.view().recommend(USER, 20).rows:
        rating = engine.view().rate(USER, row.movie.id)
        assert (rating.rating, rating.deviation) == (row.rating, row.deviation)


def test_an_event_counts_in_the_next_answer(engine: Engine) -> None:
    before = movies(engine.view(), USER)
    told(engine, Kind.RATING, USER, before[0], 1.0)
    after = movies(engine.view(), USER)
    assert before[0] not in after
    row = engine.view().history(USER)[0]
    assert (row.movie.id, row.kind, row.rating) == (before[0], Kind.RATING, 1.0)


def test_an_event_of_the_log_counts_as_one_that_comes_with_the_question(
    engine: Engine, recommender: Recommender
) -> None:
    movie = movies(engine.view(), USER)[0]
    told(engine, Kind.RATING, USER, movie, 1.0)
    asked = engine.view().recommend(USER, 10)
    event = engine.view().history(USER)[0]
    added = Event(event.movie.id, event.rating, event.timestamp)
    wanted = recommender.topk(Person(user_id=USER, added=[added]), 10, at=asked.at)
    assert [(row.movie, row.score, row.rating) for row in asked.rows] == [
        (row.movie, row.score, row.rating) for row in wanted
    ]


def test_of_several_ratings_of_a_movie_the_last_counts(engine: Engine) -> None:
    movie = movies(engine.view(), USER)[0]
    told(engine, Kind.RATING, USER, movie, 1.0)
    low = engine.view().recommend(USER, 10)
    told(engine, Kind.RATING, USER, movie, 5.0)
    told(engine, Kind.RATING, USER, movie, 1.0)
    again = engine.view().recommend(USER, 10)
    assert [row.rating for row in again.rows] == [row.rating for row in low.rows]
    assert [row.rating for row in engine.view().history(USER)[:3]] == [1.0, 5.0, 1.0]


def test_what_was_only_watched_leaves_lists_and_says_nothing_of_taste(engine: Engine) -> None:
    before = engine.view().recommend(USER, 10)
    told(engine, Kind.PLAY, USER, before.rows[0].movie.id)
    after = engine.view().recommend(USER, 9)
    assert [row.movie for row in after.rows] == [row.movie for row in before.rows[1:]]
    assert [row.rating for row in after.rows] == [row.rating for row in before.rows[1:]]


def test_a_new_user_is_there_from_the_first_event(engine: Engine) -> None:
    first, second = movies(engine.view(), NOBODY)[:2]
    told(engine, Kind.LIKE, NOBODY, first)
    told(engine, Kind.PLAY, NOBODY, second)
    listed = engine.view().recommend(NOBODY, 10)
    assert listed.known
    assert not {first, second} & {row.movie.id for row in listed.rows}
    assert [row.movie.id for row in engine.view().history(NOBODY)] == [second, first]


def test_what_one_worker_acknowledged_every_other_knows(engine: Engine) -> None:
    other = Engine.open(engine.settings)
    try:
        movie = movies(other.view(), USER)[0]
        told(engine, Kind.RATING, USER, movie, 5.0)
        assert movie not in movies(other.view(), USER)
        assert movies(other.view(), USER) == movies(engine.view(), USER)
    finally:
        other.close()


def test_a_service_that_starts_again_knows_what_it_was_told(engine: Engine) -> None:
    told(engine, Kind.RATING, USER, movies(engine.view(), USER)[0], 5.0)
    told(engine, Kind.RATING, NOBODY, movies(engine.view(), NOBODY)[0], 5.0)
    engine.hide(movies(engine.view(), USER)[0])
    again = Engine.open(engine.settings)
    try:
        for user in (USER, NOBODY):
            assert movies(again.view(), user) == movies(engine.view(), user)
            assert again.view().history(user) == engine.view().history(user)
    finally:
        again.close()


def test_a_forgotten_user_is_nobody_and_may_come_again(engine: Engine) -> None:
    movie = movies(engine.view(), USER)[0]
    told(engine, Kind.RATING, USER, movie, 5.0)
    events, stored = len(engine.view().history(USER)), engine.view().state.live.stored(USER)
    assert engine.forget(USER) == (events, len(stored.movies))
    assert 0 < len(stored.movies) < events
    for service in (engine, again := Engine.open(engine.settings)):
        assert not service.view().known(USER)
        assert service.view().history(USER) == []
        assert movies(service.view(), USER) == movies(service.view(), NOBODY)
    again.close()
    told(engine, Kind.RATING, USER, movie, 5.0)
    assert [row.movie.id for row in engine.view().history(USER)] == [movie]
    with pytest.raises(RequestError, match="nothing to forget"):
        engine.forget(NOBODY)


def test_of_a_forgotten_user_no_tower_keeps_anything(engine: Engine) -> None:
    listed = movies(engine.view(), USER)
    for movie in listed[:2]:
        told(engine, Kind.RATING, USER, movie, 5.0)
        engine.view().recommend(USER, 5)
    towers = engine.view().snapshot.encoder.towers
    sequence, bayesian = towers["sequence"], towers["bayesian"]
    assert isinstance(sequence, SequenceTower)
    assert isinstance(bayesian, BayesianTower)

    def kept() -> tuple[int, int]:
        return len(sequence._reads), len(bayesian._beliefs)  # noqa: SLF001 (nobody else can see it)

    assert min(kept()) > 0
    engine.forget(USER)
    assert kept() == (0, 0)


def test_a_hidden_movie_is_in_no_list_and_a_removed_one_nowhere(engine: Engine) -> None:
    first = movies(engine.view(), USER)[0]
    assert engine.hide(first) is Shelf.HIDDEN
    assert first not in movies(engine.view(), USER)
    assert engine.view().movie(first).shelf is Shelf.HIDDEN
    assert engine.show(first) is Shelf.LISTED
    assert movies(engine.view(), USER)[0] == first
    title = engine.view().movie(first).movie.title
    assert engine.remove(first) is Shelf.REMOVED
    assert first not in movies(engine.view(), USER)
    assert first not in [movie.id for movie in engine.view().search(title, 5)]
    with pytest.raises(RequestError, match="was removed"):
        engine.view().movie(first)


def test_a_movie_that_the_run_removed_is_nowhere_until_it_is_put_again(
    run: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    of = Recommender.load(folder)
    best = of.topk(USER, 1)[0].movie.id
    movie = of.run.catalogue.named(best)
    remove_movies(folder, [best])
    again = Engine.open(settings_of(folder, tmp_path))
    try:
        assert best not in movies(again.view(), USER)
        assert best not in [found.id for found in again.view().search(movie.title, 5)]
        for ask in (again.view().movie, partial(again.view().rate, USER)):
            with pytest.raises(RequestError, match="was removed"):
                ask(best)
        facts = {"title": movie.title, "genres": list(movie.genres)}
        assert again.set_movie(best, facts) is Shelf.LISTED
        assert best in movies(again.view(), USER)
        assert again.view().movie(best).shelf is Shelf.LISTED
    finally:
        again.close()


def test_events_that_no_history_can_hold_are_refused_together(engine: Engine) -> None:
    movie, now = movies(engine.view(), USER)[0], int(time.time())

    good = NewEvent(
        kind=Kind.RATING, user_id=str(USER), movie_id=str(movie), rating=4.0, timestamp=now
    )
    for bad, said in (
        (replace(good, movie_id="99999"), "unknown movie"),
        (replace(good, rating=9.0), "outside the scale"),
        (replace(good, rating=None), "has no value"),
        (replace(good, user_id="somebody"), "is no id"),
        (replace(good, timestamp=now + 10**7), "in the future"),
        # What the tables of the next training could not have.
        (replace(good, timestamp=0), "before 1990"),
        (replace(good, rating=3.7), "on no step of the scale: ratings run from 1 to 5 by 1"),
    ):
        with pytest.raises(RequestError, match=said):
            engine.add_events([good, bad])
    assert movies(engine.view(), USER)[0] == movie


def test_answers_go_on_while_the_log_is_away(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = movies(engine.view(), USER)

    def away() -> int:
        raise LogError("the database is away")

    with monkeypatch.context() as patch:
        patch.setattr(engine, "_log", type("Away", (), {"head": staticmethod(away)})())
        assert engine.view().stale
        assert movies(engine.view(), USER) == before
    time.sleep(1.1)
    assert not engine.view().stale


def test_nothing_is_judged_while_the_log_is_away(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = NewEvent(
        kind=Kind.PLAY,
        user_id=str(NOBODY),
        movie_id="99999",
        rating=None,
        timestamp=int(time.time()),
    )
    away = Mock(spec=Log)
    away.head.side_effect = LogError("the database is away")
    monkeypatch.setattr(engine, "_log", away)
    for ask in (
        partial(engine.add_events, [event]),  # another worker may know the movie by now
        partial(engine.forget, NOBODY),  # or the user
        partial(engine.hide, 99_999),
        partial(engine.set_movie, 99_999, {"title": "A Brand-New Film"}),
    ):
        with pytest.raises(LogError, match="the database is away"):
            ask()


def test_what_was_brought_in_before_the_log_went_away_stays(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    movie = movies(engine.view(), USER)[0]
    log = open_log(engine.settings.database)
    log.forget("5")
    log.append(
        [NewEvent(kind=Kind.PLAY, user_id="5", movie_id=str(movie), timestamp=int(time.time()))]
    )
    log.forget("6")
    fails = [False, True, False]

    def asked(users: Iterable[str], after: int) -> set[str]:
        if fails.pop(0):
            raise LogError("the database is away")
        return log.is_forgotten(users, after)

    with monkeypatch.context() as patch:
        own: Log = vars(engine)["_log"]
        patch.setattr(own, "is_forgotten", Mock(side_effect=asked))
        assert engine.view().stale
        view = engine.certain_view()
    assert not fails
    assert [row.movie.id for row in view.history(5)] == [movie]
    assert not view.known(6)
    log.close()


def test_a_request_goes_on_from_a_version_that_took_over_meanwhile(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = engine.view().state
    moved = replace(state.base.run, folder=state.base.run.folder / "next")
    other = replace(state, base=replace(state.base, run=moved), sequence=1)

    def gone(*_: object) -> NoReturn:
        monkeypatch.setattr(engine, "_state", other)
        raise RunError("the version was removed")

    monkeypatch.setattr(engine, "_towards", gone)
    monkeypatch.setattr(engine, "_reload", lambda: False)  # the follower was faster
    log = open_log(engine.settings.database)
    log.hide("1")
    log.close()
    assert engine.view().state is other


def test_who_comes_while_nobody_is_asked_about_has_no_part_in_their_list(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = movies(engine.view(), USER)[0]
    live = engine.view().state.live
    last = live.last

    def meanwhile(user: Id) -> int:
        monkeypatch.setattr(live, "last", last)
        told(engine, Kind.RATING, NOBODY, seen, 1.0)
        return last(user)

    monkeypatch.setattr(live, "last", meanwhile)
    engine.view().recommend(NOBODY, 10)
    assert movies(engine.view(), NOBODY + 1) == movies(engine.view(), Person())


def test_long_lists_are_not_kept(engine: Engine) -> None:
    view = engine.view()
    for k in (MOST_QUICK, MOST_QUICK + 1):
        view.recommend(USER, k)
    kept = view.state.cache.lists_of(USER)
    assert [lengths for _, _, lengths in kept] == [[MOST_QUICK]]


def test_another_version_takes_over_and_what_was_told_stays(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    engine = Engine.open(settings_of(folder, tmp_path))
    try:
        begun = engine.view()
        first, second = movies(begun, USER, 2)
        told(engine, Kind.RATING, USER, second, 5.0)
        hide_movies(folder, [first])
        wait_until(lambda: engine.view().version != begun.version)
        after = engine.view()
        assert after.version != begun.version
        assert not {first, second} & set(movies(after, USER, 10))
        assert begun.version == begun.snapshot.run.folder.name
        assert first in movies(begun, USER, 10)  # which ends from what it began with
        assert after.history(USER)[0].movie.id == second
    finally:
        engine.close()


def test_memory_is_handed_back_when_another_version_has_taken_over(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    freed: list[None] = []
    monkeypatch.setattr(service_engine, "give_back_freed", lambda: freed.append(None))
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    engine = Engine.open(settings_of(folder, tmp_path))

    try:
        wait_until(lambda: len(freed) == 1)  # of what loading took
        hide_movies(folder, [movies(engine.view(), USER)[0]])
        wait_until(lambda: len(freed) == 2)
        time.sleep(10 * engine.settings.poll_seconds)
        assert len(freed) == 2  # nothing has changed since
    finally:
        engine.close()


def test_reasons_are_events_of_the_user_and_the_strongest_comes_first(engine: Engine) -> None:
    listed = engine.view().recommend(USER, 5, rank_by=RankBy.RATING, reasons=3)
    rated = {row.movie.id for row in engine.view().history(USER)}
    mean = np.mean([row.rating for row in engine.view().history(USER) if row.rating is not None])
    for row in listed.rows:
        assert all((reason.rating or 0.0) >= mean for reason in row.reasons)
        effects = [reason.effect for reason in row.reasons]
        assert {reason.movie.id for reason in row.reasons} <= rated
        assert effects == sorted(effects, reverse=True)
        assert all(effect > 0 for effect in effects)
    assert any(row.reasons for row in listed.rows)
    row = listed.rows[0]
    explained = engine.view().explain(USER, row.movie.id, by=RankBy.RATING)
    assert explained.answer == row.rating


def test_a_new_movie_is_listed_from_its_facts_and_moves_with_its_ratings(engine: Engine) -> None:
    view = engine.view()
    known = view.recommend(USER, 1).rows[0].movie
    facts = {"title": "A Brand-New Film", "year": 2026, "genres": list(known.genres)}
    new = 4321
    assert engine.set_movie(new, facts) is Shelf.LISTED
    view = engine.view()
    everything = len(view.catalogue)
    assert new in movies(view, USER, everything)
    assert str(view.movie(new).movie) == "A Brand-New Film (2026)"
    assert view.search("brand new film", 3)[0].id == new
    before = view.rate(USER, new)
    for user in range(30, 50):
        told(engine, Kind.RATING, user, new, 5.0)
    liked = engine.view().rate(USER, new)
    for user in range(30, 50):
        told(engine, Kind.RATING, user, new, 1.0)
    disliked = engine.view().rate(USER, new)
    assert liked.rating > before.rating > disliked.rating
    assert liked.deviation is not None
    assert engine.view().movie(new).ratings == 40
    again = Engine.open(engine.settings)
    try:
        assert again.view().rate(USER, new).rating == pytest.approx(disliked.rating, abs=1e-6)
    finally:
        again.close()
    with pytest.raises(RequestError, match="title"):
        engine.set_movie(new, {"year": 2026})


def test_what_is_known_of_a_movie_can_be_changed(engine: Engine) -> None:
    movie = engine.view().recommend(USER, 1).rows[0].movie
    engine.set_movie(movie.id, {"title": "Another Title", "year": 1999, "genres": ["Drama"]})
    view = engine.view()
    found = view.movie(movie.id)
    assert str(found.movie) == "Another Title (1999)"
    assert (found.attributes["year"], found.attributes["genres"]) == (1999, ("Drama",))
    for where, there in (("year=1999", True), (f"year={movie.year}", False)):
        rows = view.recommend(USER, 50, filters=Filter(where=[where])).rows
        assert (movie.id in [row.movie.id for row in rows]) is there
    assert view.recommend(USER, 1).rows[0].movie.title == "Another Title"


def test_what_a_command_changes_of_a_movie_after_a_training_stays(
    run: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    engine = Engine.open(settings_of(folder, tmp_path))
    movie = movies(engine.view(), USER)[0]
    engine.set_movie(movie, {"title": "Told the service", "genres": ["Drama"]})
    engine.close()
    learn_the_log(engine)
    change_movies(folder, {movie: {"title": "Told the run"}})
    again = Engine.open(engine.settings)
    try:
        assert again.view().movie(movie).movie.title == "Told the run"
    finally:
        again.close()


def test_what_was_only_watched_is_known_after_a_training_that_went_further(
    run: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    engine = Engine.open(settings_of(folder, tmp_path))
    watched, rated = movies(engine.view(), USER, 2)
    told(engine, Kind.PLAY, USER, watched)
    told(engine, Kind.RATING, USER, rated, 5.0)
    engine.close()
    learn_the_log(engine)
    again = Engine.open(engine.settings)
    try:
        assert watched not in movies(again.view(), USER)
        assert again.view().history(USER)[0].movie.id == watched
        assert movies(again.view(), USER, 1) == [rated]  # whose rating such a run would hold
    finally:
        again.close()


def test_what_is_hidden_by_command_after_a_training_stays_hidden(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    engine = Engine.open(settings_of(folder, tmp_path))
    movie = movies(engine.view(), USER)[0]
    engine.hide(movie)
    engine.show(movie)
    engine.close()
    learn_the_log(engine)
    hide_movies(folder, [movie])
    again = Engine.open(engine.settings)
    try:
        assert movie not in movies(again.view(), USER)
        assert again.show(movie) is Shelf.LISTED
        assert movie in movies(again.view(), USER)
    finally:
        again.close()


def test_of_a_command_and_what_a_service_was_told_the_later_one_counts(
    run: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    engine = Engine.open(settings_of(folder, tmp_path))
    hidden, shown = movies(engine.view(), USER, 2)
    engine.hide(hidden)
    engine.hide(shown)
    engine.show(shown)
    engine.close()
    second = int(time.time())  # times in the log are whole seconds
    wait_until(lambda: int(time.time()) > second)
    show_movies(folder, [hidden])  # which the run itself does not hide
    hide_movies(folder, [shown])
    again = Engine.open(engine.settings)
    try:
        assert hidden in movies(again.view(), USER)
        assert shown not in movies(again.view(), USER)
        assert again.hide(hidden) is Shelf.HIDDEN
        assert hidden not in movies(again.view(), USER)
    finally:
        again.close()
    data = tmp_path / "data"
    log = open_log(engine.settings.database)
    export(folder, log, data)
    log.close()
    assert (read_ids(data / HIDDEN), read_ids(data / REMOVED)) == ([shown, hidden], [])


def test_a_play_is_no_rating_of_a_movie_and_a_like_is_the_best(engine: Engine) -> None:
    movie = movies(engine.view(), USER)[0]
    before = engine.view().movie(movie)
    assert before.mean is not None
    told(engine, Kind.PLAY, NOBODY, movie)
    assert engine.view().movie(movie) == before
    told(engine, Kind.LIKE, NOBODY, movie)
    after = engine.view().movie(movie)
    assert after.ratings == before.ratings + 1
    wanted = (before.ratings * before.mean + 5.0) / after.ratings
    assert after.mean == pytest.approx(wanted)
    engine.forget(NOBODY)
    assert engine.view().movie(movie).mean == pytest.approx(before.mean)


def test_a_rating_of_a_new_movie_counts_in_the_next_list(engine: Engine) -> None:
    genres = list(engine.view().recommend(USER, 1).rows[0].movie.genres)
    engine.set_movie(4321, {"title": "A Brand-New Film", "genres": genres})
    told(engine, Kind.RATING, NOBODY, movies(engine.view(), USER)[0], 3.0)
    for user in (USER, NOBODY):
        lists = []
        for stars in (5.0, 1.0):
            told(engine, Kind.RATING, user, 4321, stars)
            lists.append(engine.view().recommend(user, 10).rows)
        scores = [[row.score for row in rows] for rows in lists]
        assert scores[0] != scores[1]
        assert 4321 not in [row.movie.id for rows in lists for row in rows]


def test_the_latest_ratings_of_a_new_movie_move_it(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_events, "MOST_RATERS", 2)
    other = movies(engine.view(), USER)[0]
    engine.set_movie(4321, {"title": "A Brand-New Film"})
    number = engine.view().catalogue.number(4321)
    for user, stars in ((30, 5.0), (31, 1.0)):
        told(engine, Kind.RATING, user, 4321, stars)
    told(engine, Kind.PLAY, 30, other)  # says nothing of the new one
    told(engine, Kind.RATING, 32, 4321, 3.0)
    assert engine.view().state.live.raters(number) == {31: 1.0, 32: 3.0}
    again = Engine.open(engine.settings)  # which reads all of it at once
    try:
        assert again.view().state.live.raters(number) == {31: 1.0, 32: 3.0}
    finally:
        again.close()


def test_what_a_forgotten_user_said_of_a_new_movie_is_forgotten_too(engine: Engine) -> None:
    genres = list(engine.view().recommend(USER, 1).rows[0].movie.genres)
    engine.set_movie(4321, {"title": "A Brand-New Film", "genres": genres})
    before = engine.view().rate(USER, 4321)
    told(engine, Kind.RATING, 30, 4321, 1.0)
    assert engine.view().rate(USER, 4321) != before
    engine.forget(30)
    assert engine.view().rate(USER, 4321) == before


def test_a_new_movie_that_is_hidden_stays_where_its_ratings_moved_it(engine: Engine) -> None:
    engine.set_movie(4321, {"title": "A Brand-New Film"})
    told(engine, Kind.RATING, 30, 4321, 1.0)
    moved = engine.view().rate(USER, 4321)
    assert engine.hide(4321) is Shelf.HIDDEN
    assert engine.show(4321) is Shelf.LISTED
    assert engine.view().rate(USER, 4321) == moved


def test_a_request_that_began_before_a_movie_came_ends_without_it(engine: Engine) -> None:
    begun = engine.view()
    engine.set_movie(4321, {"title": "A Brand-New Film"})
    engine.set_movie(4322, {"title": "Another"})
    for user in (USER, NOBODY):
        told(engine, Kind.RATING, user, 4321, 5.0)
        told(engine, Kind.PLAY, user, 4322)
        assert 4321 in [row.movie.id for row in engine.view().history(user)]
        assert 4321 not in [row.movie.id for row in begun.history(user)]
        assert len(begun.recommend(user, 5).rows) == 5


def test_entries_that_were_brought_in_count_once(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    told(engine, Kind.RATING, USER, movies(engine.view(), USER)[0], 5.0)
    before = engine.view().history(USER)
    state = engine.view().state
    again = replace(state, sequence=0)  # as after a failure in the midst of it
    monkeypatch.setattr(engine, "_state", again)
    assert engine.view().history(USER) == before


@pytest.mark.parametrize("written", ["1_2", "+12", "012", " 12", "\u0661\u0662", "1e1"])
def test_an_id_has_one_way_of_being_written(engine: Engine, written: str) -> None:
    with pytest.raises(RequestError, match="is no id"):
        engine.view().recommend(written, 3)
