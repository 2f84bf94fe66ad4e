"""Commands about runs: what one is, which there are, and which can go.

`rec info --json` prints what `retrieval.run.folder.describe_run` returns. `rec runs --json` prints
folder and runs: run, created, data, preset, pairs, validation_rmse, validation_ndcg, bytes,
versions, whole, state (a word, or what is the matter), being_written, and checkpoint_bytes (null
without one).
`rec runs prune --json` prints folder, dry_run and removed: run, bytes, and checkpoint (true where
only the checkpoint goes). `rec runs versions --json` prints run and versions: what
`retrieval.run.promotion.VersionSummary` has of each, and promotable. `rec runs promote --json` and
`rec runs rollback --json` print run and answering.
"""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from retrieval.cli.display import agreed, note, remark
from retrieval.cli.options import RUNS, JsonOption, RunOption, run_or_newest
from retrieval.cli.output import print_json, print_table
from retrieval.errors import RequestError, RunError, shown

if TYPE_CHECKING:
    from retrieval.run.listing import ListedRun
    from retrieval.run.promotion import VersionSummary
    from retrieval.run.pruning import Removal

FolderOption = Annotated[Path, typer.Option("--in", help="Folder that the runs lie in.")]

# Columns that a narrow table can do without, the first one first.
SPARE = ("versions", "preset", "size", "data", "created")


def info(run: RunOption = None, as_json: JsonOption = False) -> None:
    """Show what a run is and how good it was in validation."""
    from retrieval.run.folder import describe_run, open_run

    facts = describe_run(open_run(run_or_newest(run)))
    if as_json:
        print_json(facts)
        return
    rows = [
        (name.replace("_", " "), _cell(value)) for name, value in facts.items() if name != "schema"
    ]
    print_table(str(facts["run"]), ("what", "value"), rows)


def runs(context: typer.Context, folder: FolderOption = RUNS, as_json: JsonOption = False) -> None:
    """List runs: when they were trained, on what, how good they are, and whether they are whole."""
    if context.invoked_subcommand is not None:
        given = [
            option
            for name, option in (("folder", "--in"), ("as_json", "--json"))
            if (source := context.get_parameter_source(name)) and source.name == "COMMANDLINE"
        ]
        if given:
            raise RequestError(
                f"{' and '.join(given)} before {context.invoked_subcommand} would have no effect; "
                f"write rec runs {context.invoked_subcommand} {given[0]} ..."
            )
        return
    from retrieval.run.listing import list_runs
    from retrieval.run.pruning import megabytes

    found = list_runs(folder)
    if as_json:
        print_json({"folder": str(folder), "runs": [_facts(run) for run in found]})
        return
    if not found:
        remark(f"no run under {shown(folder)}/; make one with rec train --data FOLDER")
        return
    print_table(
        f"Runs under {folder}/",
        ("run", "created", "data", "preset", "RMSE", "NDCG@10", "size", "versions", "state"),
        [
            (
                run.folder.name,
                f"{run.created:%Y-%m-%d %H:%M}" if run.created else None,
                None if run.data is None else Path(run.data).name,
                run.preset,
                None if run.rmse is None else f"{run.rmse:.4f}",
                None if run.ndcg is None else f"{run.ndcg:.4f}",
                megabytes(run.size),
                run.versions,
                _state(run),
            )
            for run in found
        ],
        spare=SPARE,
    )


