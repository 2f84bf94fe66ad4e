"""What training costs in larger and larger worlds: seconds, memory and disk, stage by stage.

python benchmarks/scale.py [--events 500000,1000000] [--pairs bayesian,sequence,neural,all]
                           [--preset quick] [--set sequence.epochs=2] [--worlds FOLDER] [--plot]

A world of so many events has as many users and movies as the MovieLens set of that size: 10, 20 and
32 million are shaped like ML-10M, ML-20M and ML-32M; --movies takes another catalogue. Worlds are
kept in --worlds and made once. Each training runs in a process of its own, which reads the files
and trains; the largest resident memory of each stage is that of this process, of which the rating
tables that were read are a part. Bytes an event are those above what is there when the files have
been read; from one world to the next, what both need alike is left out. Linux only.
"""

import argparse
import gc
import math
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from machine import Report, add_plot, arguments
from plots import new_plot, save

from retrieval.data.layouts import read_folder
from retrieval.data.synthetic import write_world
from retrieval.options import Preset
from retrieval.pairs.towers import PAIRS
from retrieval.pipeline.settings import preset_settings
from retrieval.pipeline.training import train
from retrieval.progress import Silent

T = TypeVar("T")

# Events, users and movies of ML-100K, ML-1M, ML-10M, ML-20M and ML-32M.
SHAPES = np.array(
    [
        (100_000, 943, 1_682),
        (1_000_209, 6_040, 3_883),
        (10_000_054, 69_878, 10_681),
        (20_000_263, 138_493, 27_278),
        (32_000_204, 200_948, 87_585),
    ]
)

ALL = "all"  # for the pairs of the preset
MEGABYTE = 2**20
PROCESS = Path("/proc/self")


class Costs(NamedTuple):
    """What one stage cost."""

    stage: str
    seconds: float
    peak: float  # MB of resident memory
    disk: float  # MB in the folder of the run when it ended


class Work(NamedTuple):
    """What is trained."""

    world: Path
    pairs: tuple[str, ...]  # none is all of the preset
    preset: Preset
    changes: dict[str, str]
    seed: int


class Measured(NamedTuple):
    """One training, and one size of it."""

    pairs: str
    events: int
    seconds: float
    peak: float  # MB
    above: float  # MB at the peak above what was there when the files had been read
    stages: Mapping[str, float]  # the same of each stage


class Meter(Silent):
    """Measures each stage from when it begins to when the next one does.

    Args:
        run: Folder of the run.
    """

    def __init__(self, run: Path) -> None:
        self.costs: list[Costs] = []
        self._run, self._name, self._began = run, "", 0.0
        self.begin("reading")

    def begin(self, name: str) -> None:
        """Begin a stage, the first of all."""
        (PROCESS / "clear_refs").write_text("5")  # forgets the peak
        self._name, self._began = name, time.perf_counter()

    def stage(self, name: str, _steps: int | None = None) -> None:
        """Begin a stage, which ends the one before."""
        self.end()
        self.begin(name)

    def end(self) -> None:
        """End the stage."""
        seconds = time.perf_counter() - self._began
        self.costs.append(Costs(self._name, seconds, memory("VmHWM"), size(self._run)))
        print(
            *self.costs[-1], file=sys.stderr, flush=True
        )  # should the training not come to an end


def main() -> None:
    """Measure, report and draw."""
    parser = arguments(__doc__)
    parser.add_argument("--events", default="500000,1000000", help="numbers of events")
    parser.add_argument("--movies", type=int, help="movies of every world")
    parser.add_argument("--pairs", default=",".join([*PAIRS, ALL]), help="pairs, + joins some")
    parser.add_argument("--preset", type=Preset, choices=list(Preset), default=Preset.QUICK)
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="change of a setting"
    )
    parser.add_argument("--worlds", type=Path, help="folder in which worlds are kept")
    add_plot(parser, "scale")
    asked = parser.parse_args()
    report = Report(asked, ", ".join(["synthetic worlds", f"preset {asked.preset}", *asked.set]))
    with tempfile.TemporaryDirectory() as scratch:
        found = list(measure_all(asked, report, asked.worlds or Path(scratch)))
    for pairs in dict.fromkeys(row.pairs for row in found):
        report_growth(report, [row for row in found if row.pairs == pairs])
    report.save()
    if asked.plot:
        draw(found, asked.plot)


def measure_all(asked: argparse.Namespace, report: Report, worlds: Path) -> list[Measured]:
    """Make the worlds that are not there, train in each, and report."""
    changes = dict(change.split("=", 1) for change in asked.set)
    found = []
    for events in (int(text) for text in asked.events.split(",")):
        users, movies = shape_of(events)
        movies = asked.movies or movies
        world = place_of(worlds, events, movies, asked.seed)
        if not world.exists():
            made = alone(make, world, users, movies, events, asked.seed)
            report.add(
                f"{events:>10,} events of {users:,} users and {movies:,} movies made in "
                f"{made.seconds:.0f} s, {made.peak:,.0f} MB",
                events=events,
                movies=movies,
                users=users,
                **made._asdict(),
            )
        for pairs in asked.pairs.split(","):
            chosen = () if pairs == ALL else tuple(pairs.split("+"))
            known = {
                name: value
                for name, value in changes.items()
                if pairs == ALL or name.split(".")[0] in chosen
            }
            costs = alone(training_costs, Work(world, chosen, asked.preset, known, asked.seed))
            found.append(report_costs(report, pairs, events, costs))
    return found


