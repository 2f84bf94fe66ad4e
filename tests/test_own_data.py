"""Data of other people's shape: ids that are texts, plays without ratings, things watched again."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_worlds import small_world, tiny_settings
from typer.testing import CliRunner
from web import service_of

from retrieval.cli.app import assembled
from retrieval.data import columns
from retrieval.data.attributes import Attribute, AttributeKind
from retrieval.data.frames import MovieData
from retrieval.data.scale import RatingScale
from retrieval.data.times import NO_TIME
from retrieval.errors import RequestError
from retrieval.evaluation.protocols import evaluate
from retrieval.options import RankBy, Split
from retrieval.pairs.content import load_content
from retrieval.pipeline.hiding import hide_movies, show_movies
from retrieval.pipeline.indexing import add_movies
from retrieval.pipeline.training import train
from retrieval.run.folder import CONTENT
from retrieval.serving.events import Event
from retrieval.serving.filters import Filter
from retrieval.serving.recommender import Recommender
from retrieval.serving.users import Person

USERS, MOVIES, EACH = 30, 30, 12
PLAYS = RatingScale(lowest=1, highest=1, step=1)


def watched() -> list[tuple[int, int]]:
    """Pairs of users and movies, each once."""
    rng = np.random.default_rng(3)
    return [
        (user, int(movie))
        for user in range(1, USERS + 1)
        for movie in 1 + rng.permutation(MOVIES)[:EACH]
    ]


def user_text(user: int) -> str:
    return f"9f3c-{user:04d}"


def movie_text(movie: int) -> str:
    return f"tt{movie:07d}"


def with_texts(data: MovieData) -> MovieData:
    """Return data with texts for ids, in the same order."""
    ratings = data.ratings.assign(
        user_id=data.ratings[columns.USER_ID].map(user_text).astype(str),
        movie_id=data.ratings[columns.MOVIE_ID].map(movie_text).astype(str),
    )
    movies = data.movies.assign(movie_id=data.movies[columns.MOVIE_ID].map(movie_text).astype(str))
    users = data.users.assign(user_id=data.users[columns.USER_ID].map(user_text).astype(str))
    return MovieData(ratings=ratings, movies=movies, users=users, scale=data.scale)


def plays(*, again: int = 0) -> MovieData:
    """Return plays without ratings, of which users watch some movies again at the end."""
    pairs = watched()
    pairs += [pair for pair in pairs if pair[1] <= again]
    return small_world(pairs, ratings=[1], scale=PLAYS, users=[1, 2])


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> Recommender:
    """Answers from ids that are whole numbers."""
    folder = tmp_path_factory.mktemp("numbered") / "run"
    train(small_world(watched(), users=[1, 2]), tiny_settings(), folder)
    return Recommender.load(folder)


@pytest.fixture(scope="module")
def called(tmp_path_factory: pytest.TempPathFactory) -> Recommender:
    """Answers from the same data with texts for ids."""
    folder = tmp_path_factory.mktemp("called") / "run"
    train(with_texts(small_world(watched(), users=[1, 2])), tiny_settings(), folder)
    return Recommender.load(folder)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Recommender:
    """Answers from plays of texts, some of them watched again."""
    folder = tmp_path_factory.mktemp("played") / "run"
    train(with_texts(plays(again=4)), tiny_settings(), folder)
    return Recommender.load(folder)


def test_a_service_explains_what_ranks_where_nothing_is_rated(
    played: Recommender, tmp_path: Path
) -> None:
    with service_of(played.run.home, tmp_path) as service:
        user = user_text(1)
        movie = service.get(f"/v1/users/{user}/recommendations?k=1")["movies"][0]["movie_id"]
        found = service.get(f"/v1/users/{user}/movies/{movie}?explain=true")
    assert found["rating"] is None
    assert found["explanation"]["by"] == "watch"


def test_what_ids_are_changes_no_answer(numbered: Recommender, called: Recommender) -> None:
    users, movies = [*range(1, USERS + 1)], [*range(1, USERS + 1)]
    by_text = list(map(user_text, users)), list(map(movie_text, movies))
    rated, same = numbered.rate_many(users, movies), called.rate_many(*by_text)
    np.testing.assert_array_equal(same.ratings, rated.ratings)
    assert same.user_ids.tolist() == by_text[0]
    given = {7: [Event(3, 5.0), Event(9, 1.0)], 999: [Event(4, 2.0)]}
    given_texts = {
        user_text(user): [
            event._replace(movie_id=movie_text(int(event.movie_id))) for event in events
        ]
        for user, events in given.items()
    }
    asked = [*users, 999]
    for rank_by in RankBy:
        lists = numbered.topk_many(asked, 30, rank_by=rank_by, histories=given)
        others = called.topk_many(
            list(map(user_text, asked)), 30, rank_by=rank_by, histories=given_texts
        )
        np.testing.assert_array_equal(others.scores, lists.scores)
        there = np.isfinite(lists.scores)
        assert list(map(movie_text, lists.movie_ids[there])) == others.movie_ids[there].tolist()
        assert set(others.movie_ids[~there].tolist()) <= {""}
        frame = others.to_frame()
        assert len(frame) == there.sum()
        assert frame[columns.USER_ID].iloc[0] == user_text(1)


def test_texts_are_asked_about_as_numbers_are(called: Recommender) -> None:
    user, movie = user_text(3), movie_text(5)
    assert called.rate(user, movie) == called.rate(Person(user_id=user), "A story of 5")
    allowed = [movie_text(number) for number in range(1, 21)]
    rows = called.topk(user, 5, filters=Filter(deny=[movie_text(1)], allow=allowed))
    assert {row.movie.id for row in rows} < set(allowed[1:])
    assert [row.movie.id for row in called.similar(movie, 3)] != [movie] * 3
    explained = called.explain(user, movie)
    assert explained.movie.id == movie
    with pytest.raises(RequestError, match="unknown user 9f3c: ids are texts such as '9f3c-0001'"):
        called.topk("9f3c")
    with pytest.raises(RequestError, match="unknown user 42: ids are texts"):
        called.topk(42)
    with pytest.raises(RequestError, match="names no single movie; did you mean: A story of 1"):
        called.rate(user, "A story of")


def test_movies_of_any_id_are_added(tmp_path: Path) -> None:
    data = with_texts(plays())
    train(data, tiny_settings(["sequence"]), tmp_path / "run")
    more = data.movies.head(2).assign(movie_id=["new-2", "new-1"], title=["Two", "One"])
    assert add_movies(tmp_path / "run", more) == 2
    recommender = Recommender.load(tmp_path / "run")
    listed = recommender.topk(user_text(1), 32)
    assert {"new-1", "new-2"} <= {row.movie.id for row in listed}


def test_from_plays_the_pair_that_ranks_is_trained_alone(
    played: Recommender, tmp_path: Path
) -> None:
    assert played.run.config.layout.names == ("sequence",)
    assert len(played.topk(user_text(1), 5)) == 5
    assert played.topk(Person(history=[Event(movie_text(2)), Event(movie_text(2))]), 5)
    with pytest.raises(RequestError, match="predicts no ratings: the events it learned from have"):
        played.rate(user_text(1), movie_text(1))
    with pytest.raises(RequestError, match="cannot rank by rating, only by watch: the events it"):
        played.topk(user_text(1), rank_by=RankBy.RATING)
    with pytest.raises(
        RequestError, match=r"the data has no ratings.*train with --towers sequence"
    ):
        train(plays(), tiny_settings(["bayesian"]), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_was_watched_again_stays_in_the_history_and_out_of_lists(played: Recommender) -> None:
    run = played.run
    assert len(run.histories.movies) > USERS * EACH
    start, end = run.histories.offsets[:2]
    seen = set(run.catalogue.vocabulary.ids[run.histories.movies[start:end]].tolist())
    assert len(seen) == EACH < end - start
    listed = played.topk_many([user_text(1)], MOVIES).movie_ids[0]
    assert set(listed.tolist()) - {""} == set(run.catalogue.vocabulary.ids.tolist()) - seen


def test_plays_are_evaluated(tmp_path: Path) -> None:
    data = with_texts(plays(again=4))
    results = evaluate(data, "plays", Split.LEAVE_ONE, tiny_settings(), 0, tmp_path / "run")
    found = {result.system: result for result in results}
    assert "popularity" in found
    assert any(name.startswith("two towers by watch") for name in found)


def test_two_levels_of_ratings_train_every_pair(tmp_path: Path) -> None:
    thumbs = small_world(watched(), ratings=[0, 1], scale=RatingScale(lowest=0, highest=1, step=1))
    train(thumbs, tiny_settings(), tmp_path / "run")
    rated = Recommender.load(tmp_path / "run").rate(1, 5)
    assert 0 <= rated.rating <= 1
    assert rated.deviation is not None


def test_the_command_line_takes_and_gives_texts(called: Recommender, tmp_path: Path) -> None:
    run, user = str(called.run.home), user_text(3)
    shows = CliRunner()
    listed = shows.invoke(assembled(), ["topk", "--run", run, "--user", user, "--k", "3", "--json"])
    assert listed.exit_code == 0, listed.output
    assert f'"user_id": "{user}"' in listed.stdout
    assert '"movie_id": "tt' in listed.stdout
    history = f"{movie_text(4)}:5,{movie_text(6)}:1"
    new = shows.invoke(
        assembled(), ["rate", "--run", run, "--history", history, "--movie", movie_text(7)]
    )
    assert new.exit_code == 0, new.output
    assert f"[{movie_text(7)}]" in new.stdout
    (tmp_path / "users.csv").write_text(f"user_id\n{user}\nnobody\n")
    (tmp_path / "deny.csv").write_text(f"movie_id\n{movie_text(9)}\n")
    many = ["batch", "topk", "--run", run, "--users", str(tmp_path / "users.csv"), "--k", "30"]
    many += ["--deny", str(tmp_path / "deny.csv"), "--out", str(tmp_path / "lists.csv")]
    answered = shows.invoke(assembled(), many)
    assert answered.exit_code == 0, answered.output
    table = pd.read_csv(tmp_path / "lists.csv")
    assert set(table[columns.USER_ID]) == {user}
    assert movie_text(9) not in set(table[columns.MOVIE_ID])


def described(data: MovieData) -> MovieData:
    """Return data with attributes of movies and users, of every kind."""
    count, people = len(data.movies), len(data.users)
    movies = data.movies.assign(
        country=np.resize(["FR", "DE", ""], count),
        minutes=np.linspace(60, 180, count),
        tags=np.resize(["short|funny", "long", ""], count),
        plot=np.resize(["a dog runs home", "a cat runs away", "the dog sleeps"], count),
        kids=np.resize([1.0, 0.0, np.nan], count),
        added=np.resize([10**9, 11 * 10**8, NO_TIME], count),
    ).astype({"country": str, "tags": str, "plot": str})
    users = data.users.assign(
        plan=pd.Series(np.resize(["family", "single"], people), dtype=str),
        tenure=np.linspace(0, 10, people),
    )
    return replace(
        data,
        movies=movies,
        users=users,
        movie_attributes=(
            Attribute("country", AttributeKind.CATEGORY),
            Attribute("minutes", AttributeKind.NUMBER),
            Attribute("tags", AttributeKind.LIST),
            Attribute("plot", AttributeKind.TEXT),
            Attribute("kids", AttributeKind.YES_NO),
            Attribute("added", AttributeKind.DATE),
        ),
        user_attributes=(
            Attribute("plan", AttributeKind.CATEGORY),
            Attribute("tenure", AttributeKind.NUMBER),
        ),
    )


def test_blanks_around_an_id_are_no_part_of_it(called: Recommender, tmp_path: Path) -> None:
    user = user_text(1)
    first, second = (row.movie.id for row in called.topk(user, 2))
    assert isinstance(first, str)
    blank = f" {first} "

    def listed(person: Person | str, filters: Filter | None = None) -> list[object]:
        return [row.movie.id for row in called.topk(person, 5, filters=filters)]

    assert listed(user, filters=Filter(deny=[blank])) == listed(user, filters=Filter(deny=[first]))
    for person in (
        Person(user_id=user, added=[Event(blank, 5.0)]),
        Person(user_id=user, seen=[blank]),
    ):
        assert first not in listed(person)
    assert listed(Person(history=[Event(blank, 5.0)])) == listed(
        Person(history=[Event(first, 5.0)])
    )
    assert (
        called.rate_many([f"{user} "], [blank]).ratings == called.rate_many([user], [first]).ratings
    )
    assert called.topk_many([f" {user}"], 2).movie_ids.tolist() == [[first, second]]
    folder = tmp_path / "run"
    shutil.copytree(called.run.home, folder)
    assert hide_movies(folder, [blank]) == 1
    assert first not in [row.movie.id for row in Recommender.load(folder).topk(user, 20)]


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of all pairs, of movies and users with attributes."""
    folder = tmp_path_factory.mktemp("known") / "run"
    users = [*range(1, USERS + 1)]
    train(described(small_world(watched(), users=users)), tiny_settings(), folder)
    return folder


