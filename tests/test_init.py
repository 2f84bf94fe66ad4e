"""`rec init` writes what it found, and training, checks and evaluation take it."""

import json
import tomllib
from pathlib import Path

import pytest
from test_source import half_stars, json_lines, plays, same
from typer.testing import CliRunner, Result

from retrieval.cli.app import assembled
from retrieval.cli.source import chosen_source
from retrieval.data.layouts import read_folder
from retrieval.data.section import read_section
from retrieval.data.source import DataSource, read
from retrieval.errors import RecError, RequestError
from retrieval.options import Repeats
from retrieval.pipeline.settings import read_config_file


def rec(*words: object) -> Result:
    return CliRunner().invoke(assembled(), [*map(str, words)], catch_exceptions=False)


def section(path: Path) -> DataSource:
    source = read_section(path)
    assert source is not None
    return source


@pytest.mark.parametrize("shape", [plays, half_stars, json_lines])
def test_what_is_written_reads_as_the_folder_does(tmp_path: Path, shape: object) -> None:
    assert callable(shape)
    shape(tmp_path)
    out = tmp_path / "settings" / "rec.toml"
    done = rec("init", tmp_path, "-o", out)
    assert done.stdout
    same(read(section(out)), read_folder(tmp_path))


def test_files_are_named_from_the_settings_and_each_line_is_explained(tmp_path: Path) -> None:
    plays(tmp_path)
    out = tmp_path / "rec.toml"
    rec("init", *(tmp_path / f"{name}.csv" for name in ("viewers", "plays", "titles")), "-o", out)
    text = out.read_text()
    found = tomllib.loads(text)["data"]
    assert {name: found[name] for name in ("events", "movies", "users", "repeats")} == {
        "events": "plays.csv",
        "movies": "titles.csv",
        "users": "viewers.csv",
        "repeats": "all",
    }
    assert found["columns"]["events"] == {
        "user_id": "viewer",
        "movie_id": "video",
        "rating": "-",
        "timestamp": "started_at",
    }
    assert found["attributes"]["movies"]["language"] == "-"
    assert 'language = "-"  # it is en in every row' in text
    assert all(len(line) <= 100 for line in text.split("\n"))


def test_the_tables_say_what_was_taken_for_what(tmp_path: Path) -> None:
    plays(tmp_path)
    done = rec("init", tmp_path, "-o", tmp_path / "rec.toml")
    lines = [line.split() for line in done.stdout.split("\n")]
    assert ["viewer", "user_id"] in lines
    assert ["minutes", "number"] in lines
    assert ["language", "left", "out", "it", "is", "en", "in", "every", "row"] in lines
    assert all(len(line) <= 80 or str(tmp_path) in line for line in done.stdout.split("\n"))
    assert "rec train --config" in done.stderr


def test_programs_are_told_the_same(tmp_path: Path) -> None:
    plays(tmp_path)
    done = json.loads(rec("init", tmp_path, "-o", tmp_path / "rec.toml", "--json").stdout)
    assert done["tables"]["events"] == str(tmp_path / "plays.csv")
    fates = {(each["table"], each["column"]): each["meaning"] for each in done["columns"]}
    assert fates["events", "viewer"] == "user_id"
    assert fates["events", "session"] is None


def test_a_file_that_is_there_is_only_written_over_if_one_says_so(tmp_path: Path) -> None:
    plays(tmp_path)
    out = tmp_path / "rec.toml"
    out.write_text("mine")
    with pytest.raises(RequestError, match="give --force"):
        rec("init", tmp_path, "-o", out)
    assert out.read_text() == "mine"
    rec("init", tmp_path, "-o", out, "--force", "--repeats", "first")
    assert section(out).repeats is Repeats.FIRST


