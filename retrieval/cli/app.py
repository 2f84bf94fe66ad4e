"""The command line: options and printing; the work is done elsewhere."""

import math
import os
import re
import signal
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from index.kinds import Kind
from retrieval.cli.display import (
    discard_output,
    notes,
    prepare_streams,
    print_json,
    print_table,
    printable,
    progress,
    warnings_shown,
)
from retrieval.cli.signals import SIGNALLED, orderly_exits
from retrieval.data import columns
from retrieval.errors import RecError, RequestError, shown
from retrieval.options import Cut, Device, Preset, RankBy, Towers, Unknown

if TYPE_CHECKING:  # these pull in faiss, which --help can do without
    from retrieval.cli.requests import HistoryFile, Pairs, Sifted, Users
    from retrieval.data.catalogue import Movie
    from retrieval.run.folder import Run
    from retrieval.serving.filters import Filter
    from retrieval.serving.recommender import Recommender
    from retrieval.serving.users import Person

RUNS = Path("runs")

# Of an evaluation side by side in a table; more would not fit a terminal.
METRICS = 4

# Movies in a list, where nobody says how many.
TOPK, SIMILAR = 20, 10

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
data_app = typer.Typer(no_args_is_help=True, help="Fetch, check or make data.")
app.add_typer(data_app, name="data")

