"""Machine code is kept where a folder can be written, and made anew where none can."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import retrieval

# No folder can be made below a file, not even by root.
NOWHERE = os.devnull

SWEEP = """
import numpy as np
from retrieval.pairs.bayesian.session import draw_autoregression
drawn = np.empty(3)
ones = np.ones(3)
draw_autoregression(np.array([True, False, False]), ones, ones, 0.5, 1.0, 0 * ones, drawn)
print(draw_autoregression.__module__, draw_autoregression.stats.cache_path, drawn.round(3).tolist())
"""


def swept(package: Path, home: str) -> str:
    """What a process prints that uses a copy of the package, with a home and no other cache."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    environment = kept | {"PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": "1", "HOME": home}
    return subprocess.run(
        [sys.executable, "-c", SWEEP],
        env=environment,
        cwd=package,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


def copied(folder: Path) -> Path:
    source = Path(retrieval.__file__).parent
    leave = shutil.ignore_patterns("__pycache__")
    shutil.copytree(source, folder / "retrieval", ignore=leave)
    shutil.copytree(source.parent / "index", folder / "index", ignore=leave)
    return folder


def test_a_read_only_install_without_a_home_works(tmp_path: Path) -> None:
    package = copied(tmp_path)
    expected = swept(package, str(tmp_path / "home"))
    assert str(package) in expected  # the cache lies beside the module
    for folder in (package / "retrieval").rglob("*/"):
        shutil.rmtree(folder / "__pycache__", ignore_errors=True)
        (folder / "__pycache__").touch()  # a file, so that nothing can be written there
    found = swept(package, NOWHERE)
    assert str(package) not in found
    assert "None" in found
    assert found.split("[")[1] == expected.split("[")[1]
