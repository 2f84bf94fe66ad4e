"""Commands about the log of a service: what it was told, and the data of the next training.

`rec events export --json` prints run, folder, events, events_of_log, forgotten_users, movies,
new_movies, log and until (the last entry whose events are there). `rec events show --json` prints
log, head, kinds (how many entries of each), days (day, and how many of each kind) and newest
(sequence, kind, user_id, movie_id, rating, timestamp and received).
"""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from retrieval.cli.display import note
from retrieval.cli.options import DatabaseOption, JsonOption, QuietOption, RunOption, run_or_newest
from retrieval.cli.output import print_json, print_table
from retrieval.cli.progress import progress
from retrieval.cli.source import SourceOption, chosen_source
from retrieval.errors import shown

if TYPE_CHECKING:
    from retrieval.service.log import Entry, Log


def export(
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Folder to write.")],
    run: RunOption = None,
    database: DatabaseOption = None,
    data: SourceOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write the data of the next training: those of the run, and the events of the log since.

    Without --data, the data are those that the run was trained on.
    """
    from retrieval.service.export import export as export_data

    folder = run_or_newest(run)
    log = chosen_log(database, folder)
    with progress(quiet=quiet) as shows:
        done = export_data(folder, log, out, chosen_source(data, None), progress=shows)
    log.close()
    if as_json:
        print_json(
            {
                "run": str(folder),
                "folder": str(out),
                "events": done.events,
                "events_of_log": done.from_log,
                "forgotten_users": done.forgotten_users,
                "movies": done.movies,
                "new_movies": done.new_movies,
                "log": done.mark.log,
                "until": done.mark.until,
            }
        )
    left_out = f"; left out: {done.forgotten_users:,} users" if done.forgotten_users else ""
    note(
        f"{done.events:,} events, {done.from_log:,} of them of the log, and {done.movies:,} "
        f"movies, {done.new_movies:,} of them new{left_out}; train with rec train --config "
        f"{shown(out)}/rec.toml"
    )


def show(
    run: RunOption = None,
    database: DatabaseOption = None,
    newest: Annotated[int, typer.Option(min=0, help="Number of the newest entries to show.")] = 10,
    days: Annotated[int, typer.Option(min=1, help="Number of the last days to count.")] = 14,
    as_json: JsonOption = False,
) -> None:
    """Show what the service was told: how many entries of each kind a day, and the newest."""
    from retrieval.service.log import Kind
    from retrieval.service.reading import summary

    log = chosen_log(database, run)
    found = summary(log, newest)
    log.close()
    whole: Counter[Kind] = Counter()
    for counted in found.days.values():
        whole.update(counted)
    last = sorted(found.days, reverse=True)[:days]
    if as_json:
        print_json(
            {
                "log": found.log,
                "head": found.head,
                "kinds": dict(whole),
                "days": [{"day": day, **found.days[day]} for day in last],
                "newest": [_facts(entry) for entry in found.newest],
            }
        )
        return
    kinds = [kind for kind in Kind if whole[kind]]
    print_table(
        "Entries of the log by the day that they came in, UTC",
        ("day", *kinds),
        [
            *([day, *(found.days[day][kind] for kind in kinds)] for day in last),
            ["all", *(whole[kind] for kind in kinds)],
        ],
    )
    if found.newest:
        print_table(
            "The newest",
            ("entry", "kind", "user", "movie", "rating", "happened", "came in"),
            [
                (
                    entry.sequence,
                    entry.kind,
                    entry.user_id,
                    entry.movie_id,
                    None if entry.rating is None else f"{entry.rating:g}",
                    None if entry.timestamp is None else _moment(entry.timestamp),
                    _moment(entry.received),
                )
                for entry in found.newest
            ],
        )


def chosen_log(database: str | None, run: Path | None) -> "Log":
    """Open the log that an option names, or the one beside a run.

    Args:
        database: What is named.
        run: Folder of the run; None is the newest one.

    Raises:
        RequestError: There is no such log.
        LogError: The database cannot be reached.
    """
    from retrieval.service.export import existing_log
    from retrieval.service.settings import database_beside

    return existing_log(database or database_beside(run_or_newest(run)))


def _moment(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"


def _facts(entry: "Entry") -> dict[str, object]:
    return {
        "sequence": entry.sequence,
        "kind": entry.kind,
        "user_id": entry.user_id,
        "movie_id": entry.movie_id,
        "rating": entry.rating,
        "timestamp": entry.timestamp,
        "received": entry.received,
    }
