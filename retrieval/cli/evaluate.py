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
    DeviceOption,
    JsonOption,
    PresetOption,
    ProtocolOption,
    QuietOption,
    SeedOption,
    SetOption,
    TowersOption,
    choice,
)
from retrieval.cli.output import print_json, print_table
from retrieval.cli.progress import progress
from retrieval.cli.source import (
    AnyYearsOption,
    ColumnsOption,
    RepeatsOption,
    SourceOption,
    chosen_source,
)
from retrieval.cli.train import chosen_settings
from retrieval.errors import RequestError, shown
from retrieval.options import Device, Protocol, Split, Target

if TYPE_CHECKING:
    from retrieval.data.frames import MovieData
    from retrieval.evaluation.result import Result


# Share of all events that is learned from, if nobody says.
DEFAULT_CUT = "0.8"


def evaluate(
    data: SourceOption = None,
    protocol: ProtocolOption = Protocol.RATING,
    preset: PresetOption = None,
    towers: TowersOption = None,
    changes: SetOption = None,
    config: ConfigOption = None,
    columns: ColumnsOption = None,
    repeats: RepeatsOption = None,
    any_years: AnyYearsOption = False,
    seed: SeedOption = 0,
    cut: Annotated[
        str | None,
        typer.Option(
            metavar="SHARE|TIME",
            help="Of the protocol temporal: learn from the first 0.8 of all events, the default, "
            "or from those until 2000-12-01.",
        ),
    ] = None,
    target: Annotated[
        Target | None,
        choice(
            "target",
            Target,
            "--target",
            words=f"Of the protocol temporal, what lists are to find: {', '.join(Target)}.",
        ),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option("--run", help="Folder to keep the run in; by default none is kept."),
    ] = None,
    trained: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN", help="Of the protocol temporal: ask this run instead of training one."
        ),
    ] = None,
    device: DeviceOption = Device.AUTO,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Hold ratings out, train on the rest, and score the answers beside baselines."""
    settings = chosen_settings(preset, towers, config, changes)
    source = chosen_source(data, config, columns, repeats, any_years=any_years)
    if source is None:
        raise RequestError(
            "evaluated on what? give --data FOLDER, or --config FILE.toml of rec init"
        )
    if protocol is not Protocol.TEMPORAL:
        refused = {"--cut": cut, "--target": target, "--trained": trained}
        for name, value in refused.items():
            if value is not None:
                raise RequestError(f"{name} {shown(value)} needs --protocol {Protocol.TEMPORAL}")
    if trained is not None and run is not None:
        raise RequestError("--run keeps what is trained, and --trained trains nothing; give one")
    from tempfile import TemporaryDirectory

    from retrieval.data.source import read
    from retrieval.evaluation.protocols import evaluate as evaluate_run
    from retrieval.evaluation.temporal import evaluate_later
    from retrieval.run.folder import open_run
    from retrieval.run.versions import check_target

    if run is not None:
        check_target(run)
    with TemporaryDirectory() as scratch, progress(quiet=quiet) as shows:
        shows.stage(f"reading {source}")
        frames = read(source)
        remark(*frames.notes)
        folder = trained or run or Path(scratch) / "run"
        if protocol is Protocol.TEMPORAL:
            results = evaluate_later(
                frames,
                str(source),
                _moment(cut, frames),
                target or Target.VISIT,
                settings,
                seed,
                folder,
                trained=trained is not None,
                device=device,
                progress=shows,
            )
        else:
            results = evaluate_run(
                frames,
                str(source),
                Split(protocol),
                settings,
                seed,
                folder,
                device=device,
                progress=shows,
            )
        seconds = open_run(folder).config.training_seconds
    if as_json:
        print_json(
            {
                "run": None if run is None else str(run),
                "data": str(source),
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
        f"{protocol} of {source}, preset {settings.preset}, seed {seed}",
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


def _moment(cut: str | None, data: "MovieData") -> int:
    """Return the cut in time, in seconds: a share of all events, or a time."""
    import numpy as np

    from retrieval.data import columns
    from retrieval.evaluation.temporal import cut_at
    from retrieval.serving.arguments import parse_time

    times = data.ratings[columns.TIMESTAMP].to_numpy(dtype=np.int64)
    text = DEFAULT_CUT if cut is None else cut
    try:
        share = float(text)
    except ValueError:
        share = math.inf
    if 0 < share < 1:
        return cut_at(times, share)
    return parse_time(text)


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