def report_costs(report: Report, pairs: str, events: int, costs: Sequence[Costs]) -> Measured:
    """Report the stages of a training; return the whole of it."""
    base, stages = costs[1].peak, costs[2:]
    for each in costs:
        report.add(
            f"{events:>10,} {pairs:10} {each.stage:34} {each.seconds:8.1f} s "
            f"{each.peak:8,.0f} MB {each.disk:8,.0f} MB on disk",
            events=events,
            pairs=pairs,
            **each._asdict(),
        )
    peak = max(each.peak for each in stages)
    above = {each.stage: each.peak - base for each in stages}
    seconds = sum(each.seconds for each in stages)
    whole = Measured(pairs, events, seconds, peak, peak - base, above)
    highest = max(stages, key=lambda each: each.peak)
    report.add(
        f"{events:>10,} {pairs:10} {whole.seconds:.0f} s, at most {peak:,.0f} MB in "
        f"{highest.stage}, {whole.above * MEGABYTE / events:.0f} bytes an event above the files "
        "that were read",
        **whole._asdict(),
    )
    return whole


def report_growth(report: Report, rows: Sequence[Measured]) -> None:
    """Report how many bytes an event adds from one world to the next, for one choice of pairs."""
    for small, large in pairwise(rows):
        more = large.events - small.events
        growth = {
            stage: (large.stages[stage] - above) * MEGABYTE / more
            for stage, above in small.stages.items()
            if stage in large.stages
        }
        growth["the peak"] = (large.above - small.above) * MEGABYTE / more
        for stage, each in growth.items():
            report.add(
                f"{small.pairs:10} {stage:34} from {small.events:,} to {large.events:,} events "
                f"{each:5.0f} bytes for each more",
                pairs=small.pairs,
                stage=stage,
                from_events=small.events,
                to_events=large.events,
                bytes_an_event=each,
            )


def place_of(worlds: Path, events: int, movies: int, seed: int) -> Path:
    """Return the folder of a world among those that are kept."""
    return worlds / f"world-{events}-{movies}-{seed}"


def shape_of(events: int) -> tuple[int, int]:
    """Return how many users and movies the MovieLens set of so many events would have."""
    known, users, movies = np.log(SHAPES.astype(np.float64)).T
    at = math.log(events)
    return round(math.exp(np.interp(at, known, users))), round(
        math.exp(np.interp(at, known, movies))
    )


def alone(function: Callable[..., T], *values: object) -> T:
    """Return what a function returns in a fresh process."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as process:
        return process.submit(function, *values).result()


def make(world: Path, users: int, movies: int, events: int, seed: int) -> Costs:
    """Make a world; return what it cost."""
    began = time.perf_counter()
    write_world(world, users=users, movies=movies, ratings=events, seed=seed)
    return Costs("making", time.perf_counter() - began, memory("VmHWM"), size(world))


def training_costs(work: Work) -> list[Costs]:
    """Train in a world; return what reading cost, then being there, then each stage."""
    settings = preset_settings(work.preset, work.pairs).changed(work.changes)
    with tempfile.TemporaryDirectory() as scratch:
        run = Path(scratch) / "run"
        meter = Meter(run)
        frames = read_folder(work.world)
        gc.collect()
        meter.stage("files read")
        train(frames, settings, run, source=work.world.name, seed=work.seed, progress=meter)
        meter.end()
    return meter.costs


def memory(what: str) -> float:
    """Return a figure of this process in MB: VmRSS, or VmHWM for the peak."""
    lines = (PROCESS / "status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(what))


def size(folder: Path) -> float:
    """Return how large the files in a folder are, in MB."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / MEGABYTE


def draw(found: Sequence[Measured], path: Path) -> None:
    """Draw seconds and memory against the number of events."""
    most = max(found, key=lambda row: row.above / row.events)
    title = (
        f"Training grows in a line with the events, and needs at most "
        f"{most.above * MEGABYTE / most.events:.0f} bytes for each beside the tables read"
    )
    figure, panels = new_plot(title, panels=2, width=9)
    for pairs in dict.fromkeys(row.pairs for row in found):
        own = [row for row in found if row.pairs == pairs]
        events = [row.events / 1e6 for row in own]
        panels[0].plot(events, [row.seconds / 60 for row in own], "o-", label=pairs)
        panels[1].plot(events, [row.peak / 1000 for row in own], "o-", label=pairs)
    for axes, what in zip(panels, ("minutes", "GB at the peak"), strict=True):
        axes.set(xlabel="million events", ylabel=what, xlim=(0, None), ylim=(0, None))
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    save(figure, path)


if __name__ == "__main__":
    main()
