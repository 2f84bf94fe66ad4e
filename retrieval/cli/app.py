"""The command line: its commands, and how errors and signals end it."""

import atexit
import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from importlib import import_module
from typing import Annotated, Any, NamedTuple, NoReturn

import typer

from retrieval.cli.display import (
    complain,
    discard_output,
    prepare_streams,
    warnings_shown,
)
from retrieval.cli.signals import SIGNALLED, orderly_exits
from retrieval.errors import RecError, shown

# Packages that come with the extra `serve`.
_SERVING = {"fastapi", "orjson", "prometheus_client", "psycopg", "sqlalchemy", "uvicorn"}

# Panels of commands in the help.
MAKE, ASK, SERVE, KEEP = "Make a run", "Ask", "Serve", "Look after runs"
MEASURE = "Measure"


class _Command(NamedTuple):
    """A command; its module is imported when it is wanted."""

    function: str  # its name, after that of its module in retrieval.cli and a dot
    panel: str | None = None
    examples: tuple[str, ...] = ()


class _Group(NamedTuple):
    """A group of commands."""

    panel: str
    commands: Mapping[str, _Command]
    help: str | None = None
    function: str | None = None  # what answers where no command of the group is named


_DATA = {
    "fetch": _Command(
        "data.fetch",
        examples=(
            "rec data fetch ml-1m",
            "rec data fetch ml-100k --from /mirrors/movielens",
        ),
    ),
    "check": _Command(
        "data.check",
        examples=("rec data check data/ml-1m", "rec data check --config rec.toml"),
    ),
    "synth": _Command("data.synth", examples=("rec data synth worlds/small --users 500",)),
    "demo": _Command("data.demo"),
}

_BATCH = {
    "topk": _Command(
        "batch.topk",
        examples=(
            "rec batch topk --users users.csv --k 20 --out lists.csv",
            "rec batch topk --users users.csv --histories histories.csv --out lists.parquet",
        ),
    ),
    "rate": _Command(
        "batch.rate",
        examples=(
            "rec batch rate --pairs pairs.csv --out ratings.csv",
            "rec batch rate --pairs pairs.csv --unknown new --out -",
        ),
    ),
}

_RUNS = {
    "prune": _Command(
        "runs.prune",
        examples=("rec runs prune --keep 3 --dry-run", "rec runs prune --keep 3 --yes"),
    ),
    "versions": _Command("runs.versions", examples=("rec runs versions --run runs/demo",)),
    "promote": _Command(
        "runs.promote", examples=("rec runs promote v000003-4f1c09ab --run runs/demo",)
    ),
    "rollback": _Command("runs.rollback", examples=("rec runs rollback --run runs/demo",)),
    "upgrade": _Command("runs.upgrade", examples=("rec runs upgrade --run runs/old",)),
    "verify": _Command("runs.verify", examples=("rec runs verify --run runs/demo",)),
}

_EVENTS = {
    "export": _Command(
        "events.export",
        examples=("rec events export --run runs/demo --out data/next",),
    ),
    "show": _Command("events.show", examples=("rec events show --run runs/demo",)),
}

_COMMANDS: Mapping[str, _Command | _Group] = {
    "init": _Command(
        "init.init",
        MAKE,
        (
            "rec init plays.csv.gz titles.parquet viewers.csv -o rec.toml",
            "rec init my-data --columns user_id=viewer,movie_id=video",
        ),
    ),
    "train": _Command(
        "train.train",
        MAKE,
        (
            "rec train --data data/ml-1m --run runs/first --preset quick",
            "rec train --data data/ml-1m --set sequence.epochs=40 --set neural.dropout=0.3",
            "rec train --preset best --show-settings",
        ),
    ),
    "retrain": _Command(
        "retrain.retrain",
        MAKE,
        (
            "rec retrain --run runs/demo",
            "rec retrain --run runs/demo --database postgresql://localhost/rec --keep 5",
        ),
    ),
    "build-index": _Command(
        "catalogue.build_index",
        MAKE,
        (
            "rec build-index --run runs/first",
            "rec build-index --run runs/first --kind hnsw --target-recall 0.95",
        ),
    ),
    "add-movies": _Command(
        "catalogue.add_movies", MAKE, ("rec add-movies new-movies.csv --run runs/first",)
    ),
    "change-movies": _Command(
        "catalogue.change_movies", MAKE, ("rec change-movies licences.csv --run runs/first",)
    ),
    "hide-movies": _Command(
        "catalogue.hide_movies", MAKE, ("rec hide-movies 1193 661 --run runs/first",)
    ),
    "remove-movies": _Command(
        "catalogue.remove_movies", MAKE, ("rec remove-movies 1193 --run runs/first",)
    ),
    "show-movies": _Command(
        "catalogue.show_movies", MAKE, ("rec show-movies 1193 --run runs/first",)
    ),
    "forget": _Command("forget.forget", MAKE, ("rec forget --user 42 --run runs/first",)),
    "topk": _Command(
        "ask.topk",
        ASK,
        (
            "rec topk --user 42",
            'rec topk --history "1193:5,661:3" --age 25 --k 10',
            "rec topk --user 42 --genre Comedy --year 1990-1999 --rank-by rating",
            'rec topk --user 42 --where "year>=1990" --where "genres=Drama"',
            "rec topk --user 42 --at 2000-12-31T20:00 --json",
        ),
    ),
    "rate": _Command(
        "ask.rate",
        ASK,
        (
            "rec rate --user 42 --movie 1193",
            'rec rate --user 42 --movie "toy story" --history "+1193:5"',
        ),
    ),
    "explain": _Command(
        "ask.explain", ASK, ("rec explain --user 42 --movie 1193 --rank-by rating",)
    ),
    "similar": _Command("movies.similar", ASK, ('rec similar --movie "toy story" --k 5',)),
    "movies": _Command("movies.movies", ASK, ('rec movies "godfather"',)),
    "info": _Command("runs.info", KEEP, ("rec info --run runs/first --json",)),
    "export": _Command(
        "export.export",
        KEEP,
        (
            "rec export --run runs/demo --out exports/demo",
            "rec export --run runs/demo --out exports/some --users users.csv --rank-by rating",
        ),
    ),
    "evaluate": _Command(
        "evaluate.evaluate",
        MEASURE,
        (
            "rec evaluate --data data/ml-1m --protocol leave-one --preset quick",
            "rec evaluate --data data/ml-1m --protocol time --json",
        ),
    ),
    "bench": _Command("bench.bench", MEASURE, ("rec bench --run runs/first --sizes 4000,100000",)),
    "serve": _Command(
        "serve.serve",
        SERVE,
        (
            "rec serve --run runs/demo",
            "rec serve --run runs/demo --host 0.0.0.0 --keys keys.txt --workers 2",
            "rec serve --run runs/demo --database postgresql://localhost/rec",
        ),
    ),
    "data": _Group(MAKE, _DATA, help="Fetch, check or make data."),
    "batch": _Group(ASK, _BATCH, help="Answer files of questions."),
    "events": _Group(KEEP, _EVENTS, help="Look at what the service was told, and export it."),
    "runs": _Group(KEEP, _RUNS, function="runs.runs"),
}


