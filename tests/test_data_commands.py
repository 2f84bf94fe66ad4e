import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from retrieval.cli.app import assembled, main
from retrieval.progress import Progress


def check(folder: Path, *options: str) -> Result:
    return CliRunner().invoke(
        assembled(), ["data", "check", str(folder), *options], catch_exceptions=False
    )


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
    assert (told["ratings"], told["users_with_ratings"], told["movies_with_ratings"]) == (2, 1, 2)
    assert told["data"] == str(milliseconds)
    [note] = told["notes"]
    assert "milliseconds" in note


def test_an_unknown_data_set_is_answered_with_the_nearest_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["rec", "data", "fetch", "ml-lates-small", "--to", "x"])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main()
    assert "did you mean ml-latest-small?" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("quiet", [True, False])
def test_fetching_shows_how_far_it_is_unless_it_is_to_be_quiet(
    tmp_path: Path, *, quiet: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetched(name: str, target: Path, *, source: str | None, progress: Progress) -> Path:
        progress.stage(f"downloading {name} from {source}", 10)
        return target

    monkeypatch.setattr("retrieval.data.fetch.fetch", fetched)
    words = ["data", "fetch", "ml-1m", "--to", str(tmp_path), "--from", "there"]
    done = CliRunner().invoke(assembled(), [*words, *["--quiet"] * quiet], catch_exceptions=False)
    assert done.stdout == f"{tmp_path / 'ml-1m'}\n"
    assert ("downloading ml-1m from there, 0%" in done.stderr) == (not quiet)


def test_the_demo_says_what_it_found_and_prints_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REC_DATA", str(tmp_path))
    done = CliRunner().invoke(assembled(), ["data", "demo"], catch_exceptions=False)
    assert done.stdout == f"{tmp_path}\n"
    assert done.stderr == f"data: {tmp_path}, as REC_DATA says\n"
