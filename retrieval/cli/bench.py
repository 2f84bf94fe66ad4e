"""The command that measures how long answers take.

`rec bench --json` prints run; one_user: users, events (on average), faiss_alone_milliseconds, and
stored, added and again (with histories as stored, with one rating more, and with another one after
that), each with p50, p95 and p99 in milliseconds and stages: name and milliseconds;
cold_start_seconds; all_users: users and seconds; and catalogues: movies, kind and what was measured
of each index that was tried. With --store it prints run and stores: movies, engine, kind, ef,
recall, recall_at_least, milliseconds and load_seconds of FAISS and each store.
"""

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from retrieval.cli.catalogue import SPARE_OF_TRIALS, trial_table
from retrieval.cli.options import (
    JsonOption,
    QuietOption,
    RecallOption,
    RunOption,
    SeedOption,
    kind_of,
    run_or_newest,
)
from retrieval.cli.output import print_json, print_table
from retrieval.cli.progress import progress
from retrieval.cli.question import recommender_of
from retrieval.errors import RequestError, shown
from retrieval.progress import Stage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from index.kinds import Kind
    from retrieval.evaluation.latency import Latency, OneByOne, Sized
    from retrieval.serving.recommender import Recommender

STAGES = {
    "users one by one": 30.0,
    "from a cold start": 5.0,
    "all users": 10.0,
    "larger catalogues": 120.0,
}


