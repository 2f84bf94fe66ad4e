"""What the correction for sampling is worth: popular movies sink without it.

A world where the chance of each movie is known: movies of very unequal popularity, and taste. The
same vectors are learned by the full softmax, and by negatives from the batch: with the correction,
by the true popularity or one that is estimated from the stream of answers, and without it.

python benchmarks/sampling_bias.py [--plot]
"""

from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from machine import Report, add_plot, arguments
from numpy.typing import NDArray
from plots import new_plot, save
from torch import Tensor

from retrieval.pairs.sequence.frequency import StreamingFrequency
from retrieval.pairs.sequence.negatives import HASHES, SLOTS
from retrieval.pairs.sequence.softmax import full_softmax, sampled_softmax

DIMENSION, MOVIES, GROUPS = 16, 1000, 10
BATCH, STEPS = 512, 1500


class Loss(StrEnum):
    """How vectors are learned."""

    FULL = "full"
    CORRECTED = "corrected"
    ESTIMATED = "corrected by estimates"
    UNCORRECTED = "uncorrected"


class World(NamedTuple):
    """Users and movies, and how likely each user watches each movie."""

    users: Tensor  # (U, D)
    chances: Tensor  # (U, M)
    popularity: Tensor  # (M,)


def world(seed: int) -> World:
    """Return 2,000 users; movies whose popularity falls as one over their place."""
    generator = torch.Generator().manual_seed(seed)
    users = torch.randn(2000, DIMENSION, generator=generator)
    tastes = 0.3 * torch.randn(MOVIES, DIMENSION, generator=generator)
    popularity = 1 / torch.arange(1, MOVIES + 1)
    chances = (users @ tastes.T + popularity.log()).softmax(dim=1)
    return World(users, chances, chances.mean(dim=0))


def learn(of: World, loss_of: Loss, seed: int) -> Tensor:
    """Learn movie vectors with a bias; return the scores `(U, M)` they give."""
    generator = torch.Generator().manual_seed(seed)
    movies = torch.zeros(MOVIES, DIMENSION + 1, requires_grad=True)
    optimizer = torch.optim.Adam([movies], lr=0.02)
    stream = StreamingFrequency(SLOTS * MOVIES, HASHES, np.random.default_rng(seed))
    for step in range(STEPS):
        rows = torch.randint(len(of.users), (BATCH,), generator=generator)
        targets = torch.multinomial(of.chances[rows], 1, generator=generator)[:, 0]
        queries = torch.cat([of.users[rows], torch.ones(BATCH, 1)], dim=1)
        expected = BATCH * of.popularity[targets]
        match loss_of:
            case Loss.FULL:
                loss = full_softmax(queries, movies, targets)
            case Loss.CORRECTED:
                loss = sampled_softmax(queries, movies, targets, targets, expected.log())
            case Loss.ESTIMATED:
                stream.meet(targets.numpy())
                estimated = torch.from_numpy(BATCH * stream.shares(targets.numpy())).float()
                loss = sampled_softmax(queries, movies, targets, targets, estimated.log())
            case Loss.UNCORRECTED:
                alike = torch.full((BATCH,), BATCH / MOVIES).log()
                loss = sampled_softmax(queries, movies, targets, targets, alike)
        for group in optimizer.param_groups:
            group["lr"] = 0.02 * (1 - step / STEPS)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    with torch.no_grad():
        return torch.cat([of.users, torch.ones(len(of.users), 1)], dim=1) @ movies.T


def main() -> None:
    """Learn in each way, report and draw."""
    parser = arguments(__doc__)
    add_plot(parser, "sampling_bias")
    asked = parser.parse_args()
    of = world(asked.seed)
    truth = of.chances.log()
    scores = {name: learn(of, name, asked.seed) for name in Loss}
    report = Report(asked, f"{MOVIES} movies in {GROUPS} groups from popular to rare")
    report.say("scores less the true log-chances, by group, each shifted to a mean of 0:")
    off: dict[Loss, NDArray[np.float32]] = {}
    for name, found in scores.items():
        bias = (found - truth).mean(dim=0)
        bias -= bias.mean()
        off[name] = bias.view(GROUPS, -1).mean(dim=1).numpy()
        best = truth.topk(10, dim=1).indices
        shared = [
            np.intersect1d(one, other).size
            for one, other in zip(found.topk(10, dim=1).indices, best, strict=True)
        ]
        cells = "  ".join(f"{value:+.2f}" for value in off[name])
        found_best = float(np.mean(shared)) / 10
        report.add(
            f"{name:22} {cells}   of the true top 10: {found_best:.1%}",
            softmax=name,
            bias_by_group=off[name].tolist(),
            found_of_top_10=found_best,
        )
    report.save()
    if asked.plot:
        draw(off, asked.plot)


def draw(off: dict[Loss, NDArray[np.float32]], path: Path) -> None:
    """Draw how far scores are off, by popularity."""
    without, with_it = off[Loss.UNCORRECTED][0], off[Loss.ESTIMATED][0]
    title = (
        f"Without the correction the most popular tenth of the movies scores {-without:.1f} too "
        f"low; with estimated frequencies it is off by {abs(with_it):.1f}"
    )
    figure, (axes,) = new_plot(title, height=4)
    for name, values in off.items():
        axes.plot(np.arange(1, GROUPS + 1), values, "o-", markersize=4, label=name.value)
    axes.axhline(0, color="grey", linewidth=0.8)
    axes.set_xlabel("movies, tenths from the most to the least popular")
    axes.set_ylabel("score less true log-chance")
    axes.legend(title="softmax")
    save(figure, path)


if __name__ == "__main__":
    main()
