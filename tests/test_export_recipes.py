"""The recipes of the page on exports answer exactly as `rec topk` does."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_worlds import tiny_settings

from retrieval.data.frames import MovieData
from retrieval.data.vocabulary import UNKNOWN
from retrieval.options import Preset, RankBy
from retrieval.pipeline.exporting import export
from retrieval.pipeline.indexing import add_movies
from retrieval.pipeline.settings import preset_settings
from retrieval.pipeline.training import train
from retrieval.serving.encoder import questions_of
from retrieval.serving.events import Event
from retrieval.serving.filters import Filter
from retrieval.serving.lists import encode_lists
from retrieval.serving.recommender import Recommender
from retrieval.serving.results import Recommendation
from retrieval.serving.users import Person, many_users, one_user

EXAMPLES = Path(__file__).parent.parent / "examples"

USERS = (1, 7, 42, 150)


@pytest.fixture(autouse=True)
def _examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)


@pytest.fixture(scope="module")
def folder(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("exports") / "some"
    export(run, made, users=USERS)
    return made


def alike(found: Sequence[Any], listed: Sequence[Recommendation]) -> None:
    assert [row.movie_id for row in found] == [row.movie.id for row in listed]
    for name in ("score", "rating"):
        np.testing.assert_allclose(
            [getattr(row, name) for row in found], [getattr(row, name) for row in listed], 1e-6
        )


def test_qdrant_answers_as_the_run_does(folder: Path, recommender: Recommender) -> None:
    recipe, opened = import_module("to_qdrant"), import_module("exported").read_export(folder)
    client, models = recipe.QdrantClient(":memory:"), recipe.models
    recipe.load(client, "movies", opened, folder)
    dramas = models.FieldCondition(key="genres", match=models.MatchValue(value="Drama"))
    for user in USERS:
        alike(recipe.topk(client, "movies", opened, user), recommender.topk(user))
        alike(
            recipe.topk(client, "movies", opened, user, 5, dramas),
            recommender.topk(user, 5, filters=Filter(genres=["Drama"])),
        )
    client.close()


@pytest.mark.slow
def test_milvus_answers_as_the_run_does(
    folder: Path, recommender: Recommender, tmp_path: Path
) -> None:
    recipe, opened = import_module("to_milvus"), import_module("exported").read_export(folder)
    client = recipe.MilvusClient(str(tmp_path / "movies.db"))
    recipe.load(client, "movies", opened, folder)
    client.load_collection("movies")
    for user in USERS:
        alike(recipe.topk(client, "movies", opened, user), recommender.topk(user))
        alike(
            recipe.topk(client, "movies", opened, user, 5, 'array_contains(genres, "Drama")'),
            recommender.topk(user, 5, filters=Filter(genres=["Drama"])),
        )
    client.close()


# Users whom the run does not know as they are: nobody, somebody new, and two with other events.
PEOPLE: dict[str, Person] = {
    "nobody": Person(),
    "new": Person(history=[Event(3, 5.0, 10**9), Event(8, 1.0, 10**9 + 40)], gender="F", age=25),
    "one more": Person(user_id=42, added=[Event(3, 4.0, 2 * 10**9)]),
    "other ones": Person(
        user_id=7, history=[Event(movie, 1.0 + movie % 5, 10**9 + movie) for movie in range(1, 11)]
    ),
}


@pytest.mark.parametrize("name", PEOPLE)
@pytest.mark.parametrize("rank_by", RankBy)
def test_towers_give_the_vectors_of_people_who_are_not_in_the_export(
    name: str, rank_by: RankBy, folder: Path, recommender: Recommender
) -> None:
    recipe, opened = import_module("towers"), import_module("exported").read_export(folder)
    opened.manifest["rank_by"] = rank_by
    snapshot, person = recommender.snapshot, PEOPLE[name]
    asked = one_user(snapshot.run, person)
    wanted = encode_lists(snapshot, asked, np.zeros(1, np.int64), None, rank_by)
    _, movies, ratings, times = asked.histories
    number, row = 0, None
    if person.user_id is not None:
        known = opened.row_of(person.user_id)
        number = int(np.load(folder / "tower_numbers.npy")[known])
        assert number > 0
        row = known if person.added else None
    history = recipe.History(movies.astype(np.int64), ratings.astype(np.float64), times)
    made = recipe.encode(folder, opened, history, asked.codes[0], number, row)
    np.testing.assert_allclose(made.query_vector, wanted.queries[0], atol=1e-5)
    np.testing.assert_allclose(made.rating_vector, wanted.encoded.vectors[0], atol=1e-5)
    assert made.rating_offset == pytest.approx(wanted.encoded.offsets[0], abs=1e-5)


def towers_answer(folder: Path, recommender: Recommender, person: Person, number: int = 0) -> None:
    """Assert that the towers of an export give the vectors that a run gives."""
    recipe, opened = import_module("towers"), import_module("exported").read_export(folder)
    snapshot = recommender.snapshot
    asked, rank_by = one_user(snapshot.run, person), RankBy(opened.manifest["rank_by"])
    wanted = encode_lists(snapshot, asked, np.zeros(1, np.int64), None, rank_by)
    _, movies, ratings, times = asked.histories
    history = recipe.History(movies.astype(np.int64), ratings.astype(np.float64), times)
    made = recipe.encode(folder, opened, history, asked.codes[0], number)
    np.testing.assert_allclose(made.query_vector, wanted.queries[0], atol=1e-5)
    np.testing.assert_allclose(made.rating_vector, wanted.encoded.vectors[0], atol=1e-5)


def test_towers_read_movies_that_were_added(run: Path, data: MovieData, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    add_movies(tmp_path / "run", data.movies.head(2).assign(movie_id=[9001, 9002]))
    export(tmp_path / "run", tmp_path / "export", users=[])
    history = [Event(3, 5.0, 10**9), Event(9002, 1.0, 10**9 + 40), Event(8, 2.0, 10**9 + 90)]
    towers_answer(tmp_path / "export", Recommender.load(tmp_path / "run"), Person(history=history))


def test_the_tower_of_the_notebook_is_exported_too(data: MovieData, tmp_path: Path) -> None:
    settings = preset_settings(Preset.NOTEBOOK).changed({"notebook.epochs": "1"})
    train(data, settings, tmp_path / "run")
    export(tmp_path / "run", tmp_path / "export", users=[42, 7])
    recommender = Recommender.load(tmp_path / "run")
    towers_answer(tmp_path / "export", recommender, PEOPLE["new"])
    towers_answer(tmp_path / "export", recommender, PEOPLE["one more"], number=2)  # after user 7


def test_long_histories_begin_where_training_serving_and_exports_let_them(
    data: MovieData, tmp_path: Path
) -> None:
    settings = tiny_settings().changed({"sequence.history_length": "16"})  # in steps of two
    train(data, settings, tmp_path / "run")
    export(tmp_path / "run", tmp_path / "export", users=[])
    recommender = Recommender.load(tmp_path / "run")
    run = recommender.run
    counts = np.diff(run.histories.offsets)
    users, rows = many_users(run, run.users.ids[counts > 16], {})
    assert ({*counts[counts > 16] % 2}) == {0, 1}
    fresh = users._replace(stored=np.full(len(rows), UNKNOWN))
    stored, read = (
        recommender.encoder.tower("sequence").encode(questions_of(each, rows, None).questions)
        for each in (users, fresh)
    )
    np.testing.assert_allclose(stored.vectors, read.vectors, atol=1e-5)
    for number in np.flatnonzero(counts > 16)[:4].tolist():
        part = slice(*run.histories.offsets[number : number + 2])
        _, *columns = (column[part].tolist() for column in run.histories)
        ids = run.catalogue.vocabulary.ids[columns[0]].tolist()
        history = [Event(*event) for event in zip(ids, *columns[1:], strict=True)]
        towers_answer(tmp_path / "export", recommender, Person(history=history))


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ("exported.py", "--user", "42"),
        ("to_qdrant.py", "--user", "42"),
        ("to_milvus.py", "--user", "42", "--store", "movies.db"),
        ("towers.py", "--history", "3:5,8:1"),
    ],
    ids=lambda words: str(words[0]),
)
def test_a_recipe_runs_as_the_page_says(
    words: tuple[str, ...], folder: Path, recommender: Recommender, tmp_path: Path
) -> None:
    program, *options = words
    command = [sys.executable, str(EXAMPLES / program), str(folder), *options, "--k", "5"]
    for _ in range(2):  # a store that is there is answered from
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert not done.returncode, done.stderr
        new = Person(history=[Event(3, 5.0), Event(8, 1.0)])
        listed = recommender.topk(new if program == "towers.py" else 42, 5)
        ids = [line.split()[1] for line in done.stdout.splitlines()[:5]]
        assert ids == [str(row.movie.id) for row in listed]