def test_of_many_conditions_in_turn_each_is_selected_once(known: Path) -> None:
    snapshot = Recommender.load(known).snapshot
    asked = [Filter(where=[f"minutes<{minutes}"]) for minutes in range(70, 110)]
    once = [snapshot.allowed(each) for each in asked]
    assert all(snapshot.allowed(each) is found for each, found in zip(asked, once, strict=True))


def test_lists_are_filtered_by_what_is_known_of_movies(known: Path) -> None:
    recommender = Recommender.load(known)
    minutes = dict(zip(range(1, MOVIES + 1), np.linspace(60, 180, MOVIES), strict=True))

    def listed(*where: str) -> set[object]:
        rows = recommender.topk(1, MOVIES, filters=Filter(where=where), include_seen=True)
        return {row.movie.id for row in rows}

    assert listed("country=fr") == {*range(1, MOVIES + 1, 3)}
    assert listed("minutes<100") == {movie for movie, long in minutes.items() if long < 100}
    assert listed("tags=funny", "kids") == {*range(1, MOVIES + 1, 3)}
    assert listed("added<2003", "year=1990", "genres=Drama") == {*range(1, MOVIES + 1, 3)}
    with pytest.raises(RequestError, match="unknown attribute 'contry'; did you mean country"):
        listed("contry=FR")
    with pytest.raises(RequestError, match="plot is a text, which cannot be filtered"):
        listed("plot=dog")


