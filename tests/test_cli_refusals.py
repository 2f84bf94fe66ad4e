"""What a command cannot do is said before the work, and nothing is lost."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from small_worlds import everybody_watches, small_world, tiny_settings

from retrieval.cli import retrain as retrain_command
from retrieval.cli.answers import write_answers
from retrieval.cli.app import main
from retrieval.data import columns
from retrieval.data.frames import MovieData
from retrieval.data.layouts import read_movies
from retrieval.data.report import Report
from retrieval.data.section import read_section, written
from retrieval.data.source import DataSource, understood
from retrieval.errors import DataError, RunError
from retrieval.evaluation.latency import one_by_one
from retrieval.pipeline.hiding import hide_movies, show_movies
from retrieval.pipeline.settings import Settings
from retrieval.pipeline.training import train
from retrieval.run.folder import open_run
from retrieval.run.versions import current, kept
from retrieval.serving.recommender import Recommender


def said(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *words: str,
    code: int = 1,
) -> str:
    """Run a command; return what it says on standard error."""
    monkeypatch.setattr(sys, "argv", ["rec", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == code
    return " ".join(capsys.readouterr().err.split())


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a few movies, and a version that it keeps."""
    folder = tmp_path_factory.mktemp("tiny") / "run"
    for _ in range(2):
        train(everybody_watches(20, 12, 8), tiny_settings(["bayesian"]), folder)
    return folder


@pytest.fixture
def own(tiny: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(tiny, tmp_path / "own"))