RunOption = Annotated[
    Path | None,
    typer.Option(
        "--run", help="Folder of the run; default is the newest under runs/ that has an index."
    ),
]
DataOption = Annotated[Path, typer.Option("--data", help="Folder of ratings, movies and users.")]
PresetOption = Annotated[Preset, typer.Option(help="How much to spend on training.")]
TowersOption = Annotated[
    str | None,
    typer.Option(help="Tower pairs, as in neural,bayesian,sequence; default by preset."),
]
DeviceOption = Annotated[Device, typer.Option(help="Where the sequence pair is trained.")]
SeedOption = Annotated[int, typer.Option(min=0, help="Seed of everything random.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
UserOption = Annotated[int | None, typer.Option("--user", help="Id of a known user.")]
AtOption = Annotated[
    str | None,
    typer.Option(help="Time of asking: 2000, 2000-12-31T20:00, seconds since 1970, or now."),
]
HistoryOption = Annotated[
    str | None,
    typer.Option(help='Ratings "1193:5,661:3" instead of what is stored; "+1193:5" adds to it.'),
]
GenderOption = Annotated[str | None, typer.Option(help="Of a new user.")]
AgeOption = Annotated[float | None, typer.Option(help="Of a new user, in years.")]
OccupationOption = Annotated[str | None, typer.Option(help="Of a new user, as in the data.")]
HistoriesOption = Annotated[
    Path | None,
    typer.Option(
        help="CSV file user_id,movie_id,rating[,timestamp] that replaces these users' histories."
    ),
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", help="File for the answers: CSV, or FILE.parquet; - is standard output."),
]
UnknownOption = Annotated[
    Unknown | None,
    typer.Option(help="What becomes of users and movies in a file that the run does not know."),
]
RankOption = Annotated[
    RankBy | None, typer.Option("--rank-by", help="What ranks the list; default by validation.")
]
SeenOption = Annotated[bool, typer.Option("--include-seen", help="Show seen movies too.")]


@app.callback()
def rec() -> None:
    """Train on ratings, index the catalogue, answer with one dot product."""


@app.command()
def train(
    data: DataOption,
    run: Annotated[
        Path | None, typer.Option("--run", help="Folder to write; default runs/ and the time.")
    ] = None,
    preset: PresetOption = Preset.DEFAULT,
    towers: TowersOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = Device.AUTO,
    index: Annotated[
        bool, typer.Option("--index/--no-index", help="Build the index of the catalogue too.")
    ] = True,
) -> None:
    """Train tower pairs on a data folder, and build the index."""
    from retrieval.data.layouts import read_folder
    from retrieval.pipeline.training import request
    from retrieval.pipeline.training import train as train_run
    from retrieval.run.versions import check_target, unfinished

    pairs = _towers(towers)
    folder = run or RUNS / datetime.now(UTC).strftime("%Y-%m-%d-%H%M%S")
    if run is None and (left := unfinished(RUNS, request(str(data), preset, seed, pairs))):
        folder = left
        notes().print(f"going on with {folder}, where this training was interrupted")
    check_target(folder)
    with progress() as bars:
        task = bars.add_task(f"reading {data}", total=1)
        frames = read_folder(data)
        bars.update(task, completed=1)
        _say(frames.notes)
        trained = train_run(
            frames, str(data), folder, preset, seed, bars, pairs, device, index=index
        )
    said = [f"trained in {trained.seconds:.0f} s"]
    if trained.validation_error is not None:
        rows = f"on {trained.validation_rows:,} ratings held out for validation"
        said.append(f"RMSE {trained.validation_error:.4f} {rows}")
    if trained.watching is not None and trained.watching.last.any():
        found = trained.watching.gains.told
        said.append(f"NDCG@10 {found:.4f} of last movies held out")
    notes().print("; ".join(said))
    print(folder)


@app.command("build-index")
def build_index(
    run: RunOption = None,
    kind: Annotated[
        str, typer.Option(help="auto, exact, ivf, hnsw, ivfpq or sq8; auto is exact if small.")
    ] = "auto",
    target_recall: Annotated[
        float, typer.Option(help="Share of the exact results that an approximate kind must find.")
    ] = 0.99,
    as_json: JsonOption = False,
) -> None:
    """Embed the whole catalogue of a run into its index."""
    from index.tuning import pareto
    from retrieval.pipeline.indexing import build_index as build

    folder, wanted = _run(run), _kind(kind)
    with progress() as bars:
        task = bars.add_task("building the index", total=None)
        built = build(
            folder,
            wanted,
            target_recall,
            lambda trial: bars.update(
                task, advance=1, description=f"{trial.kind}: recall {trial.recall:.3f}"
            ),
        )
        bars.remove_task(task)
    card = built.card
    if as_json:
        print_json(
            {"kind": card.kind, "count": card.count, "dimension": card.dimension}
            | {"trials": [trial.facts() for trial in built.trials]}
        )
        return
    if built.trials:
        chosen = built.trials[0]
        front = pareto(built.trials)
        print_table(
            "No other finds more in less time, in both halves of the questions",
            ("", *front[0].facts()),
            [("*" if trial is chosen else "", *trial.facts().values()) for trial in front],
        )
        if chosen.least < target_recall:
            notes().print(
                f"none reaches {target_recall:g} in both halves of the questions; "
                "this one comes nearest"
            )
    size = f"{card.count:,} movies x {card.dimension}"
    notes().print(f"indexed {size} of {folder}, kind {card.kind}")


@app.command("add-movies")
def add_movies(
    movies: Annotated[Path, typer.Argument(help="File movie_id,title,genres[,year,...] or .dat.")],
    run: RunOption = None,
) -> None:
    """Add movies that nobody has rated yet to a run and its index, without training again."""
    from retrieval.data.layouts import read_movies
    from retrieval.data.report import Report
    from retrieval.pipeline.indexing import add_movies as add

    folder, report = _run(run), Report()
    frame = read_movies(movies, report)
    _say(report.notes)
    count = add(folder, frame)
    there = len(frame) - count
    others = f"; {there:,} of the file were there already" if there else ""
    notes().print(f"movies added to {folder}: {count:,}{others}", markup=False)


@app.command()
def topk(
    run: RunOption = None,
    user: UserOption = None,
    k: Annotated[
        int | None, typer.Option("--k", help=f"How many movies; default {TOPK}, or all there are.")
    ] = None,
    history: HistoryOption = None,
    gender: GenderOption = None,
    age: AgeOption = None,
    occupation: OccupationOption = None,
    at: AtOption = None,
    rank_by: RankOption = None,
    genre: Annotated[
        list[str] | None, typer.Option(help="Only movies of this genre; again for any of several.")
    ] = None,
    year: Annotated[str | None, typer.Option(help="Only movies of 1994, or of 1990-1999.")] = None,
    allow: Annotated[
        Path | None, typer.Option(help="Only movies of this CSV file with a column movie_id.")
    ] = None,
    deny: Annotated[
        Path | None, typer.Option(help="No movies of this CSV file with a column movie_id.")
    ] = None,
    diversity: Annotated[
        float, typer.Option(help="From 0, the best, to 1, the least alike.")
    ] = 0.0,
    include_seen: SeenOption = False,
    users: Annotated[
        Path | None, typer.Option(help="CSV file user_id[,timestamp] of many users.")
    ] = None,
    histories: HistoriesOption = None,
    out: OutOption = None,
    unknown: UnknownOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what a user should watch, best first."""
    lists: dict[str, Any] = {
        "rank_by": rank_by,
        "wanted": _filter(genre, year, allow, deny),
        "diversity": diversity,
        "include_seen": include_seen,
    }
    if users is not None:
        _refuse(user=user, history=history, gender=gender, age=age, occupation=occupation, at=at)
        _refuse(json=as_json or None)
        _check_out(out, users, histories, allow, deny)
        _topk_file(_run(run), users, histories, _needed(out), unknown or Unknown.SKIP, k, lists)
        return
    _refuse(histories=histories, out=out, unknown=unknown)
    person, name = _person(user, history, gender, age, occupation)
    recommender = _recommender(_run(run))
    at_most = _length(k, TOPK, recommender)
    rows = recommender.topk(person, at_most, at=_seconds(at, recommender.run), **lists)
    if as_json:
        print_json(
            [
                {columns.RANK: row.rank, **_movie(row.movie)}
                | {columns.SCORE: row.score, columns.RATING: row.rating}
                for row in rows
            ]
        )
        return
    print_table(
        f"What {name} should watch",
        ("rank", "id", "title", "year", "genres", "rating"),
        [(row.rank, *_cells(row.movie), row.rating) for row in rows],
    )


@app.command()
def rate(
    run: RunOption = None,
    user: UserOption = None,
    movie: Annotated[str | None, typer.Option(help="Id or title of a movie.")] = None,
    history: HistoryOption = None,
    gender: GenderOption = None,
    age: AgeOption = None,
    occupation: OccupationOption = None,
    at: AtOption = None,
    pairs: Annotated[
        Path | None, typer.Option(help="CSV file user_id,movie_id[,timestamp] of many pairs.")
    ] = None,
    histories: HistoriesOption = None,
    out: OutOption = None,
    unknown: UnknownOption = None,
    as_json: JsonOption = False,
) -> None:
    """Predict how a user would rate a movie."""
    if pairs is not None:
        _refuse(user=user, movie=movie, history=history, gender=gender, age=age)
        _refuse(occupation=occupation, at=at, json=as_json or None)
        _check_out(out, pairs, histories)
        _rate_file(_run(run), pairs, histories, _needed(out), unknown or Unknown.SKIP)
        return
    _refuse(histories=histories, out=out, unknown=unknown)
    if movie is None:
        raise RequestError('which movie? give --movie 1193 or --movie "toy story"')
    person, name = _person(user, history, gender, age, occupation)
    recommender = _recommender(_run(run))
    answer = recommender.rate(person, movie, at=_seconds(at, recommender.run))
    if as_json:
        print_json(
            {columns.USER_ID: user, **_movie(answer.movie), columns.RATING: answer.rating}
            | {columns.DEVIATION: answer.deviation}
        )
        return
    spread = "" if answer.deviation is None else f" ± {answer.deviation:.2f}"
    rated = f"{answer.movie} [{answer.movie.id}] {answer.rating:.2f}{spread}"
    print(printable(f"{name} would rate {rated}"))


@app.command()
def explain(
    movie: Annotated[str, typer.Option(help="Id or title of a movie.")],
    run: RunOption = None,
    user: UserOption = None,
    history: HistoryOption = None,
    gender: GenderOption = None,
    age: AgeOption = None,
    occupation: OccupationOption = None,
    at: AtOption = None,
    rank_by: RankOption = None,
    k: Annotated[int, typer.Option("--k", min=1, help="How many events.")] = 10,
    as_json: JsonOption = False,
) -> None:
    """Show which events of the history carry a movie's rating, or the score that ranks it."""
    person, name = _person(user, history, gender, age, occupation)
    recommender = _recommender(_run(run))
    moment = _seconds(at, recommender.run)
    found = recommender.explain(person, movie, by=rank_by, at=moment)
    rows = found.influences[:k]
    if as_json:
        print_json(
            {**_movie(found.movie), "by": found.by, "answer": found.answer}
            | {
                "events": [
                    {**_movie(row.movie), columns.RATING: row.rating}
                    | {columns.TIMESTAMP: row.timestamp, "effect": row.effect, "share": row.share}
                    | {"carried": row.carried}
                    for row in rows
                ]
            }
        )
        return
    adds = any(row.carried is not None for row in rows)
    print_table(
        f"What carries {found.movie} for {name}: {found.by} {found.answer:.2f}",
        ("share", "effect", *["carried"] * adds, "id", "title", "year", "genres", "rated"),
        [
            (f"{row.share:.0%}", f"{row.effect:+.3f}")
            + (() if row.carried is None else (f"{row.carried:+.3f}",))
            + (*_cells(row.movie), row.rating)
            for row in rows
        ],
    )


@app.command()
def similar(
    movie: Annotated[str, typer.Option(help="Id or title of a movie.")],
    run: RunOption = None,
    k: Annotated[
        int | None,
        typer.Option("--k", help=f"How many movies; default {SIMILAR}, or all there are."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the movies whose vectors are nearest in direction to a movie's."""
    recommender = _recommender(_run(run))
    rows = recommender.similar(movie, _length(k, SIMILAR, recommender))
    if as_json:
        print_json([{"rank": row.rank, **_movie(row.movie), "cosine": row.cosine} for row in rows])
        return
    print_table(
        f"Movies like {recommender.run.catalogue.named(movie)}",
        ("rank", "id", "title", "year", "genres", "cosine"),
        [(row.rank, *_cells(row.movie), row.cosine) for row in rows],
    )


@app.command()
def movies(
    text: Annotated[str, typer.Argument(help="Part of a title, typing errors allowed.")],
    run: RunOption = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 10,
    as_json: JsonOption = False,
) -> None:
    """Find movies by title."""
    from retrieval.run.folder import open_run

    found = open_run(_run(run)).catalogue.search(text, limit)
    if not found:
        _say([f"no movie is called anything like '{shown(text)}'"])
    if as_json:
        print_json([_movie(movie) for movie in found])
        return
    print_table(
        f"Movies called something like '{shown(text)}'",
        ("id", "title", "year", "genres"),
        [_cells(movie) for movie in found],
    )


@app.command()
def info(run: RunOption = None, as_json: JsonOption = False) -> None:
    """Show what a run is and how good it was in validation."""
    from retrieval.run.folder import describe_run, open_run

    facts = describe_run(open_run(_run(run)))
    if as_json:
        print_json(facts)
        return
    rows = [(what, str(value)) for what, value in facts.items()]
    print_table(str(facts["run"]), ("what", "value"), rows)


@app.command()
def evaluate(
    data: DataOption,
    protocol: Annotated[Cut, typer.Option(help="Which ratings are held out.")] = Cut.RATING,
    preset: PresetOption = Preset.DEFAULT,
    towers: TowersOption = None,
    seed: SeedOption = 0,
    run: Annotated[
        Path | None, typer.Option("--run", help="Folder to keep the run in; default keeps none.")
    ] = None,
    device: DeviceOption = Device.AUTO,
    as_json: JsonOption = False,
) -> None:
    """Hold ratings out, train on the rest, and score the answers beside baselines."""
    from tempfile import TemporaryDirectory

    from retrieval.data.layouts import read_folder
    from retrieval.evaluation.protocols import evaluate as evaluate_run
    from retrieval.run.folder import open_run
    from retrieval.run.versions import check_target

    pairs = _towers(towers)
    if run is not None:
        check_target(run)
    frames = read_folder(data)
    _say(frames.notes)
    with TemporaryDirectory() as scratch, progress() as bars:
        folder = run or Path(scratch) / "run"
        results = evaluate_run(
            frames, str(data), protocol, preset, seed, folder, bars, pairs, device
        )
        seconds = open_run(folder).config.training_seconds
    notes().print(f"trained in {seconds:.0f} s")
    _say(sorted({result.note for result in results if result.note}))
    if as_json:
        print_json(
            [
                {"system": result.system, "questions": result.questions, "count": result.count}
                | {"note": result.note}
                | {
                    name: {"value": _finite(metric.value), "95%": _finite(metric.half_width)}
                    for name, metric in result.metrics.items()
                }
                for result in results
            ]
        )
        return
    names = list(results[0].metrics)
    for start in range(0, len(names), METRICS):
        part = names[start : start + METRICS]
        print_table(
            f"{protocol.value} of {data}, preset {preset.value}, seed {seed}",
            ("questions", "system", "count", *part),
            [
                (
                    result.questions,
                    result.system,
                    result.count,
                    *(_measured(*result.metrics[name]) for name in part),
                )
                for result in results
            ],
        )


@app.command()
def bench(
    run: RunOption = None,
    events: Annotated[
        int, typer.Option(min=0, max=10**9, help="Ask for users with about so many ratings.")
    ] = 200,
    sizes: Annotated[
        str, typer.Option(help="Sizes of catalogues like the run's, as in 4000,100000.")
    ] = "4000,100000",
    kinds: Annotated[
        str | None, typer.Option(help="Kinds of index to measure in them; default all.")
    ] = None,
    target_recall: Annotated[float, typer.Option(help="Recall to reach.")] = 0.98,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Measure how long answers take, here and in larger catalogues."""
    from retrieval.evaluation.latency import all_at_once, by_size, cold_start, of_each, one_by_one
    from retrieval.pipeline.indexing import check_target

    folder, wanted = _run(run), [_kind(name.strip()) for name in (kinds or "").split(",") if name]
    counts = _sizes(sizes)
    check_target(target_recall)
    recommender = _recommender(folder)
    with progress() as bars:
        task = bars.add_task("users one by one", total=None)
        latency = one_by_one(recommender, events)
        bars.update(task, description="from a cold start")
        cold = cold_start(recommender.run)
        bars.update(task, description="all users")
        everyone = all_at_once(_recommender(folder, threads=os.cpu_count() or 1))
        bars.update(task, description="larger catalogues")
        chosen = [kind for kind in wanted if kind] or list(Kind)
        measured = []
        for row in by_size(recommender, counts, target_recall, chosen, seed):
            measured.append(row)
            bars.update(task, description=f"{row.movies:,} movies, {row.trial.kind}")
        bars.remove_task(task)
    users = len(recommender.run.users)
    if as_json:
        print_json(
            {
                "run": str(folder),
                "one user, ms": latency._asdict()
                | {"stored": latency.stored._asdict(), "told": latency.told._asdict()},
                "cold start, s": cold,
                "all users": {"users": users, "seconds": everyone},
                "catalogues": [{"movies": row.movies} | row.trial.facts() for row in measured],
            }
        )
        return
    stored, told = (
        answer.stages
        | {"p50": answer.p50, "p95": answer.p95, "p99": answer.p99, "FAISS alone": latency.bare}
        for answer in (latency.stored, latency.told)
    )
    print_table(
        f"The list of 20 of a user with {latency.events:.0f} ratings on average, one thread, ms",
        ("stage", "as stored", "one rating more"),
        [
            (name, f"{stored[name]:.3f}" if name in stored else "", f"{spent:.3f}")
            for name, spent in told.items()
        ],
    )
    print(f"from nothing, with its own process: {cold:.2f} s")
    print(f"the lists of all {users:,} users: {everyone:.2f} s")
    print_table(
        f"Catalogues like the run's: fastest to find {target_recall:g} of the best 20, or nearest",
        ("movies", *measured[0].trial.facts()),
        [
            (f"{row.movies:,}", *row.trial.facts().values())
            for row in of_each(measured, target_recall)
        ],
    )


@data_app.command("check")
def data_check(
    folder: Annotated[Path, typer.Argument(help="Folder of ratings, movies and users.")],
    as_json: JsonOption = False,
) -> None:
    """Read a data folder and report everything that is wrong with it."""
    from retrieval.data.layouts import read_folder

    frames = read_folder(folder)
    facts = {
        "ratings": len(frames.ratings),
        "users with ratings": int(frames.ratings[columns.USER_ID].nunique()),
        "users described": len(frames.users),
        "movies": len(frames.movies),
        "movies with ratings": int(frames.ratings[columns.MOVIE_ID].nunique()),
        "scale": str(frames.scale),
    }
    if as_json:
        print_json({**facts, "notes": list(frames.notes)})
        return
    _say(frames.notes)
    print_table(f"{folder} is sound", ("what", "value"), list(facts.items()))


@data_app.command("fetch")
def data_fetch(
    name: Annotated[str, typer.Argument(help="ml-100k, ml-1m, ml-latest-small, ml-32m, ...")],
    to: Annotated[Path, typer.Option(help="Folder to put it under.")] = Path("data"),
    source: Annotated[
        str | None, typer.Option("--from", help="Mirror instead of GroupLens: folder or URL.")
    ] = None,
) -> None:
    """Download a data set, checked, resumed and whole or not there."""
    from retrieval.data.fetch import fetch

    print(fetch(name, to / name, source=source))


@data_app.command("synth")
def data_synth(
    folder: Annotated[Path, typer.Argument(help="Folder to write; must not hold anything.")],
    users: Annotated[int, typer.Option(min=1)] = 1000,
    movies: Annotated[int, typer.Option(min=1)] = 1500,
    ratings: Annotated[int, typer.Option(min=1)] = 100_000,
    seed: SeedOption = 0,
) -> None:
    """Write a synthetic world in the layout of MovieLens-1M."""
    from retrieval.data.synthetic import write_world

    write_world(folder, users=users, movies=movies, ratings=ratings, seed=seed)
    print(folder)


@data_app.command("demo")
def data_demo() -> None:
    """Find or fetch data for the demo; print the folder."""
    from retrieval.data.fetch import demo_data

    folder, description = demo_data(Path("data"))
    notes().print(description)
    print(folder)


def main() -> None:
    """Run the command line; what a user can mend is one line on stderr and exit code 1.

    Where a signal ends it, the exit code is 128 and the signal's number, 130 for Ctrl-C.
    """
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
    notes().print(message, style="red")
    sys.exit(code)


def _run(run: Path | None) -> Path:
    """Return the folder of a run, the newest one where none is named, which is then said."""
    from retrieval.run.folder import newest_run

    if run is None:
        run = newest_run(RUNS)
        notes().print(f"using {run}, the newest run", markup=False)
    return run


def _recommender(run: Path, threads: int = 1) -> "Recommender":
    """Load a run for this process alone, which answers each question on one thread."""
    from retrieval.serving.recommender import Recommender
    from retrieval.serving.threads import configure_threads

    configure_threads()
    return Recommender.load(run, threads=threads)


def _length(k: int | None, usual: int, recommender: "Recommender") -> int:
    """Return how long a list is: what was asked for, else the usual if there are so many movies."""
    return min(usual, len(recommender.run.catalogue)) if k is None else k


def _say(sentences: Iterable[str]) -> None:
    """Say on stderr what was noticed."""
    for sentence in sentences:
        notes().print(f"note: {sentence}", markup=False)


def _topk_file(
    run: Path,
    users: Path,
    histories: Path | None,
    out: Path,
    unknown: Unknown,
    k: int | None,
    asked: dict[str, Any],
) -> None:
    from retrieval.cli.answers import write_answers
    from retrieval.cli.requests import read_history_file, read_users

    questions = read_users(users)
    given = None if histories is None else read_history_file(histories)
    recommender = _recommender(run, threads=os.cpu_count() or 1)
    sifted = _sifted(recommender, users, questions, given, unknown)
    kept = questions.users[sifted.kept]
    times = None if questions.times is None else questions.times[sifted.kept]
    length = _length(k, TOPK, recommender)
    found = recommender.topk_many(kept, length, times=times, histories=sifted.histories, **asked)
    header = (columns.USER_ID, columns.RANK, columns.MOVIE_ID, columns.SCORE, columns.RATING)
    rows = (
        (user, *row)
        for user, *lists in zip(kept.tolist(), *(f.tolist() for f in found), strict=True)
        for row in _listed(*lists)
    )
    write_answers(out, header, rows)
    notes().print(f"wrote the lists of {len(kept):,} users to {shown(out)}")


def _listed(
    ids: list[int], scores: list[float], ratings: list[float]
) -> Iterator[tuple[int | None, int | None, float | None, float | None]]:
    """Give the rows of one list; where nothing is left, one that is empty."""
    from index.neighbours import NO_ID

    if ids[0] == NO_ID:
        yield None, None, None, None
    for rank, (movie, score, rating) in enumerate(zip(ids, scores, ratings, strict=True), start=1):
        if movie != NO_ID:
            yield rank, movie, score, _finite(rating)


def _rate_file(run: Path, pairs: Path, histories: Path | None, out: Path, unknown: Unknown) -> None:
    from retrieval.cli.answers import write_answers
    from retrieval.cli.requests import read_history_file, read_pairs

    questions = read_pairs(pairs)
    given = None if histories is None else read_history_file(histories)
    recommender = _recommender(run, threads=os.cpu_count() or 1)
    sifted = _sifted(recommender, pairs, questions, given, unknown)
    users, movies = questions.users[sifted.kept], questions.movies[sifted.kept]
    times = None if questions.times is None else questions.times[sifted.kept]
    answers = recommender.rate_many(users, movies, times=times, histories=sifted.histories)
    header = [columns.USER_ID, columns.MOVIE_ID, columns.RATING]
    numbers = [answers.ratings]
    if answers.deviations is not None:
        header.append(columns.DEVIATION)
        numbers.append(answers.deviations)
    answered = (users, movies, *numbers)
    write_answers(out, header, zip(*(column.tolist() for column in answered), strict=True))
    notes().print(f"wrote the ratings of {len(users):,} pairs to {shown(out)}")


def _sifted(
    recommender: "Recommender",
    path: Path,
    questions: "Users | Pairs",
    given: "HistoryFile | None",
    unknown: Unknown,
) -> "Sifted":
    """Return which questions can be answered; say why the others cannot."""
    from retrieval.cli.requests import early_times, in_words, sift

    _say(early_times(recommender.run, questions, given))
    sifted = sift(recommender.run, path, questions, given, unknown)
    _say(in_words(sifted.problems))
    spare = 0 if given is None else len(given.events.keys() - set(questions.users.tolist()))
    if given is not None and spare:
        _say([f"{shown(given.path)} has histories of {spare:,} users who are not asked about"])
    return sifted


def _filter(
    genres: list[str] | None, years: str | None, allow: Path | None, deny: Path | None
) -> "Filter | None":
    from retrieval.cli.requests import read_movie_ids
    from retrieval.serving.filters import Filter, parse_years

    if genres is None and years is None and allow is None and deny is None:
        return None
    return Filter(
        genres=genres,
        years=None if years is None else parse_years(years),
        allow=None if allow is None else read_movie_ids(allow),
        deny=None if deny is None else read_movie_ids(deny),
    )


def _person(
    user: int | None,
    history: str | None,
    gender: str | None,
    age: float | None,
    occupation: str | None,
) -> tuple["Person", str]:
    from retrieval.cli.requests import parse_history
    from retrieval.serving.users import Person

    if all(value is None for value in (user, history, gender, age, occupation)):
        raise RequestError("for whom? give --user 42, or a new user's --history 1193:5,661:3")
    events, adds = parse_history(history) if history is not None else ([], True)
    if history is not None and adds and user is None:
        raise RequestError(
            f"'{shown(history)}' adds to a stored history; give --user, or leave out the +"
        )
    person = Person(
        user_id=user,
        history=None if adds and user is not None else events,
        added=events if adds and user is not None else (),
        gender=gender,
        age=age,
        occupation=occupation,
    )
    return person, "a new user" if user is None else f"user {user}"


def _seconds(at: str | None, run: "Run") -> int | None:
    """Read the time of asking; where a run's times only count events, it is such a count."""
    from retrieval.cli.requests import counts_events
    from retrieval.serving.arguments import parse_time

    if at is None:
        return None
    counts = counts_events(run)
    return parse_time(at, order=counts, years=not counts)


def _check_out(out: Path | None, *inputs: Path | None) -> None:
    from retrieval.cli.answers import check_out

    check_out(_needed(out), [path for path in inputs if path is not None])


def _needed(out: Path | None) -> Path:
    if out is None:
        raise RequestError("where to? give --out FILE.csv for the answers")
    return out


def _refuse(**given: object) -> None:
    """Options that would be ignored are errors."""
    for name, value in given.items():
        if value is not None:
            raise RequestError(
                f"--{name} {shown(value)} has no effect here: one question takes --user or "
                "--history, a file of questions takes --out and --histories"
            )


def _towers(names: str | None) -> list[Towers]:
    """Read names separated by commas; none leaves it to the preset."""
    wanted = [] if names is None else [name.strip() for name in names.split(",")]
    for name in wanted:
        if name not in list(Towers):
            known = ", ".join(Towers)
            raise RequestError(f"unknown towers '{shown(name)}'; there are: {known}")
    return [Towers(name) for name in wanted]


def _kind(name: str) -> Kind | None:
    """Read the kind of an index; None is for measuring to choose."""
    if name == "auto":
        return None
    if name not in list(Kind):
        raise RequestError(f"unknown kind '{shown(name)}'; there are: auto, {', '.join(Kind)}")
    return Kind(name)


def _sizes(text: str) -> list[int]:
    """Read numbers separated by commas."""
    if not all(re.fullmatch(r"\s*0*[1-9][0-9]{0,8}\s*", part) for part in text.split(",")):
        raise RequestError(f"malformed sizes '{shown(text)}'; write 4000,100000")
    return [int(part) for part in text.split(",")]


def _measured(value: float, half_width: float) -> str:
    """Return a figure and its interval, as far as there were questions enough to tell."""
    if not math.isfinite(value):
        return "-"
    return f"{value:.4f}" + (f" ± {half_width:.4f}" if math.isfinite(half_width) else "")


def _finite(value: float) -> float | None:
    """Return what JSON can say: it has no word for infinity or for not a number."""
    return value if math.isfinite(value) else None


def _movie(movie: "Movie") -> dict[str, object]:
    return {
        columns.MOVIE_ID: movie.id,
        columns.TITLE: movie.title,
        columns.YEAR: movie.year,
        columns.GENRES: list(movie.genres),
    }


def _cells(movie: "Movie") -> tuple[int, str, int | None, str]:
    return movie.id, movie.title, movie.year, ", ".join(movie.genres)
