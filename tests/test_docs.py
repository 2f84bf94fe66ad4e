"""What the README and the pages say can be done as printed."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import figures
import pytest
from small_worlds import tiny_settings

from retrieval.data.layouts import read_folder
from retrieval.data.synthetic import write_world
from retrieval.options import Preset
from retrieval.pairs.table import TOWER_PAIRS
from retrieval.pipeline.training import train

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SETTINGS = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")


def blocks(language: str = "") -> list[str]:
    """Blocks of code of the README, without the output that some of them show."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
    return [block for block in found if not block.startswith("$ ")]


def commands(word: str) -> str:
    """The block of commands in which a word comes."""
    (block,) = [block for block in blocks() if word in block]
    return block.replace(". .venv/bin/activate\n", "")


@pytest.fixture(scope="module")
def after_demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `make demo` leaves it, with a smaller world and one pair."""
    folder = tmp_path_factory.mktemp("clone")
    world = folder / "world"
    write_world(world, users=60, movies=1300, ratings=3000, seed=0)
    train(read_folder(world), tiny_settings(["bayesian"]), folder / "runs" / "demo")
    return folder


def run(folder: Path, *command: str) -> str:
    """Run a command in a folder; return what it prints."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"PATH": path, "REC_DATA": str(folder / "world")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.returncode, done.stderr
    return done.stdout


def test_the_readme_takes_five_minutes() -> None:
    assert len(README.splitlines()) <= 200


def test_the_five_commands_of_the_readme_run(after_demo: Path) -> None:
    said = run(after_demo, "bash", "-euc", commands("rec batch"))
    assert "What user 42 should watch" in said
    assert (after_demo / "lists.csv").is_file()
    assert "two towers" in said  # the last one evaluates


def test_the_lines_of_python_in_the_readme_run(after_demo: Path) -> None:
    for block in blocks("python"):
        assert "Rating(" in run(after_demo, sys.executable, "-c", block)


@pytest.mark.slow
def test_the_readme_trains_on_a_world_that_it_makes(tmp_path: Path) -> None:
    run(tmp_path, "bash", "-euc", commands("rec data synth"))
    assert (tmp_path / "runs" / "small" / "CURRENT").is_file()


@pytest.mark.parametrize("name", TOWER_PAIRS)
def test_every_setting_has_its_row_in_the_settings_page(name: str) -> None:
    default, quick, best = (
        TOWER_PAIRS[name].settings(preset) for preset in (Preset.DEFAULT, Preset.QUICK, Preset.BEST)
    )
    for field, about in type(default).model_fields.items():
        values = [_shown(getattr(of, field)) for of in (default, quick, best)]
        values = values[:1] if name == "notebook" else values
        assert f"| `{field}` | {' | '.join(values)} | {about.description} |" in SETTINGS


def _shown(value: object) -> str:
    if value is None:
        return "by data"
    if isinstance(value, float):
        return f"{value:g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def test_the_tables_of_figures_are_what_was_measured() -> None:
    page = figures.PAGE.read_text(encoding="utf-8")
    shown = {(found["name"], found["view"]) for found in figures.TABLE.finditer(page)}
    assert shown == set(figures.TABLES)
    assert {name for name, _ in shown} <= {path.stem for path in figures.FOLDER.glob("*.json")}
    assert figures.written(page) == page


def test_a_table_shows_its_columns_and_the_best(tmp_path: Path) -> None:
    rows = [
        {"system": name, "seconds": seconds, "metrics": {"hr@10": metric}}
        for name, seconds, metric in (
            ("one", 7.0, {"value": 0.25, "half_width": 0.125}),
            ("other", 0.5, {"value": 0.5, "half_width": 0.25}),
            ("none", None, {"value": None, "half_width": None}),
            ("left out", 9.0, {"value": 1.0, "half_width": 0.0}),
        )
    ]
    machine = {"processor": "P", "cores": 2, "threads": 1, "python": "3", "torch": "2"}
    whole = {"seed": 7, "machine": machine, "rows": rows}
    (tmp_path / "some.json").write_text(json.dumps(whole))
    columns = (
        figures.Column("system", ("system",)),
        figures.metric("HR", "hr@10", half_width=True),
        figures.Column("seconds", ("seconds",), ".1f", min),
    )
    wanted = figures.Table(columns, lambda row: row["system"] != "left out")
    assert figures.table(tmp_path / "some.json", wanted).splitlines() == [
        "P, 2 cores, 1 thread, Python 3, torch 2; seed 7.",
        "",
        "| system | HR | seconds |",
        "|---|---|---|",
        "| one | .2500 ± .1250 | 7.0 |",
        "| other | **.5000** ± .2500 | **.5** |",
        "| none | - | - |",
    ]