def test_options_of_the_list_of_runs_are_not_those_of_what_prunes_them(
    own: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(own, tmp_path / "runs" / "one")
    told = said(monkeypatch, capsys, "runs", "--in", "elsewhere", "prune", "--keep", "1", "--yes")
    assert "rec runs prune --in" in told
    told = said(monkeypatch, capsys, "runs", "prune", "--in", "elsewhere", "--keep", "1", "--yes")
    assert "there is no folder elsewhere" in told
    assert open_run(tmp_path / "runs" / "one").users.ids.size


def test_an_evaluation_takes_no_place_of_a_run(
    own: Path,
    world: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before, beside = current(own), kept(own)
    told = said(monkeypatch, capsys, "evaluate", "--data", str(world), "--run", str(own))
    assert f"--trained {own}" in told
    assert (current(own), kept(own)) == (before, beside)


@pytest.mark.parametrize(
    "option", [("--preset", "quick"), ("--towers", "bayesian"), ("--seed", "7")]
)
def test_a_run_is_asked_as_it_is(
    own: Path,
    world: Path,
    option: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["evaluate", "--data", str(world), "--protocol", "temporal", "--trained", str(own)]
    assert f"{option[0]} has no effect" in said(monkeypatch, capsys, *words, *option)


def test_a_run_of_other_ids_is_not_asked(
    own: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rng, rows = np.random.default_rng(0), ["user_id,movie_id,rating,timestamp"]
    for moment in range(300):
        user, movie = rng.integers(20), rng.integers(12)
        rows.append(f"u-{user},f-{movie},{1 + moment % 5},{1_000_000_000 + moment * 9000}")
    events = tmp_path / "events.csv"
    events.write_text("\n".join(rows) + "\n")
    words = ["evaluate", "--data", str(events), "--protocol", "temporal", "--target", "first"]
    assert "ids that are whole numbers" in said(monkeypatch, capsys, *words, "--trained", str(own))


def test_without_times_nothing_is_asked_about_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = everybody_watches(20, 30, 20)
    events = tmp_path / "events.csv"
    data.ratings[[columns.USER_ID, columns.MOVIE_ID, columns.RATING]].to_csv(events, index=False)
    words = ["evaluate", "--data", str(events), "--protocol", "temporal", "--target", "first"]
    assert "these events have no times" in said(monkeypatch, capsys, *words)
    run = tmp_path / "run"
    train(events, tiny_settings(["bayesian"]), run)
    for at in ("now", "2000-01-01"):
        told = said(monkeypatch, capsys, "topk", "--run", str(run), "--user", "1", "--at", at)
        assert "have no times" in told
    said(monkeypatch, capsys, "topk", "--run", str(run), "--user", "1", "--at", "9", code=0)


@pytest.mark.parametrize("cut", ["80%", "1", "soon"])
def test_a_cut_that_is_none_is_refused_before_anything_is_read(
    tmp_path: Path, cut: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", "--data", str(tmp_path / "nowhere"), "--protocol", "temporal"]
    told = said(monkeypatch, capsys, *words, "--cut", cut)
    assert f"the cut '{cut}' is no share of all events between 0 and 1" in told


def test_another_preset_trains_the_pairs_that_the_run_has(
    own: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Settings] = []

    def noted(*given: object, **_: object) -> None:
        asked.extend(each for each in given if isinstance(each, Settings))
        raise RunError("that was all")

    monkeypatch.setattr("retrieval.service.retraining.retrain", noted)
    monkeypatch.setattr(retrain_command, "chosen_log", lambda *_: None)
    said(monkeypatch, capsys, "retrain", "--run", str(own), "--preset", "quick")
    assert [settings.pairs for settings in asked] == [("bayesian",)]


def test_ids_that_are_texts_are_written_as_parquet(tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    header = (columns.USER_ID, columns.RANK, columns.MOVIE_ID)
    write_answers(out, header, [("v-1", 1, "f-1"), ("v-2", None, None)])
    table = pq.read_table(out)
    assert table.to_pydict() == {
        "user_id": ["v-1", "v-2"],
        "rank": [1, None],
        "movie_id": ["f-1", None],
    }


def as_texts(data: MovieData, others: int) -> MovieData:
    """Return data in which ids of movies are texts, as one of them can be nothing else."""

    def text(movie: object) -> str:
        return f"m{movie}" if movie == others else str(movie)

    ratings = data.ratings.assign(movie_id=data.ratings[columns.MOVIE_ID].map(text).astype(str))
    movies = data.movies.assign(movie_id=data.movies[columns.MOVIE_ID].map(text).astype(str))
    return replace(data, ratings=ratings, movies=movies)


def test_what_is_hidden_stays_so_where_ids_become_texts_and_numbers_again(tmp_path: Path) -> None:
    data, folder = everybody_watches(20, 12, 8), tmp_path / "run"

    def hidden() -> list[str]:
        run = open_run(folder)
        return [str(movie) for movie in run.catalogue.vocabulary.ids[run.hidden].tolist()]

    train(data, tiny_settings(["bayesian"]), folder)
    hide_movies(folder, [5, 7])
    train(as_texts(data, others=12), tiny_settings(["bayesian"]), folder)
    assert hidden() == ["5", "7"]
    assert hide_movies(folder, ["5"]) == 0
    assert show_movies(folder, ["7"]) == 1
    train(data, tiny_settings(["bayesian"]), folder)
    assert hidden() == ["5"]


def test_people_are_in_what_is_written_of_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    data = small_world([(user, movie) for user in range(1, 9) for movie in range(1, 6)])
    data.ratings.to_csv(folder / "ratings.csv", index=False)
    data.movies[[columns.MOVIE_ID, columns.TITLE, columns.GENRES]].to_csv(
        folder / "movies.csv", index=False
    )
    people = pd.DataFrame({"movie_id": [1, 2], "directors": ["Ann", "Bo"], "actors": ["", "Cy"]})
    people.to_csv(folder / "people.csv", index=False)
    link = tmp_path / "deep" / "link"
    link.parent.mkdir()
    link.symlink_to(folder)
    for out in (folder / "rec.toml", link / "rec.toml", tmp_path / "rec.toml"):
        found = understood(DataSource(folder=folder))
        out.write_text(written(found.source, found.fates, out))
        source = read_section(out)
        assert source is not None
        again = understood(source).data.movies
        pd.testing.assert_frame_equal(again, found.data.movies)
        assert again["directors"].tolist()[:2] == ["Ann", "Bo"]
    (folder / "movies.csv").rename(folder / "films.csv")
    found = understood(DataSource(folder=folder))
    assert found.data.movies["directors"].tolist()[:2] == ["Ann", "Bo"]
    assert not any("people.csv is left out" in note for note in found.data.notes)


def test_columns_of_new_movies_that_nobody_knows_are_named(tmp_path: Path) -> None:
    path, report = tmp_path / "new.csv", Report()
    path.write_text("movie_id,title,yaer,prize\n900,A Brand-New Film,2001,3\n")
    read_movies(path, report)
    assert [*report.notes] == [
        "new.csv: columns that the run does not know are left out: yaer, prize"
    ]


def test_an_empty_file_is_said_to_be_empty(tmp_path: Path) -> None:
    path = tmp_path / "zero.csv"
    path.write_text("")
    with pytest.raises(DataError, match="the file is empty") as raised:
        read_movies(path)
    assert len(raised.value.problems) == 1


def test_a_version_that_cannot_answer_is_not_said_to(
    own: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (current(own) / "metrics.json").unlink()
    monkeypatch.setattr(sys, "argv", ["rec", "runs", "versions", "--run", str(own)])
    with pytest.raises(SystemExit):
        main()
    shown = capsys.readouterr().out
    assert "answers, damaged" in " ".join(shown.split())


def test_what_is_wrong_with_an_index_is_said_once(own: Path) -> None:
    (current(own) / "index" / "index.json").write_text("{}")
    with pytest.raises(RunError, match=r"build the index again with rec build-index$"):
        Recommender.load(own)


def test_a_damaged_list_of_versions_is_found_before_the_training(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (own / "KEPT").write_text("[")
    monkeypatch.setattr("retrieval.pipeline.training._fit", None)
    with pytest.raises(RunError, match="does not say which versions are kept"):
        train(everybody_watches(20, 12, 8), tiny_settings(["bayesian"]), own)


def test_settings_are_not_written_over_a_folder(
    tmp_path: Path,
    world: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = said(monkeypatch, capsys, "init", str(world), "-o", str(tmp_path), "--force")
    assert "is a folder; name a file in it with -o" in told


def test_a_run_of_a_few_movies_is_measured(tiny: Path) -> None:
    found = one_by_one(Recommender.load(tiny), 10)
    assert found.users
    assert found.bare > 0
