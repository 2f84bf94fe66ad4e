import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import retrieval
from retrieval.pipeline.exporting import export
from retrieval.pipeline.training import train
from retrieval.serving.events import Event
from retrieval.serving.filters import Filter
from retrieval.serving.recommender import Recommender
from retrieval.serving.users import Person

HEAVY = ("numpy", "faiss", "onnxruntime", "pandas", "scipy", "sklearn", "torch")

# What somebody writes whose own code is checked strictly.
RIGHT = """
from collections.abc import Sequence

import retrieval
from retrieval import Event, Filter, Person, Recommender, train


def titles(folder: str) -> list[str]:
    recommender = Recommender.load(folder, threads=2)
    person = Person(user_id=42, added=[Event(10, 4.0)])
    rows = recommender.topk(person, 5, filters=Filter(genres=["Comedy"], years=(1980, 1999)))
    rating: float | None = rows[0].rating
    deviation: float | None = recommender.rate(42, 1193).deviation
    nearest: Sequence[float] = [row.cosine for row in recommender.similar(1)[:3]]
    effects: list[float] = [row.effect for row in recommender.explain(42, 1193).influences]
    print(rating, deviation, nearest, effects, rows.to_frame(), retrieval.__version__.split("."))
    print(recommender.topk_many([1, 2]).movie_ids.shape, train.__name__)
    return [row.movie.title for row in rows]
"""

# What the check must find, line by line.
WRONG = {
    "from retrieval import Filter, Person, Recommender": "",
    "from retrieval import Recomender": 'has no attribute "Recomender"',
    "rows = Recommender.load('run').topk(42, filters='Comedy')": '"filters" to "topk"',
    "Filter(genre=['Comedy'])": 'Unexpected keyword argument "genre"',
    "title: str = rows[0].score": 'expression has type "float"',
    "Person(user_id=4.2)": 'Argument "user_id" to "Person"',
}

# Of these the public names say nothing, and to read them takes a minute.
SKIPPED = "torch pandas pyarrow sklearn scipy numba pydantic onnx onnxruntime faiss rich"


def loaded_after(program: str) -> set[str]:
    """Return which heavy packages a program has loaded when it ends."""
    program += f"\nimport sys; print(*(name for name in {HEAVY} if name in sys.modules))"
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(said.stdout.split())


def test_importing_the_package_loads_nothing() -> None:
    assert loaded_after("import retrieval; retrieval.__version__") == set()
    assert loaded_after("import retrieval; dir(retrieval)") == set()


def test_what_asks_loads_neither_torch_nor_pandas() -> None:
    program = "from retrieval import Event, Filter, Person, Recommender"
    assert loaded_after(program).isdisjoint({"torch", "pandas", "sklearn"})


def test_public_names_are_the_ones_of_their_modules() -> None:
    public = {"Event": Event, "Filter": Filter, "Person": Person, "Recommender": Recommender}
    for name, found in (public | {"export": export, "train": train}).items():
        assert getattr(retrieval, name) is found
    assert retrieval.__version__ == version("two-tower-rec")
    assert set(retrieval.__all__) <= set(dir(retrieval))


@pytest.mark.parametrize("name", ["Recomender", "numpy", "_modules"])
def test_other_names_are_not_there(name: str) -> None:
    with pytest.raises(AttributeError, match=f"module 'retrieval' has no attribute '{name}'"):
        getattr(retrieval, name)


def test_whoever_uses_the_public_names_has_types(tmp_path: Path) -> None:
    modules = ",".join(f"{name}.*" for name in SKIPPED.split())
    (tmp_path / "mypy.ini").write_text(
        f"[mypy]\nstrict = True\n[mypy-{modules}]\nfollow_imports = skip\n"
        "follow_imports_for_stubs = True\n"
    )
    (tmp_path / "right.py").write_text(RIGHT)
    (tmp_path / "wrong.py").write_text("\n".join(WRONG) + "\n")
    said = subprocess.run(
        [sys.executable, "-m", "mypy", "--cache-dir", os.devnull, "right.py", "wrong.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    errors = [line for line in said.stdout.splitlines() if ": error: " in line]
    found = dict.fromkeys(range(1, len(WRONG) + 1), "")
    for line in errors:
        name, number, message = line.split(":", 2)
        assert name == "wrong.py", line
        found[int(number)] += message
    for message, wanted in zip(found.values(), WRONG.values(), strict=True):
        assert wanted in message
        assert bool(wanted) == bool(message), said.stdout