def bench(
    run: RunOption = None,
    events: Annotated[
        int, typer.Option(min=0, max=10**9, help="Ask for users with about so many ratings.")
    ] = 200,
    sizes: Annotated[
        str, typer.Option(help="Sizes of catalogues like the run's, as in 4000,100000.")
    ] = "4000,100000",
    kinds: Annotated[
        str | None, typer.Option(help="Kinds of index to measure in them; by default all.")
    ] = None,
    target_recall: RecallOption = 0.98,
    store: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL",
            help="Vector store to measure beside FAISS, and nothing else; may be given again.",
        ),
    ] = None,
    seed: SeedOption = 0,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Measure how long answers take, here and in larger catalogues."""
    counts, wanted = _sizes(sizes), _kinds(kinds)
    folder = run_or_newest(run)
    from retrieval.evaluation.latency import all_at_once, by_size, cold_start, of_each, one_by_one
    from retrieval.pipeline.indexing import check_target

    check_target(target_recall)
    recommender = recommender_of(folder)
    if store:
        _bench_stores(recommender, store, counts, target_recall, seed, quiet=quiet, as_json=as_json)
        return
    measured = []
    with progress(quiet=quiet) as shows:
        shows.plan([Stage(name, cost) for name, cost in STAGES.items()])
        names = iter(STAGES)
        shows.stage(next(names))
        latency = one_by_one(recommender, events)
        shows.stage(next(names))
        cold = cold_start(recommender.run)
        shows.stage(next(names))
        everyone = all_at_once(recommender_of(folder, threads=os.cpu_count() or 1))
        shows.stage(next(names), len(counts) * len(wanted))
        before = None
        for row in by_size(recommender, counts, target_recall, wanted, seed):
            measured.append(row)
            shows.say(f"{row.movies:,} movies, {row.trial.kind}")
            if before not in {None, (row.movies, row.trial.kind)}:
                shows.advance()
            before = (row.movies, row.trial.kind)
    users = len(recommender.run.users)
    if as_json:
        print_json(
            {
                "run": str(folder),
                "one_user": _one_user(latency),
                "cold_start_seconds": cold,
                "all_users": {"users": users, "seconds": everyone},
                "catalogues": [{"movies": row.movies, **row.trial.as_dict()} for row in measured],
            }
        )
        return
    _print_one_user(latency)
    print(f"from nothing, with its own process: {cold:.2f} s")
    print(f"the lists of all {users:,} users: {everyone:.2f} s")
    _print_catalogues(of_each(measured, target_recall), target_recall)


def _bench_stores(
    recommender: "Recommender",
    urls: list[str],
    counts: list[int],
    target_recall: float,
    seed: int,
    *,
    quiet: bool,
    as_json: bool,
) -> None:
    """Measure stores and FAISS in one run."""
    from index.kinds import Kind
    from retrieval.evaluation.stores import beside_faiss
    from retrieval.run.stores import store_address

    addresses = [store_address(url) for url in urls]
    rows = []
    with progress(quiet=quiet) as shows:
        shows.plan([Stage("stores beside FAISS", 1.0)])
        shows.stage("stores beside FAISS", 2 * len(counts) * (1 + len(addresses)))
        for row in beside_faiss(recommender, addresses, counts, target_recall, seed):
            rows.append(row)
            shows.say(f"{row.movies:,} movies, {row.trial.engine} {row.trial.kind}")
            shows.advance()
    if as_json:
        print_json({"run": str(recommender.run.home), "stores": [row.as_dict() for row in rows]})
        return
    print_table(
        f"Lists of 20 without seen movies, fastest to find {target_recall:g}, one at a time",
        ("movies", "engine", "kind", "ef", "recall", "at least", "ms", "load s"),
        [
            (
                f"{row.movies:,}",
                row.trial.engine,
                row.trial.kind,
                row.trial.parameters.ef if row.trial.kind is Kind.HNSW else None,
                f"{row.trial.recall:.4f}",
                f"{row.trial.least:.4f}",
                f"{row.trial.milliseconds:.3f}",
                f"{row.load_seconds:.1f}",
            )
            for row in rows
        ],
    )


def _one_user(latency: "OneByOne") -> dict[str, object]:
    """Return what the answers to one user after another take, for programs."""

    def facts(answers: "Latency") -> Mapping[str, object]:
        stages = [{"name": name, "milliseconds": spent} for name, spent in answers.stages.items()]
        return {"p50": answers.p50, "p95": answers.p95, "p99": answers.p99, "stages": stages}

    return {
        "users": latency.users,
        "events": latency.events,
        "stored": facts(latency.stored),
        "added": facts(latency.added),
        "again": facts(latency.again),
        "faiss_alone_milliseconds": latency.bare,
    }


def _print_one_user(latency: "OneByOne") -> None:
    stored, added, again = (
        answers.stages
        | {"p50": answers.p50, "p95": answers.p95, "p99": answers.p99, "FAISS alone": latency.bare}
        for answers in (latency.stored, latency.added, latency.again)
    )
    print_table(
        f"The list of 20 of a user with {latency.events:.0f} ratings on average, one thread, ms",
        ("stage", "as stored", "one rating more", "and another"),
        [
            (
                name,
                *(f"{each[name]:.3f}" if name in each else "" for each in (stored, added, again)),
            )
            for name in added
        ],
        keys=1,
    )


def _print_catalogues(rows: "Sequence[Sized]", target_recall: float) -> None:
    header, cells = trial_table([row.trial for row in rows])
    print_table(
        f"Catalogues like the run's: fastest to find {target_recall:g} of the best 20, or nearest",
        ("movies", *header),
        [(f"{row.movies:,}", *of_row) for row, of_row in zip(rows, cells, strict=True)],
        spare=SPARE_OF_TRIALS,
    )


def _kinds(text: str | None) -> "list[Kind]":
    """Read kinds of index separated by commas; none is all."""
    from index.kinds import Kind

    named = [kind_of(name) for name in (text or "").split(",") if name.strip()]
    return [kind for kind in named if kind is not None] or list(Kind)


def _sizes(text: str) -> list[int]:
    """Read numbers separated by commas."""
    if not all(re.fullmatch(r"\s*0*[1-9][0-9]{0,8}\s*", part) for part in text.split(",")):
        raise RequestError(f"malformed sizes '{shown(text)}'; write 4000,100000")
    return [int(part) for part in text.split(",")]
