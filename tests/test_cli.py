import json
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from small_worlds import TINY
from typer.testing import CliRunner

from retrieval.cli.app import assembled, main
from retrieval.data.layouts import read_folder
from retrieval.evaluation.metrics import Metric
from retrieval.evaluation.result import Result
from retrieval.options import RankBy

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
    rows = json.loads(capsys.readouterr().out)["movies"]
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
        monkeypatch, "batch", "topk", *given, "--users", str(tmp_path / "users.csv"),
        "--k", "20", "--out", str(lists),
    )  # fmt: skip
    header, *rows = [line.split(",") for line in lists.read_text().splitlines()]
    assert header == ["user_id", "rank", "movie_id", "score", "rating"]
    assert [row[1] for row in rows] == [str(rank) for rank in range(1, 21)] * 3
    pairs = "".join(f"{row[0]},{row[2]}\n" for row in rows)
    (tmp_path / "pairs.csv").write_text("user_id,movie_id\n" + pairs)
    pairs_of = ["--pairs", str(tmp_path / "pairs.csv"), "--out", str(ratings)]
    rec(monkeypatch, "batch", "rate", *given, *pairs_of)
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
        (
            ["batch", "rate", "--pairs", "nothing.csv", "--out", "-"],
            "nothing.csv cannot be read: No such",
        ),
        (["topk", "--users", "x.csv", "--out", "-", "--json"], "--json True has no effect"),
        (["topk", "--user", "1", "--unknown", "new"], "--unknown new has no effect"),
        (["topk", "--user", "9" * 20], "is no id; ids are whole numbers"),
        (["topk", "--user", "1", "--k", "1" + "0" * 30], "it must be from 1 to 200"),
        (["topk", "--user", "1", "--at", "2500000"], "time 2500000 would be the year 1970"),
        (["topk", "--user", "1", "--at", "1985"], "a date from 1990 to 2100"),
        (["topk", "--user", "1", "--age", "nan"], "age 'nan' is no number"),
        (["topk", "--user", "1", "--gender", "[b]\x1b[31m"], "unknown gender '[b]\\x1b[31m'"),
        (["topk", "--user", "1", "--year", "1999-1990"], "end before they begin"),
        (["topk", "--user", "1", "--diversity", "nan"], "diversity is nan"),
        (["topk", "--history", "99999999999999999999:5"], "is no id; ids are whole numbers"),
        (["topk", "--history", "1:1e999"], "rating inf of movie 1 is outside the scale"),
        (["topk", "--history", "1:5\x1b[31m"], r"malformed history at '1:5\x1b[31m'"),
        (["rate", "--user", "1", "--movie", "9" * 25], "unknown movie 9999999999999999999999999"),
        (["rate", "--user", "1", "--movie", "[/b]\x1b[31m"], r"[/b]\x1b[31m"),
        (["similar", "--movie", "5", "--k", "0"], "k is 0"),
        (["explain", "--user", "1", "--movie", "5", "--at", "-1"], "time -1 would be"),
        (["bench", "--target-recall", "2"], "target recall is 2; it must be above 0"),
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


