"""The notebooks run from top to bottom."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.mark.parametrize(
    "name",
    ["own_data.ipynb", pytest.param("from_the_notebook.ipynb", marks=pytest.mark.slow)],
)
def test_a_notebook_runs(name: str, tmp_path: Path) -> None:
    cells = json.loads((EXAMPLES / name).read_text(encoding="utf-8"))["cells"]
    assert not any(cell.get("outputs") for cell in cells)  # which could hold somebody's data
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    script = tmp_path / "notebook.py"
    script.write_text("\n\n".join(code), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    assert not done.returncode, done.stderr


def test_there_are_no_other_notebooks() -> None:
    assert len(list(EXAMPLES.glob("*.ipynb"))) == 2
