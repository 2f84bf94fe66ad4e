import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from retrieval.choices import RankBy
from retrieval.cli import main

README = Path(__file__).parent.parent / "README.md"


def rec(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["rec", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 0


def failed(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["rec", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 1


def test_lists_and_ratings_agree_in_json(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rec(monkeypatch, "topk", "--run", str(run), "--user", "42", "--k", "3", "--json")
    rows = json.loads(capsys.readouterr().out)
    assert [row["rank"] for row in rows] == [1, 2, 3]
    movie = str(rows[1]["movie_id"])
    rec(monkeypatch, "rate", "--run", str(run), "--user", "42", "--movie", movie, "--json")
    assert json.loads(capsys.readouterr().out)["rating"] == rows[1]["rating"]


def test_a_table_shows_rank_id_title_year_genres_and_rating(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rec(monkeypatch, "topk", "--run", str(run), "--user", "42", "--k", "3")
    out = capsys.readouterr().out
    for name in ("rank", "id", "title", "year", "genres", "rating"):
        assert name in out
    assert "What user 42 should watch" in out


def test_batches_of_lists_and_pairs_agree(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "users.csv").write_text("user_id\n3\n42\n888888\n")
    (tmp_path / "histories.csv").write_text(
        "user_id,movie_id,rating,timestamp\n888888,5,4,10\n888888,6,2,11\n"
    )
    given = ["--run", str(run), "--histories", str(tmp_path / "histories.csv")]
    lists, ratings = tmp_path / "lists.csv", tmp_path / "ratings.csv"
    rec(
        monkeypatch, "topk", *given, "--users", str(tmp_path / "users.csv"), "--k", "20",
        "--out", str(lists),
    )  # fmt: skip
    header, *rows = [line.split(",") for line in lists.read_text().splitlines()]
    assert header == ["user_id", "rank", "movie_id", "score", "rating"]
    assert [row[1] for row in rows] == [str(rank) for rank in range(1, 21)] * 3
    pairs = "".join(f"{row[0]},{row[2]}\n" for row in rows)
    (tmp_path / "pairs.csv").write_text("user_id,movie_id\n" + pairs)
    rec(monkeypatch, "rate", *given, "--pairs", str(tmp_path / "pairs.csv"), "--out", str(ratings))
    header, *answered = [line.split(",") for line in ratings.read_text().splitlines()]
    assert header == ["user_id", "movie_id", "rating", "deviation"]
    assert [row[:3] for row in answered] == [[row[0], row[2], row[4]] for row in rows]
    assert all(0 < float(row[3]) < 2.5 for row in answered)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["topk", "--user", "99999"], "unknown user 99999: ids run from 1 to 150"),
        (["topk", "--user", "1", "--k", "0"], "k is 0"),
        (["topk", "--user", "1", "--k", "1000"], "k is 1000; it must be from 1 to 200"),
        (["topk"], "for whom?"),
        (["topk", "--history", "1:x"], "malformed history at '1:x'"),
        (["topk", "--history", "+1:5"], "adds to a stored history"),
        (["topk", "--user", "1", "--at", "noon"], "malformed time 'noon'"),
        (["topk", "--user", "1", "--genre", "Horor"], "unknown genre 'Horor'; did you mean Horror"),
        (["topk", "--user", "1", "--year", "90s"], "malformed years '90s'"),
        (["topk", "--user", "1", "--allow", "nothing.csv"], "nothing.csv cannot be read"),
        (["topk", "--user", "1", "--diversity", "2"], "diversity is 2; it must be from 0 to 1"),
        (["topk", "--user", "1", "--out", "x.csv"], "--out x.csv has no effect"),
        (["rate", "--user", "1"], "which movie?"),
        (["rate", "--user", "1", "--movie", "99999"], "unknown movie 99999"),
        (["rate", "--pairs", "nothing.csv"], "where to?"),
    ],
)
def test_what_a_user_can_mend_is_one_line_and_exit_code_1(
    run: Path,
    words: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    failed(monkeypatch, *words, "--run", str(run))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert captured.err.count("\n") == 1


def test_lists_are_filtered_ranked_and_made_diverse_from_the_command_line(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def listed(*words: str) -> list[dict[str, Any]]:
        rec(monkeypatch, "topk", "--run", str(run), "--user", "9", "--k", "12", "--json", *words)
        rows: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
        return rows

    every = listed()
    genre = every[0]["genres"][0]
    assert all(genre in row["genres"] for row in listed("--genre", genre.lower()))
    assert {row["year"] for row in listed("--year", "1990-1999")} <= set(range(1990, 2000))
    first = [row["movie_id"] for row in every[:3]]
    (tmp_path / "ids.csv").write_text("movie_id\n" + "\n".join(map(str, first)) + "\n")
    assert [row["movie_id"] for row in listed("--allow", str(tmp_path / "ids.csv"))] == first
    denied = listed("--deny", str(tmp_path / "ids.csv"))
    assert [row["movie_id"] for row in denied[:9]] == [row["movie_id"] for row in every[3:]]
    assert listed("--rank-by", "watch") != listed("--rank-by", "rating")
    diverse = [row["movie_id"] for row in listed("--diversity", "0.9")]
    assert diverse != [row["movie_id"] for row in every]
    assert diverse[0] == first[0]


def test_a_rating_comes_with_its_doubt(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["rate", "--run", str(run), "--user", "42", "--movie", "5"]
    rec(monkeypatch, *asked)
    found = re.search(r"would rate .* \[5\] (\d\.\d\d) ± (\d\.\d\d)$", capsys.readouterr().out)
    assert found
    rec(monkeypatch, *asked, "--json")
    answer = json.loads(capsys.readouterr().out)
    assert (f"{answer['rating']:.2f}", f"{answer['deviation']:.2f}") == found.groups()


def test_movies_are_added_by_a_file(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "movies.dat").write_text("5::Known (1990)::Drama\n901::Unheard Of (2009)::Drama\n")
    rec(monkeypatch, "add-movies", str(tmp_path / "movies.dat"), "--run", str(tmp_path / "run"))
    assert "added 1 of 2 movies" in capsys.readouterr().err
    rec(monkeypatch, "rate", "--run", str(tmp_path / "run"), "--user", "4", "--movie", "unheard of")
    assert "Unheard Of (2009) [901]" in capsys.readouterr().out


def test_unknown_towers_are_named(
    world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failed(monkeypatch, "train", "--data", str(world), "--towers", "neural,magic")
    assert "unknown towers 'magic'; there are: neural, bayesian" in capsys.readouterr().err


def test_no_run_yet_says_how_to_make_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    failed(monkeypatch, "topk", "--user", "1")
    assert "make one with rec train --data FOLDER" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["topk", "--user", "42"], "rank"),
        (["rate", "--user", "42", "--movie", "5"], "rating"),
        (["similar", "--movie", "5"], "cosine"),
        (["explain", "--user", "42", "--movie", "5"], "effect"),
    ],
)
def test_questions_are_answered_without_torch_or_pandas(
    run: Path, command: list[str], said: str
) -> None:
    program = (
        "import sys; from retrieval.cli import main\n"
        f"sys.argv = {['rec', *command, '--run', str(run), '--json']!r}\n"
        "heavy = {'torch', 'pandas', 'sklearn', 'numba'}\n"
        "try: main()\n"
        "finally: sys.stderr.write(' '.join(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert f'"{said}":' in json.dumps(json.loads(done.stdout))
    assert done.stderr == ""


def test_other_commands_answer(
    run: Path, world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rec(monkeypatch, "info", "--run", str(run), "--json")
    assert json.loads(capsys.readouterr().out)["movies"] == 200
    rec(monkeypatch, "similar", "--run", str(run), "--movie", "5", "--k", "4", "--json")
    assert len(json.loads(capsys.readouterr().out)) == 4
    rec(monkeypatch, "movies", "the", "--run", str(run), "--limit", "2", "--json")
    assert len(json.loads(capsys.readouterr().out)) == 2
    rec(monkeypatch, "data", "check", str(world), "--json")
    assert json.loads(capsys.readouterr().out)["ratings"] == 6000


@pytest.mark.parametrize("protocol", ["rating", "leave-one", "new-users", "new-movies", "time"])
def test_every_protocol_is_scored_beside_baselines(
    world: Path,
    protocol: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    towers, ours = "neural,bayesian", {"two towers"}
    if protocol == "leave-one":
        towers = "neural,bayesian,sequence"
        ours = {
            f"two towers by {rank_by}, {told} the time"
            for rank_by in RankBy
            for told in ("told", "not told")
        }
    rec(
        monkeypatch, "evaluate", "--data", str(world), "--protocol", protocol, "--preset", "quick",
        "--towers", towers, "--json",
    )  # fmt: skip
    results = json.loads(capsys.readouterr().out)
    systems = {result["system"] for result in results}
    assert ours | {"movie mean", "user mean + movie bias"} <= systems
    metric = "hr@10" if protocol == "leave-one" else "rmse"
    scores = {row["system"]: row[metric]["value"] for row in results}
    if protocol == "rating":
        assert scores["two towers"] < scores["movie mean"] < scores["global mean"]


def test_the_commands_of_the_readme_exist_with_their_options() -> None:
    commands = re.findall(r"^(?:\$ )?rec (.+)$", README.read_text(), flags=re.MULTILINE)
    assert commands
    for command in commands:
        words = re.findall(r"^[a-z-]+(?: (?:check|fetch|synth|demo)\b)?", command)[0].split()
        done = subprocess.run(
            [sys.executable, "-m", "retrieval", *words, "--help"],
            capture_output=True,
            text=True,
            check=False,
            env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"},
        )
        assert done.returncode == 0, command
        for option in re.findall(r"--[a-z-]+", command):
            assert option in done.stdout, command


def test_an_index_is_built_of_the_kind_that_is_asked_for(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    rec(monkeypatch, "build-index", "--run", str(folder))
    assert "kind exact" in capsys.readouterr().err
    rec(monkeypatch, "build-index", "--run", str(folder), "--kind", "ivf")
    said = capsys.readouterr()
    assert "kind ivf" in said.err
    assert "recall" in said.out
    rec(monkeypatch, "info", "--run", str(folder), "--json")
    assert json.loads(capsys.readouterr().out)["index"].startswith("ivf, 200 movies")
    rec(
        monkeypatch, "build-index", "--run", str(folder), "--kind", "hnsw",
        "--target-recall", "0.9", "--json",
    )  # fmt: skip
    built = json.loads(capsys.readouterr().out)
    assert built["kind"] == "hnsw"
    assert built["trials"][0]["recall"] >= 0.9
    failed(monkeypatch, "build-index", "--run", str(folder), "--kind", "flat")
    assert "unknown kind 'flat'; there are: auto, exact, ivf" in capsys.readouterr().err


def test_answers_are_timed(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["bench", "--run", str(run), "--events", "20", "--sizes", "300,600", "--kinds", "ivf"]
    rec(monkeypatch, *words)
    table = capsys.readouterr().out
    assert re.search(r"sequence tower +│ +\d", table)
    assert "the lists of all 150 users" in table
    rec(monkeypatch, *words, "--json")
    said = json.loads(capsys.readouterr().out)
    assert {row["movies"] for row in said["catalogues"]} == {300, 600}
    for asked in ("stored", "told"):
        assert said["one user, ms"][asked]["p99"] >= said["one user, ms"][asked]["p50"] > 0
    failed(monkeypatch, "bench", "--run", str(run), "--sizes", "many")
    assert "malformed sizes 'many'; write 4000,100000" in capsys.readouterr().err