def test_what_is_known_of_movies_and_users_is_a_feature(known: Path) -> None:
    recommender = Recommender.load(known)
    attributes = recommender.run.config.user_attributes
    assert [each.name for each in attributes.coded] == [
        *("gender", "age", "occupation", "plan", "tenure")
    ]
    family = Person(history=[Event(3, 5.0)], attributes={"plan": "family", "tenure": "9.5"})
    single = Person(history=[Event(3, 5.0)], attributes={"plan": "single"})
    assert recommender.rate(family, 5).rating != recommender.rate(single, 5).rating
    with pytest.raises(RequestError, match="unknown plan 'famly'; known from training: family, si"):
        recommender.rate(Person(history=[Event(3, 5.0)], attributes={"plan": "famly"}), 5)
    with pytest.raises(RequestError, match="unknown attribute of users 'pln'; did you mean plan"):
        recommender.rate(Person(history=[Event(3, 5.0)], attributes={"pln": "family"}), 5)
    encoder = load_content(recommender.run.folder / CONTENT)
    assert [each.name for each in encoder.facts] == ["country", "minutes", "tags", "kids", "added"]
    assert encoder.texts.words
    content = encoder.describe(described(small_world(watched())).movies)
    assert content.facts.shape == (MOVIES, 2 + 2 + 3 + 2 + 2)
    assert content.facts[0].tolist()[:2] == [0.0, 1.0]  # of DE and FR


