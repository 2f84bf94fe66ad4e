import shutil
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from index.exact import exact_search, inner_products
from index.neighbours import NO_ID
from index.search import Index
from retrieval.data.history import whole_windows
from retrieval.data.vocabulary import UNKNOWN
from retrieval.errors import RequestError
from retrieval.options import RankBy
from retrieval.pairs.onnx_tower import Columns, OnnxTower
from retrieval.pairs.sequence.ensemble import EnsembleUserTower, movie_table
from retrieval.pairs.sequence.pair import load
from retrieval.pairs.sequence.settings import SequenceSettings
from retrieval.pairs.sequence.tokens import NOT_KNOWN, return_codes, tokens
from retrieval.pairs.sequence.tower import SequenceTower
from retrieval.serving import predictions
from retrieval.serving.encoder import questions_of
from retrieval.serving.events import Event
from retrieval.serving.filters import Filter
from retrieval.serving.lists import encode_lists, encode_rankings
from retrieval.serving.recommender import Recommender
from retrieval.serving.users import Person, many_users, one_user


def seen_by(recommender: Recommender, user: int) -> list[int]:
    run = recommender.run
    start, end = run.histories.offsets[run.users.numbers(user) :][:2]
    ids: list[int] = run.catalogue.vocabulary.ids[run.histories.movies[start:end]].tolist()
    return ids


@pytest.mark.parametrize("rank_by", RankBy)
def test_every_rating_in_a_list_is_to_the_last_bit_the_one_of_the_pair(
    recommender: Recommender, rank_by: RankBy
) -> None:
    for user in recommender.run.users.ids[::15].tolist():
        for row in recommender.topk(user, 15, rank_by=rank_by):
            assert row.rating == recommender.rate(user, row.movie.id).rating


def test_batches_answer_as_single_questions_do(recommender: Recommender) -> None:
    users = recommender.run.users.ids[:40]
    lists = recommender.topk_many(users, 10)
    for user, ids, scores, ratings in zip(
        users.tolist(), lists.movie_ids, lists.scores, lists.ratings, strict=True
    ):
        rows = recommender.topk(user, 10)
        assert [row.movie.id for row in rows] == ids.tolist()
        np.testing.assert_allclose([row.score for row in rows], scores, atol=1e-5)
        pairs = recommender.rate_many([user] * 10, ids).ratings
        np.testing.assert_allclose(pairs, ratings, atol=1e-5)


@pytest.mark.parametrize("rank_by", RankBy)
def test_lists_are_what_brute_force_finds(recommender: Recommender, rank_by: RankBy) -> None:
    ids = recommender.run.users.ids
    users, rows = many_users(recommender.run, ids, {})
    questions = questions_of(users, rows, None)
    rating = recommender.encoder.encode(questions).vectors
    queries = recommender.encoder.queries(questions, rating, rank_by)
    vocabulary = recommender.run.catalogue.vocabulary
    excluded = [vocabulary.numbers(seen_by(recommender, user)) for user in ids.tolist()]
    index = recommender.index
    wanted = exact_search(index.ids, index.vectors, queries, 20, excluded)
    found = recommender.topk_many(ids, 20, rank_by=rank_by)
    np.testing.assert_array_equal(found.movie_ids, vocabulary.ids[wanted.ids])


def test_several_rankings_are_encoded_once_as_each_alone(recommender: Recommender) -> None:
    users, rows = many_users(recommender.run, recommender.run.users.ids[:9], {})
    snapshot = recommender.snapshot
    together = encode_rankings(snapshot, users, rows, None, tuple(RankBy))
    assert list(together) == list(RankBy)
    for rank_by, found in together.items():
        alone = encode_lists(snapshot, users, rows, None, rank_by)
        np.testing.assert_array_equal(found.queries, alone.queries)
        np.testing.assert_array_equal(found.encoded.vectors, alone.encoded.vectors)


