"""The command that evaluates: ratings are held out, and answers scored beside baselines.

`rec evaluate --json` prints run (null where it is not kept), data, protocol, preset, seed,
training_seconds and results: system, questions, count, note, and metrics, each with name, value and
half_width (of the 95 % interval).
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

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
    from retrieval.data.source import DataSource
    from retrieval.evaluation.questions import LaterProtocol
    from retrieval.evaluation.result import Result


# Share of all events that is learned from, if nobody says.
DEFAULT_CUT = "0.8"

# Options of the protocol temporal, in the help.
LATER = "With --protocol temporal"


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
    run: Annotated[
        Path | None,
        typer.Option("--run", help="Folder to keep the run in; by default none is kept."),
    ] = None,
    cut: Annotated[
        str | None,
        typer.Option(
            metavar="SHARE|TIME",
            help="Learn from the first 0.8 of all events, the default, or from those until "
            "2000-12-01.",
            rich_help_panel=LATER,
        ),
    ] = None,
    test: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Instead of a cut: learn from all of the data, and ask about the events of this "
            "file, which came later.",
            rich_help_panel=LATER,
        ),
    ] = None,
    target: Annotated[
        Target | None,
        choice(
            "target",
            Target,
            "--target",
            words=f"What lists are to find: {', '.join(Target)}.",
            panel=LATER,
        ),
    ] = None,
    gap: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="A sitting ends after a pause of 30m, 2h or 1d, by default of an hour. With "
            f"--target {Target.SUCCESSIVE}, only what opens a sitting is asked about.",
            rich_help_panel=LATER,
        ),
    ] = None,
    core: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="First leave out users and movies with fewer than N events, and repeat this until "
            "all have so many, as published figures do with 5.",
            rich_help_panel=LATER,
        ),
    ] = None,
    trained: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN", help="Ask this run instead of training one.", rich_help_panel=LATER
        ),
    ] = None,
    device: DeviceOption = Device.AUTO,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Hold ratings out, train on the rest, and score the answers beside baselines."""
    given = {"preset": preset, "towers": towers, "set": changes, "seed": seed or None}
    for option, value in given.items() if trained is not None else ():
        if value is not None:
            raise RequestError(
                f"--{option} has no effect on --trained {shown(trained)}, which is asked as it is"
            )
    settings = chosen_settings(preset, towers, config, changes)
    source = chosen_source(data, config, columns, repeats, any_years=any_years)
    if source is None:
        raise RequestError(
            "evaluated on what? give --data FOLDER, or --config FILE.toml of rec init"
        )
    later = _Later(cut, test, target, gap, core, trained)
    later.check(protocol, run)
    from tempfile import TemporaryDirectory

    from retrieval.data.source import understood
    from retrieval.evaluation.protocols import evaluate as evaluate_run
    from retrieval.evaluation.temporal import evaluate_later
    from retrieval.run.folder import open_run
    from retrieval.run.versions import CURRENT, check_target

    if run is not None:
        check_target(run)
        if (run / CURRENT).exists():
            raise RequestError(
                f"{shown(run)} is a run already, and would answer from what is trained here; name "
                f"a new folder with --run, or ask the run as it is: --trained {shown(run)}"
            )
    asked = None
    with TemporaryDirectory() as scratch, progress(quiet=quiet) as shows:
        shows.stage(f"reading {source}")
        frames, resolved, *_ = understood(source)
        remark(*frames.notes)
        folder = trained or run or Path(scratch) / "run"
        if protocol is Protocol.TEMPORAL:
            asked = later.asked(frames, resolved)
            results = evaluate_later(
                asked.data,
                str(source),
                asked.protocol,
                settings,
                seed,
                folder,
                learned=asked.learned,
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
        facts = open_run(folder).config
    kept, seconds = trained or run, facts.training_seconds
    if as_json:
        print_json(
            {
                "run": None if kept is None else str(kept),
                "data": str(source),
                "protocol": protocol,
                **({} if asked is None else later.said(asked.protocol)),
                "preset": facts.preset,
                "seed": facts.seed,
                "training_seconds": seconds,
                "results": [_facts(result) for result in results],
            }
        )
        return
    note(f"trained in {seconds:.0f} s")
    remark(*sorted({result.note for result in results if result.note}))
    names = list(results[0].metrics)
    of = protocol if asked is None else f"{protocol}, {later.words(asked.protocol)},"
    print_table(
        f"{of} of {source}, preset {facts.preset}, seed {facts.seed}",
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


class _Asked(NamedTuple):
    """What the protocol temporal asks."""

    data: "MovieData"  # all events
    learned: "MovieData | None"  # what is trained on; None is what came before the cut
    protocol: "LaterProtocol"


class _Later(NamedTuple):
    """The options of the protocol temporal, as they were given."""

    cut: str | None
    test: Path | None
    target: Target | None
    gap: str | None
    core: int | None
    trained: Path | None

    def check(self, protocol: Protocol, run: Path | None) -> None:
        """Raise a `RequestError` if options do not go together."""
        if protocol is not Protocol.TEMPORAL:
            for name, value in self._asdict().items():
                if value is not None:
                    raise RequestError(
                        f"--{name} {shown(value)} needs --protocol {Protocol.TEMPORAL}"
                    )
        if self.trained is not None and run is not None:
            raise RequestError(
                "--run keeps what is trained, and --trained trains nothing; give one"
            )
        if self.test is not None and self.cut is not None:
            raise RequestError(
                "--cut divides the data, and --test names what comes after all of it; give one"
            )
        if self.test is not None and self.core is not None:
            raise RequestError(
                "--core selects from data that --cut divides; leave it out with --test"
            )
        opens = {None, Target.VISIT, Target.SUCCESSIVE}
        if self.gap is not None and self.target not in opens:
            raise RequestError(
                f"--gap has no effect on --target {self.target}, which does not ask for sittings"
            )
        if self.test is not None and not self.test.exists():
            raise RequestError(f"--test {shown(self.test)} is no file; check its name")
        self._pause()
        if self.cut is not None and _share(self.cut) is None:
            _cut_time(self.cut)

    def asked(self, data: "MovieData", source: "DataSource") -> _Asked:
        """Return what is asked about data, which was read from a source."""
        from retrieval.data.source import events_like, read
        from retrieval.data.times import COUNTERS
        from retrieval.evaluation.questions import LaterProtocol
        from retrieval.evaluation.selection import core_of, last_moment, with_later

        target, pause = self.target or Target.VISIT, self._pause()
        if self.test is not None:
            later = read(events_like(source, self.test))
            remark(*later.notes)
            whole = with_later(data, later, str(self.test))
            return _Asked(whole, data, LaterProtocol(last_moment(data), target, pause))
        if last_moment(data) < COUNTERS:
            raise RequestError(
                f"these events have no times, and {Protocol.TEMPORAL} asks for what comes after a "
                f"moment; choose --protocol {Protocol.LEAVE_ONE}"
            )
        if self.core is not None:
            data = core_of(data, self.core)
        return _Asked(data, None, LaterProtocol(_moment(self.cut, data), target, pause))

    def said(self, protocol: "LaterProtocol") -> dict[str, object]:
        """Return what is asked, for programs."""
        return {
            "cut": protocol.cut,
            "target": protocol.target,
            "gap": protocol.gap,
            "core": self.core,
            "test": None if self.test is None else str(self.test),
        }

    def words(self, protocol: "LaterProtocol") -> str:
        """Return what is asked, for people."""
        from retrieval.data.times import shown_time

        words = [f"{protocol.target} after {shown_time(protocol.cut)}"]
        if self.core is not None:
            words.append(f"{self.core}-core")
        if self.gap is not None:
            words.append(f"gap {self.gap}")
        return ", ".join(words)

    def _pause(self) -> int | None:
        from retrieval.serving.arguments import parse_duration

        return None if self.gap is None else parse_duration(self.gap)


def _moment(cut: str | None, data: "MovieData") -> int:
    """Return the cut in time, in seconds: a share of all events, or a time."""
    import numpy as np

    from retrieval.data import columns
    from retrieval.evaluation.temporal import cut_at

    text = DEFAULT_CUT if cut is None else cut
    share = _share(text)
    if share is None:
        return _cut_time(text)
    return cut_at(data.ratings[columns.TIMESTAMP].to_numpy(dtype=np.int64), share)


def _share(text: str) -> float | None:
    """Return the share of all events that a text is; None for other texts."""
    try:
        share = float(text)
    except ValueError:
        return None
    return share if 0 < share < 1 else None


def _cut_time(text: str) -> int:
    """Read a cut as a time.

    Raises:
        RequestError: It is none.
    """
    from retrieval.serving.arguments import parse_time

    try:
        return parse_time(text)
    except RequestError as error:
        raise RequestError(
            f"the cut '{shown(text)}' is no share of all events between 0 and 1, as 0.8, and no "
            f"time: {error}"
        ) from error


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
