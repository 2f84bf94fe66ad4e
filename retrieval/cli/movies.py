"""Commands about movies: which are alike, and what one is called.

`rec similar --json` prints run, a movie, and movies: each with rank and cosine. `rec movies --json`
prints run, text and movies. A movie is movie_id, title, year and genres.
"""

from typing import Annotated

import typer

from retrieval.cli.display import remark
from retrieval.cli.options import OUTPUT, JsonOption, RunOption, run_or_newest
from retrieval.cli.output import print_json, print_table
from retrieval.cli.question import (
    CELLS,
    SPARE,
    length_of,
    movie_cells,
    movie_facts,
    recommender_of,
)
from retrieval.data import columns
from retrieval.errors import shown

# Movies in a list, where nobody says how many.
SIMILAR = 10


def similar(
    movie: Annotated[str, typer.Option(help="Id or title of a movie.")],
    run: RunOption = None,
    k: Annotated[
        int | None,
        typer.Option(
            "--k",
            help=f"How many movies; by default {SIMILAR}, or all there are.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the movies whose vectors are nearest in direction to a movie's."""
    recommender = recommender_of(folder := run_or_newest(run))
    rows = recommender.similar(movie, length_of(k, SIMILAR, recommender))
    like = recommender.run.asked_movie(movie)[0]
    if as_json:
        listed = [
            {columns.RANK: row.rank, **movie_facts(row.movie), "cosine": row.cosine} for row in rows
        ]
        print_json({"run": str(folder), **movie_facts(like), "movies": listed})
        return
    print_table(
        f"Movies like {like}",
        ("rank", *CELLS, "cosine"),
        [(row.rank, *movie_cells(row.movie), row.cosine) for row in rows],
        spare=SPARE,
    )


def movies(
    text: Annotated[str, typer.Argument(help="Part of a title; typing errors are allowed.")],
    run: RunOption = None,
    limit: Annotated[
        int, typer.Option(min=1, help="How many at most.", rich_help_panel=OUTPUT)
    ] = 10,
    as_json: JsonOption = False,
) -> None:
    """Find movies by title."""
    from retrieval.run.folder import open_run

    folder = run_or_newest(run)
    found = open_run(folder).search(text, limit)
    if not found:
        remark(f"no movie is called anything like '{shown(text)}'")
    if as_json:
        listed = [movie_facts(movie) for movie in found]
        print_json({"run": str(folder), "text": text, "movies": listed})
        return
    print_table(
        f"Movies called something like '{shown(text)}'",
        CELLS,
        [movie_cells(movie) for movie in found],
        spare=("genres", "year"),
    )
