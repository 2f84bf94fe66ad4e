import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from retrieval.cli.app import app


def check(folder: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["data", "check", str(folder), *options], catch_exceptions=False)


@pytest.fixture
def milliseconds(tmp_path: Path) -> Path:
    ratings = "user_id,movie_id,rating,timestamp\n1,1,0,1455105600000\n1,2,1,1455105601000\n"
    (tmp_path / "ratings.csv").write_text(ratings, encoding="utf-8")
    (tmp_path / "movies.csv").write_text("movie_id,title\n1,A\n2,B\n", encoding="utf-8")
    return tmp_path


def test_check_says_what_was_taken_for_what_on_stderr(milliseconds: Path) -> None:
    told = check(milliseconds)
    assert told.exit_code == 0
    assert "timestamps are milliseconds" in told.stderr
    assert "milliseconds:" not in told.stdout
    assert "0 to 1 by 1" in told.stdout


def test_check_gives_the_notes_to_programs(milliseconds: Path) -> None:
    told = json.loads(check(milliseconds, "--json").stdout)
    assert told["scale"] == "0 to 1 by 1"
    assert told["ratings"] == 2
    [note] = told["notes"]
    assert "milliseconds" in note
