"""The command that evaluates: ratings are held out, and answers scored beside baselines.

`rec evaluate --json` prints run (null where it is not kept), data, protocol, preset, seed,
training_seconds and results: system, questions, count, note, and metrics, each with name, value and
half_width (of the 95 % interval).
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from retrieval.cli.display import note, remark
from retrieval.cli.options import (
    ConfigOption,
    DataOption,
    DeviceOption,
    JsonOption,
    PresetOption,
    QuietOption,
    SeedOption,
    SetOption,
    SplitOption,
    TowersOption,
)
from retrieval.cli.output import print_json, print_table
from retrieval.cli.progress import progress
from retrieval.cli.train import chosen_settings
from retrieval.options import Device, Split

if TYPE_CHECKING:
    from retrieval.evaluation.protocols import Result


def evaluate(
    data: DataOption,
    protocol: SplitOption = Split.RATING,
    preset: PresetOption = None,
    towers: TowersOption = None,
    changes: SetOption = None,
    config: ConfigOption = None,
    seed: SeedOption = 0,
    run: Annotated[
        Path | None,
        typer.Option("--run", help="Folder to keep the run in; by default none is kept."),
    ] = None,
    device: DeviceOption = Device.AUTO,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Hold ratings out, train on the rest, and score the answers beside baselines."""
    settings = chosen_settings(preset, towers, config, changes)
    from tempfile import TemporaryDirectory

    from retrieval.data.layouts import read_folder
    from retrieval.evaluation.protocols import evaluate as evaluate_run
    from retrieval.run.folder import open_run
    from retrieval.run.versions import check_target

    if run is not None:
        check_target(run)
    with TemporaryDirectory() as scratch, progress(quiet=quiet) as shows:
        shows.stage(f"reading {data}")
        frames = read_folder(data)
        remark(*frames.notes)
        folder = run or Path(scratch) / "run"
        results = evaluate_run(
            frames, str(data), protocol, settings, seed, folder, device=device, progress=shows
        )
        seconds = open_run(folder).config.training_seconds
    if as_json:
        print_json(
            {
                "run": None if run is None else str(run),
                "data": str(data),
                "protocol": protocol,
                "preset": settings.preset,
                "seed": seed,
                "training_seconds": seconds,
                "results": [_facts(result) for result in results],
            }
        )
        return
    note(f"trained in {seconds:.0f} s")
    remark(*sorted({result.note for result in results if result.note}))
    names = list(results[0].metrics)
    print_table(
        f"{protocol} of {data}, preset {settings.preset}, seed {seed}",
        ("questions", "system", "count", *names),
        [
            (
                *(result.questions, result.system, result.count),
                *(_measured(*result.metrics[name]) for name in names),
            )
            for result in results
        ],
        keys=3,
    )


def _facts(result: "Result") -> dict[str, object]:
    """Return what one system scored, for programs."""
    metrics = [
        {"name": name, "value": metric.value, "half_width": metric.half_width}
        for name, metric in result.metrics.items()
    ]
    return {
        "system": result.system,
        "questions": result.questions,
        "count": result.count,
        "note": result.note,
        "metrics": metrics,
    }


def _measured(value: float, half_width: float) -> str:
    """Return a figure and its interval, as far as there were questions enough to tell."""
    if not math.isfinite(value):
        return "-"
    return f"{value:.4f}" + (f" ± {half_width:.4f}" if math.isfinite(half_width) else "")
