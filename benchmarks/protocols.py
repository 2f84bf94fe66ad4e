"""What each protocol of `rec evaluate` finds, with several presets and pairs, beside baselines.

python benchmarks/protocols.py --data data/ml-1m --json docs/figures/protocols.json

Each trial is what `rec evaluate --protocol P --seed S --towers T --preset R` does. `--only` takes
some protocols; what the file says of the others stays as it is, where the machine is the same.
"""

import json
import time
from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from machine import Report, arguments, machine

from retrieval.cli.progress import progress
from retrieval.data.frames import MovieData
from retrieval.data.layouts import read_folder
from retrieval.evaluation.protocols import evaluate
from retrieval.evaluation.result import Result
from retrieval.options import Preset, Split
from retrieval.pipeline.settings import preset_settings

# What stands beside the towers.
BASELINE = "user mean + movie bias"

BOTH, ALL = ("neural", "bayesian"), ("neural", "bayesian", "sequence")


class Trial(NamedTuple):
    """One evaluation."""

    split: Split
    seed: int
    pairs: tuple[str, ...]
    preset: Preset = Preset.DEFAULT


TRIALS = (
    Trial(Split.RATING, 0, BOTH, Preset.BEST),
    Trial(Split.RATING, 0, BOTH),
    Trial(Split.RATING, 0, ("bayesian",)),
    Trial(Split.RATING, 0, ("neural",)),
    Trial(Split.RATING80, 0, ("neural",)),
    Trial(Split.NEW_MOVIES, 4, BOTH),
    Trial(Split.NEW_MOVIES, 4, ("neural",)),
    Trial(Split.NEW_USERS, 8, BOTH),
    Trial(Split.NEW_USERS, 8, ("neural",)),
    Trial(Split.LEAVE_ONE, 0, ALL, Preset.BEST),
    Trial(Split.LEAVE_ONE, 0, ("sequence",)),
    Trial(Split.LEAVE_ONE, 0, ALL, Preset.QUICK),
)


def main() -> None:
    """Run the trials and report what they find."""
    parser = arguments(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of MovieLens-1M")
    parser.add_argument("--only", type=Split, nargs="+", choices=list(Split), default=list(Split))
    parser.add_argument(
        "--presets", type=Preset, nargs="+", choices=list(Preset), default=list(Preset)
    )
    asked = parser.parse_args()
    report = Report(asked, asked.data.name)
    chosen = [
        trial for trial in TRIALS if trial.split in asked.only and trial.preset in asked.presets
    ]
    report.rows += _others(asked, chosen)
    data = read_folder(asked.data)
    for trial in chosen:
        _report(report, data, trial)
        report.save()  # an hour may lie between two of them


def _others(asked: Namespace, chosen: Iterable[Trial]) -> list[dict[str, object]]:
    """Return the rows of a file that is there which are of none of these trials."""
    if asked.json is None or not asked.json.exists():
        return []
    before = json.loads(asked.json.read_text(encoding="utf-8"))
    if before["machine"] != machine():
        return []
    again = {(trial.split, trial.preset) for trial in chosen}
    return [row for row in before["rows"] if (row["protocol"], row["preset"]) not in again]


def _report(report: Report, data: MovieData, trial: Trial) -> None:
    """Run one trial, and report what it finds."""
    settings, began = preset_settings(trial.preset, trial.pairs), time.perf_counter()
    with TemporaryDirectory() as scratch, progress() as bars:
        found = evaluate(
            data, "data", trial.split, settings, trial.seed, Path(scratch) / "run", progress=bars
        )
    seconds = time.perf_counter() - began
    facts = {"protocol": trial.split, "preset": trial.preset, "trial_seed": trial.seed}
    for system in dict.fromkeys(result.system for result in found):
        results = [result for result in found if result.system == system]
        own = system.startswith("two towers")
        told = any(
            (row["protocol"], row["trial_seed"], row["system"]) == (trial.split, trial.seed, system)
            for row in report.rows
        )
        if not own and (told or system != BASELINE):  # which is the same whatever is trained
            continue
        name = system.replace("two towers", " + ".join(trial.pairs))
        line = f"{trial.split}, seed {trial.seed}, {trial.preset}, {name}: {_words(results)}"
        report.add(
            line if not own else f"{line}, {seconds:.0f} s",
            **facts,
            system=name,
            metrics=_metrics(results),
            seconds=seconds if own else None,
        )


def _metrics(results: list[Result]) -> dict[str, object]:
    """Return the metrics by name; of several questions, such as after N ratings, by both."""
    if len(results) == 1:
        return {name: metric._asdict() for name, metric in results[0].metrics.items()}
    return {
        f"{name} {result.questions}": metric._asdict()
        for result in results
        for name, metric in result.metrics.items()
    }


def _words(results: list[Result]) -> str:
    """Return the first metric of each question."""
    firsts = (next(iter(result.metrics.items())) for result in results)
    return ", ".join(f"{name} {value:.4f} ± {half:.4f}" for name, (value, half) in firsts)


if __name__ == "__main__":
    main()