def test_what_is_explained_is_the_number_that_is_shown(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--run", str(run), "--user", "42", "--movie", "5"]
    rec(monkeypatch, "rate", *asked)
    rated = re.search(r"\[5\] (\d\.\d\d)", capsys.readouterr().out)
    rec(monkeypatch, "explain", *asked, "--rank-by", "rating")
    explained = re.search(r"would rate .*\) (\d\.\d\d)", capsys.readouterr().out)
    assert rated
    assert explained
    assert explained[1] == rated[1]


def test_a_year_is_no_second_and_a_time_before_all_events_is_said(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["topk", "--run", str(run), "--user", "42", "--k", "3", "--json"]
    answers = {}
    for at in ("2030", "2030-01-01", "1893456000", "1893456000000", "1990"):
        rec(monkeypatch, *asked, "--at", at)
        said = capsys.readouterr()
        answers[at] = said.out
        assert ("lies before all events" in said.err) == (at == "1990")
    assert len({answers[at] for at in answers if at != "1990"}) == 1
    assert answers["1990"] != answers["2030"]


def test_answers_say_for_which_of_several_times_they_are(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    users, pairs, out = (tmp_path / name for name in ("users.csv", "pairs.csv", "out.csv"))
    users.write_text("user_id,timestamp\n42,\n42,1000000000\n")
    rec(
        monkeypatch, "batch", "topk", "--run", str(run), "--users", str(users),
        "--k", "2", "--out", str(out),
    )  # fmt: skip
    header, *rows = [line.split(",") for line in out.read_text().splitlines()]
    assert header == ["user_id", "rank", "movie_id", "score", "rating", "timestamp"]
    assert [row[-1] for row in rows] == ["", "", "1000000000", "1000000000"]
    pairs.write_text("user_id,movie_id,timestamp\n42,5,1000000000\n42,5,\n")
    rec(monkeypatch, "batch", "rate", "--run", str(run), "--pairs", str(pairs), "--out", str(out))
    header, *rows = [line.split(",") for line in out.read_text().splitlines()]
    assert header == ["user_id", "movie_id", "rating", "deviation", "timestamp"]
    assert [row[-1] for row in rows] == ["1000000000", ""]
    assert rows[0][2] != rows[1][2]


@pytest.mark.parametrize("unknown", ["error", "skip", "new"])
def test_what_becomes_of_unknown_users_in_a_file_is_a_choice(
    run: Path,
    tmp_path: Path,
    unknown: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "users.csv").write_text("user_id\n42\n99999\n7\n99999\n")
    words = ["batch", "topk", "--run", str(run), "--users", str(tmp_path / "users.csv")]
    words += ["--k", "1", "--out", str(tmp_path / "out.csv"), "--unknown", unknown]
    if unknown == "error":
        failed(monkeypatch, *words)
        assert not (tmp_path / "out.csv").exists()
    else:
        rec(monkeypatch, *words)
        lines = (tmp_path / "out.csv").read_text().splitlines()[1:]
        users = [line.split(",")[0] for line in lines]
        assert users == (["42", "7"] if unknown == "skip" else ["42", "99999", "7", "99999"])
    said = capsys.readouterr().err
    assert said.count("users.csv:3: unknown user: '99999'") == (unknown != "new")


def test_pairs_with_unknown_movies_are_left_out_and_none_give_a_header(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs, out = tmp_path / "pairs.csv", tmp_path / "out.csv"
    words = ["batch", "rate", "--run", str(run), "--pairs", str(pairs), "--out", str(out)]
    for text in ("user_id,movie_id\n", "user_id,movie_id\n99999,5\n42,77777\n"):
        pairs.write_text(text)
        rec(monkeypatch, *words)
        assert out.read_text() == "user_id,movie_id,rating,deviation\n"
    assert "pairs.csv:3: unknown movie: '77777'" in capsys.readouterr().err
    pairs.write_text("user_id,movie_id\n42,77777\n42,5\n")
    rec(monkeypatch, *words)
    assert out.read_text().splitlines()[1].startswith("42,5,")


def test_who_has_nothing_left_is_in_the_output_all_the_same(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "users.csv").write_text("user_id\n777\n7\n")
    (tmp_path / "one.csv").write_text("movie_id\n5\n88888\n")
    (tmp_path / "seen.csv").write_text("user_id,movie_id,rating\n777,5,4\n7,6,4\n")
    filters = ["--run", str(run), "--allow", str(tmp_path / "one.csv")]
    rec(
        monkeypatch, "batch", "topk", *filters, "--users", str(tmp_path / "users.csv"),
        "--histories", str(tmp_path / "seen.csv"), "--out", str(tmp_path / "out.csv"),
    )  # fmt: skip
    header, first, second = (tmp_path / "out.csv").read_text().splitlines()
    assert header.startswith("user_id,rank,movie_id")
    assert first == "777,,,,"
    assert second.startswith("7,1,5,")
    said = capsys.readouterr().err
    assert "nothing is left to list" in said
    assert "for user 777" in said
    assert "of the allowed ids, 1 are no movie's" in said
    rec(monkeypatch, "topk", *filters, "--history", "5:4", "--json")
    captured = capsys.readouterr()
    assert json.loads(captured.out)["movies"] == []
    assert captured.err.count("nothing is left to list") == 1


def test_titles_are_shown_as_they_are(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(run, tmp_path / "run")
    titles = ["[rec] 2", "Crash [/b] Again", ":smile: The Movie", "Bold [b]Move", "1984"]
    rows = "".join(f"{900_001 + place},{title},Drama\n" for place, title in enumerate(titles))
    (tmp_path / "new.csv").write_text("movie_id,title,genres\n" + rows)
    (tmp_path / "ids.csv").write_text("movie_id\n900001\n900002\n900003\n900004\n")
    at = ["--run", str(tmp_path / "run")]
    rec(monkeypatch, "add-movies", str(tmp_path / "new.csv"), *at)
    capsys.readouterr()
    rec(monkeypatch, "topk", "--user", "42", "--allow", str(tmp_path / "ids.csv"), *at)
    table = capsys.readouterr().out
    assert all(title in table for title in titles[:4])
    for title in titles:
        rec(monkeypatch, "movies", title, "--limit", "1", *at)
        assert capsys.readouterr().out.count(title) == 2
        rec(monkeypatch, "similar", "--movie", title, *at)
        assert f"Movies like {title}" in capsys.readouterr().out
        rec(monkeypatch, "rate", "--user", "42", "--movie", title, *at)
        assert f"would rate {title} [" in capsys.readouterr().out
        rec(monkeypatch, "explain", "--user", "42", "--movie", title, *at)
        assert f"Why lists give {title} a score of" in capsys.readouterr().out
    rec(monkeypatch, "movies", "[/b]", "--limit", "1", *at)
    assert "Crash [/b] Again" in capsys.readouterr().out
    rec(monkeypatch, "movies", "(\x1b)", "--json", *at)
    captured = capsys.readouterr()
    assert json.loads(captured.out)["movies"] == []
    assert captured.err == "note: no movie is called anything like '(\\x1b)'\n"
    rec(monkeypatch, "topk", "--user", "42", "--history", "+900001:5", "--k", "205", *at)
    said = capsys.readouterr()
    assert not said.err.startswith("warning")
    assert titles[0] not in said.out
    assert titles[1] in said.out


def test_lists_are_filtered_ranked_and_made_diverse_from_the_command_line(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def listed(*words: str) -> list[dict[str, Any]]:
        rec(monkeypatch, "topk", "--run", str(run), "--user", "9", "--k", "12", "--json", *words)
        rows: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["movies"]
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


def test_a_list_is_as_long_as_usual_or_holds_all_there_are(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["topk", "--run", str(run), "--user", "42", "--include-seen", "--json"]
    rec(monkeypatch, *words)
    assert len(json.loads(capsys.readouterr().out)["movies"]) == 20
    monkeypatch.setattr("retrieval.cli.ask.TOPK", 1000)  # more than the catalogue has
    monkeypatch.setattr("retrieval.cli.batch.TOPK", 1000)
    rec(monkeypatch, *words)
    assert len(json.loads(capsys.readouterr().out)["movies"]) == 200
    (tmp_path / "users.csv").write_text("user_id\n42\n")
    rec(
        monkeypatch, "batch", "topk", "--run", str(run), "--users", str(tmp_path / "users.csv"),
        "--include-seen", "--out", str(tmp_path / "lists.csv"),
    )  # fmt: skip
    assert len((tmp_path / "lists.csv").read_text().splitlines()) == 201


def test_a_rating_comes_with_its_deviation(
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
    assert "run: 1; 1 of the file were there already" in capsys.readouterr().err
    rec(monkeypatch, "rate", "--run", str(tmp_path / "run"), "--user", "4", "--movie", "unheard of")
    assert "Unheard Of (2009) [901]" in capsys.readouterr().out


def test_no_run_yet_says_how_to_make_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    failed(monkeypatch, "topk", "--user", "1")
    assert "make one with rec train --data FOLDER" in capsys.readouterr().err


def test_questions_are_answered_without_torch_or_pandas(run: Path) -> None:
    questions = {
        "rank": ["topk", "--user", "42"],
        "rating": ["rate", "--user", "42", "--movie", "5"],
        "cosine": ["similar", "--movie", "5"],
        "effect": ["explain", "--user", "42", "--movie", "5"],
    }
    program = (
        "import sys; from retrieval.cli.app import main\n"
        f"for question in {list(questions.values())}:\n"
        f"    sys.argv = ['rec', *question, '--run', {str(run)!r}, '--json']\n"
        "    try: main()\n"
        "    except SystemExit as stop: assert stop.code == 0, question\n"
        "    heavy = {'torch', 'pandas', 'sklearn', 'numba'} & set(sys.modules)\n"
        "    assert not heavy, (question, heavy)\n"
        "    print('---')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    *answers, _ = done.stdout.split("---\n")
    for said, answer in zip(questions, answers, strict=True):
        assert f'"{said}":' in json.dumps(json.loads(answer))


def test_a_list_loads_nothing_that_only_other_commands_need(run: Path) -> None:
    """Titles are looked up by other questions; the rest is of commands that were not called."""
    others = ("batch", "bench", "catalogue", "data", "evaluate", "movies", "runs", "train")
    modules = {"rapidfuzz", "rich", "httpx", *(f"retrieval.cli.{name}" for name in others)}
    program = (
        "import sys; from retrieval.cli.app import main\n"
        f"sys.argv = {['rec', 'topk', '--user', '42', '--run', str(run)]!r}\n"
        "try: main()\n"
        f"finally: sys.stderr.write(' '.join({modules!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stderr == b""


def test_a_question_is_not_held_up_by_looking_for_garbage(run: Path) -> None:
    program = (
        "import atexit, gc, sys; from retrieval.cli.app import main\n"
        "atexit.register(lambda: print('frozen' if gc.get_freeze_count() else 'not frozen'))\n"
        "gc.collect(); gc.callbacks.append(lambda when, _: print(when))\n"
        f"sys.argv = {['rec', 'topk', '--user', '42', '--run', str(run), '--json']!r}\n"
        "try: main()\n"
        "finally: print('on again' if gc.isenabled() else 'off')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.startswith(b"{")
    assert {b"on again", b"frozen"} <= set(done.stdout.splitlines())


def test_other_commands_answer(
    run: Path, world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rec(monkeypatch, "info", "--run", str(run), "--json")
    assert json.loads(capsys.readouterr().out)["movies"] == 200
    rec(monkeypatch, "similar", "--run", str(run), "--movie", "5", "--k", "4", "--json")
    assert len(json.loads(capsys.readouterr().out)["movies"]) == 4
    rec(monkeypatch, "movies", "the", "--run", str(run), "--limit", "2", "--json")
    assert len(json.loads(capsys.readouterr().out)["movies"]) == 2
    rec(monkeypatch, "data", "check", str(world), "--json")
    assert json.loads(capsys.readouterr().out)["ratings"] == 6000


@pytest.mark.parametrize("protocol", ["rating", "leave-one", "new-users", "new-movies", "time"])
def test_every_protocol_is_scored_beside_baselines(
    world: Path,
    protocol: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    towers, ours = "bayesian", {"two towers"}
    if protocol == "leave-one":
        towers = "bayesian,sequence"
        ours = {
            f"two towers by {rank_by}, {when}"
            for rank_by in RankBy
            for when in ("time known", "in the sitting", "time not known")
        }
    changes = [f"{name}={value}" for name, value in TINY.items() if name.split(".")[0] in towers]
    rec(
        monkeypatch, "evaluate", "--data", str(world), "--protocol", protocol, "--preset", "quick",
        "--towers", towers, "--json",
        *(word for change in changes for word in ("--set", change)),
    )  # fmt: skip
    said = json.loads(capsys.readouterr().out)
    assert (said["schema"], said["run"], said["data"]) == (1, None, str(world))
    assert (said["protocol"], said["preset"], said["seed"]) == (protocol, "quick", 0)
    results = said["results"]
    systems = {result["system"] for result in results}
    assert ours | {"movie mean", "user mean + movie bias"} <= systems
    wanted = "hr@10" if protocol == "leave-one" else "rmse"
    scores = {
        row["system"]: metric["value"]
        for row in results
        for metric in row["metrics"]
        if metric["name"] == wanted
    }
    assert set(scores) == systems
    if protocol == "rating":
        assert scores["two towers"] < scores["movie mean"] < scores["global mean"]


def test_scores_are_shown_for_people_and_programs(
    run: Path,
    world: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def scored(*arguments: object, **_: object) -> list[Result]:
        shutil.copytree(run, next(each for each in arguments if isinstance(each, Path)))
        metrics = {f"ndcg@{depth}": Metric(0.5, 0.0123) for depth in (10, 50, 100, 200)}
        metrics |= {"hr@10": Metric(0.25, math.nan), "rmse": Metric(math.nan, math.nan)}
        note = "some were asked as new users"
        return [
            Result(system=name, questions="all", count=9, metrics=metrics, note=note)
            for name in ("ours", "theirs")
        ]

    monkeypatch.setattr("retrieval.evaluation.protocols.evaluate", scored)
    words = ["evaluate", "--data", str(world), "--preset", "quick", "--quiet"]
    rec(monkeypatch, *words)
    captured = capsys.readouterr()
    assert captured.err.count("note: some were asked as new users\n") == 1
    assert captured.out.count("0.5000 ± 0.0123") == 8
    assert captured.out.count(f"rating of {world}, preset quick, seed 0") == 2  # 100 columns each
    last = [line.split() for line in captured.out.splitlines() if line.startswith("all")][-1]
    assert last == ["all", "theirs", "9", "-"]
    rec(monkeypatch, *words, "--json", "--run", str(tmp_path / "kept"))
    said = json.loads(capsys.readouterr().out)
    assert said["run"] == str(tmp_path / "kept")
    first = said["results"][0]
    assert (first["system"], first["count"], first["note"]) == (
        "ours", 9, "some were asked as new users",
    )  # fmt: skip
    assert first["metrics"][0] == {"name": "ndcg@10", "value": 0.5, "half_width": 0.0123}
    assert first["metrics"][4] == {"name": "hr@10", "value": 0.25, "half_width": None}


def test_the_commands_of_the_readme_exist_with_their_options() -> None:
    commands = re.findall(r"^(?:\$ )?rec (.+)$", README.read_text(), flags=re.MULTILINE)
    assert commands
    for command in commands:
        words = re.findall(r"^(?:(?:batch|data|runs) [a-z]+|[a-z-]+)", command)[0].split()
        env = {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
        done = CliRunner().invoke(assembled(), [*words, "--help"], env=env)
        assert done.exit_code == 0, command
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
    header, *rows = [line.split() for line in said.out.splitlines()[1:]]
    assert header[:4] == ["kind", "nprobe", "recall", "other"]  # an ivf has no ef
    assert [row[1] for row in rows if row[0] == "*"] == ["ivf"]
    rec(monkeypatch, "info", "--run", str(folder), "--json")
    index = json.loads(capsys.readouterr().out)["index"]
    assert (index["kind"], index["movies"], index["stale"]) == ("ivf", 200, False)
    rec(
        monkeypatch, "build-index", "--run", str(folder), "--kind", "hnsw",
        "--target-recall", "0.9", "--json",
    )  # fmt: skip
    built = json.loads(capsys.readouterr().out)
    assert (built["kind"], built["movies"], built["run"]) == ("hnsw", 200, str(folder))
    assert built["trials"][0]["recall"] >= 0.9
    failed(monkeypatch, "build-index", "--run", str(folder), "--kind", "flat")
    assert "unknown kind 'flat'; there are: auto, exact, ivf" in capsys.readouterr().err


def test_answers_are_timed(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("retrieval.evaluation.latency.USERS", 20)
    monkeypatch.setattr("retrieval.evaluation.latency.STARTS", 1)
    words = ["bench", "--run", str(run), "--events", "20", "--sizes", "300,600", "--kinds", "ivf"]
    rec(monkeypatch, *words)
    table = capsys.readouterr().out
    assert re.search(r"^sequence tower +\d", table, re.MULTILINE)
    assert "the lists of all 150 users" in table
    rec(monkeypatch, *words, "--json")
    said = json.loads(capsys.readouterr().out)
    assert (said["schema"], said["run"]) == (1, str(run))
    assert {row["movies"] for row in said["catalogues"]} == {300, 600}
    for way in ("stored", "added", "again"):
        assert said["one_user"][way]["p99"] >= said["one_user"][way]["p50"] > 0
        assert {"history", "search"} <= {each["name"] for each in said["one_user"][way]["stages"]}
    failed(monkeypatch, "bench", "--run", str(run), "--sizes", "many")
    assert "malformed sizes 'many'; write 4000,100000" in capsys.readouterr().err


def test_what_comes_after_a_cut_is_asked_beside_what_was_popular(
    world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = [f"{name}={value}" for name, value in TINY.items() if name.startswith("bayesian")]
    tiny = [word for change in changes for word in ("--set", change)]
    rec(
        monkeypatch, "evaluate", "--data", str(world), "--protocol", "temporal", "--cut", "0.7",
        "--target", "last", "--towers", "bayesian", "--preset", "quick", "--json", *tiny,
    )  # fmt: skip
    results = json.loads(capsys.readouterr().out)["results"]
    systems = [result["system"] for result in results]
    assert "two towers by rating, time not known" in systems
    assert "popular in the last 7 days" in systems
    assert {metric["name"] for metric in results[0]["metrics"]} >= {"hr@10", "auc", "liked ndcg@10"}


def test_a_file_of_later_events_is_asked_about(
    world: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ratings = read_folder(world).ratings
    last, later = int(ratings["timestamp"].max()), tmp_path / "later.csv"
    pairs = zip(ratings["user_id"].unique()[:9], ratings["movie_id"].unique(), strict=False)
    rows = [f"{user},{movie},5,{last + 90_000}" for user, movie in pairs]
    later.write_text("\n".join(["user_id,movie_id,rating,timestamp", *rows]), encoding="utf-8")
    changes = [f"{name}={value}" for name, value in TINY.items() if name.startswith("bayesian")]
    tiny = [word for change in changes for word in ("--set", change)]
    rec(
        monkeypatch, "evaluate", "--data", str(world), "--protocol", "temporal", "--test",
        str(later), "--target", "successive", "--gap", "30m", "--towers", "bayesian", "--preset",
        "quick", "--json", *tiny,
    )  # fmt: skip
    said = json.loads(capsys.readouterr().out)
    assert 0 < said["results"][0]["count"] <= 9
    asked = {name: said[name] for name in ("cut", "target", "gap", "core", "test")}
    assert asked == {
        "cut": last, "target": "successive", "gap": 1800, "core": None, "test": str(later)
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--cut", "0.7"), "--cut 0.7 needs --protocol temporal"),
        (("--protocol", "temporal", "--cut", "soon"), "soon"),
        (("--protocol", "temporal", "--run", "a", "--trained", "b"), "give one"),
        (("--protocol", "temporal", "--target", "next"), "successive"),
        (("--protocol", "temporal", "--gap", "30x"), "'30x' is no duration; write 90s, 30m"),
        (("--protocol", "temporal", "--core", "100000"), "take a smaller --core"),
        (("--protocol", "temporal", "--test", "no.csv"), "--test no.csv is no file"),
        (("--protocol", "temporal", "--test", "no.csv", "--cut", "0.7"), "give one"),
        (("--gap", "30m"), "--gap 30m needs --protocol temporal"),
        (
            ("--protocol", "temporal", "--gap", "1d", "--target", "last"),
            "no effect on --target last",
        ),
        (("--protocol", "temporal", "--test", "no.csv", "--core", "5"), "leave it out with --test"),
    ],
)
def test_a_cut_that_makes_no_sense_is_refused(
    world: Path,
    given: tuple[str, ...],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    failed(monkeypatch, "evaluate", "--data", str(world), *given)
    assert message in capsys.readouterr().err
