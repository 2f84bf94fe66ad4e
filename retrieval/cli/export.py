"""The command that writes what other systems answer from: vectors, attributes, user towers.

`rec export --json` prints run, folder, movies, users (of how many questions), dimension, rank_by
and bytes.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from retrieval.cli.display import note, remark
from retrieval.cli.options import (
    AtOption,
    JsonOption,
    QuietOption,
    RankOption,
    RunOption,
    SittingOption,
    run_or_newest,
)
from retrieval.cli.output import print_json
from retrieval.cli.progress import progress
from retrieval.cli.question import seconds_of
from retrieval.errors import RequestError, shown
from retrieval.options import Unknown

if TYPE_CHECKING:
    from retrieval.cli.requests import Users
    from retrieval.run.folder import Run

# What is written of users, where it is not those of a file.
ALL, NONE = "all", "none"


def export(
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Folder to write.")],
    run: RunOption = None,
    users: Annotated[
        str,
        typer.Option(
            metavar=f"{ALL}|{NONE}|FILE",
            help="Users whose query vectors are written; a file has user_id[,timestamp].",
        ),
    ] = ALL,
    at: AtOption = None,
    in_sitting: SittingOption = False,
    rank_by: RankOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write vectors, attributes and towers, from which any other system can answer."""
    from retrieval.pipeline.exporting import export as write_export
    from retrieval.run.folder import open_run
    from retrieval.serving.threads import configure_threads

    configure_threads()
    folder = run_or_newest(run)
    opened = open_run(folder)
    asked = _users_of(users, opened)
    seconds = seconds_of(at, opened)
    if asked is not None and asked.times is not None and seconds is not None:
        raise RequestError(f"--at and the timestamps of {shown(users)} are two; leave one out")
    with progress(quiet=quiet) as shows:
        done = write_export(
            folder,
            out,
            users=None if asked is None else asked.users,
            at=seconds if asked is None or asked.times is None else asked.times,
            rank_by=rank_by,
            in_sitting=in_sitting,
            threads=os.cpu_count() or 1,
            progress=shows,
        )
    if as_json:
        print_json(
            {
                "run": str(folder),
                "folder": str(out),
                "movies": done.movies,
                "users": done.users,
                "dimension": done.dimension,
                "rank_by": done.rank_by,
                "bytes": done.bytes,
            }
        )
    note(
        f"{done.movies:,} movies and {done.users:,} users, vectors of {done.dimension} components, "
        f"ranked by {done.rank_by}: {done.bytes / 1e6:,.1f} MB in {shown(out)}"
    )


def _users_of(users: str, run: "Run") -> "Users | None":
    """Return the users that an option names; None is all.

    Raises:
        RequestError: The file cannot be read.
        DataError: It has bad lines, or users that the run does not know.
    """
    import numpy as np

    from retrieval.cli.requests import Users, early_times, read_users, sift, text_ids

    match users.strip():
        case word if word == ALL:
            return None
        case word if word == NONE:
            return Users(run.users.ids[:0], None, np.zeros(0, np.int64))
    path = Path(users)
    questions = read_users(path, text_ids(run))
    remark(*early_times(run, questions, None))
    sift(run, path, questions, None, Unknown.ERROR, "leave the user out of the file")
    return questions
