"""Tables of docs/figures.md, made from what benchmarks wrote with --json into docs/figures/.

python benchmarks/figures.py

A table stands between `<!-- NAME.json -->` and `<!-- end -->`, below a line that says on what
machine it was measured. What is between is written anew.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

DOCS = Path(__file__).parents[1] / "docs"
PAGE, FOLDER = DOCS / "figures.md", DOCS / "figures"

TABLE = re.compile(r"(<!-- (?P<name>[a-z0-9-]+\.json) -->\n).*?(<!-- end -->)", re.DOTALL)


class Column(NamedTuple):
    """A column of a table."""

    title: str
    path: tuple[str, ...]  # keys that lead to the value in a row
    form: str = ""  # format of numbers
    best: bool = False  # whether the largest number is bold


def metric(title: str, name: str, form: str = ".4f", *, best: bool = True) -> Column:
    """Return the column of a metric of `rec evaluate`."""
    return Column(title, ("metrics", name, "value"), form, best)


LATER = (
    Column("system", ("system",)),
    metric("HR@10", "hr@10"),
    metric("NDCG@10", "ndcg@10"),
    metric("liked NDCG@10", "liked ndcg@10"),
    metric("rating of hits", "rating of hits", ".2f", best=False),
    metric("coverage", "coverage@10", ".1%", best=False),
)

TABLES: Mapping[str, Sequence[Column]] = {"visit.json": LATER}


def main() -> None:
    """Write the page anew."""
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def written(page: str) -> str:
    """Return a page with its tables as the files say."""

    def filled(found: re.Match[str]) -> str:
        made = table(FOLDER / found["name"], TABLES[found["name"]])
        return f"{found[1]}\n{made}\n{found[3]}"

    return TABLE.sub(filled, page)


def table(path: Path, columns: Sequence[Column]) -> str:
    """Return the table of a file, as Markdown.

    Args:
        path: File that a benchmark wrote.
        columns: Columns of the table.
    """
    whole = json.loads(path.read_text(encoding="utf-8"))
    machine = whole["machine"]
    values = [[_value(row, column) for column in columns] for row in whole["rows"]]
    largest = [
        max((value for value in cells if isinstance(value, float)), default=None)
        for cells in zip(*values, strict=True)
    ]
    measured = (
        f"{machine['processor']}, {machine['cores']} cores, {machine['threads']} threads, Python "
        f"{machine['python']}, torch {machine['torch']}; seed {whole['seed']}."
    )
    lines = [
        measured,
        "",
        f"| {' | '.join(column.title for column in columns)} |",
        "|" + "---|" * len(columns),
    ]
    for row in values:
        cells = [
            _cell(value, column, bold=column.best and value == most)
            for value, column, most in zip(row, columns, largest, strict=True)
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _value(row: Mapping[str, Any], column: Column) -> object:
    value: Any = row
    for key in column.path:
        value = value[key]
    return value


def _cell(value: object, column: Column, *, bold: bool) -> str:
    if value is None:
        return "-"
    text = format(value, column.form)
    return f"**{text}**" if bold else text


if __name__ == "__main__":
    main()