def _version(wanted: bool) -> None:
    if wanted:
        from retrieval import __version__

        print(f"rec {__version__}")
        raise typer.Exit


def rec(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Train on ratings, index the catalogue, answer with one dot product."""


def assembled(name: str | None = None) -> typer.Typer:
    """Return the command line.

    Args:
        name: The only command or group it has; by default it has all, which takes longer.
    """
    settings = {"help_option_names": ["-h", "--help"]}
    whole = typer.Typer(
        no_args_is_help=True, pretty_exceptions_enable=False, context_settings=settings
    )
    whole.callback()(rec)
    for each, found in _COMMANDS.items():
        if name not in {None, each}:
            continue
        match found:
            case _Command():
                _add(whole, each, found)
            case _Group():
                whole.add_typer(_grouped(found), name=each, rich_help_panel=found.panel)
    return whole


def _grouped(group: _Group) -> typer.Typer:
    if group.function is None:
        grouped = typer.Typer(no_args_is_help=True, help=group.help)
    else:
        grouped = typer.Typer(invoke_without_command=True)
        grouped.callback()(_loaded(group.function))
    for name, command in group.commands.items():
        _add(grouped, name, command)
    return grouped


def _add(to: typer.Typer, name: str, command: _Command) -> None:
    shown_below: dict[str, Any] = {}
    if command.examples:
        shown_below["epilog"] = "\n".join(
            ["Examples:", *(f"  {line}" for line in command.examples)]
        )
    to.command(name, rich_help_panel=command.panel, **shown_below)(_loaded(command.function))


def _loaded(function: str) -> Callable[..., None]:
    module, name = function.split(".")
    found: Callable[..., None] = getattr(import_module(f"retrieval.cli.{module}"), name)
    return found


def app() -> None:
    """Do what the words of the command line say."""
    name = next(iter(sys.argv[1:]), "")
    found = _COMMANDS.get(name)
    asks = isinstance(found, _Command) and found.panel == ASK
    with _uncollected() if asks else nullcontext():
        assembled(None if found is None else name)()


@contextmanager
def _uncollected() -> Iterator[None]:
    """Look for no garbage in the block: one question leaves little, and its modules stay."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def main() -> None:
    """Run the command line; what a user can mend is one line on stderr and exit code 1.

    Where a signal ends it, the exit code is 128 and the signal's number, 130 for Ctrl-C.
    """
    # It would read the metadata of every package that is installed, to find plug-ins that are none.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    # At exit, Python would look for garbage in all that is loaded, for a sixth of a cold start.
    atexit.register(gc.freeze)
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
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in {"", __name__.partition(".")[0], "index"}:  # a fault of ours
            raise
        _fail(_missing(package))
    except BrokenPipeError:  # whoever was reading, head for one, has had enough
        discard_output()
        sys.exit(1)
    except OSError as error:
        discard_output()
        place = "" if error.filename is None else f"{shown(error.filename)}: "
        _fail(f"error: {place}{shown(error.strerror or error)}")
    except MemoryError:
        _fail("error: there is not enough memory; ask about less at once, or use another machine")


def _missing(package: str) -> str:
    """Return what to say of a package that is not installed."""
    project = "'.[serve]'" if package in _SERVING else "."
    alone = "; an installation that only serves has no torch" if package == "torch" else ""
    return (
        f"error: this command needs the package {package}, which is not installed: "
        f"pip install -e {project} in the project's folder{alone}"
    )


def _fail(message: str, code: int = 1) -> NoReturn:
    complain(message)
    sys.exit(code)