def test_nothing_is_written_where_the_tables_are_none(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    with pytest.raises(RecError):
        rec("init", tmp_path / "a.csv", "-o", tmp_path / "rec.toml")
    assert not (tmp_path / "rec.toml").exists()


def test_names_of_columns_may_be_anything(tmp_path: Path) -> None:
    header = 'user_id,movie_id,"a ""b"" = [x] # é"\n'
    (tmp_path / "e.csv").write_text(header + "1,1,x\n2,2,y\n", encoding="utf-8")
    movies = 'movie_id,title,"a ""b"" = [x] # é"\n1,A,x\n2,B,y\n'
    (tmp_path / "m.csv").write_text(movies, encoding="utf-8")
    rec("init", tmp_path / "e.csv", tmp_path / "m.csv", "-o", tmp_path / "rec.toml")
    assert section(tmp_path / "rec.toml").attributes == {'movies.a "b" = [x] # é': "category"}


def test_a_folder_of_movielens_is_written_as_a_folder(tmp_path: Path) -> None:
    (tmp_path / "ratings.dat").write_text("1::1::5::978300760\n2::1::4::978300761\n")
    (tmp_path / "movies.dat").write_text("1::A (1990)::X\n")
    rec("init", tmp_path, "-o", tmp_path / "rec.toml")
    assert len(read(section(tmp_path / "rec.toml")).ratings) == 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("data = 7", "write a section"),
        ("[data]\nevent = 'x'", "did you mean events"),
        ("[data]\nmovies = 'x'", "needs either events or folder"),
        ("[data]\nevents = 'x'\nrepeats = 'frist'", "did you mean first"),
        ("[data]\nevents = 'x'\nyears = 'all'", "there are: any|any"),
        ("[data]\nevents = 7", "write a text in quotes"),
        ("[data]\nevents = 'x'\ncolumns = 7", "write a table"),
        ("[data]\nevents = 'x'\ncolumns.user_id = 7", "write a text in quotes"),
        ("[data", "cannot be read as TOML"),
    ],
)
def test_what_settings_cannot_say_is_told(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "rec.toml"
    path.write_text(text)
    with pytest.raises(RequestError, match=told):
        read_section(path)


def test_the_section_of_data_is_no_setting_of_a_pair(tmp_path: Path) -> None:
    path = tmp_path / "rec.toml"
    path.write_text("preset = 'quick'\n[data]\nevents = 'x'\n[sequence]\nepochs = 3\n")
    assert read_config_file(path) == {"preset": "quick", "sequence.epochs": 3}


def test_options_win_over_the_file_and_that_over_a_guess(tmp_path: Path) -> None:
    plays(tmp_path)
    config = tmp_path / "rec.toml"
    rec("init", tmp_path, "-o", config)
    source = chosen_source(None, config, "timestamp=-, user_id=session", Repeats.LAST)
    assert source is not None
    assert source.columns["user_id"] == "session"
    assert "events.user_id" not in source.columns
    assert source.columns["movies.title"] == "name"
    assert source.repeats is Repeats.LAST
    other = chosen_source(tmp_path, config)
    assert other == DataSource(folder=tmp_path)
    assert chosen_source(None, None) is None
    with pytest.raises(RequestError, match="malformed column 'viewer'"):
        chosen_source(tmp_path, None, "viewer")


def test_check_takes_a_file_a_folder_or_settings(tmp_path: Path) -> None:
    plays(tmp_path)
    config = tmp_path / "rec.toml"
    rec("init", tmp_path, "-o", config)
    by_config, by_folder = (
        json.loads(rec("data", "check", *words, "--json").stdout)
        for words in (("--config", config), (tmp_path,))
    )
    assert by_config["ratings"] == by_folder["ratings"] == 97
    assert by_config["rating_values"] == {"1": 97}
    assert (by_config["first"], by_config["days"]) == ("2016-02-10 12:00", 1)
    words = ("--columns", "rating=-,timestamp=-", "--repeats", "last")
    told = json.loads(rec("data", "check", "--data", tmp_path, *words, "--json").stdout)
    assert (told["ratings"], told["repeated"], told["days"]) == (96, 1, None)


def test_check_counts_events_of_movies_that_the_table_lacks(tmp_path: Path) -> None:
    half_stars(tmp_path)
    path = tmp_path / "films.csv"
    path.write_text("\n".join(path.read_text().split("\n")[:-4]) + "\n")
    told = json.loads(rec("data", "check", tmp_path, "--json").stdout)
    assert (told["unknown_movies"], told["unknown_movie_events"]) == (3, 24)


def test_check_without_data_is_told_what_to_give() -> None:
    with pytest.raises(RequestError, match="which data"):
        rec("data", "check")
    with pytest.raises(RequestError, match="named twice"):
        rec("data", "check", "x", "--data", "y")
