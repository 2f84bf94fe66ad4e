"""Recall against time of every kind of index and of peers, on one catalogue and one set of queries.

python benchmarks/search.py --run FOLDER [--size 100000] [--random] [--seed N] [--plot search.svg]

The catalogue is made to look like the run's; the queries are those of its users, each asked for 20
movies without those of the ranks at which the user has seen movies in the run; with --random, as
many random ones, which are seldom in the way. Peers, which cannot leave movies out without losing
recall, are asked for as many more. One query at a time on one thread. Needs the extra `peers`.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import faiss
import hnswlib
import matplotlib as mpl
import numpy as np
import scann
import svs
import voyager
from machine import describe
from matplotlib import pyplot as plt
from numpy.typing import NDArray
from usearch.index import Index as Usearch

from index.kinds import Kind
from index.search import Index
from index.tuning import Questions, recall, tune
from index.vectors import Vectors
from retrieval.evaluation.latency import larger
from retrieval.pipeline.indexing import questions
from retrieval.run.folder import open_index, open_run

PACKAGES = ("faiss-cpu", "hnswlib", "usearch", "voyager", "scann", "scalable-vs")

# Of all graphs: neighbours of a node, and nodes in sight when one is added.
LINKS, ADDING = 32, 200
BREADTHS = (16, 32, 64, 128, 256, 512, 1024)

# Candidates that ScaNN scores exactly for each result: with 4, it finds less than .96 of a million.
REORDERED = 16

# Of peers that are asked for one query in a way that leaves them on one thread.
Ask = Callable[[Vectors, int], NDArray[np.integer]]  # (1, D), depth -> (depth,) rows


class Point(NamedTuple):
    """One system at one effort."""

    system: str
    effort: str
    recall: float
    milliseconds: float
    build_seconds: float


def main() -> None:
    """Measure, print a table, and draw it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--size", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--random", action="store_true", help="leave out random movies")
    parser.add_argument("--skip", nargs="*", default=[], help="systems to leave out")
    asked = parser.parse_args()
    run = open_run(asked.run)
    of_users = questions(run)
    vectors, made = larger(open_index(run), of_users, asked.size, asked.seed)
    if asked.random:
        rng = np.random.default_rng(asked.seed)
        others = [rng.choice(asked.size, len(ids), replace=False) for ids in made.excluded]
        made = made._replace(excluded=others)
    seen = made.excluded
    truth = Index.build(np.arange(asked.size), vectors).search(made.queries, made.k, seen).ids
    print(describe())
    print(", ".join(f"{name} {version(name)}" for name in PACKAGES))
    print(f"{asked.size:,} vectors of {vectors.shape[1]} like those of {asked.run}, {len(seen)}")
    print(f"queries, {np.mean([len(ids) for ids in seen]):.0f} excluded each, seed {asked.seed}")
    print(f"{'system':20} {'effort':28} recall@20      ms  build s")
    points: list[Point] = []
    for measured in (ours(vectors, made, asked.skip), peers(vectors, made, truth, asked.skip)):
        for point in measured:
            points.append(point)
            print(
                f"{point.system:20} {point.effort:28} {point.recall:9.4f} "
                f"{point.milliseconds:7.3f} {point.build_seconds:8.1f}",
                flush=True,
            )
    if asked.plot:
        draw(points, asked.plot)


def ours(vectors: Vectors, made: Questions, skip: Sequence[str]) -> Iterator[Point]:
    """Measure the kinds of index here, each as `rec build-index` tunes it."""
    ids = np.arange(len(vectors))
    for kind in Kind:
        if kind.value in skip:
            continue
        for trial in tune(ids, vectors, made, 0.9995, [kind]).trials[::-1]:
            effort = f"{trial.effort.breadth} wide, {trial.effort.oversampling} times"
            yield Point(
                f"rec {kind.value}", effort, trial.check, trial.milliseconds, trial.build_seconds
            )


def peers(
    vectors: Vectors, made: Questions, truth: NDArray[np.int64], skip: Sequence[str]
) -> Iterator[Point]:
    """Measure the others."""
    makers: dict[str, Callable[[Vectors, int], Iterator[tuple[str, Ask]]]] = {
        "faiss.IndexFlatIP": bare_faiss,
        "hnswlib": of_hnswlib,
        "usearch": of_usearch,
        "voyager": of_voyager,
        "scann": of_scann,
        "svs": of_svs,
    }
    deepest = made.k + max(len(ids) for ids in made.excluded)
    for name, make in makers.items():
        if name in skip:
            continue
        began = time.perf_counter()
        seconds = 0.0
        for effort, ask in make(vectors, deepest):
            seconds = seconds or time.perf_counter() - began
            found, milliseconds = timed(ask, made)
            # The half of the questions that those here are judged by.
            yield Point(name, effort, recall(found[1::2], truth[1::2]), milliseconds, seconds)


def timed(ask: Ask, made: Questions) -> tuple[NDArray[np.int64], float]:
    """Return what a peer finds for each question, seen movies left out, and the median time."""
    faiss.omp_set_num_threads(1)
    lists = np.full((len(made.queries), made.k), -1, np.int64)
    times = []
    for place, seen in enumerate(made.excluded):
        query = made.queries[place : place + 1]
        left_out = np.sort(seen)
        began = time.perf_counter()
        rows = ask(query, made.k + len(seen)).astype(np.int64)
        if len(left_out):
            places = np.minimum(np.searchsorted(left_out, rows), len(left_out) - 1)
            rows = rows[left_out[places] != rows]
        times.append(time.perf_counter() - began)
        lists[place, : len(rows[: made.k])] = rows[: made.k]
    return lists, 1000 * float(np.median(times))


