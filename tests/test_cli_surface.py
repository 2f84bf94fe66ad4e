"""What all commands have in common: help, completion, names that are nearly right, JSON."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from typer.testing import CliRunner

import retrieval
from retrieval.cli import app as command_line
from retrieval.cli.app import assembled, main
from retrieval.options import Preset
from retrieval.pipeline.settings import preset_settings
from retrieval.pipeline.training import request
from retrieval.run.versions import writing

COMMANDS: tuple[list[str], ...] = (
    *(
        ["train"],
        ["build-index"],
        ["add-movies"],
        ["change-movies"],
        ["topk"],
        ["rate"],
        ["explain"],
        ["similar"],
    ),
    *(["movies"], ["info"], ["evaluate"], ["bench"], ["batch"], ["batch", "topk"]),
    *(["batch", "rate"], ["runs"], ["runs", "prune"], ["runs", "upgrade"], ["data"]),
    *(["data", "check"], ["data", "fetch"], ["data", "synth"], ["data", "demo"], ["serve"]),
    *(["export"], []),
)


def ask(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["rec", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    assert isinstance(stop.value.code, int)
    return stop.value.code


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_short_and_long_help_that_fits_80_columns(words: list[str]) -> None:
    short, long = (
        CliRunner().invoke(assembled(), [*words, option], env={"COLUMNS": "80", "NO_COLOR": "1"})
        for option in ("-h", "--help")
    )
    assert short.exit_code == 0
    assert short.stdout == long.stdout
    assert max(map(len, short.stdout.splitlines())) <= 80
    assert "…" not in short.stdout  # nothing is cut
    if words not in ([], ["data"], ["batch"], ["runs"], ["data", "demo"]):
        assert f"rec {' '.join(words)}" in short.stdout.partition("Examples:")[2]


@pytest.mark.parametrize("words", [words for words in COMMANDS if words], ids=" ".join)
def test_a_command_that_is_loaded_alone_is_the_same(words: list[str]) -> None:
    alone, among_all = (
        CliRunner().invoke(commands, [*words, "-h"], env={"COLUMNS": "80", "NO_COLOR": "1"})
        for commands in (assembled(words[0]), assembled())
    )
    assert alone.exit_code == 0
    assert alone.stdout == among_all.stdout


def test_help_is_in_groups() -> None:
    said = CliRunner().invoke(assembled(), ["-h"]).stdout
    groups = ("Make a run", "Ask", "Look after runs", "Measure")
    places = [said.index(f"─ {group} ─") for group in groups]
    assert places == sorted(places)
    said = CliRunner().invoke(assembled(), ["topk", "-h"]).stdout
    for group in ("Who asks", "Which movies", "Output"):
        assert f"─ {group} ─" in said
    assert "--users" not in said  # it has a command of its own


def test_the_version_is_the_packages(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"rec {retrieval.__version__}\n"


def test_help_and_the_version_need_nothing_heavy() -> None:
    heavy = {"torch", "pandas", "numpy", "faiss", "onnxruntime", "numba", "sklearn", "scipy"}
    for option in ("--help", "--version"):
        program = (
            "import sys; from retrieval.cli.app import main\n"
            f"sys.argv = ['rec', {option!r}]\n"
            "try: main()\n"
            f"finally: sys.stderr.write(' '.join({heavy!r} & set(sys.modules)))"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
        assert done.stderr == b""


@pytest.mark.parametrize(
    ("package", "remedy"),
    [
        ("fastapi.responses", "pip install -e '.[serve]' in the project's folder"),
        ("torch", "pip install -e . in the project's folder; an installation that only serves"),
    ],
)
def test_a_package_that_is_not_installed_is_named_with_what_brings_it(
    package: str,
    remedy: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(command_line, "app", Mock(side_effect=ModuleNotFoundError(name=package)))
    with pytest.raises(SystemExit) as stopped:
        command_line.main()
    said = capsys.readouterr().err
    assert stopped.value.code == 1
    assert f"needs the package {package.partition('.')[0]}," in said
    assert remedy in said
    assert said.count("\n") == 1


def test_a_module_of_the_project_that_is_missing_is_a_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    missing = ModuleNotFoundError(name="retrieval.nothing")
    monkeypatch.setattr(command_line, "app", Mock(side_effect=missing))
    with pytest.raises(ModuleNotFoundError):
        command_line.main()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("rec top", ["topk"]),
        ("rec batch ", ["topk", "rate"]),
        ("rec topk --rank-by ", ["rating", "watch", "blend"]),
        ("rec train --preset q", ["quick"]),
        ("rec evaluate --protocol lea", ["leave-one"]),
        ("rec build-index --kind iv", ["ivf", "ivfpq"]),
        ("rec data fetch ml-1", ["ml-100k", "ml-1m", "ml-10m"]),
        ("rec train --towers ba", ["bayesian"]),
        ("rec train --set sequence.ep", ["sequence.epochs="]),
    ],
)
def test_a_shell_completes(
    line: str,
    offered: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = line.split()
    monkeypatch.setenv("_REC_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(words) - (not line.endswith(" "))))
    ask(monkeypatch)
    assert sorted(capsys.readouterr().out.split()) == sorted(offered)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "--preset", "quik"], "unknown preset 'quik'; did you mean quick? There are: q"),
        (["train", "--device", "gpu"], "unknown device 'gpu'; there are: auto, cpu, cuda"),
        (["train", "--towers", "baysian"], "'baysian'; did you mean bayesian?"),
        (["train", "--towers", "neural,magic"], "'magic'"),
        (["train", "--set", "sequence.epoch=3"], "'sequence.epoch'; did you mean sequence.epochs?"),
        (["train", "--set", "sequence.epochs=many"], "sequence.epochs cannot be 'many'"),
        (["train", "--set", "sequence.epochs=0"], "sequence.epochs cannot be '0'"),
        (["train", "--set", "sequence.epochs"], "malformed setting 'sequence.epochs'; write PAIR."),
        (["train", "--towers", "neural", "--set", "sequence.epochs=3"], "that is not trained"),
        (["train", "--config", "nowhere.toml"], "nowhere.toml cannot be read"),
        (["train"], "on what? give --data FOLDER"),
        (["evaluate", "--data", "x", "--protocol", "leaveone"], "did you mean leave-one?"),
        (["build-index", "--kind", "hsnw"], "unknown kind 'hsnw'; did you mean hnsw?"),
        (["bench", "--kinds", "ivf,hsnw"], "unknown kind 'hsnw'; did you mean hnsw?"),
        (["topk", "--user", "1", "--rank-by", "rate"], "'rate'; there are: rating, watch"),
        (["batch", "topk", "--users", "x", "--out", "y", "--unknown", "ski"], "did you mean skip?"),
        (["runs", "upgrade"], "which run? give its folder"),
    ],
)
def test_a_name_that_is_nearly_right_gets_the_right_one_on_one_line(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert ask(monkeypatch, *words) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_names_may_be_written_in_capitals(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(monkeypatch, "train", "--preset", "Notebook", "--show-settings") == 0
    assert "preset notebook" in capsys.readouterr().out


def shown_settings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str
) -> dict[str, str]:
    assert ask(monkeypatch, "train", "--show-settings", *words) == 0
    title, _, *rows = capsys.readouterr().out.splitlines()
    settings = dict(re.findall(r"^([a-z]+\.[a-z_]+) +(\S+)", "\n".join(rows), re.MULTILINE))
    pairs, preset = re.findall(r"Settings of (.*), preset ([a-z]+)$", title)[0]
    return settings | {"pairs": pairs, "preset": preset}


def test_defaults_yield_to_the_preset_the_preset_to_the_file_and_the_file_to_single_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def settings(*words: str) -> dict[str, str]:
        return shown_settings(monkeypatch, capsys, *words)

    default, quick = settings(), settings("--preset", "quick")
    assert default["preset"] == "default"
    assert default["sequence.epochs"] != quick["sequence.epochs"]
    file = tmp_path / "my.toml"
    file.write_text("[sequence]\nepochs = 3\n[neural]\ndropout = 0.1\n")
    mine = settings("--preset", "quick", "--config", str(file))
    assert mine == quick | {"sequence.epochs": "3", "neural.dropout": "0.1"}
    changes = ["--set", "sequence.epochs=5", "--set", "bayesian.draws=7"]
    mine = settings("--preset", "quick", "--config", str(file), *changes)
    assert mine == quick | {
        "sequence.epochs": "5", "neural.dropout": "0.1", "bayesian.draws": "7",
    }  # fmt: skip


def test_a_file_may_name_the_preset_and_the_pairs_and_options_win_over_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "my.toml"
    file.write_text('preset = "quick"\npairs = ["bayesian"]\n[bayesian]\ndraws = 9\n')
    found = shown_settings(monkeypatch, capsys, "--config", str(file))
    assert (found["preset"], found["pairs"], found["bayesian.draws"]) == ("quick", "bayesian", "9")
    assert not any(name.startswith("sequence.") for name in found)
    words = ["--preset", "best", "--towers", "neural,bayesian"]
    found = shown_settings(monkeypatch, capsys, "--config", str(file), *words)
    assert (found["preset"], found["pairs"]) == ("best", "neural, bayesian")
    assert found["bayesian.draws"] == "9"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('preset = "quik"', "unknown preset 'quik'; did you mean quick?"),
        ("preset = 7", "unknown preset '7'"),
        ('pairs = "bayesian"', "pairs are 'bayesian'; write a list"),
        ("pairs = [7]", "'7'"),
        ("[sequence]\nepoch = 3", "'sequence.epoch'; did you mean sequence.epochs?"),
        ("epochs = 3", "'epochs'"),
        ("[sequence]\nepochs = [3]", "sequence.epochs cannot be '[3]'"),
        ("[sequence", "cannot be read as TOML"),
    ],
)
def test_what_is_wrong_in_a_file_of_settings_is_said(
    text: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "my.toml").write_text(text)
    words = ["train", "--show-settings", "--config", str(tmp_path / "my.toml")]
    assert ask(monkeypatch, *words) == 1
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_what_is_trained_is_what_was_set_and_goes_on_where_it_was_interrupted(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["train", "--data", str(world), "--preset", "quick", "--towers", "bayesian", "--quiet"]
    settings = preset_settings(Preset.QUICK, ["bayesian"]).changed({"bayesian.draws": 3})
    for name, seed in (("killed", 0), ("another", 1)):  # trainings that were interrupted
        with writing(Path("runs") / name) as writer:
            writer.note(request(str(world), settings, seed))
    assert ask(monkeypatch, *words, "--set", "bayesian.draws=3") == 0
    captured = capsys.readouterr()
    folder = Path(captured.out.strip())
    assert folder == Path("runs/killed")
    resumed, line = captured.err.splitlines()  # no progress
    assert resumed == "going on with runs/killed, where this training was interrupted"
    assert re.fullmatch(r"trained in \d+ s; RMSE \d\.\d+ on \d+ ratings held out for .*", line)
    [config] = folder.rglob("config.json")
    assert json.loads(config.read_text())["settings"]["bayesian"]["draws"] == 3
    assert ask(monkeypatch, "topk", "--user", "42", "--k", "1", "--json") == 0
    captured = capsys.readouterr()
    assert captured.err == f"using {folder}, the newest run\n"
    assert json.loads(captured.out)["run"] == str(folder)


def keys(value: object) -> list[str]:
    """Return all keys of all objects in a value."""
    if isinstance(value, dict):
        return [*value, *(key for each in value.values() for key in keys(each))]
    return [key for each in value for key in keys(each)] if isinstance(value, list) else []


@pytest.mark.parametrize(
    "words",
    [
        ["topk", "--user", "42", "--at", "2003"],
        ["topk", "--history", "5:4"],
        ["rate", "--user", "42", "--movie", "5"],
        ["explain", "--user", "42", "--movie", "5"],
        ["similar", "--movie", "5"],
        ["movies", "the"],
        ["info"],
        ["build-index", "--kind", "ivf"],
    ],
    ids=lambda words: str(words[0]),
)
def test_json_has_a_schema_the_run_and_keys_in_snake_case(
    run: Path,
    tmp_path: Path,
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = shutil.copytree(run, tmp_path / "run")
    assert ask(monkeypatch, *words, "--run", str(folder), "--json") == 0
    said: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (said["schema"], said["run"]) == (1, str(folder))
    assert all(re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", key) for key in keys(said))


def test_json_of_a_question_says_who_and_when(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, user, at in (
        (["--user", "42"], 42, None),
        (["--user", "42", "--at", "2003-01-01"], 42, 1_041_379_200),
        (["--history", "5:4"], None, None),
    ):
        for command in (["topk"], ["rate", "--movie", "5"], ["explain", "--movie", "5"]):
            assert ask(monkeypatch, *command, "--run", str(run), *words, "--json") == 0
            said = json.loads(capsys.readouterr().out)
            assert (said["user_id"], said["at"]) == (user, at)


def test_questions_of_files_are_answered_by_the_old_options_too_with_a_note(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "asked.csv").write_text("user_id,movie_id\n42,5\n7,6\n")
    asked, given = str(tmp_path / "asked.csv"), ["--run", str(run)]
    for command, option, more in (
        ("topk", "--users", ["--k", "3", "--genre", "Drama", "--rank-by", "rating"]),
        ("rate", "--pairs", []),
    ):
        files = []
        for group, said in (([], True), (["batch"], False)):
            files.append(tmp_path / f"{command}{len(group)}.csv")
            words = [*group, command, option, asked, *more, *given, "--out", str(files[-1])]
            assert ask(monkeypatch, *words) == 0
            note = f"note: rec {command} {option} will go with the next version; write rec batch"
            assert (note in capsys.readouterr().err) == said
        assert files[0].read_text() == files[1].read_text()
        assert files[0].read_text().count("\n") > 2
    assert ask(monkeypatch, "rate", "--pairs", asked, *given) == 1
    assert "where to? give --out FILE.csv" in capsys.readouterr().err
