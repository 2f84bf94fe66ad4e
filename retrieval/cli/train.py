"""The command that trains a run, and the settings that it and `evaluate` are given."""

from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from retrieval.cli.display import note, remark
from retrieval.cli.options import (
    MODEL,
    RUNS,
    ConfigOption,
    DeviceOption,
    EngineOption,
    KeepOption,
    PresetOption,
    QuietOption,
    RayAddressOption,
    SeedOption,
    SetOption,
    TowersOption,
    WorkersOption,
    check_engine,
)
from retrieval.cli.output import print_table
from retrieval.cli.progress import progress
from retrieval.cli.source import (
    AnyYearsOption,
    ColumnsOption,
    RepeatsOption,
    SourceOption,
    chosen_source,
)
from retrieval.errors import RequestError, shown, unknown
from retrieval.options import Device, Engine, Preset

if TYPE_CHECKING:
    from retrieval.pipeline.card import Trained
    from retrieval.pipeline.settings import Settings


def train(
    data: SourceOption = None,
    run: Annotated[
        Path | None,
        typer.Option("--run", help="Folder to write; by default one under runs/, named by time."),
    ] = None,
    preset: PresetOption = None,
    towers: TowersOption = None,
    changes: SetOption = None,
    config: ConfigOption = None,
    show_settings: Annotated[
        bool,
        typer.Option(
            "--show-settings", help="Print all settings and train nothing.", rich_help_panel=MODEL
        ),
    ] = False,
    columns: ColumnsOption = None,
    repeats: RepeatsOption = None,
    any_years: AnyYearsOption = False,
    seed: SeedOption = 0,
    device: DeviceOption = Device.AUTO,
    index: Annotated[
        bool, typer.Option("--index/--no-index", help="Build the index of the catalogue too.")
    ] = True,
    keep: KeepOption = 1,
    quiet: QuietOption = False,
    engine: EngineOption = Engine.LOCAL,
    workers: WorkersOption = None,
    ray_address: RayAddressOption = None,
) -> None:
    """Train tower pairs on data, and build the index of the catalogue."""
    check_engine(engine, workers, ray_address)
    settings = chosen_settings(preset, towers, config, changes)
    if show_settings:
        print_settings(settings)
        return
    source = chosen_source(data, config, columns, repeats, any_years=any_years)
    if source is None:
        raise RequestError(
            "trained on what? give --data FOLDER, or --config FILE.toml of rec init, or "
            "--show-settings to train nothing"
        )
    from retrieval.data.source import read
    from retrieval.pipeline.training import LoopsOf, loops_here, request
    from retrieval.pipeline.training import train as train_run
    from retrieval.run.versions import check_target, unfinished

    folder = run or RUNS / datetime.now(UTC).strftime("%Y-%m-%d-%H%M%S")
    if run is None and (left := unfinished(RUNS, request(str(source), settings, seed))):
        folder = left
        note(f"going on with {shown(folder)}, where this training was interrupted")
    check_target(folder)
    with ExitStack() as stack:
        loops_of: LoopsOf = loops_here
        if engine is Engine.RAY:
            from retrieval.distributed.cluster import connected
            from retrieval.distributed.training import loops_on

            loops_of = loops_on(
                stack.enter_context(connected(ray_address, workers)), workers, device
            )
        shows = stack.enter_context(progress(quiet=quiet))
        shows.stage(f"reading {source}")
        frames = read(source)
        remark(*frames.notes)
        trained = train_run(
            frames,
            settings,
            folder,
            source=str(source),
            origin=source,
            seed=seed,
            device=device,
            index=index,
            keep=keep,
            progress=shows,
            loops_of=loops_of,
        )
    note(_said(trained))
    print(folder)


def chosen_settings(
    preset: Preset | None,
    towers: str | None,
    config: Path | None,
    changes: Sequence[str] | None,
) -> "Settings":
    """Return the settings of a training: those of the preset, then of the file, then each change.

    A preset or tower pairs named by an option win over those that the file names.

    Args:
        preset: Preset, if the option is given.
        towers: Names of tower pairs, separated by commas.
        config: File of settings.
        changes: Changes, each as in sequence.epochs=40.

    Raises:
        RequestError: Something is unknown or impossible; the message has the nearest right name.
    """
    from retrieval.pipeline.settings import preset_settings, read_config_file

    given = {} if config is None else read_config_file(config)
    named, pairs = given.pop("preset", None), given.pop("pairs", ())
    if named is not None and named not in list(Preset):
        raise unknown("preset", named, Preset)
    if not isinstance(pairs, (list, tuple)):
        raise RequestError(f"pairs are '{shown(pairs)}'; write a list, as in [\"bayesian\"]")
    names = towers.split(",") if towers is not None else map(str, pairs)
    chosen = preset or Preset(str(named or Preset.DEFAULT))
    settings = preset_settings(chosen, [name.strip() for name in names])
    return settings.changed(given).changed(settings_changes(changes or []))


def print_settings(settings: "Settings") -> None:
    """Print all settings with their values and what they mean."""
    print_table(
        f"Settings of {', '.join(settings.pairs)}, preset {settings.preset}",
        ("setting", "value", "meaning"),
        [(row.name, _value(row.value), row.meaning) for row in settings.rows()],
        spare=("meaning",),
    )


def settings_changes(changes: Sequence[str]) -> dict[str, object]:
    """Return changes of settings by name, each given as in sequence.epochs=40.

    Raises:
        RequestError: One of them is malformed.
    """
    return dict(map(_change, changes))


def _change(text: str) -> tuple[str, object]:
    """Read one setting and its value."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise RequestError(
            f"malformed setting '{shown(text)}'; write PAIR.FIELD=VALUE, as in sequence.epochs=40"
        )
    return name.strip(), value.strip()


def _value(value: object) -> str:
    return "" if value is None else str(value)


def _said(trained: "Trained") -> str:
    """Return what training came to, in words."""
    parts = [f"trained in {trained.seconds:.0f} s"]
    if trained.validation_error is not None:
        rows = f"on {trained.validation_rows:,} ratings held out for validation"
        parts.append(f"RMSE {trained.validation_error:.4f} {rows}")
    if trained.validation_ndcg is not None:
        parts.append(f"NDCG@10 {trained.validation_ndcg:.4f} of last movies held out")
    return "; ".join(parts)
