"""What the sequence pair finds, by what its answers are told from in training.

python benchmarks/negatives.py --data FOLDER [--epochs 8] [--negatives 256] [--seed N]

All movies (the full softmax), negatives drawn by counts, and the batch's own answers corrected by
what their stream says of how often they come; the latter two as for a catalogue too large for the
first. NDCG@10 is of last events that were held out, at the best epoch: validation, not test.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from machine import describe
from rich.progress import Progress

from retrieval.data.dataset import encode
from retrieval.data.layouts import read_folder
from retrieval.options import Preset
from retrieval.pairs.content import learn_to_describe
from retrieval.pairs.sequence.negatives import Source
from retrieval.pairs.sequence.watch import choose_last, train_sequence
from retrieval.pipeline.presets import plan


def main() -> None:
    """Train in each way and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--negatives", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    dataset = encode(read_folder(asked.data))
    content = learn_to_describe(dataset.movie_frame, asked.seed).describe(dataset.movie_frame)
    last = choose_last(dataset, np.random.default_rng(asked.seed))
    planned = plan(Preset.QUICK, len(dataset.ratings))
    full = replace(planned.sequence_loop, epochs=asked.epochs)
    sampled = replace(full, most_movies=0, negatives=asked.negatives)
    ways = {"all movies": full} | {
        f"sampled, {source}": replace(sampled, source=source) for source in Source
    }
    print(describe())
    print(f"{asked.data.name}, seed {asked.seed}: last movies of {last.sum():,} users")
    print(f"sampled: {asked.negatives} popular movies, and as many from all alike")
    print(f"{'told from':18} NDCG@10 told  not told   seconds")
    for name, loop in ways.items():
        began = time.perf_counter()
        with TemporaryDirectory() as folder, Progress(disable=True) as progress:
            found = train_sequence(
                dataset,
                content,
                last,
                replace(planned, sequence_loop=loop),
                asked.seed,
                Path(folder),
                torch.device("cpu"),
                progress,
            ).gains
        seconds = time.perf_counter() - began
        print(f"{name:18} {found.told:12.4f} {found.untold:9.4f} {seconds:9.0f}", flush=True)


if __name__ == "__main__":
    main()
