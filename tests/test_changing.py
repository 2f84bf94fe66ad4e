"""Movies that are changed after training."""

import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small_worlds import tiny_settings

from retrieval.cli.app import main
from retrieval.data.attributes import TITLE_ATTRIBUTE, Attribute, AttributeKind, Facts
from retrieval.data.changes import Change, changes_between, read_changes, write_changes
from retrieval.data.source import DataSource, read, source_of
from retrieval.errors import RequestError, RunError
from retrieval.pipeline.changing import change_movies, changes_of
from retrieval.pipeline.hiding import hide_movies
from retrieval.pipeline.training import train
from retrieval.run.folder import CHANGED, open_run
from retrieval.run.promotion import kept_versions
from retrieval.run.versions import current
from retrieval.serving.filters import Filter
from retrieval.serving.recommender import Recommender

MOVIES = 30

HEADER = "movie_id,title,year,genres,country,minutes,kids,until,tags,plot"
PLOT = "A long text about two people who meet on a train and talk until the morning comes"


def rec(monkeypatch: pytest.MonkeyPatch, *words: str, code: int = 0) -> None:
    """Run a command."""
    monkeypatch.setattr(sys, "argv", ["rec", *words])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == code


def catalogue(**first: str) -> str:
    """A table of movies; the first one may be another."""
    rows = [HEADER]
    for movie in range(1, MOVIES + 1):
        cells = {
            "movie_id": str(movie),
            "title": f"Story {movie}",
            "year": str(1980 + movie % 20),
            "genres": "Drama|War" if movie % 2 else "Comedy",
            "country": "FR" if movie % 3 else "US",
            "minutes": str(80 + movie),
            "kids": "yes" if movie % 2 else "no",
            "until": f"2027-01-{1 + movie % 28:02}",
            "tags": "slow|blue" if movie % 2 else "fast|red",
            "plot": f"{PLOT} in town number {movie}",
        }
        cells |= first if movie == 1 else {}
        rows.append(",".join(cells.values()))
    return "\n".join(rows) + "\n"


def write_events(path: Path) -> None:
    """Write ratings of many users."""
    rng = np.random.default_rng(0)
    rows = [
        f"{user},{movie},{rng.integers(1, 6)},{10**9 + 100 * user + place}"
        for user in range(1, 31)
        for place, movie in enumerate(1 + rng.permutation(MOVIES)[:12])
    ]
    path.write_text("user_id,movie_id,rating,timestamp\n" + "\n".join(rows) + "\n")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder."""
    data = tmp_path_factory.mktemp("data")
    write_events(data / "ratings.csv")
    (data / "movies.csv").write_text(catalogue())
    return data


@pytest.fixture
def run(folder: Path, tmp_path: Path) -> Path:
    """A run of it."""
    train(read(source_of(folder)), tiny_settings(["bayesian"]), tmp_path / "run", source="small")
    return tmp_path / "run"


def changed(run: Path, tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Change movies from the command line."""
    (tmp_path / "changes.csv").write_text(text)
    rec(monkeypatch, "change-movies", str(tmp_path / "changes.csv"), "--run", str(run))


def known(run: Path, movie: int | str) -> dict[str, object]:
    """What a run says of a movie."""
    opened = open_run(run)
    number = opened.catalogue.number(movie)
    shown, values = opened.catalogue.movies[number], opened.attributes.value(number)
    assert (values.get("year"), values.get("genres", ())) == (shown.year, shown.genres)
    return values | {"title": shown.title}


