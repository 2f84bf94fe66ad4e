"""What the sequence pair finds, by the movies that answers are compared with in training.

python benchmarks/negatives.py --data FOLDER [--epochs 8] [--negatives 256]

All movies (the full softmax), negatives drawn by how often movies are watched, and the batch's own
answers, corrected by what their stream says of how often they come. NDCG@10 is of last events that
were held out, at the best epoch: validation, not test.
"""

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from machine import Report, arguments
from subset import held_out

from retrieval.cli.progress import progress
from retrieval.data.dataset import encode
from retrieval.data.layouts import read_folder
from retrieval.options import Device, Preset
from retrieval.pairs.sequence.pair import SequenceTowers
from retrieval.pairs.sequence.settings import NegativeSource, SequenceSettings
from retrieval.pairs.training import TrainingOptions
from retrieval.pipeline.settings import preset_settings
from retrieval.pipeline.training import last_events

WAYS = {
    "all movies": NegativeSource.ALL,
    "sampled, popular": NegativeSource.POPULAR,
    "sampled, in-batch": NegativeSource.IN_BATCH,
}


def main() -> None:
    """Train in each way and report what is found."""
    parser = arguments(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data")
    parser.add_argument("--epochs", type=int, default=8, help="most passes over the users")
    parser.add_argument("--negatives", type=int, default=256, help="movies in a sample")
    asked = parser.parse_args()
    dataset = encode(read_folder(asked.data))
    last = last_events(dataset, np.random.default_rng(asked.seed))
    data = held_out(dataset, np.zeros_like(last), last, asked.seed)
    chosen = preset_settings(Preset.QUICK, ["sequence"]).changed(
        {"sequence.epochs": asked.epochs, "sequence.sampled_negatives": asked.negatives}
    )
    report = Report(asked, f"{asked.data.name}, preset quick, last movies of {last.sum():,} users")
    report.say(f"sampled: {asked.negatives} movies, and as many from all alike")
    report.say(f"{'':18} NDCG@10 time known  in sitting   seconds")
    for name, source in WAYS.items():
        settings = SequenceSettings.model_validate(
            chosen.changed({"sequence.negatives": source}).saved()["sequence"]
        )
        began = time.perf_counter()
        with TemporaryDirectory() as scratch, progress() as bars:
            options = TrainingOptions(asked.seed, Path(scratch), Device.CPU, bars)
            gains = SequenceTowers().fit(data, settings, options).gains
        if gains is None:
            parser.error(f"{asked.data} has no user with two ratings")
        seconds = time.perf_counter() - began
        report.add(
            f"{name:18} {gains.timed:18.4f} {gains.untimed:10.4f} {seconds:9.0f}",
            negatives=name,
            ndcg_time_known=gains.timed,
            ndcg_time_not_known=gains.untimed,
            seconds=seconds,
        )
    report.save()


if __name__ == "__main__":
    main()
