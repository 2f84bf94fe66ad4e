"""Commands for data: fetch it, check it, or make it up.

`rec data check --json` prints data (the folder), ratings, users_with_ratings, users_described,
movies, movies_with_ratings, scale and notes.
"""

from pathlib import Path
from typing import Annotated

import typer

from retrieval.cli.display import note, remark
from retrieval.cli.options import JsonOption, QuietOption, SeedOption
from retrieval.cli.output import print_json, print_table
from retrieval.cli.progress import progress
from retrieval.data import columns

# Where data sets are put.
DATA = Path("data")


def _names() -> list[str]:
    from retrieval.data.fetch import CHECKSUMS

    return list(CHECKSUMS)


def check(
    folder: Annotated[Path, typer.Argument(help="Folder of ratings, movies and users.")],
    as_json: JsonOption = False,
) -> None:
    """Read a data folder and report everything that is wrong with it."""
    from retrieval.data.layouts import read_folder

    frames = read_folder(folder)
    facts = {
        "ratings": len(frames.ratings),
        "users_with_ratings": int(frames.ratings[columns.USER_ID].nunique()),
        "users_described": len(frames.users),
        "movies": len(frames.movies),
        "movies_with_ratings": int(frames.ratings[columns.MOVIE_ID].nunique()),
        "scale": str(frames.scale),
    }
    if as_json:
        print_json({"data": str(folder), **facts, "notes": list(frames.notes)})
        return
    remark(*frames.notes)
    rows = [(name.replace("_", " "), value) for name, value in facts.items()]
    print_table(f"{folder} is sound", ("what", "value"), rows)


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
    seed: SeedOption = 0,
) -> None:
    """Write a synthetic world in the layout of MovieLens-1M."""
    from retrieval.data.synthetic import write_world

    write_world(folder, users=users, movies=movies, ratings=ratings, seed=seed)
    print(folder)


def demo(quiet: QuietOption = False) -> None:
    """Find or fetch data for the demo; print the folder."""
    from retrieval.data.demo import demo_data

    with progress(quiet=quiet) as shows:
        folder, description = demo_data(DATA, shows)
    note(description)
    print(folder)
