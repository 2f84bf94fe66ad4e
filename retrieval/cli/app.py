"""The command line: its commands, and how errors and signals end it."""

import os
import signal
import sys
from collections.abc import Callable
from typing import Annotated, Any, NoReturn

import typer

from retrieval.cli import ask, batch, bench, catalogue, data, evaluate, movies, runs, train
from retrieval.cli.display import (
    complain,
    discard_output,
    prepare_streams,
    warnings_shown,
)
from retrieval.cli.signals import SIGNALLED, orderly_exits
from retrieval.errors import RecError, shown

# Groups of commands in the help.
MAKE, ASK, KEEP, MEASURE = "Make a run", "Ask", "Look after runs", "Measure"


def _group(words: str) -> typer.Typer:
    return typer.Typer(no_args_is_help=True, help=words)


def _version(wanted: bool) -> None:
    if wanted:
        from retrieval import __version__

        print(f"rec {__version__}")
        raise typer.Exit


def _add(
    to: typer.Typer, name: str, command: Callable[..., None], group: str | None, *examples: str
) -> None:
    """Add a command.

    Args:
        to: Where it belongs.
        name: Name of the command.
        command: Function that does it.
        group: Group in the help.
        examples: Command lines for the help.
    """
    shown_below: dict[str, Any] = {}
    if examples:
        shown_below["epilog"] = "\n".join(["Examples:", *(f"  {line}" for line in examples)])
    to.command(name, rich_help_panel=group, **shown_below)(command)


def rec(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Train on ratings, index the catalogue, answer with one dot product."""


def _assembled() -> typer.Typer:
    settings = {"help_option_names": ["-h", "--help"]}
    app = typer.Typer(
        no_args_is_help=True, pretty_exceptions_enable=False, context_settings=settings
    )
    app.callback()(rec)
    data_app = _group("Fetch, check or make data.")
    batch_app = _group("Answer files of questions.")
    runs_app = typer.Typer(invoke_without_command=True)
    runs_app.callback()(runs.runs)
    app.add_typer(data_app, name="data", rich_help_panel=MAKE)
    _add(
        app, "train", train.train, MAKE,
        "rec train --data data/ml-1m --run runs/first --preset quick",
        "rec train --data data/ml-1m --set sequence.epochs=40 --set neural.dropout=0.3",
        "rec train --preset best --show-settings",
    )  # fmt: skip
    _add(
        app, "build-index", catalogue.build_index, MAKE,
        "rec build-index --run runs/first",
        "rec build-index --run runs/first --kind hnsw --target-recall 0.95",
    )  # fmt: skip
    _add(
        app, "add-movies", catalogue.add_movies, MAKE,
        "rec add-movies new-movies.csv --run runs/first",
    )  # fmt: skip
    _add(
        app, "topk", ask.topk, ASK,
        "rec topk --user 42",
        'rec topk --history "1193:5,661:3" --age 25 --k 10',
        "rec topk --user 42 --genre Comedy --year 1990-1999 --rank-by rating",
        "rec topk --user 42 --at 2000-12-31T20:00 --json",
    )  # fmt: skip
    _add(
        app, "rate", ask.rate, ASK,
        "rec rate --user 42 --movie 1193",
        'rec rate --user 42 --movie "toy story" --history "+1193:5"',
    )  # fmt: skip
    _add(app, "explain", ask.explain, ASK, "rec explain --user 42 --movie 1193 --rank-by rating")
    _add(app, "similar", movies.similar, ASK, 'rec similar --movie "toy story" --k 5')
    _add(app, "movies", movies.movies, ASK, 'rec movies "godfather"')
    app.add_typer(batch_app, name="batch", rich_help_panel=ASK)
    _add(
        batch_app, "topk", batch.topk, None,
        "rec batch topk --users users.csv --k 20 --out lists.csv",
        "rec batch topk --users users.csv --histories histories.csv --out lists.parquet",
    )  # fmt: skip
    _add(
        batch_app, "rate", batch.rate, None,
        "rec batch rate --pairs pairs.csv --out ratings.csv",
        "rec batch rate --pairs pairs.csv --unknown new --out -",
    )  # fmt: skip
    _add(app, "info", runs.info, KEEP, "rec info --run runs/first --json")
    app.add_typer(runs_app, name="runs", rich_help_panel=KEEP)
    _add(
        runs_app, "prune", runs.prune, None,
        "rec runs prune --keep 3 --dry-run",
        "rec runs prune --keep 3 --yes",
    )  # fmt: skip
    _add(runs_app, "upgrade", runs.upgrade, None, "rec runs upgrade --run runs/old")
    _add(runs_app, "verify", runs.verify, None, "rec runs verify --run runs/demo")
    _add(
        app, "evaluate", evaluate.evaluate, MEASURE,
        "rec evaluate --data data/ml-1m --protocol leave-one --preset quick",
        "rec evaluate --data data/ml-1m --protocol time --json",
    )  # fmt: skip
    _add(app, "bench", bench.bench, MEASURE, "rec bench --run runs/first --sizes 4000,100000")
    _add(
        data_app, "fetch", data.fetch, None,
        "rec data fetch ml-1m",
        "rec data fetch ml-100k --from /mirrors/movielens",
    )  # fmt: skip
    _add(data_app, "check", data.check, None, "rec data check data/ml-1m")
    _add(data_app, "synth", data.synth, None, "rec data synth worlds/small --users 500")
    _add(data_app, "demo", data.demo, None)
    return app


app = _assembled()


def main() -> None:
    """Run the command line; what a user can mend is one line on stderr and exit code 1.

    Where a signal ends it, the exit code is 128 and the signal's number, 130 for Ctrl-C.
    """
    # It would read the metadata of every package that is installed, to find plug-ins that are none.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    prepare_streams()
    try:
        with warnings_shown(), orderly_exits():
            try:
                app()
            finally:
                sys.stdout.flush()
    except SystemExit as stop:
        if isinstance(stop.code, int) and stop.code > SIGNALLED:
            _fail(f"interrupted by {signal.Signals(stop.code - SIGNALLED).name}", stop.code)
        raise
    except KeyboardInterrupt:
        _fail("interrupted by SIGINT", SIGNALLED + signal.SIGINT)
    except RecError as error:
        _fail(f"error: {error}")
    except BrokenPipeError:  # whoever was reading, head for one, has had enough
        discard_output()
        sys.exit(1)
    except OSError as error:
        discard_output()
        place = "" if error.filename is None else f"{shown(error.filename)}: "
        _fail(f"error: {place}{shown(error.strerror or error)}")
    except MemoryError:
        _fail("error: there is not enough memory; ask about less at once, or use another machine")


def _fail(message: str, code: int = 1) -> NoReturn:
    complain(message)
    sys.exit(code)