def test_a_blend_is_the_logit_and_the_weighed_rating_score(recommender: Recommender) -> None:
    ranking = recommender.run.config.ranking
    assert ranking is not None
    users, movies = recommender.run.users.ids[:5], recommender.run.catalogue.vocabulary.ids
    by = {rank_by: recommender.topk_many(users, len(movies), rank_by=rank_by) for rank_by in RankBy}
    for user in range(5):
        scores = {
            rank_by: dict(zip(found.movie_ids[user], found.scores[user], strict=True))
            for rank_by, found in by.items()
        }
        for movie in set(scores[RankBy.RATING]) - {NO_ID}:
            wanted = scores[RankBy.WATCH][movie]
            wanted += ranking.rating_weight * scores[RankBy.RATING][movie]
            assert scores[RankBy.BLEND][movie] == pytest.approx(wanted, abs=1e-4)


def test_unless_asked_lists_are_ranked_as_validation_chose(recommender: Recommender) -> None:
    ranking = recommender.run.config.ranking
    assert ranking is not None
    assert recommender.topk(3, 30) == recommender.topk(3, 30, rank_by=ranking.rank_by)
    other = next(rank_by for rank_by in RankBy if rank_by is not ranking.rank_by)
    assert recommender.topk(3, 30) != recommender.topk(3, 30, rank_by=other)


def test_the_time_of_asking_counts_for_what_is_watched_next(recommender: Recommender) -> None:
    run = recommender.run
    last = int(run.histories.timestamps[run.histories.offsets[4] - 1])
    user = int(run.users.ids[3])
    scores = {
        at: recommender.topk(user, 1, at=at, rank_by=RankBy.WATCH)[0].score
        for at in (None, last, last + 1, last + 10**7)
    }
    assert len(set(scores.values())) == 4


@pytest.mark.parametrize(
    ("at", "in_sitting"),
    [(None, False), (None, True), (978_300_000, False), (1_050_000_000, False)],
    ids=["coming back", "in the sitting", "in the past", "back"],
)
@pytest.mark.parametrize("events", [0, 1, 40])
def test_what_ranks_by_watch_is_what_the_trained_pair_says(
    recommender: Recommender, at: int | None, *, in_sitting: bool, events: int
) -> None:
    run = recommender.run
    settings = SequenceSettings(**run.config.settings["sequence"])
    ensemble = load(run.folder, settings)
    ids = run.catalogue.vocabulary.ids[:events].tolist()
    history = [Event(movie, 1.0 + movie % 5, 978_000_000 + 3000 * movie) for movie in ids]
    users = one_user(run, Person(history=history))
    windows = whole_windows(users.histories, np.zeros(1, np.int64))
    if at is not None:
        windows = windows._replace(times=np.array([at]))
    present, last = run.config.present, history[-1].timestamp if history else None
    codes = np.zeros((1, 2), np.int64)
    if last is None:
        if at is None and not in_sitting:
            codes = return_codes(np.zeros(1, np.int64), np.array([NOT_KNOWN]))
    elif at is None and not in_sitting:
        codes = return_codes(np.array([present - last]), np.array([NOT_KNOWN]))
    elif at is not None and at >= present:
        codes = return_codes(np.array([present - last]), np.array([at - last]))
    timed = np.array([at is not None])
    made = tokens(users.codes, users.histories, windows, timed, run.config.scale, 200, codes)
    with torch.no_grad():
        columns = map(torch.from_numpy, made.columns(movie_table(ensemble)).values())
        vector = EnsembleUserTower(ensemble)(*columns)[0][0]
        scores = (ensemble.movie_vectors() @ vector).numpy() / ensemble.temperature
    rows = recommender.topk(
        Person(history=history), 150, at=at, in_sitting=in_sitting, rank_by=RankBy.WATCH
    )
    assert len(rows) == 150
    for row in rows:
        assert row.score == pytest.approx(scores[run.catalogue.number(row.movie.id)], abs=1e-3)


