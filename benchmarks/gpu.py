"""How long an epoch takes on a GPU and on the CPU beside it, and whether both learn the same.

python benchmarks/gpu.py [--events 1000209] [--large 20000263] [--epochs 4] [--devices cpu,cuda]
    [--worlds FOLDER]

In a synthetic world of the size of MovieLens-1M the sequence pair and the neural pair are trained
on each device with the same seed, and on the last device with a second seed too: figures of
validation that differ no more between devices than between seeds are the same. Then one epoch of
each in a world of the size of MovieLens-20M, on the last device alone. An epoch is timed without
its validation, whose time is said apart; the first of several, in which the device starts, does
not count. Worlds are kept in --worlds and made once.
"""

import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from machine import Report, arguments, peak_megabytes
from scale import place_of, shape_of

from retrieval.data.dataset import encode
from retrieval.data.layouts import read_folder
from retrieval.data.synthetic import write_world
from retrieval.options import Device, Preset
from retrieval.pairs.table import TOWER_PAIRS
from retrieval.pairs.training import TrainingData, TrainingOptions
from retrieval.pipeline.settings import Settings, preset_settings
from retrieval.pipeline.training import prepare
from retrieval.progress import Silent

PAIRS = ("sequence", "neural")

MILLION = 1_000_000


class Epochs(Silent):
    """Takes the time of each epoch, and of the validation that ends it."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.validation: list[float] = []
        self._began = self._trained = 0.0

    def stage(self, _name: str, _steps: int | None = None) -> None:
        """Begin the first epoch."""
        self._began = time.perf_counter()

    def advance(self, _steps: int = 1) -> None:
        """Take note of a step, which may be the last one."""
        self._trained = time.perf_counter()

    def say(self, _text: str) -> None:
        """End an epoch, and begin the next one."""
        self.seconds.append(self._trained - self._began)
        self._began = time.perf_counter()
        self.validation.append(self._began - self._trained)


class Training(NamedTuple):
    """One training of one pair."""

    pair: str
    device: Device
    seed: int


def main() -> None:
    """Train everywhere, and report."""
    parser = arguments(__doc__)
    parser.add_argument("--events", type=int, default=1_000_209, help="events of the first world")
    parser.add_argument("--large", type=int, default=20_000_263, help="of the second; 0 is none")
    parser.add_argument("--epochs", type=int, default=4, help="passes over the first world")
    parser.add_argument("--preset", type=Preset, choices=list(Preset), default=Preset.QUICK)
    parser.add_argument("--devices", default="cpu,cuda", help="the last one is looked at more")
    parser.add_argument("--worlds", type=Path, help="folder in which worlds are kept")
    asked = parser.parse_args()
    devices = [Device(name) for name in asked.devices.split(",")]
    on_gpu = torch.cuda.is_available()
    report = Report(
        asked,
        f"synthetic worlds, preset {asked.preset}, "
        f"{torch.cuda.get_device_name() if on_gpu else 'no GPU'}",
    )
    with tempfile.TemporaryDirectory() as scratch:
        worlds = asked.worlds or Path(scratch)
        data = world(report, worlds, asked.events, asked.seed)
        settings = settings_of(asked.preset, asked.epochs)
        for training in trainings(devices, asked.seed):
            measure(report, data, settings, training)
        del data
        if asked.large:
            data = world(report, worlds, asked.large, asked.seed)
            for pair in PAIRS:
                once = Training(pair, devices[-1], asked.seed)
                measure(report, data, settings_of(asked.preset, 1), once)


def settings_of(preset: Preset, epochs: int) -> Settings:
    """Return settings of the pairs with so many passes."""
    return preset_settings(preset, PAIRS).changed({f"{pair}.epochs": str(epochs) for pair in PAIRS})


def trainings(devices: list[Device], seed: int) -> Iterator[Training]:
    """Give each pair on each device, and on the last one with another seed."""
    for pair in PAIRS:
        for device in devices:
            yield Training(pair, device, seed)
        yield Training(pair, devices[-1], seed + 1)


def world(report: Report, worlds: Path, events: int, seed: int) -> TrainingData:
    """Return what pairs are trained on in a world, which is made if it is not there."""
    users, movies = shape_of(events)
    folder = place_of(worlds, events, movies, seed)
    if not folder.exists():
        write_world(folder, users=users, movies=movies, ratings=events, seed=seed)
    began = time.perf_counter()
    data, _ = prepare(encode(read_folder(folder)), seed)
    report.say(
        f"{events:,} events of {users:,} users and {movies:,} movies, read and prepared in "
        f"{time.perf_counter() - began:.0f} s"
    )
    return data


def measure(report: Report, data: TrainingData, settings: Settings, training: Training) -> None:
    """Train one pair, and report its epochs."""
    pair, device, seed = training
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    timer = Epochs()
    with tempfile.TemporaryDirectory() as checkpoint:
        options = TrainingOptions(seed, Path(checkpoint), device, timer)
        fitted = TOWER_PAIRS[pair].fit(data, settings.of[pair], options)
    found = figures(fitted.metrics())
    on_device = 0.0 if device is Device.CPU else torch.cuda.max_memory_allocated() / 2**20
    later = timer.seconds[1:] or timer.seconds
    seconds = float(np.median(later))
    report.add(
        f"{len(data.dataset.ratings) / MILLION:5.1f} M  {pair:9} {device:5} seed {seed}: "
        f"{seconds:7.1f} s an epoch (the first {timer.seconds[0]:.1f}), "
        f"{float(np.median(timer.validation)):.1f} s its validation; "
        f"{', '.join(f'{name} {value:.4f}' for name, value in found.items())}; "
        f"{on_device:,.0f} MB on the GPU, {peak_megabytes():,.0f} MB beside it so far",
        events=len(data.dataset.ratings),
        pair=pair,
        device=device,
        trained_with_seed=seed,
        epoch_seconds=timer.seconds,
        median_epoch_seconds=seconds,
        validation_seconds=timer.validation,
        gpu_megabytes=on_device,
        peak_megabytes=peak_megabytes(),
        **found,
    )
    report.save()  # what follows takes longer


def figures(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return what the best epoch of a pair, or of its first member, came to."""
    (first, *_) = metrics.get("members", [metrics])
    best: dict[str, float] = first["epochs"][first["best_epoch"] - 1]
    return best


if __name__ == "__main__":
    main()
