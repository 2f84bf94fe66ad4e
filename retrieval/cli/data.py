"""Commands for data: fetch it, check it, or make it up.

`rec data check --json` prints data (the folder or the file of events), ratings, users_with_ratings,
users_described, movies, movies_with_ratings, scale, first and last (times, null where there are
none), days, repeated (events left out), unknown_movies and unknown_movie_events (which the table of
movies lacks), rating_values (how many events by rating), columns (file, table, column, meaning,
why) and notes.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from retrieval.cli.display import note, remark
from retrieval.cli.options import ConfigOption, JsonOption, QuietOption, SeedOption
from retrieval.cli.output import print_json, print_table
from retrieval.cli.progress import progress
from retrieval.cli.source import (
    AnyYearsOption,
    ColumnsOption,
    RepeatsOption,
    SourceOption,
    chosen_source,
)
from retrieval.errors import RequestError

if TYPE_CHECKING:
    from retrieval.data.fates import Fate

# Where data sets are put.
DATA = Path("data")


def _names() -> list[str]:
    from retrieval.data.fetch import CHECKSUMS

    return list(CHECKSUMS)


def check(
    folder: Annotated[
        Path | None, typer.Argument(help="Folder of tables, or a file of events.")
    ] = None,
    data: SourceOption = None,
    config: ConfigOption = None,
    columns: ColumnsOption = None,
    repeats: RepeatsOption = None,
    any_years: AnyYearsOption = False,
    as_json: JsonOption = False,
) -> None:
    """Read data, say what was taken for what, and report everything that is wrong with it."""
    if folder is not None and data is not None:
        raise RequestError("the data is named twice; leave out --data")
    source = chosen_source(folder or data, config, columns, repeats, any_years=any_years)
    if source is None:
        raise RequestError("which data? give a folder, a file, or --config FILE.toml of rec init")
    from retrieval.data.overview import overview
    from retrieval.data.source import understood

    found = understood(source)
    view = overview(found)
    if as_json:
        print_json(
            {"data": str(source), **view.facts, "rating_values": view.rating_values}
            | {"columns": [fate_facts(fate) for fate in found.fates]}
            | {"notes": list(found.data.notes)}
        )
        return
    remark(*found.data.notes)
    rows = [
        (name.replace("_", " "), f"{value:,}" if isinstance(value, int) else value)
        for name, value in view.facts.items()
    ]
    print_table(f"{source} is sound", ("what", "value"), rows)
    print_table(
        "Ratings by value",
        ("rating", "events", "share %"),
        [
            (value, f"{count:,}", f"{100 * count / len(found.data.ratings):.1f}")
            for value, count in view.rating_values.items()
        ],
    )


def fate_facts(fate: "Fate") -> dict[str, str | None]:
    """Return what became of a column, for programs."""
    return {
        "file": fate.file,
        "table": fate.role,
        "column": fate.column,
        "meaning": fate.meaning or None,
        "why": fate.why or None,
    }


def fetch(
    name: Annotated[
        str,
        typer.Argument(
            help="Name of the data set: ml-100k, ml-1m, ml-latest-small, ml-32m, ...",
            autocompletion=_names,
        ),
    ],
    to: Annotated[Path, typer.Option(help="Folder to put it under.")] = DATA,
    source: Annotated[
        str | None, typer.Option("--from", help="Mirror instead of GroupLens: folder or URL.")
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Download a data set, checked, resumed and whole or not there."""
    from retrieval.data.fetch import fetch as fetch_set

    with progress(quiet=quiet) as shows:
        folder = fetch_set(name, to / name, source=source, progress=shows)
    print(folder)


def synth(
    folder: Annotated[Path, typer.Argument(help="Folder to write; must not hold anything.")],
    users: Annotated[int, typer.Option(min=1, help="How many users.")] = 1000,
    movies: Annotated[int, typer.Option(min=1, help="How many movies.")] = 1500,
    ratings: Annotated[int, typer.Option(min=1, help="How many ratings.")] = 100_000,
    tables: Annotated[
        bool,
        typer.Option("--csv", help="Write CSV tables with column names that are not MovieLens'."),
    ] = False,
    seed: SeedOption = 0,
) -> None:
    """Write a synthetic world, in the layout of MovieLens-1M or as tables to try rec init on."""
    from retrieval.data.synthetic import write_world

    write_world(folder, users=users, movies=movies, ratings=ratings, seed=seed, tables=tables)
    print(folder)


def demo(quiet: QuietOption = False) -> None:
    """Find or fetch data for the demo; print the folder."""
    from retrieval.data.demo import demo_data

    with progress(quiet=quiet) as shows:
        folder, description = demo_data(DATA, shows)
    note(description)
    print(folder)
