"""Commands that index the catalogue of a run, and add, change and hide movies.

`rec build-index --json` prints run, kind, movies (how many), dimension, and trials: kind and what
was measured of each index that was tried, the chosen one first; with a store its address and the
name of the collection, and of a graph in it the trials in their order, the chosen one last.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from index.kinds import Kind
from retrieval.cli.display import note, remark
from retrieval.cli.options import (
    AUTO,
    JsonOption,
    QuietOption,
    RecallOption,
    RunOption,
    completion,
    kind_of,
    run_or_newest,
)
from retrieval.cli.output import print_json, print_table
from retrieval.cli.progress import progress
from retrieval.errors import RequestError, shown

if TYPE_CHECKING:
    from index.tuning import Trial

# Of the facts of a measured index: how a table calls them, and writes those that are no names.
HEADINGS = {
    "recall_other_half": ("other half", ".4f"),
    "recall_at_least": ("at least", ".4f"),
    "recall": ("recall", ".4f"),
    "milliseconds": ("ms", ".3f"),
    "build_seconds": ("build s", ".2f"),
    "megabytes": ("MB", ".1f"),
}

# Columns of measured indexes that a narrow table can do without, the first one first.
SPARE_OF_TRIALS = ("other half", "build s", "MB", "at least", "oversampling")


def build_index(
    run: RunOption = None,
    kind: Annotated[
        str,
        typer.Option(
            metavar="|".join([AUTO, *Kind]),
            autocompletion=completion([AUTO, *Kind]),
            help="Kind of index; auto measures, and takes exact where there are few movies.",
        ),
    ] = AUTO,
    target_recall: RecallOption = 0.99,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Vector store that finds the candidates: milvus://host:port, milvus:///path.db "
            "or postgresql://...",
        ),
    ] = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Embed the whole catalogue of a run into its index."""
    from index.tuning import pareto
    from retrieval.pipeline.indexing import build_index as build
    from retrieval.run.stores import store_address

    wanted = kind_of(kind)
    address = None if store is None else store_address(store)
    folder = run_or_newest(run)
    with progress(quiet=quiet) as shows:
        shows.stage("building the index")
        built = build(
            folder,
            wanted,
            target_recall,
            lambda trial: shows.say(f"{trial.kind}, recall {trial.recall:.3f}"),
            address,
            lambda count: shows.say(f"{count:,} vectors are in the store"),
        )
    card = built.card
    if as_json:
        trials = [trial.as_dict() for trial in built.trials]
        trials += [trial.as_dict() for trial in built.store_trials]
        kind_built = card.kind if built.store is None else built.store.kind
        facts = {"run": str(folder), "kind": kind_built, "movies": card.count}
        facts |= {"dimension": card.dimension, "trials": trials}
        if built.store is not None:
            facts |= {"store": built.store.address, "collection": built.store.collection}
        print_json(facts)
        return
    if built.trials:
        chosen = built.trials[0]
        front = pareto(built.trials)
        header, rows = trial_table(front)
        print_table(
            "No other finds more in less time, in both halves of the questions",
            ("", *header),
            [("*" * (trial is chosen), *row) for trial, row in zip(front, rows, strict=True)],
            spare=SPARE_OF_TRIALS,
        )
        if chosen.least < target_recall:
            note(
                f"none reaches {target_recall:g} in both halves of the questions; "
                "this one comes nearest"
            )
    size = f"{card.count:,} movies x {card.dimension}"
    if built.store is None:
        note(f"indexed {size} of {shown(folder)}, kind {card.kind}")
        return
    if built.store_trials and built.store_trials[-1].least < target_recall:
        note(f"the store does not reach {target_recall:g} in both halves of the questions")
    where = f"{shown(built.store.address)}, collection {built.store.collection}"
    note(f"indexed {size} of {shown(folder)} in {where}, kind {built.store.kind}")


