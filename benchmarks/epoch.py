"""How long an epoch of the sequence pair takes, and its loss beside torch's cross-entropy.

python benchmarks/epoch.py --data FOLDER [--preset default] [--steps 30] [--seed N]

The loss and its gradients alone, in turns with torch's cross-entropy over the scores of all
questions: medians, and by how much each raised the most memory that was needed until then. Then
some steps of training, from histories to new weights: the mean times as many as an epoch has.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from machine import describe, peak_megabytes
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (torch's own name for it)

from retrieval.data.dataset import encode
from retrieval.data.layouts import read_folder
from retrieval.options import Preset
from retrieval.pairs.content import learn_to_describe
from retrieval.pairs.sequence.batches import Sequences, shuffled
from retrieval.pairs.sequence.softmax import full_softmax
from retrieval.pairs.sequence.training import batch_loss
from retrieval.pipeline.pairs import make_sequence_pair
from retrieval.pipeline.presets import plan

# Steps before anything counts.
WARM_UP = 3

# Questions, as many as a batch of the presets has on MovieLens-1M.
QUESTIONS = 8192

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--preset", type=Preset, default=Preset.DEFAULT)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    dataset = encode(read_folder(asked.data))
    planned = plan(asked.preset, len(dataset.ratings))
    content = learn_to_describe(dataset.movie_frame, asked.seed).describe(dataset.movie_frame)
    sequences = Sequences(
        histories=dataset.histories(np.ones(len(dataset.ratings), dtype=bool)),
        people=dataset.user_codes,
        scale=dataset.scale,
        length=planned.sequence.history_length,
    )
    rated = sequences.shares(len(dataset.movie_vocabulary)) > 0
    pair = make_sequence_pair(planned.sequence, dataset, content, rated, asked.seed).train()
    optimizer = torch.optim.AdamW(pair.parameters())
    loop, rng = planned.sequence_loop, np.random.default_rng(asked.seed)
    count = len(shuffled(sequences.counts, loop.tokens, np.random.default_rng(asked.seed)))
    batches = sequences.batches(loop.tokens, loop.untold, loop.earlier, rng)
    print(describe())
    print(f"{asked.data.name}, preset {asked.preset}, seed {asked.seed}")
    compare(len(rated), planned.sequence.dimension, planned.sequence.temperature, asked.steps)
    times = []
    for _ in range(min(WARM_UP + asked.steps, count)):
        began = time.perf_counter()
        loss, _ = batch_loss(pair, next(batches), None)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        times.append(time.perf_counter() - began)
    step = float(np.mean(times[min(WARM_UP, count - 1) :]))
    print(f"a step: {1000 * step:.0f} ms; an epoch of {count} steps: {step * count:.1f} s")


def compare(movies: int, dimension: int, temperature: float, steps: int) -> None:
    """Measure the loss beside torch's, for random vectors of unit length, and print."""
    generator = torch.Generator().manual_seed(0)
    queries = F.normalize(torch.randn(QUESTIONS, dimension, generator=generator), dim=1)
    known = F.normalize(torch.randn(movies, dimension, generator=generator), dim=1)
    queries, known = (queries / temperature).requires_grad_(), known.requires_grad_()
    targets = torch.randint(movies, (QUESTIONS,), generator=generator)
    losses: dict[str, Loss] = {
        "full_softmax": partial(full_softmax, largest=1 / temperature),
        "torch cross_entropy": lambda asked, table, wanted: F.cross_entropy(
            asked @ table.T, wanted
        ),
    }
    times: dict[str, list[float]] = {name: [] for name in losses}
    peaks = {}
    for turn in range(steps):
        for name, loss in losses.items():
            before = peak_megabytes()
            began = time.perf_counter()
            torch.autograd.grad(loss(queries, known, targets), (queries, known))
            times[name].append(time.perf_counter() - began)
            if not turn:  # the first one needs less, so that each raises the peak
                peaks[name] = peak_megabytes() - before
    for name, seconds in times.items():
        print(
            f"{name:20} {QUESTIONS:,} questions among {movies:,} movies: "
            f"{1000 * np.median(seconds):.0f} ms, {peaks[name]:.0f} MB"
        )


if __name__ == "__main__":
    main()