def bare_faiss(vectors: Vectors, deepest: int) -> Iterator[tuple[str, Ask]]:
    """FAISS alone, exact."""
    del deepest
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    yield "", lambda query, depth: np.asarray(index.search(query, depth)[1][0])


def of_hnswlib(vectors: Vectors, deepest: int) -> Iterator[tuple[str, Ask]]:
    """A graph on inner products."""
    del deepest
    index = hnswlib.Index(space="ip", dim=vectors.shape[1])
    index.init_index(max_elements=len(vectors), M=LINKS // 2, ef_construction=ADDING)
    index.add_items(vectors)
    index.set_num_threads(1)

    def ask(query: Vectors, depth: int, breadth: int) -> NDArray[np.integer]:
        index.set_ef(max(breadth, depth))
        return np.asarray(index.knn_query(query, k=depth)[0][0])

    for breadth in BREADTHS:
        yield f"ef {breadth}", partial(ask, breadth=breadth)


def of_usearch(vectors: Vectors, deepest: int) -> Iterator[tuple[str, Ask]]:
    """A graph on inner products."""
    del deepest
    index = Usearch(
        ndim=vectors.shape[1], metric="ip", connectivity=LINKS // 2, expansion_add=ADDING
    )
    index.add(np.arange(len(vectors)), vectors)

    def ask(query: Vectors, depth: int, breadth: int) -> NDArray[np.integer]:
        index.expansion_search = max(breadth, depth)
        return np.asarray(index.search(query[0], depth, threads=1).keys)

    for breadth in BREADTHS:
        yield f"expansion {breadth}", partial(ask, breadth=breadth)


def of_voyager(vectors: Vectors, deepest: int) -> Iterator[tuple[str, Ask]]:
    """A graph on vectors that are made equally long."""
    del deepest
    index = voyager.Index(
        voyager.Space.InnerProduct, vectors.shape[1], M=LINKS // 2, ef_construction=ADDING
    )
    index.add_items(vectors)

    def ask(query: Vectors, depth: int, breadth: int) -> NDArray[np.integer]:
        found = index.query(query[0], k=depth, num_threads=1, query_ef=max(breadth, depth))
        return np.asarray(found[0])

    for breadth in BREADTHS:
        yield f"ef {breadth}", partial(ask, breadth=breadth)


def of_scann(vectors: Vectors, deepest: int) -> Iterator[tuple[str, Ask]]:
    """Lists of short codes that are learned for inner products, and exact scores at the end."""
    lists = max(8, round(2 * len(vectors) ** 0.5))
    index = (
        scann.scann_ops_pybind.builder(vectors, deepest, "dot_product")
        .tree(num_leaves=lists, num_leaves_to_search=lists // 10, training_sample_size=250_000)
        .score_ah(2, anisotropic_quantization_threshold=0.2)
        .reorder(REORDERED * deepest)
        .build()
    )

    def ask(query: Vectors, depth: int, leaves: int) -> NDArray[np.integer]:
        rows, _ = index.search(
            query[0],
            final_num_neighbors=depth,
            pre_reorder_num_neighbors=REORDERED * depth,
            leaves_to_search=leaves,
        )
        return np.asarray(rows)

    for leaves in (8, 16, 32, 64, 128, 256):
        if leaves <= lists:
            yield f"{leaves} leaves", partial(ask, leaves=leaves)


def of_svs(vectors: Vectors, deepest: int) -> Iterator[tuple[str, Ask]]:
    """A graph of one layer on inner products."""
    index = svs.Vamana.build(
        svs.VamanaBuildParameters(graph_max_degree=2 * LINKS, window_size=ADDING, alpha=0.95),
        vectors,
        svs.DistanceType.MIP,
        num_threads=2,
    )
    index.num_threads = 1

    def ask(query: Vectors, depth: int, breadth: int) -> NDArray[np.integer]:
        index.search_window_size = max(breadth, depth)
        return np.asarray(index.search(query, depth)[0][0])

    del deepest
    for breadth in BREADTHS:
        yield f"window {breadth}", partial(ask, breadth=breadth)


def draw(points: Sequence[Point], path: Path) -> None:
    """Draw what is missed against time: down and left is better."""
    mpl.rcParams["svg.hashsalt"] = "search"  # the same file for the same figures
    figure, axes = plt.subplots(figsize=(7, 4.5))
    axes.set_prop_cycle(color=[*mpl.color_sequences["tab10"], "black"])
    for system in dict.fromkeys(point.system for point in points):
        own = sorted(
            (point for point in points if point.system == system),
            key=lambda point: point.milliseconds,
        )
        best = [
            point
            for place, point in enumerate(own)
            if all(point.recall > earlier.recall for earlier in own[:place])
        ]
        axes.plot(
            [point.milliseconds for point in best],
            [max(1 - point.recall, 1e-4) for point in best],
            marker="o",
            markersize=4,
            linewidth=2 if system.startswith("rec") else 1,
            linestyle="-" if system.startswith("rec") else "--",
            label=system,
        )
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="milliseconds of one query",
        ylabel="share of the best 20 that is missed",
    )
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, ncols=2)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
