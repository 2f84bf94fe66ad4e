"""The command that trains a run again on what its service was told.

`rec retrain --json` prints run, answering, candidate (null where there was nothing to learn),
promoted, why, questions, forgotten_users and compared: measure, current, candidate, gain and
half_width (of the 95 % interval of the gain). The exit status is 1 where the candidate is worse.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from retrieval.cli.display import note
from retrieval.cli.events import chosen_log
from retrieval.cli.options import (
    DatabaseOption,
    DeviceOption,
    JsonOption,
    KeepOption,
    PresetOption,
    QuietOption,
    RunOption,
    SetOption,
    run_or_newest,
)
from retrieval.cli.output import print_json, print_table
from retrieval.cli.progress import progress
from retrieval.cli.source import SourceOption, chosen_source
from retrieval.cli.train import chosen_settings, settings_changes
from retrieval.errors import shown
from retrieval.options import Device

if TYPE_CHECKING:
    from retrieval.service.retraining import Retrained


def retrain(
    run: RunOption = None,
    database: DatabaseOption = None,
    data: SourceOption = None,
    preset: PresetOption = None,
    changes: SetOption = None,
    device: DeviceOption = Device.AUTO,
    keep: KeepOption = 3,
    tolerance: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Share of its figures by which the new version may be worse than chance explains.",
        ),
    ] = 0.0,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train a run again on what its service was told; promote the version if it is not worse.

    Both versions are asked about the newest events, which neither was trained on. A version that is
    worse is kept: rec runs promote lets it answer all the same. Settings and data are by default
    those of the run.
    """
    from retrieval.run.folder import open_run
    from retrieval.service.retraining import retrain as retrain_run
    from retrieval.service.retraining import settings_of_run

    folder, settings = run_or_newest(run), None
    if preset is not None:
        pairs = ",".join(open_run(folder).config.settings)
        settings = chosen_settings(preset, pairs, None, changes)
    elif changes:
        settings = settings_of_run(open_run(folder).config).changed(settings_changes(changes))
    log = chosen_log(database, folder)
    with progress(quiet=quiet) as shows:
        done = retrain_run(
            folder,
            log,
            chosen_source(data, None),
            settings,
            keep=keep,
            tolerance=tolerance,
            device=device,
            progress=shows,
        )
    log.close()
    if as_json:
        print_json({"run": str(folder), **_facts(done)})
    elif done.compared:
        print_table(
            f"{done.questions:,} events that neither version was trained on",
            ("measure", "answering", "candidate", "gain", "interval"),
            [
                (
                    each.measure,
                    f"{each.current:.4f}",
                    f"{each.candidate:.4f}",
                    f"{each.gain.value:+.4f}",
                    f"{each.gain.half_width:.4f}",
                )
                for each in done.compared
            ],
        )
    if done.candidate is None:
        note(f"nothing to learn: {done.why}")
    elif done.promoted:
        note(f"{shown(folder)} answers from {done.candidate}: it is {done.why}")
    else:
        note(
            f"{shown(folder)} goes on answering as before: {done.candidate} is {done.why}; to let "
            f"it answer all the same: rec runs promote {done.candidate} --run {shown(folder)}"
        )
        raise typer.Exit(1)


def _facts(done: "Retrained") -> dict[str, object]:
    return {
        "answering": done.candidate if done.promoted else done.current,
        "candidate": done.candidate,
        "promoted": done.promoted,
        "why": done.why,
        "questions": done.questions,
        "forgotten_users": done.forgotten,
        "compared": [
            {
                "measure": each.measure,
                "current": each.current,
                "candidate": each.candidate,
                "gain": each.gain.value,
                "half_width": each.gain.half_width,
            }
            for each in done.compared
        ],
    }