def trial_table(trials: "Sequence[Trial]") -> tuple[list[str], list[list[object]]]:
    """Return the header and the rows of a table of measured indexes, without empty columns."""
    facts = [trial.as_dict() for trial in trials]
    names = [name for name in facts[0] if any(row[name] is not None for row in facts)]
    header = [HEADINGS[name][0] if name in HEADINGS else name for name in names]
    rows = [
        [format(row[name], HEADINGS[name][1]) if name in HEADINGS else row[name] for name in names]
        for row in facts
    ]
    return header, rows


def add_movies(
    movies: Annotated[Path, typer.Argument(help="File movie_id,title,genres[,year,...] or .dat.")],
    run: RunOption = None,
) -> None:
    """Add movies that nobody has rated yet to a run and its index, without training again."""
    from retrieval.data.layouts import read_movies
    from retrieval.data.report import Report
    from retrieval.pipeline.changing import columns_said
    from retrieval.pipeline.indexing import add_movies as add
    from retrieval.run.folder import open_run

    folder, report = run_or_newest(run), Report()
    opened = open_run(folder)
    frame = read_movies(movies, report, opened.attributes.attributes, columns_said(opened))
    remark(*report.notes)
    count = add(folder, frame)
    there = len(frame) - count
    others = f"; {there:,} of the file were there already" if there else ""
    note(f"movies added to {shown(folder)}: {count:,}{others}")


def change_movies(
    movies: Annotated[Path, typer.Argument(help="Table with movie_id and the columns to change.")],
    run: RunOption = None,
) -> None:
    """Change what a run says of movies: what the file has no column for stays as it is."""
    from retrieval.data.layouts import read_changed_movies
    from retrieval.data.report import Report
    from retrieval.pipeline.changing import change_movies as change
    from retrieval.pipeline.changing import changeable, columns_said
    from retrieval.run.folder import open_run

    folder, report = run_or_newest(run), Report()
    opened = open_run(folder)
    facts = read_changed_movies(movies, report, changeable(opened), columns_said(opened))
    remark(*report.notes)
    count = change(folder, facts)
    others = f"; {len(facts) - count:,} of the file were already so" if count < len(facts) else ""
    note(f"movies changed in {shown(folder)}: {count:,}{others}")


MoviesArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="[ID]...", help="Ids of the movies.", show_default=False),
]
MeetingOption = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="CONDITION",
        help='Movies that meet it, as in "until<2026-12-31"; given again, all of them.',
    ),
]


def hide_movies(
    movies: MoviesArgument = None, where: MeetingOption = None, run: RunOption = None
) -> None:
    """Keep movies out of all lists, also when the run is trained again."""
    from retrieval.pipeline.hiding import hide_movies as hide

    _check_named(movies, where)
    folder = run_or_newest(run)
    note(f"movies hidden in {shown(folder)}: {hide(folder, movies or (), where or ()):,}")


def remove_movies(
    movies: MoviesArgument = None, where: MeetingOption = None, run: RunOption = None
) -> None:
    """Take movies out of everything but histories, also when the run is trained again."""
    from retrieval.pipeline.hiding import remove_movies as remove

    _check_named(movies, where)
    folder = run_or_newest(run)
    note(f"movies removed from {shown(folder)}: {remove(folder, movies or (), where or ()):,}")


def show_movies(
    movies: MoviesArgument = None, where: MeetingOption = None, run: RunOption = None
) -> None:
    """Let lists show movies again that were hidden or removed."""
    from retrieval.pipeline.hiding import show_movies as show

    _check_named(movies, where)
    folder = run_or_newest(run)
    note(f"movies shown again in {shown(folder)}: {show(folder, movies or (), where or ()):,}")


def _check_named(movies: list[str] | None, where: list[str] | None) -> None:
    """Raise a `RequestError` if no movie is named in either way."""
    if not movies and not where:
        raise RequestError('no movies are named; give ids, or --where "until<2026-12-31"')
