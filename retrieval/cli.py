"""The command line: options and printing; the work is done elsewhere."""

import math
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from index.kinds import Kind
from retrieval import columns
from retrieval.choices import Cut, Device, Preset, RankBy, Towers
from retrieval.display import notes, print_json, print_table, progress
from retrieval.errors import RecError, RequestError

if TYPE_CHECKING:  # these pull in faiss, which --help can do without
    from retrieval.audience import Person
    from retrieval.catalogue import Movie
    from retrieval.filters import Filter

RUNS = Path("runs")

# Of an evaluation side by side in a table; more would not fit a terminal.
METRICS = 4

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
data_app = typer.Typer(no_args_is_help=True, help="Fetch, check or make data.")
app.add_typer(data_app, name="data")

RunOption = Annotated[
    Path | None, typer.Option("--run", help="Folder of the run; default is the newest under runs/.")
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
    typer.Option(help="Time of asking: seconds since 1970, or as in 2000-12-31T20:00."),
]
HistoryOption = Annotated[
    str | None,
    typer.Option(help='Ratings "1193:5,661:3" instead of what is stored; "+1193:5" adds to it.'),
]
GenderOption = Annotated[str | None, typer.Option(help="Of a stranger.")]
AgeOption = Annotated[float | None, typer.Option(help="Of a stranger, in years.")]
OccupationOption = Annotated[str | None, typer.Option(help="Of a stranger, as in the data.")]
HistoriesOption = Annotated[
    Path | None,
    typer.Option(
        help="CSV file user_id,movie_id,rating,timestamp that replaces these users' histories."
    ),
]
OutOption = Annotated[Path | None, typer.Option("--out", help="CSV file for the answers.")]
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
) -> None:
    """Train tower pairs on a data folder."""
    from retrieval.data.layouts import read_folder
    from retrieval.pipeline import train as train_run

    pairs = _towers(towers)
    folder = run or RUNS / datetime.now(UTC).strftime("%Y-%m-%d-%H%M%S")
    with progress() as bars:
        task = bars.add_task(f"reading {data}", total=1)
        frames = read_folder(data)
        bars.update(task, completed=1)
        trained = train_run(frames, str(data), folder, preset, seed, bars, pairs, device)
    said = [f"trained in {trained.seconds:.0f} s"]
    if trained.validation_error is not None:
        rows = f"on {trained.validation_rows:,} ratings held out for validation"
        said.append(f"RMSE {trained.validation_error:.4f} {rows}")
    if trained.watching is not None:
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
    from retrieval.indexing import build_index as build

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
            "No other surely finds more in less time",
            ("", *front[0].facts()),
            [("*" if trial is chosen else "", *trial.facts().values()) for trial in front],
        )
        if chosen.least < target_recall:
            notes().print(
                f"no effort tried surely reaches {target_recall:g}; this one comes nearest"
            )
    size = f"{card.count:,} movies x {card.dimension}"
    notes().print(f"indexed {size} into {folder / 'index'}, kind {card.kind}")


@app.command("add-movies")
def add_movies(
    movies: Annotated[Path, typer.Argument(help="File movie_id,title,genres[,year,...] or .dat.")],
    run: RunOption = None,
) -> None:
    """Add movies that nobody has rated yet to a run and its index, without training again."""
    from retrieval.data.layouts import read_movies
    from retrieval.indexing import add_movies as add

    folder = _run(run)
    frame = read_movies(movies)
    count = add(folder, frame)
    notes().print(f"added {count:,} of {len(frame):,} movies to {folder}; it had the others")