def test_added_movies_have_attributes_too_and_stay_when_trained_again(
    known: Path, tmp_path: Path
) -> None:
    shutil.copytree(known, tmp_path / "run")
    more = described(small_world(watched())).movies.head(1).assign(movie_id=9001, country="IT")
    assert add_movies(tmp_path / "run", more) == 1
    recommender = Recommender.load(tmp_path / "run")
    rows = recommender.topk(1, 31, filters=Filter(where=["country=IT"]))
    assert [row.movie.id for row in rows] == [9001]
    assert recommender.run.attributes.value(MOVIES)["minutes"] == 60
    data = described(small_world(watched(), users=[*range(1, USERS + 1)]))
    train(data, tiny_settings(["sequence", "bayesian"]), tmp_path / "run")
    again = Recommender.load(tmp_path / "run")
    assert again.run.catalogue.movies[-1] == recommender.run.catalogue.movies[-1]
    assert again.run.attributes.value(MOVIES) == recommender.run.attributes.value(MOVIES)
    assert len(again.topk(1, 31, filters=Filter(where=["country=IT"]))) == 1
    joined = replace(data, movies=pd.concat([data.movies, more], ignore_index=True))
    train(joined, tiny_settings(["bayesian"]), tmp_path / "run")
    learned = Recommender.load(tmp_path / "run").run.catalogue
    assert (len(learned), learned.added) == (MOVIES + 1, 0)


