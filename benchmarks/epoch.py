"""How long an epoch of the sequence pair takes, and its loss beside torch's cross-entropy.

python benchmarks/epoch.py --data FOLDER [--preset default] [--steps 30]

The loss and its gradients alone, in turns with torch's cross-entropy over the scores of all
questions: medians, and by how much each raised the most memory that was needed until then. Then
some steps of training, from histories to new weights: the mean times as many as an epoch has.
"""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from machine import Report, arguments, peak_megabytes
from subset import held_out
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (torch's own name for it)

from retrieval.data.dataset import encode
from retrieval.data.layouts import read_folder
from retrieval.options import Preset
from retrieval.pairs.device import fast_products
from retrieval.pairs.sequence.batches import Sequences, shuffled
from retrieval.pairs.sequence.pair import make_pair
from retrieval.pairs.sequence.settings import preset_settings
from retrieval.pairs.sequence.softmax import full_softmax
from retrieval.pairs.sequence.training import batch_loss

# Steps before anything counts.
WARM_UP = 3

# Questions, as many as a batch of the presets has on MovieLens-1M.
QUESTIONS = 8192

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def main() -> None:
    """Measure and report."""
    parser = arguments(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data")
    parser.add_argument("--preset", type=Preset, choices=list(Preset), default=Preset.DEFAULT)
    parser.add_argument("--steps", type=int, default=30, help="steps that are measured")
    asked = parser.parse_args()
    dataset = encode(read_folder(asked.data))
    settings = preset_settings(asked.preset)
    size = settings.tokens_in_step(len(dataset.ratings))
    sequences = Sequences(
        histories=dataset.histories(np.ones(len(dataset.ratings), dtype=bool)),
        codes=dataset.user_codes,
        scale=dataset.scale,
        length=settings.history_length,
    )
    rated = sequences.shares(len(dataset.movie_vocabulary)) > 0
    nothing = np.zeros(len(dataset.ratings), dtype=bool)
    data = held_out(dataset, nothing, nothing, asked.seed)
    pair = make_pair(data, settings, rated, None, asked.seed).train()
    optimizer, rng = torch.optim.AdamW(pair.parameters()), np.random.default_rng(asked.seed)
    count = len(shuffled(sequences.counts, size, np.random.default_rng(asked.seed)))
    batches = sequences.batches(size, settings.unknown_time_share, settings.earlier_share, rng)
    report = Report(asked, f"{asked.data.name}, preset {asked.preset}")
    times = []
    with fast_products():  # as in training
        compare(report, len(rated), settings.dimension, settings.temperature, asked.steps)
    for _ in range(min(WARM_UP + asked.steps, count)):
        began = time.perf_counter()
        loss, _ = batch_loss(pair, next(batches), None)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        times.append(time.perf_counter() - began)
    step = float(np.mean(times[min(WARM_UP, count - 1) :]))
    report.add(
        f"a step: {1000 * step:.0f} ms; an epoch of {count} steps: {step * count:.1f} s",
        step_milliseconds=1000 * step,
        epoch_steps=count,
        epoch_seconds=step * count,
    )
    report.save()


def compare(report: Report, movies: int, dimension: int, temperature: float, steps: int) -> None:
    """Measure the loss beside torch's, for random vectors of norm 1, and report."""
    generator = torch.Generator().manual_seed(0)
    queries = F.normalize(torch.randn(QUESTIONS, dimension, generator=generator), dim=1)
    known = F.normalize(torch.randn(movies, dimension, generator=generator), dim=1)
    queries, known = (queries / temperature).requires_grad_(), known.requires_grad_()
    targets = torch.randint(movies, (QUESTIONS,), generator=generator)
    losses: dict[str, Loss] = {
        "full_softmax": partial(full_softmax, largest=1 / temperature),
        "torch cross_entropy": lambda queries, table, targets: F.cross_entropy(
            queries @ table.T, targets
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
        milliseconds = 1000 * float(np.median(seconds))
        report.add(
            f"{name:20} {QUESTIONS:,} questions among {movies:,} movies: "
            f"{milliseconds:.0f} ms, {peaks[name]:.0f} MB",
            loss=name,
            questions=QUESTIONS,
            movies=movies,
            milliseconds=milliseconds,
            megabytes=peaks[name],
        )


if __name__ == "__main__":
    main()