@app.command()
def topk(
    run: RunOption = None,
    user: UserOption = None,
    k: Annotated[int, typer.Option("--k", help="How many movies.")] = 20,
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
    as_json: JsonOption = False,
) -> None:
    """List what a user should watch, best first."""
    from retrieval.recommender import Recommender

    lists: dict[str, Any] = {
        "k": k,
        "rank_by": rank_by,
        "wanted": _filter(genre, year, allow, deny),
        "diversity": diversity,
        "include_seen": include_seen,
    }
    if users is not None:
        _refuse(user=user, history=history, gender=gender, age=age, occupation=occupation, at=at)
        _topk_file(_run(run), users, histories, _needed(out), lists)
        return
    _refuse(histories=histories, out=out)
    person, name = _person(user, history, gender, age, occupation)
    rows = Recommender.load(_run(run)).topk(person, at=_seconds(at), **lists)
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
    as_json: JsonOption = False,
) -> None:
    """Predict how a user would rate a movie."""
    from retrieval.recommender import Recommender

    if pairs is not None:
        _refuse(user=user, movie=movie, history=history, gender=gender, age=age)
        _refuse(occupation=occupation, at=at)
        _rate_file(_run(run), pairs, histories, _needed(out))
        return
    _refuse(histories=histories, out=out)
    if movie is None:
        raise RequestError('which movie? give --movie 1193 or --movie "toy story"')
    person, name = _person(user, history, gender, age, occupation)
    answer = Recommender.load(_run(run)).rate(person, movie, at=_seconds(at))
    if as_json:
        print_json(
            {columns.USER_ID: user, **_movie(answer.movie), columns.RATING: answer.rating}
            | {columns.DEVIATION: answer.deviation}
        )
        return
    spread = "" if answer.deviation is None else f" ± {answer.deviation:.2f}"
    print(f"{name} would rate {answer.movie} [{answer.movie.id}] {answer.rating:.2f}{spread}")


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
    from retrieval.recommender import Recommender

    person, name = _person(user, history, gender, age, occupation)
    found = Recommender.load(_run(run)).explain(person, movie, by=rank_by, at=_seconds(at))
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
    k: Annotated[int, typer.Option("--k", help="How many movies.")] = 10,
    as_json: JsonOption = False,
) -> None:
    """List the movies whose vectors are nearest in direction to a movie's."""
    from retrieval.recommender import Recommender

    recommender = Recommender.load(_run(run))
    rows = recommender.similar(movie, k)
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
    from retrieval.run import open_run

    found = open_run(_run(run)).catalogue.search(text, limit)
    if as_json:
        print_json([_movie(movie) for movie in found])
        return
    print_table(
        f"Movies called something like {text!r}",
        ("id", "title", "year", "genres"),
        [_cells(movie) for movie in found],
    )


@app.command()
def info(run: RunOption = None, as_json: JsonOption = False) -> None:
    """Show what a run is and how good it was in validation."""
    from retrieval.run import describe_run, open_run

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
    from retrieval.run import open_run

    pairs = _towers(towers)
    frames = read_folder(data)
    with TemporaryDirectory() as scratch, progress() as bars:
        folder = run or Path(scratch) / "run"
        results = evaluate_run(
            frames, str(data), protocol, preset, seed, folder, bars, pairs, device
        )
        seconds = open_run(folder).config.training_seconds
    notes().print(f"trained in {seconds:.0f} s")
    if as_json:
        print_json(
            [
                {"system": result.system, "questions": result.questions, "count": result.count}
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
                    *("{:.4f} ± {:.4f}".format(*result.metrics[name]) for name in part),
                )
                for result in results
            ],
        )