def test_movies_that_meet_conditions_are_hidden_and_shown_again(
    known: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(known, folder)
    whole = Recommender.load(folder)
    french = {row.movie.id for row in whole.topk(1, MOVIES, filters=Filter(where=["country=FR"]))}
    assert 0 < len(french) < MOVIES
    assert hide_movies(folder, where=["country=FR"]) >= len(french)
    left = {row.movie.id for row in Recommender.load(folder).topk(1, MOVIES)}
    assert left
    assert not left & french
    with pytest.raises(RequestError, match="contry"):
        hide_movies(folder, where=["contry=FR"])
    assert show_movies(folder, where=["country=FR"]) >= len(french)
    assert hide_movies(folder, where=["country=FR", "country=DE"]) == 0


def test_hiding_nothing_is_refused_before_the_run_is_looked_for() -> None:
    for command in ("hide-movies", "show-movies"):
        with pytest.raises(RequestError, match="no movies are named; give ids, or --where"):
            CliRunner().invoke(assembled(), [command, "--run", "nowhere"], catch_exceptions=False)


def test_hidden_movies_are_in_no_list_and_stay_so_when_trained_again(
    known: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(known, folder)
    assert hide_movies(folder, [3, "4"]) == 2
    assert hide_movies(folder, [3]) == 0
    with pytest.raises(RequestError, match="unknown movie 999"):
        hide_movies(folder, [999])
    data = described(small_world(watched(), users=[*range(1, USERS + 1)]))
    for trained_again in (False, True):
        if trained_again:
            train(data, tiny_settings(["sequence", "bayesian"]), folder)
        recommender = Recommender.load(folder)
        for filters in (None, Filter(genres=["Drama"]), Filter(allow=[3, 4, 5])):
            rows = recommender.topk(1, MOVIES, filters=filters, include_seen=True)
            assert not {3, 4} & {row.movie.id for row in rows}
            assert rows
        assert not {3, 4} & {row.movie.id for row in recommender.similar(5, MOVIES)}
        assert recommender.rate(1, 3).movie.id == 3
    assert show_movies(folder, [3]) == 1
    rows = Recommender.load(folder).topk(1, MOVIES, include_seen=True)
    assert len(rows) == MOVIES - 1