@pytest.mark.parametrize(("at", "in_sitting"), [(None, False), (None, True), (978_300_000, False)])
def test_unchanged_users_get_the_vectors_that_their_histories_are_encoded_to(
    recommender: Recommender, at: int | None, *, in_sitting: bool
) -> None:
    users, rows = many_users(recommender.run, recommender.run.users.ids, {})
    times = None if at is None else np.full(len(rows), at)
    anew = users._replace(stored=np.full(len(rows), UNKNOWN))
    asked = [questions_of(each, rows, times, in_sitting=in_sitting) for each in (users, anew)]
    rating = recommender.encoder.encode(asked[0]).vectors
    stored, encoded = (
        recommender.encoder.queries(questions, rating, RankBy.WATCH) for questions in asked
    )
    assert np.ptp(stored, axis=0).max() > 0.1
    np.testing.assert_allclose(stored, encoded, atol=1e-3)
    tower = recommender.encoder.tower("neural")
    kept, made = (tower.encode(each.questions) for each in asked)
    assert np.ptp(kept.vectors, axis=0).max() > 0.01
    assert np.ptp(kept.offsets) > 0.01
    np.testing.assert_allclose(kept.vectors, made.vectors, atol=1e-5)
    np.testing.assert_allclose(kept.offsets, made.offsets, atol=1e-5)