@app.command()
def bench(
    run: RunOption = None,
    events: Annotated[
        int, typer.Option(min=0, help="Ask for users with about so many ratings.")
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
    from retrieval.bench import all_at_once, by_size, cold_start, of_each, one_by_one
    from retrieval.recommender import Recommender

    folder, wanted = _run(run), [_kind(name.strip()) for name in (kinds or "").split(",") if name]
    counts = _sizes(sizes)
    recommender = Recommender.load(folder)
    with progress() as bars:
        task = bars.add_task("users one by one", total=None)
        latency = one_by_one(recommender, events)
        bars.update(task, description="from a cold start")
        cold = cold_start(recommender.run)
        bars.update(task, description="all users")
        everyone = all_at_once(Recommender.load(folder, threads=os.cpu_count() or 1))
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
        "scale": f"{frames.scale.lowest:g} to {frames.scale.highest:g} by {frames.scale.step:g}",
    }
    if as_json:
        print_json(facts)
        return
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
    """Run the command line; what a user can mend is one line on stderr and exit code 1."""
    try:
        app()
    except RecError as error:
        notes().print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        sys.exit(1)
    except BrokenPipeError:
        # Whoever was reading, head for one, has had enough; keep Python from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _run(run: Path | None) -> Path:
    from retrieval.run import newest_run

    return run or newest_run(RUNS)


def _topk_file(
    run: Path, users: Path, histories: Path | None, out: Path, asked: dict[str, Any]
) -> None:
    from index.neighbours import NO_ID
    from retrieval.recommender import Recommender
    from retrieval.requests import read_histories, read_users, write_answers

    questions = read_users(users)
    given = None if histories is None else read_histories(histories)
    recommender = Recommender.load(run, threads=os.cpu_count() or 1)
    found = recommender.topk_many(questions.users, times=questions.times, histories=given, **asked)
    header = (columns.USER_ID, columns.RANK, columns.MOVIE_ID, columns.SCORE, columns.RATING)
    rows = (
        (user, rank, movie, f"{score:.6f}", "" if math.isnan(rating) else f"{rating:.6f}")
        for user, *lists in zip(questions.users.tolist(), *(f.tolist() for f in found), strict=True)
        for rank, (movie, score, rating) in enumerate(zip(*lists, strict=True), start=1)
        if movie != NO_ID
    )
    write_answers(out, header, rows)
    notes().print(f"wrote the lists of {len(questions.users):,} users to {out}")


def _rate_file(run: Path, pairs: Path, histories: Path | None, out: Path) -> None:
    from retrieval.recommender import Recommender
    from retrieval.requests import read_histories, read_pairs, write_answers

    questions = read_pairs(pairs)
    given = None if histories is None else read_histories(histories)
    recommender = Recommender.load(run, threads=os.cpu_count() or 1)
    answers = recommender.rate_many(
        questions.users, questions.movies, times=questions.times, histories=given
    )
    header = [columns.USER_ID, columns.MOVIE_ID, columns.RATING]
    numbers = [answers.ratings]
    if answers.deviations is not None:
        header.append(columns.DEVIATION)
        numbers.append(answers.deviations)
    rows = (
        (user, movie, *(f"{value:.6f}" for value in values))
        for user, movie, *values in zip(
            questions.users.tolist(), questions.movies.tolist(), *numbers, strict=True
        )
    )
    write_answers(out, header, rows)
    notes().print(f"wrote the ratings of {len(answers.ratings):,} pairs to {out}")


def _filter(
    genres: list[str] | None, years: str | None, allow: Path | None, deny: Path | None
) -> "Filter | None":
    from retrieval.filters import Filter, parse_years
    from retrieval.requests import read_movie_ids

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
    from retrieval.audience import Person
    from retrieval.requests import parse_history

    if all(value is None for value in (user, history, gender, age, occupation)):
        raise RequestError("for whom? give --user 42, or a stranger's --history 1193:5,661:3")
    events, adds = parse_history(history) if history is not None else ([], True)
    if history is not None and adds and user is None:
        raise RequestError(f"{history!r} adds to a stored history; give --user, or leave out the +")
    person = Person(
        user_id=user,
        history=None if adds and user is not None else events,
        added=events if adds and user is not None else (),
        gender=gender,
        age=age,
        occupation=occupation,
    )
    return person, "a stranger" if user is None else f"user {user}"


def _seconds(at: str | None) -> int | None:
    if at is None or at.isdecimal():
        return None if at is None else int(at)
    try:
        moment = datetime.fromisoformat(at)
    except ValueError as error:
        raise RequestError(
            f"malformed time {at!r}; give seconds since 1970, or a date as in 2000-12-31T20:00"
        ) from error
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def _needed(out: Path | None) -> Path:
    if out is None:
        raise RequestError("where to? give --out FILE.csv for the answers")
    return out


def _refuse(**given: object) -> None:
    """Options that would be ignored are errors."""
    for name, value in given.items():
        if value is not None:
            raise RequestError(
                f"--{name} {value} has no effect here: one question takes --user or --history, "
                "a file of questions takes --out and --histories"
            )


def _towers(names: str | None) -> list[Towers]:
    """Read names separated by commas; none leaves it to the preset."""
    wanted = [] if names is None else [name.strip() for name in names.split(",")]
    for name in wanted:
        if name not in list(Towers):
            known = ", ".join(Towers)
            raise RequestError(f"unknown towers {name!r}; there are: {known}")
    return [Towers(name) for name in wanted]


def _kind(name: str) -> Kind | None:
    """Read the kind of an index; None is for measuring to choose."""
    if name == "auto":
        return None
    if name not in list(Kind):
        raise RequestError(f"unknown kind {name!r}; there are: auto, {', '.join(Kind)}")
    return Kind(name)


def _sizes(text: str) -> list[int]:
    """Read numbers separated by commas."""
    if not all(part.strip().isdecimal() and int(part) for part in text.split(",")):
        raise RequestError(f"malformed sizes {text!r}; write 4000,100000")
    return [int(part) for part in text.split(",")]


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
