"""What a query costs in larger and larger catalogues, by kind of index.

python benchmarks/sizes.py --run FOLDER [--sizes 4000,20000,100000] [--target 0.98] [--seed N]
                           [--graphs 1000000] [--plot sizes.svg]

Catalogues look like the run's; the queries are those of its users, each for 20 movies without those
of the ranks at which the user has seen movies in the run, one at a time on one thread. Of each kind
the fastest setting that surely finds the share of the exact answers, or, marked, what comes
nearest; recall is of the half of the queries that it was not chosen on. Graphs are built for no
more movies than --graphs: that takes longest.
"""

import argparse
from pathlib import Path

import matplotlib as mpl
from machine import describe, peak_megabytes
from matplotlib import pyplot as plt

from index.kinds import Kind
from retrieval.evaluation.latency import Sized, by_size, of_each
from retrieval.serving.recommender import Recommender


def main() -> None:
    """Measure, print a table, and draw it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--sizes", default="4000,20000,100000")
    parser.add_argument("--target", type=float, default=0.98)
    parser.add_argument("--graphs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plot", type=Path)
    asked = parser.parse_args()
    recommender = Recommender.load(asked.run)
    print(describe())
    dimension = recommender.index.vectors.shape[1]
    print(f"{dimension} components, recall of {asked.target:g} at 20, seed {asked.seed}")
    print(
        f"{'movies':>10} {'kind':6} {'recall':>7} {'ms':>8} {'build s':>8} {'MB':>8} {'peak MB':>8}"
    )
    found: list[Sized] = []
    for size in (int(size) for size in asked.sizes.split(",")):
        kinds = [kind for kind in Kind if kind is not Kind.HNSW or size <= asked.graphs]
        measured = list(by_size(recommender, [size], asked.target, kinds, asked.seed))
        for row in of_each(measured, asked.target):
            found.append(row)
            trial = row.trial
            print(
                f"{size:10,} {trial.kind:6} {trial.check:7.4f} {trial.milliseconds:8.3f} "
                f"{trial.build_seconds:8.1f} {trial.megabytes:8.1f} {peak_megabytes():8.0f}"
                f"{'' if trial.least >= asked.target else '  target missed'}",
                flush=True,
            )
    if asked.plot:
        draw(found, asked.plot)


def draw(found: list[Sized], path: Path) -> None:
    """Draw what queries, building and memory cost against the number of movies."""
    mpl.rcParams["svg.hashsalt"] = "sizes"  # the same file for the same figures
    figure, panels = plt.subplots(1, 3, figsize=(10, 3.5))
    for kind in Kind:
        own = [row for row in found if row.trial.kind is kind]
        sizes = [row.movies for row in own]
        for axes, values in zip(
            panels,
            (
                [row.trial.milliseconds for row in own],
                [row.trial.build_seconds for row in own],
                [row.trial.megabytes for row in own],
            ),
            strict=True,
        ):
            axes.plot(sizes, values, "o-", markersize=4, label=kind.value)
    for axes, name in zip(
        panels, ("milliseconds of a query", "seconds to build", "megabytes of index"), strict=True
    ):
        axes.set(xscale="log", yscale="log", xlabel="movies", ylabel=name)
        axes.grid(alpha=0.3)
    panels[0].legend()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