@pytest.mark.parametrize(("at", "in_sitting"), [(None, False), (None, True), (978_300_000, False)])
def test_after_one_event_more_only_that_is_read_and_the_list_is_as_if_all_were(
    recommender: Recommender,
    at: int | None,
    *,
    in_sitting: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ids = recommender.run.catalogue.vocabulary.ids.tolist()
    events = [Event(movie, 1.0 + movie % 5, 978_000_000 + 500 * movie) for movie in ids[:60]]
    tower = recommender.encoder.tower("sequence")
    assert isinstance(tower, SequenceTower)
    of = tower._layers  # noqa: SLF001 (which of them answers is what is tested)
    calls: list[str] = []

    def watch(name: str, layers: OnnxTower) -> None:
        run = layers.run

        def noted(columns: Columns) -> list[NDArray[np.float32]]:
            calls.append(name)
            return run(columns)

        monkeypatch.setattr(layers, "run", noted)

    for name, layers in of._asdict().items():
        watch(name, layers)

    def listed(history: list[Event]) -> list[float]:
        found = recommender.topk(
            Person(history=history), 30, at=at, in_sitting=in_sitting, rank_by=RankBy.WATCH
        )
        return [row.score for row in found]

    monkeypatch.setattr(tower, "_length", 40)
    other = [events[0]._replace(rating=1.0), *events[1:10]]  # nothing of what was read holds
    changed = [*events[:20], Event(ids[-1], 5.0, events[20].timestamp), *events[21:25]]
    asked = [
        *(events[:30], events[:31], events[:31], events[:33]),  # one more, none, two more
        *(events[:29], changed),  # fewer, and another one in the middle
        *(events[:40], events[:41], events[:42], events[:46]),  # beyond the longest history
        *(events[:10], other, other[:7], other[:7]),  # short ones, too short to be kept
    ]
    tower.forget()
    grown = [listed(history) for history in asked]
    assert calls == [
        *("whole", "further", "further", "further", "further", "further"),
        *("whole", "whole", "further", "whole"),
        *("further", "whole", "whole", "whole"),
    ]
    for history, scores in zip(asked, grown, strict=True):
        tower.forget()
        np.testing.assert_allclose(scores, listed(history), atol=1e-4)
    assert not np.allclose(grown[0], grown[1], atol=1e-3)


def test_of_users_as_stored_nothing_is_kept_that_would_push_others_out(
    recommender: Recommender,
) -> None:
    tower = recommender.encoder.tower("sequence")
    assert isinstance(tower, SequenceTower)
    tower.forget()
    reads = tower._reads  # noqa: SLF001 (nobody else can see it)
    user, unseen = int(recommender.run.users.ids[3]), recommender.topk(4, 1)[0].movie.id
    recommender.topk(user, 5, at=1_100_000_000)
    assert not len(reads)
    recommender.topk(Person(user_id=user, added=[Event(unseen, 4.0)]), 5)
    assert len(reads) == 1


def test_a_new_user_without_a_history_gets_a_list(recommender: Recommender) -> None:
    lists = {
        gender: [row.movie.id for row in recommender.topk(Person(gender=gender, history=[]), 200)]
        for gender in ("F", "M")
    }
    assert len(set(lists["F"])) == 200
    assert lists["F"] != lists["M"]


def test_seen_movies_never_come_back_unless_asked_for(recommender: Recommender) -> None:
    movies = len(recommender.run.catalogue)
    for user in recommender.run.users.ids[:20].tolist():
        seen = set(seen_by(recommender, user))
        listed = {row.movie.id for row in recommender.topk(user, movies)}
        assert listed == set(recommender.run.catalogue.vocabulary.ids.tolist()) - seen
        everything = recommender.topk(user, movies, include_seen=True)
        assert {row.movie.id for row in everything} >= seen


@pytest.mark.parametrize("rank_by", RankBy)
def test_no_users_have_no_lists(recommender: Recommender, rank_by: RankBy) -> None:
    found = recommender.topk_many([], 5, rank_by=rank_by)
    assert found.movie_ids.shape == found.scores.shape == found.ratings.shape == (0, 5)


def test_more_users_than_one_part_takes_keep_their_order(
    recommender: Recommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = recommender.run.users.ids[:9]
    times = 978_300_000 + 1000 * np.arange(9)
    whole = recommender.topk_many(users, 5, times=times)
    monkeypatch.setattr("retrieval.serving.recommender.USERS", 4)
    parts = recommender.topk_many(users, 5, times=times)
    np.testing.assert_array_equal(parts.movie_ids, whole.movie_ids)


def test_lists_are_as_long_as_asked_or_as_what_is_left(recommender: Recommender) -> None:
    movies = len(recommender.run.catalogue)
    user = int(recommender.run.users.ids[0])
    assert len(recommender.topk(user, 7)) == 7
    found = recommender.topk_many([user], movies)
    left = movies - len(seen_by(recommender, user))
    assert (found.movie_ids[0] != NO_ID).sum() == left
    assert np.isnan(found.ratings[0, left:]).all()


def test_what_a_new_user_likes_counts(
    recommender: Recommender,
) -> None:
    liked = Person(history=[Event(1, 5.0), Event(2, 5.0)])
    disliked = Person(history=[Event(1, 1.0), Event(2, 1.0)])
    unseen = recommender.topk(liked, 1, rank_by=RankBy.RATING)[0].movie.id
    assert recommender.rate(liked, unseen).rating > recommender.rate(disliked, unseen).rating


def test_demographics_of_a_new_user_count(recommender: Recommender) -> None:
    ratings = {
        recommender.rate(Person(gender=gender, age=25, history=[]), 3).rating
        for gender in ("F", "M")
    }
    assert len(ratings) == 2


def test_added_events_come_after_the_stored_ones_and_replace_the_same_movie(
    recommender: Recommender,
) -> None:
    user = int(recommender.run.users.ids[3])
    seen = seen_by(recommender, user)
    new = recommender.topk(user, 1)[0].movie.id
    added = Person(user_id=user, added=[Event(new, 5.0)])
    assert new not in {row.movie.id for row in recommender.topk(added, 150)}
    assert not set(seen) & {row.movie.id for row in recommender.topk(added, 150)}
    again = Person(user_id=user, added=[Event(seen[0], 1.0)])
    assert recommender.rate(again, new).rating != recommender.rate(user, new).rating


def test_given_histories_replace_the_stored_ones_of_known_users_and_of_new_ones(
    recommender: Recommender,
) -> None:
    user = int(recommender.run.users.ids[0])
    given = {user: [Event(5, 4.0, 10)], 999_999: [Event(5, 4.0, 10)]}
    lists = recommender.topk_many([user, 999_999], 198, histories=given)
    for row in lists.movie_ids:
        assert 5 not in row.tolist()
        assert (row != NO_ID).sum() == min(198, len(recommender.run.catalogue) - 1)


def test_what_happens_after_the_time_of_asking_does_not_count(recommender: Recommender) -> None:
    early = Event(1, 5.0, 1000)
    one = {7: [early]}
    two = {7: [early, Event(2, 1.0, 3000)]}
    before = [
        recommender.rate_many([7], [3], times=[2000], histories=given).ratings[0]
        for given in (one, two)
    ]
    after = recommender.rate_many([7], [3], times=[4000], histories=two).ratings[0]
    assert before[0] == before[1] != after


def test_ratings_stay_inside_the_scale(recommender: Recommender) -> None:
    users = np.repeat(recommender.run.users.ids, len(recommender.run.catalogue))
    movies = np.tile(recommender.run.catalogue.vocabulary.ids, len(recommender.run.users))
    ratings = recommender.rate_many(users, movies).ratings
    assert 1 <= ratings.min() < ratings.max() <= 5


def test_similar_movies_are_nearest_first_and_never_the_movie_itself(
    recommender: Recommender,
) -> None:
    rows = recommender.similar(10, 8)
    assert 10 not in [row.movie.id for row in rows]
    cosines = [row.cosine for row in rows]
    assert cosines == sorted(cosines, reverse=True)
    assert max(cosines) <= 1 + 1e-9


def test_similar_movies_are_those_of_all_that_are_nearest(recommender: Recommender) -> None:
    numbers, vectors = recommender.index.ids, recommender.index.vectors
    directions = recommender.encoder.directions(vectors)
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    movies = recommender.run.catalogue.movies
    for number in range(0, len(movies), 40):
        cosines = directions @ directions[int(np.flatnonzero(numbers == number)[0])]
        order = [int(each) for each in numbers[np.argsort(-cosines)] if each != number]
        for k in (1, 7, len(movies)):
            found = recommender.similar(movies[number].id, k)
            assert [row.movie for row in found] == [movies[each] for each in order[:k]]


def test_long_lists_are_rated_in_parts(
    recommender: Recommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    users, k = recommender.run.users.ids[:5], 30
    whole = recommender.topk_many(users, k)
    sizes = []

    def noted(queries: np.ndarray, vectors: np.ndarray) -> NDArray[np.float64]:
        sizes.append(len(vectors))
        return inner_products(queries, vectors)

    monkeypatch.setattr(predictions, "SCORED", 40)
    monkeypatch.setattr(predictions, "inner_products", noted)
    assert np.array_equal(recommender.topk_many(users, k).ratings, whole.ratings)
    assert sizes == [40, 40, 40, 30]


def test_an_event_without_a_time_is_the_last_one_wherever_it_is_given(
    recommender: Recommender,
) -> None:
    dated, undated = Event(3, 5.0, 978_000_000), Event(8, 1.0)
    orders = ([dated, undated], [undated, dated])
    for people in (
        [Person(history=events) for events in orders],
        [Person(user_id=5, added=events) for events in orders],
    ):
        one, other = (recommender.topk(person, 20, in_sitting=True) for person in people)
        assert one == other


def test_what_a_run_knows_of_a_user_changes_nothing_when_it_is_said_again(
    recommender: Recommender,
) -> None:
    run = recommender.run
    own = run.user_codes[run.users.number(5)]
    genders = ("F", "M")
    known = [
        run.config.user_attributes.codes({"gender": gender})[0] == own[0] for gender in genders
    ]
    (gender,) = (each for each, is_own in zip(genders, known, strict=True) if is_own)
    again = Person(user_id=5, gender=gender)
    assert recommender.topk(again, 20) == recommender.topk(5, 20)
    assert recommender.rate(again, 20) == recommender.rate(5, 20)
    more = [Event(199, 4.0, 2_000_000_000)]
    grown = recommender.topk(Person(user_id=5, gender=gender, added=more), 20)
    assert grown == recommender.topk(Person(user_id=5, added=more), 20)


def test_times_of_both_kinds_go_together_with_none(recommender: Recommender) -> None:
    whole = [Event(10, 5.0, 978_220_800), Event(20, 3.0)]
    dated = [Event(10, 5.0, cast("int", np.datetime64("2000-12-31"))), Event(20, 3.0)]
    assert recommender.topk(Person(history=dated), 5) == recommender.topk(Person(history=whole), 5)


@pytest.mark.parametrize(
    ("question", "message"),
    [
        (lambda r: r.topk(999_999), "unknown user 999999: ids run from 1 to 150"),
        (lambda r: r.topk(1, 0), "k is 0; it must be from 1 to 200"),
        (lambda r: r.topk(1, 201), "k is 201"),
        (lambda r: r.rate(1, 99_999), "unknown movie 99999"),
        (lambda r: r.topk(Person(history=[Event(99_999, 3)])), "unknown movie 99999"),
        (lambda r: r.topk(Person(history=[Event(1, 9)])), "rating 9 of movie 1 is outside"),
        (lambda r: r.topk(Person(gender="X", history=[])), "unknown gender 'X'"),
        (lambda r: r.topk(Person(age=-3, history=[])), "age -3"),
        (lambda r: r.rate_many([999_999], [1]), "unknown user 999999"),
        (lambda r: r.topk(1, True), "k is True"),  # noqa: FBT003
        (lambda r: r.topk(1, 2.0), "k is 2.0"),
        (lambda r: r.topk(1, 10**30), "k is 1000"),
        (lambda r: r.similar(5, None), "k is None"),
        (lambda r: r.topk(10**30), "is no id"),
        (lambda r: r.topk(None), "user 'None' is no id"),
        (lambda r: r.topk(1, at=-1), "time -1 would be"),
        (lambda r: r.rate(1, 5, at=978_300_760_000), "time 978300760000 would be"),
        (lambda r: r.explain(1, 5, at=10**30), "malformed time"),
        (lambda r: r.topk(1, rank_by="taste"), "nothing ranks by 'taste'"),
        (lambda r: r.topk(1, rank_by=[]), "nothing ranks by"),
        (lambda r: r.explain(1, 5, by=""), "nothing ranks by"),
        (lambda r: r.topk(1, filters=[5]), "give a Filter"),
        (lambda r: r.topk(1, diversity=float("nan")), "diversity is nan"),
        (lambda r: r.topk(1, diversity="much"), "diversity 'much' is no number"),
        (lambda r: r.rate(1, 10**30), "unknown movie 1000"),
        (lambda r: r.rate(1, 1.5), "neither an id nor a title"),
        (lambda r: r.rate_many([1, 2], [1]), "2 users and 1 movies are no pairs"),
        (lambda r: r.rate_many([[1]], [[1]]), "must be one list"),
        (lambda r: r.rate_many([1], [1], times=[1, 2]), "2 times for 1 questions"),
        (lambda r: r.rate_many([1], [1], times=[float("nan")]), "malformed time 'nan'"),
        (lambda r: r.rate_many([1.5], [1]), "user '1.5' is no id"),
        (lambda r: r.topk_many([1], histories=[5]), "give a dict"),
        (lambda r: r.topk_many([1], histories={1: 5}), "give a list of events"),
        (lambda r: r.topk_many(1), "must be one list"),
        (lambda r: r.topk_many([1], histories={1: None}), "history of user 1 is None"),
        (lambda r: r.topk(Person(user_id=1, seen=cast("list[int]", None))), "seen is 'None'"),
        (lambda r: r.topk(Person(user_id=1, seen="12")), "seen is '12'"),
        (
            lambda r: r.topk(Person(user_id=1, attributes=cast("dict[str, object]", ["plan"]))),
            "give a dict of names",
        ),
        (lambda r: r.topk(1, diversity=np.array([0.1, 0.2])), "is no number"),
    ],
)
def test_impossible_questions_name_the_value(
    recommender: Recommender, question: object, message: str
) -> None:
    assert callable(question)
    with pytest.raises(RequestError, match=message):
        question(recommender)


def test_a_run_is_answered_from_a_copy_elsewhere(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "copy")
    here, there = Recommender.load(run), Recommender.load(tmp_path / "copy")
    assert here.topk(1, 5) == there.topk(1, 5)


def test_a_ranking_may_be_named_by_a_string(recommender: Recommender) -> None:
    named = recommender.topk(1, 10, rank_by=cast("RankBy", "rating"))
    assert named == recommender.topk(1, 10, rank_by=RankBy.RATING)
    assert named != recommender.topk(1, 10, rank_by=RankBy.WATCH)


def test_how_sure_a_rating_is_says_what_is_known_of_its_own_movie(
    recommender: Recommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (movie.id for movie in recommender.run.catalogue.movies[7:9])
    before = [recommender.rate(1, movie).deviation for movie in (first, second)]
    tower, number = recommender.encoder.tower("bayesian"), recommender.run.catalogue.number(first)
    usual = tower.movie_variances

    def unsure(numbers: np.ndarray) -> np.ndarray:
        return np.asarray(usual(numbers) + 100.0 * (numbers == number))

    monkeypatch.setattr(tower, "movie_variances", unsure)
    after = [recommender.rate(1, movie).deviation for movie in (first, second)]
    assert after[0] != before[0]
    assert after[1] == before[1]


def test_no_pairs_have_no_ratings(recommender: Recommender) -> None:
    found = recommender.rate_many([], [])
    assert found.ratings.shape == (0,)
    assert found.deviations is not None
    assert found.chances is not None
    assert found.deviations.shape == (0,)
    one = recommender.rate_many([1], [5]).chances
    assert one is not None
    assert found.chances.shape == (0, one.shape[1])


def test_movies_removed_from_the_index_are_not_listed_and_what_asks_about_them_is_named(
    recommender: Recommender,
) -> None:
    index = Index(recommender.index)
    gone = recommender.topk(1, 3)[0].movie
    number = recommender.run.catalogue.number(gone.id)
    index.remove([number])
    less = Recommender(recommender.snapshot.with_index(index.snapshot))
    size = len(less.run.catalogue)
    for filters in (None, Filter(deny=[10**6])):
        listed = less.topk(1, size, include_seen=True, filters=filters, diversity=0.5)
        assert len(listed) == size - 1
        assert gone.id not in {row.movie.id for row in listed}
        assert gone.id not in less.topk_many([1, 2], size, filters=filters).movie_ids
    for ask in (less.rate, less.explain):
        with pytest.raises(RequestError, match=rf"not in the index: \[{gone.id}\]"):
            ask(1, gone.id)
    with pytest.raises(RequestError, match="not in the index"):
        less.similar(gone.id)


def test_where_nothing_is_left_it_is_said(
    recommender: Recommender, caplog: pytest.LogCaptureFixture
) -> None:
    seen = seen_by(recommender, 5)
    assert not recommender.topk(5, 3, filters=Filter(allow=seen))
    assert "nothing is left to list" in caplog.text
    found = recommender.topk_many([5], 3, filters=Filter(allow=seen))
    assert (found.movie_ids == NO_ID).all()
    assert "for user 5" in caplog.text


def test_filters_may_be_called_wanted_for_one_version_more(recommender: Recommender) -> None:
    filters = Filter(deny=[1, 2, 3])
    with pytest.warns(DeprecationWarning, match="wanted= is called filters="):
        one = recommender.topk(5, 10, wanted=filters)
    assert one == recommender.topk(5, 10, filters=filters)
    with pytest.warns(DeprecationWarning, match="wanted= is called filters="):
        many = recommender.topk_many([5], 10, wanted=filters)
    assert many.movie_ids[0].tolist() == [row.movie.id for row in one]
    with pytest.raises(RequestError, match="give filters alone"):
        recommender.topk(5, 10, filters=filters, wanted=filters)


def test_an_answer_names_the_users_and_movies_it_is_about(recommender: Recommender) -> None:
    rated = recommender.rate_many([7, 5], [3, 1])
    assert (rated.user_ids.tolist(), rated.movie_ids.tolist()) == ([7, 5], [3, 1])
    assert recommender.topk_many([7, 5, 7], 2).user_ids.tolist() == [7, 5, 7]