def test_only_what_the_file_has_changes(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before, lists = [known(run, movie) for movie in (1, 2, 3)], Recommender.load(run).topk(1, 10)
    version = current(run)
    changed(
        run, tmp_path, "movie_id,title,until\n2,Another Story,2031-05-06\n3,Story 3,\n", monkeypatch
    )
    assert "movies changed in" in capsys.readouterr().err
    assert current(run) != version
    assert known(run, 1) == before[0]
    assert known(run, 2) == before[1] | {"title": "Another Story", "until": "2031-05-06"}
    assert known(run, 3) == {name: value for name, value in before[2].items() if name != "until"}
    after = Recommender.load(run).topk(1, 10)
    assert [(row.movie.id, row.score) for row in after] == [
        (row.movie.id, row.score) for row in lists
    ]


@pytest.mark.parametrize(
    ("column", "cell", "condition"),
    [
        ("country", "DE", "country=DE"),
        ("minutes", "500", "minutes>400"),
        ("kids", "yes", "kids"),
        ("until", "2040-01-01", "until>2039"),
        ("tags", "green|odd", "tags=odd"),
        ("year", "1950", "year<1960"),
    ],
)
def test_conditions_ask_what_was_changed(
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    column: str,
    cell: str,
    condition: str,
) -> None:
    kept = Filter(where=[condition])
    changed(run, tmp_path, f"movie_id,{column}\n2,{cell}\n", monkeypatch)
    listed = Recommender.load(run).topk(1, MOVIES, filters=kept, include_seen=True)
    assert 2 in {row.movie.id for row in listed}
    if column != "kids":
        assert [row.movie.id for row in listed] == [2]


def test_names_that_no_movie_has_any_more_are_unknown(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed(run, tmp_path, "movie_id,country\n2,Germny\n", monkeypatch)
    assert "Germny" in open_run(run).attributes.columns["country"].names
    changed(run, tmp_path, "movie_id,country\n2,DE\n", monkeypatch)
    assert open_run(run).attributes.columns["country"].names == ("DE", "FR", "US")


def test_changes_stay_when_the_run_is_trained_again(
    run: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed(run, tmp_path, "movie_id,title,country,tags\n1,Mine,DE,\n2,Yours,IT,odd\n", monkeypatch)
    expected = [known(run, movie) for movie in (1, 2)]
    data = read(source_of(folder))
    train(data, tiny_settings(["bayesian"]), run, source="small")
    assert [known(run, movie) for movie in (1, 2)] == expected
    assert len(changes_of(current(run))) == 6


def test_data_that_say_something_new_themselves_count(
    run: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed(run, tmp_path, "movie_id,title,country\n1,Mine,DE\n", monkeypatch)
    other = tmp_path / "other"
    other.mkdir()
    (other / "ratings.csv").write_text((folder / "ratings.csv").read_text())
    (other / "movies.csv").write_text(catalogue(country="BR"))
    train(read(source_of(other)), tiny_settings(["bayesian"]), run, source="small")
    assert known(run, 1)["country"] == "BR"
    assert known(run, 1)["title"] == "Mine"
    assert [change.name for change in changes_of(current(run))] == ["title"]


def test_what_was_added_has_its_attributes_and_is_changed_too(
    run: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "new.csv").write_text(
        f"{HEADER}\n99,New,2026,Drama,DE,91,no,2030-01-01,odd,{PLOT}\n"
    )
    rec(monkeypatch, "add-movies", str(tmp_path / "new.csv"), "--run", str(run))
    assert known(run, 99)["country"] == "DE"
    assert known(run, 99)["until"] == "2030-01-01"
    changed(run, tmp_path, "movie_id,country\n99,IT\n", monkeypatch)
    assert known(run, 99)["country"] == "IT"
    train(read(source_of(folder)), tiny_settings(["bayesian"]), run, source="small")
    assert known(run, 99)["country"] == "IT"
    hide_movies(run, [99])
    assert known(run, 99)["country"] == "IT"


def test_what_is_so_already_changes_nothing(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    version = current(run)
    changed(run, tmp_path, "movie_id,title\n1,Story 1\n", monkeypatch)
    assert current(run) == version
    assert "movies changed in" in (said := capsys.readouterr().err)
    assert ": 0; 1 of the file were already so" in said
    changed(run, tmp_path, "movie_id,title\n1,Mine\n", monkeypatch)
    changed(run, tmp_path, "movie_id,title\n1,Story 1\n", monkeypatch)
    assert changes_of(current(run)) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("movie_id,title\n77,No Such\n", "unknown movie 77"),
        ("movie_id,title,untill\n1,Mine,2030\n", "unknown column 'untill'; did you mean until"),
        ("movie_id\n1\n", "changes nothing; give any of: title, year"),
        ("movie_id,plot\n1,Short\n", "unknown column 'plot'"),
        ("movie_id,title\n1,Mine\n1,Yours\n", "1"),
        ("title\nStory\n", "column movie_id is missing"),
        ("movie_id,minutes\n1,long\n", "long"),
    ],
)
def test_what_cannot_be_is_said_and_nothing_changes(
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    text: str,
    said: str,
) -> None:
    version = current(run)
    (tmp_path / "changes.csv").write_text(text)
    rec(monkeypatch, "change-movies", str(tmp_path / "changes.csv"), "--run", str(run), code=1)
    assert said in capsys.readouterr().err
    assert current(run) == version


def test_changes_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    tags = Attribute("tags", AttributeKind.LIST)
    known = {"title": TITLE_ATTRIBUTE, "tags": tags}
    before: Facts = {"title": "A", "tags": ("x",)}
    made = changes_between("m", known, before, {"title": "B", "tags": None})
    assert made == [
        Change("m", "title", AttributeKind.TEXT, "A", "B"),
        Change("m", "tags", AttributeKind.LIST, ["x"], None),
    ]
    assert changes_between("m", known, {"title": "B"}, {"title": "A"}, made) == [made[1]]
    write_changes(tmp_path / CHANGED, made)
    assert read_changes(tmp_path / CHANGED) == made
    (tmp_path / CHANGED).write_text("{")
    with pytest.raises(RunError):
        read_changes(tmp_path / CHANGED)


def test_a_year_in_a_title_is_that_of_its_movie_alone(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = known(run, 2)
    changed(run, tmp_path, "movie_id,title\n1,Mine (1955)\n2,Alien\n3,\n", monkeypatch)
    assert known(run, 1)["year"] == 1955
    assert known(run, 2) == before | {"title": "Alien"}
    assert known(run, 3)["title"] == "Story 3"
    (tmp_path / "movies.dat").write_text("2::Other::Western\n")
    rec(monkeypatch, "change-movies", str(tmp_path / "movies.dat"), "--run", str(run))
    assert known(run, 2) == before | {"title": "Other", "genres": ("Western",)}


def test_a_change_of_a_kind_that_data_no_longer_have_is_forgotten(
    run: Path,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    changed(run, tmp_path, "movie_id,minutes,country\n1,500,DE\n", monkeypatch)
    other = tmp_path / "other"
    other.mkdir()
    (other / "ratings.csv").write_text((folder / "ratings.csv").read_text())
    (other / "movies.csv").write_text(re.sub(r",(\d+),(yes|no),", r",\1 min,\2,", catalogue()))
    train(read(source_of(other)), tiny_settings(["bayesian"]), run, source="small")
    assert [change.name for change in changes_of(current(run))] == ["country"]
    assert "earlier changes of movie 1 end" in caplog.text
    assert known(run, 1)["country"] == "DE"


def test_kept_versions_change_too(
    run: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(read(source_of(folder)), tiny_settings(["bayesian"]), run, source="small", seed=1)
    (kept,) = kept_versions(run)
    held = {path.name: path.read_bytes() for path in kept.folder.iterdir() if path.is_file()}
    copied = tmp_path / "linked"
    shutil.copytree(kept.folder, copied, copy_function=os.link)
    changed(run, tmp_path, "movie_id,title\n1,Mine\n", monkeypatch)
    # What other versions share is not written through.
    assert {path.name: path.read_bytes() for path in copied.iterdir() if path.is_file()} == held
    rec(monkeypatch, "runs", "rollback", "--run", str(run))
    assert known(run, 1)["title"] == "Mine"
    assert [change.now for change in changes_of(current(run))] == ["Mine"]


def test_a_damaged_list_of_changes_is_said(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert changes_of(run / "nothing") == []
    (current(run) / CHANGED).write_text("[{")
    assert changes_of(current(run)) == []
    assert "what was changed of movies is lost" in caplog.text


def test_facts_are_changed_from_python_too(run: Path) -> None:
    assert change_movies(run, {1: {"tags": ["odd", "blue"], "minutes": None}, 2: {}}) == 1
    assert known(run, 1)["tags"] == ("odd", "blue")
    assert "minutes" not in known(run, 1)
    for facts, said in (
        ({"colour": "red"}, "unknown fact of a movie"),
        ({"title": " "}, "give the title"),
        ({"year": 99}, "year 99 is impossible"),
        ({"minutes": "long"}, "is not a number"),
        ({"plot": "Short"}, "unknown fact of a movie"),
    ):
        with pytest.raises(RequestError, match=said):
            change_movies(run, {1: facts})


def test_ids_and_columns_are_those_that_the_run_was_trained_with(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    rows = (folder / "ratings.csv").read_text().splitlines()
    cells = [row.split(",") for row in rows[1:]]
    lines = [f"{user},m{movie},{rating},{when}" for user, movie, rating, when in cells]
    (data / "ratings.csv").write_text("\n".join([rows[0], *lines]) + "\n")
    movies = [f"m{movie},Film {movie},sort {movie % 3},Drama" for movie in range(1, MOVIES + 1)]
    (data / "movies.csv").write_text("movie_id,film,category,genres\n" + "\n".join(movies) + "\n")
    source = DataSource(folder=data, columns={"title": "film"})
    run = tmp_path / "run"
    train(source, tiny_settings(["bayesian"]), run)
    changed(run, tmp_path, "movie_id,film,category\nm2,Mine,other\n", monkeypatch)
    after = known(run, "m2")
    assert (after["title"], after["category"], after["genres"]) == ("Mine", "other", ("Drama",))
    train(source, tiny_settings(["bayesian"]), run)
    assert known(run, "m2") == after


def small(data: Path, folder: Path, rename: Callable[[str], str]) -> Path:
    """A data folder with other ids of movies."""
    data.mkdir()
    events = [row.split(",") for row in (folder / "ratings.csv").read_text().splitlines()]
    rows = [",".join([user, rename(movie), *rest]) for user, movie, *rest in events[1:]]
    (data / "ratings.csv").write_text("\n".join([",".join(events[0]), *rows]) + "\n")
    movies = [row.split(",", 1) for row in catalogue().splitlines()[1:]]
    listed = [HEADER, *(f"{rename(movie)},{rest}" for movie, rest in movies)]
    (data / "movies.csv").write_text("\n".join(listed) + "\n")
    return data


@pytest.mark.parametrize("other", ["tt{}", "7{}"])
def test_a_kept_version_with_other_ids_is_left_alone(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    run, settings = tmp_path / "run", tiny_settings(["bayesian"])
    short = small(tmp_path / "short", folder, other.format)
    train(read(source_of(short)), settings, run, source="small")
    before = {movie: known(run, movie) for movie in open_run(run).catalogue.vocabulary.ids.tolist()}
    longer = small(tmp_path / "long", folder, "tt{}00000".format)
    train(read(source_of(longer)), settings, run, source="small")
    changed(run, tmp_path, "movie_id,title\ntt100000,Mine\n", monkeypatch)
    assert known(run, "tt100000")["title"] == "Mine"
    rec(monkeypatch, "runs", "rollback", "--run", str(run))
    assert {movie: known(run, movie) for movie in before} == before


def test_the_last_change_counts_when_ids_become_texts(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, settings = tmp_path / "run", tiny_settings(["bayesian"])
    train(read(source_of(folder)), settings, run, source="small")
    changed(run, tmp_path, "movie_id,title\n1,Mine\n", monkeypatch)
    texts = small(tmp_path / "texts", folder, lambda movie: "m30" if movie == "30" else movie)
    for title in ("Yours", "Ours"):
        train(read(source_of(texts)), settings, run, source="small")
        changed(run, tmp_path, f"movie_id,title\n1,{title}\n", monkeypatch)
    train(read(source_of(texts)), settings, run, source="small")
    assert known(run, "1")["title"] == "Ours"
    assert [(each.movie_id, each.was, each.now) for each in changes_of(current(run))] == [
        ("1", "Story 1", "Ours")
    ]


def test_facts_from_python_are_what_a_run_says_of_them(run: Path) -> None:
    assert change_movies(run, {1: {"tags": ["odd", "odd"], "until": "2031", "country": ""}}) == 1
    assert known(run, 1)["tags"] == ("odd",)
    assert known(run, 1)["until"] == "2031-01-01"
    assert "country" not in known(run, 1)
    again: dict[int | str, Facts] = {1: {"tags": ("odd",), "until": "2031-01-01", "country": None}}
    assert change_movies(run, again) == 0


def test_exports_carry_changes_and_the_run_knows_the_latest(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed(run, tmp_path, "movie_id,title\n1,Mine\n", monkeypatch)
    source = tmp_path / "exported"
    source.mkdir()
    shutil.copy(current(run) / CHANGED, source / CHANGED)
    (source / "movies.csv").write_text(catalogue())
    write_events(source / "ratings.csv")
    train(source, tiny_settings(["bayesian"]), tmp_path / "fresh")
    assert known(tmp_path / "fresh", 1)["title"] == "Mine"
    changed(tmp_path / "fresh", tmp_path, "movie_id,title\n1,Story 1\n2,Yours\n", monkeypatch)
    train(source, tiny_settings(["bayesian"]), tmp_path / "fresh")
    assert known(tmp_path / "fresh", 1)["title"] == "Story 1"
    assert known(tmp_path / "fresh", 2)["title"] == "Yours"