def prune(
    keep: Annotated[int, typer.Option(min=1, help="Number of the newest whole runs to keep.")],
    folder: FolderOption = RUNS,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would go, and remove nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Remove without asking.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove runs older than the newest whole ones, and checkpoints older than a whole run.

    What is being written stays, and so does everything that is no run.
    """
    from retrieval.run.listing import list_runs
    from retrieval.run.pruning import megabytes, removable, remove_run

    if not folder.is_dir() and folder != RUNS:
        raise RequestError(
            f"there is no folder {shown(folder)}; name one that holds runs with --in"
        )
    found = removable(list_runs(folder), keep)
    for removal in found:
        note(f"{'would remove' if dry_run else 'to remove'}: {removal}")
    what = "this" if len(found) == 1 else f"these {len(found)}"
    remedy = "give --yes to remove this, or --dry-run to see it only"
    if found and not dry_run and not yes and not agreed(f"remove {what}?", remedy):
        note("nothing is removed")
        return
    removed = []
    for removal in found:
        try:
            if not dry_run:
                remove_run(removal)
        except RunError as error:
            remark(str(error))
        else:
            removed.append(removal)
    if as_json:
        print_json(
            {"folder": str(folder), "dry_run": dry_run, "removed": list(map(_gone, removed))}
        )
    freed = sum(removal.size for removal in removed)
    verb = "would be removed" if dry_run else "removed"
    note(f"{verb}: {len(removed)}, {megabytes(freed)}" if found else "there is nothing to remove")


def upgrade(
    folder: Annotated[Path | None, typer.Argument(hidden=True)] = None,
    run: Annotated[
        Path | None, typer.Option("--run", help="Folder of a run of the previous format.")
    ] = None,
) -> None:
    """Write a run of the previous format as a version of this one; its answers stay the same."""
    from retrieval.pipeline.upgrading import upgrade as upgrade_run

    chosen = run or folder
    if chosen is None:
        raise RequestError("which run? give its folder, as in rec runs upgrade --run runs/old")
    done = upgrade_run(chosen)
    note(f"{shown(chosen)} is {'' if done else 'already '}of the format of this program")


def verify(run: RunOption = None) -> None:
    """Read every file of a run and compare it with what was written, its index too."""
    from retrieval.run.folder import open_index, open_run
    from retrieval.run.manifest import checked_sums
    from retrieval.run.versions import current

    folder = run_or_newest(run)
    files = checked_sums(current(folder), whole=True)
    open_index(open_run(folder))
    note(f"{shown(folder)} is whole: {len(files)} files and the index are as they were written")


def versions(run: RunOption = None, as_json: JsonOption = False) -> None:
    """List the versions that a run keeps, and which of them answers."""
    from retrieval.run.promotion import versions as versions_of

    folder = run_or_newest(run)
    found = versions_of(folder)
    if as_json:
        facts = [{**asdict(each), "promotable": each.promotable} for each in found]
        print_json({"run": str(folder), "versions": facts})
        return
    print_table(
        f"Versions of {folder}",
        ("", "version", "created", "preset", "RMSE", "NDCG@10", "events", "users", "state"),
        [
            (
                "*" if each.answering else "",
                each.name,
                each.created and each.created[:16].replace("T", " "),
                each.preset,
                None if each.validation_rmse is None else f"{each.validation_rmse:.4f}",
                None if each.validation_ndcg is None else f"{each.validation_ndcg:.4f}",
                None if each.events is None else f"{each.events:,}",
                None if each.users is None else f"{each.users:,}",
                _standing(each),
            )
            for each in found
        ],
        spare=("preset", "users", "events", "created"),
    )


def promote(
    version: Annotated[
        str, typer.Argument(metavar="VERSION", help="Name of the version, as rec runs versions.")
    ],
    run: RunOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let another version answer that the run keeps; the one that answered is kept."""
    from retrieval.run.promotion import promote as promote_version

    folder = run_or_newest(run)
    promote_version(folder, version)
    _answering(folder, version, as_json=as_json)


def rollback(run: RunOption = None, as_json: JsonOption = False) -> None:
    """Let the version answer that answered before; the one that answered is kept."""
    from retrieval.run.promotion import rollback as roll_back

    folder = run_or_newest(run)
    _answering(folder, roll_back(folder), as_json=as_json)


def _answering(folder: Path, version: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"run": str(folder), "answering": version})
    note(f"{shown(folder)} answers from {shown(version)}")


def _standing(version: "VersionSummary") -> str:
    """Return what a version is to its run, or what is the matter with it."""
    from retrieval.run.listing import WHOLE

    if version.state != WHOLE:
        return f"answers, {version.state}" if version.answering else version.state
    if version.answering:
        return "answers"
    return "answered before" if version.answered else "candidate"


def _state(run: "ListedRun") -> str:
    """Return what is the matter with a run, in words."""
    words = [run.state]
    if run.held:
        words.append("being written")
    elif run.is_run and run.checkpoint:
        words.append("unfinished training")
    return ", ".join(words)


def _facts(run: "ListedRun") -> dict[str, object]:
    return {
        "run": str(run.folder),
        "created": None if run.created is None else run.created.isoformat(),
        "data": run.data,
        "preset": run.preset,
        "pairs": list(run.pairs),
        "validation_rmse": run.rmse,
        "validation_ndcg": run.ndcg,
        "bytes": run.size,
        "versions": run.versions,
        "whole": run.whole,
        "state": run.state,
        "being_written": run.held,
        "checkpoint_bytes": run.checkpoint,
    }


def _gone(removal: "Removal") -> dict[str, object]:
    return {
        "run": str(removal.run.folder),
        "bytes": removal.size,
        "checkpoint": removal.checkpoint,
    }


def _cell(value: object) -> str:
    match value:
        case None:
            return "-"
        case list() | tuple():
            return ", ".join(map(str, value))
        case dict():
            return ", ".join(f"{name} {each}" for name, each in value.items())
        case _:
            return str(value)
