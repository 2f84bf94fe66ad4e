"""Tables of docs/figures.md, made from what benchmarks wrote with --json into docs/figures/.

python benchmarks/figures.py

A table stands between `<!-- NAME.json -->` and `<!-- end -->`, below a line that says on what
machine it was measured; `<!-- NAME.json VIEW -->` is one of several tables of a file. What is
between is written anew. A file that is not there leaves its table as it is.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

DOCS = Path(__file__).parents[1] / "docs"
PAGE, FOLDER = DOCS / "figures.md", DOCS / "figures"

TABLE = re.compile(
    r"(?P<head><!-- (?P<name>[a-z0-9-]+)\.json(?: (?P<view>[a-z0-9-]+))? -->\n)"
    r".*?(?P<end><!-- end -->)",
    re.DOTALL,
)

Row = Mapping[str, Any]

# Ratings that users have given when they are asked about by `new-users`.
GIVEN = (0, 1, 5, 10, 20)


class Column(NamedTuple):
    """A column of a table."""

    title: str
    path: tuple[str, ...]  # keys that lead to a value in a row, or to a value and its half width
    form: str = ""  # format of numbers
    best: Callable[..., float] | None = None  # which number is bold: max, or min


class Table(NamedTuple):
    """A table of some rows of a file."""

    columns: Sequence[Column]
    where: Callable[[Row], bool] = bool  # no row is empty


def metric(
    title: str,
    name: str,
    form: str = ".4f",
    best: Callable[..., float] | None = max,
    *,
    half_width: bool = False,
) -> Column:
    """Return the column of a metric of `rec evaluate`."""
    path = ("metrics", name) if half_width else ("metrics", name, "value")
    return Column(title, path, form, best)


LATER = (
    Column("system", ("system",)),
    metric("HR@10", "hr@10"),
    metric("NDCG@10", "ndcg@10"),
    metric("ahead", "ahead", "+.4f", None, half_width=True),
    metric("liked NDCG@10", "liked ndcg@10", half_width=True),
    metric("rating of hits", "rating of hits", ".2f", None),
    metric("coverage", "coverage@10", ".1%", None),
)

LATER_RATINGS = (
    Column("system", ("system",)),
    metric("AUC of liked", "auc"),
    metric("RMSE", "rmse", best=min),
    metric("within ±", "within ±", ".1%", None),
)


def having(name: str, value: str) -> Callable[[Row], bool]:
    """Return what chooses the rows in which a key has a value."""
    return lambda row: row.get(name) == value


# What a stage of a training cost.
COSTS = (
    Column("stage", ("stage",)),
    Column("seconds", ("seconds",), ",.0f"),
    Column("MB at the peak", ("peak",), ",.0f"),
    Column("MB on disk", ("disk",), ",.0f"),
)


# What lists of the next movie find.
NEXT = (
    Column("system", ("system",)),
    Column("HR@10", ("hr",), ".4f", max),
    Column("NDCG@10", ("ndcg",), ".4f", max),
    Column("train, s", ("training_seconds",), ",.0f"),
    Column("one, ms", ("one_user_milliseconds",), ".2f"),
    Column("all, s", ("all_users_seconds",), ".2f"),
)


def of_stage(row: Row) -> bool:
    """Return whether a row is what one stage cost."""
    return "stage" in row and "disk" in row


TABLES: Mapping[tuple[str, str | None], Table] = {
    **{
        ("visit", target): Table(LATER, having("target", target))
        for target in ("visit", "first", "last")
    },
    ("visit", "ratings"): Table(
        LATER_RATINGS,
        lambda row: row.get("target") == "visit" and row["metrics"]["auc"]["value"] is not None,
    ),
    **{
        ("cut9", target): Table(LATER, having("target", target))
        for target in ("visit", "first", "last")
    },
    ("successive9", None): Table(LATER, having("target", "successive")),
    ("ratings", None): Table(
        (
            Column("system", ("system",)),
            Column("RMSE", ("rmse",), ".4f", min),
            Column("seconds", ("seconds",), ",.0f"),
        )
    ),
    ("protocols", "ratings"): Table(
        (
            Column("protocol", ("protocol",)),
            Column("seed", ("trial_seed",)),
            Column("preset", ("preset",)),
            Column("pairs", ("system",)),
            metric("RMSE", "rmse", best=None, half_width=True),
            Column("seconds", ("seconds",), ",.0f"),
        ),
        lambda row: "rmse" in row["metrics"],
    ),
    ("protocols", "new-users"): Table(
        (
            Column("RMSE after N", ("system",)),
            *(metric(str(n), f"rmse new users after {n} ratings", best=min) for n in GIVEN),
        ),
        having("protocol", "new-users"),
    ),
    ("plays", None): Table(NEXT),
    ("bare", None): Table(NEXT, lambda row: row["system"].startswith("rec,")),
    ("new-movies", "ratings"): Table(
        (
            Column("ratings", ("given",)),
            Column("vector", ("system",)),
            Column("RMSE", ("rmse",), ".3f", min),
            Column("liked, by rating", ("share rating",), ".3f", min),
            Column("liked, by blend", ("share blend",), ".3f", min),
        ),
        lambda row: "given" in row,
    ),
    ("new-movies", "people"): Table(
        (
            Column("five ratings of", ("told",)),
            Column("people", ("users",), ","),
            Column("RMSE", ("rmse",), ".3f", min),
        ),
        lambda row: "told" in row,
    ),
    ("texts", None): Table(
        (
            Column("what is read of plots", ("system",)),
            Column("RMSE", ("rmse",), ".4f", min),
            Column("where liked movies stand, by rating", ("share rating",), ".3f", min),
        ),
        lambda row: "cuts" in row,
    ),
    ("one-list", "users"): Table(
        (
            Column("who asks", ("who",)),
            Column("p50, ms", ("p50",), ".3f"),
            Column("p99, ms", ("p99",), ".3f"),
            Column("p50, times FAISS alone", ("p50_of_bare",), ".1f"),
        ),
        lambda row: "who" in row,
    ),
    ("one-list", "stages"): Table(
        (
            Column("stage, ms", ("stage",)),
            Column("as stored", ("stored",), ".3f"),
            Column("one rating more", ("added",), ".3f"),
            Column("and another", ("again",), ".3f"),
        ),
        lambda row: "stage" in row,
    ),
    ("folds", None): Table(
        (
            Column("fold", ("fold",)),
            Column("RMSE", ("rmse",), ".4f"),
            Column("±", ("half_width",), ".4f"),
            Column("seconds", ("seconds",), ".0f"),
        )
    ),
    ("sweeps", None): Table(
        (
            Column("ratings", ("ratings",), ","),
            Column("nanoseconds a rating", ("rating_nanoseconds",), ",.0f"),
            Column("seconds a sweep", ("sweep_seconds",), ".2f"),
            Column("MB at the peak", ("peak_megabytes",), ",.0f"),
        )
    ),
    ("batching", None): Table(
        (
            Column("step", ("step",)),
            Column("rows, ratings a second", ("rows_per_second",), ",.0f"),
            Column("arrays, ratings a second", ("arrays_per_second",), ",.0f"),
        ),
        lambda row: "step" in row,
    ),
    **{
        ("gpu", pair): Table(
            (
                Column("events", ("events",), ","),
                Column("device", ("device",)),
                Column("seed", ("trained_with_seed",)),
                Column("seconds an epoch", ("median_epoch_seconds",), ".1f"),
                *found,
            ),
            having("pair", pair),
        )
        for pair, found in (
            (
                "sequence",
                (
                    Column("NDCG@10 of last events", ("timed",), ".4f"),
                    Column("of next visits", ("returning",), ".4f"),
                ),
            ),
            ("neural", (Column("RMSE", ("validation_rmse",), ".4f"),)),
        )
    },
    ("service", None): Table(
        (
            Column("request", ("what",)),
            Column("p50", ("p50",), ".3f"),
            Column("p99", ("p99",), ".2f"),
            Column("p50, times the empty route", ("p50_of_empty",), ".1f"),
            Column("p99, times its p99", ("p99_of_empty",), ".1f"),
        ),
        having("kind", "closed loop"),
    ),
    ("service", "load"): Table(
        (
            Column("lists a second", ("rate",), ",.0f"),
            *(Column(f"p{each}", (f"p{each}",), ".2f") for each in ("50", "90", "99", "99.9")),
            Column("server busy", ("server_busy",), ".0%"),
        ),
        having("kind", "open loop"),
    ),
    ("soak", None): Table(
        (Column("what", ("what",)), Column("count", ("count",), ",")), lambda row: "count" in row
    ),
    ("steadiness", "lists"): Table(
        (
            Column("ordered by", ("rank_by",)),
            Column("way", ("way",)),
            Column("what was told", ("told",)),
            Column("of 20 stay", ("stay_20",), ".1%"),
            Column("of 100 stay", ("stay_100",), ".1%"),
        ),
        # What is watched next does not depend on how ratings are folded in.
        lambda row: "told" in row and (row["rank_by"], row["way"]) != ("watch", "folded in anew"),
    ),
    ("steadiness", "ratings"): Table(
        (
            Column("way", ("way",)),
            Column("RMSE", ("rmse",), ".4f"),
            Column("after one to three ratings", ("rmse_few",), ".4f"),
            Column("after more", ("rmse_more",), ".4f"),
        ),
        lambda row: "rmse" in row,
    ),
    ("scale", None): Table(
        (
            Column("events", ("events",), ","),
            Column("pairs", ("pairs",)),
            *COSTS,
        ),
        of_stage,
    ),
    ("scale10", None): Table(COSTS, of_stage),
    **{
        (name, None): Table(
            (
                Column("index", ("system",)),
                Column("setting", ("parameters",)),
                Column(f"recall@{k}", ("recall",), ".4f"),
                Column("ms", ("milliseconds",), ".3f", min),
                Column("seconds to build", ("build_seconds",), ",.1f"),
            ),
            lambda row: "turns" in row,
        )
        for name, k in (("public", 10), ("search", 20), ("search-small", 20))
    },
    **{
        (name, None): Table(
            (
                Column("allowed", ("share",), ".1%"),
                Column("movies", ("allowed",), ","),
                Column("recall@20", ("recall",), ".4f"),
                Column("ms", ("milliseconds",), ".3f"),
            )
        )
        for name in ("filters", "filters10")
    },
}


def main() -> None:
    """Write the page anew."""
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def written(page: str) -> str:
    """Return a page with its tables as the files say."""

    def filled(found: re.Match[str]) -> str:
        path = FOLDER / f"{found['name']}.json"
        if not path.exists():
            return found[0]
        made = table(path, TABLES[found["name"], found["view"]])
        return f"{found['head']}\n{made}\n{found['end']}"

    return TABLE.sub(filled, page)


def table(path: Path, wanted: Table) -> str:
    """Return the table of a file, as Markdown.

    Args:
        path: File that a benchmark wrote.
        wanted: Its columns and rows.
    """
    whole = json.loads(path.read_text(encoding="utf-8"))
    machine, columns = whole["machine"], wanted.columns
    rows = [row for row in whole["rows"] if wanted.where(row)]
    values = [[_value(row, column) for column in columns] for row in rows]
    best = [_best(column, [row[place] for row in values]) for place, column in enumerate(columns)]
    measured = (
        f"{machine['processor']}, {machine['cores']} cores, {machine['threads']} "
        f"thread{'s' * (machine['threads'] > 1)}, Python {machine['python']}, torch "
        f"{machine['torch']}; seed {whole['seed']}."
    )
    lines = [
        measured,
        "",
        f"| {' | '.join(column.title for column in columns)} |",
        "|" + "---|" * len(columns),
    ]
    for row in values:
        cells = [
            _cell(value, column, bold=most is not None and _number(value) == most)
            for value, column, most in zip(row, columns, best, strict=True)
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _best(column: Column, values: Sequence[object]) -> float | None:
    """Return the number of a column that is bold; None is none."""
    numbers = [number for number in map(_number, values) if number is not None]
    return column.best(numbers) if column.best and numbers else None


def _value(row: Row, column: Column) -> Any:  # noqa: ANN401 (what a file holds)
    value: Any = row
    for key in column.path:
        value = None if value is None else value.get(key)
    return value


def _number(value: object) -> float | None:
    """Return the number that a value says, if it says one."""
    if isinstance(value, Mapping):
        value = value["value"]
    return float(value) if isinstance(value, (int, float)) else None


def _cell(value: object, column: Column, *, bold: bool) -> str:
    if value is None or (isinstance(value, Mapping) and value["value"] is None):
        return "-"
    if not isinstance(value, Mapping):
        text = _text(value, column.form)
        return f"**{text}**" if bold else text
    text = _text(value["value"], column.form)
    text = f"**{text}**" if bold else text
    half = value["half_width"]
    return text if half is None else f"{text} ± {_text(half, column.form.removeprefix('+'))}"


def _text(value: object, form: str) -> str:
    """Return a value as tables have it: numbers below one without the zero."""
    text = format(value, form)
    return re.sub(r"^([+-]?)0\.", r"\1.", text) if form.endswith("f") else text


if __name__ == "__main__":
    main()
