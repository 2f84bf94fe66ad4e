"""Recall against time of every kind of index and of peers, on one catalogue and one set of queries.

python benchmarks/search.py --run FOLDER [--size 100000] [--random] [--skip hnsw] [--turns 5]
                            [--plot]
python benchmarks/search.py --public random-s-100-angular [--skip hnsw] [--turns 5] [--plot]

The catalogue is made to look like the run's; the queries are those of its users, each asked for 20
movies without those of the ranks at which the user has seen movies in the run; with --random, as
many random ones, which are seldom in the way. Peers, which cannot leave movies out without losing
recall, are asked for as many more. One query at a time on one thread. A machine is faster at one
time than at another, so at the end those that found enough soonest are asked again in turns. With
--public, vectors and queries are those of a set of ann-benchmarks that anybody can make: unit
vectors, 10 results, nothing left out, the first thousand of its queries. The peers come with the
extra `peers`; those that are not installed are left out.
"""

import time
from collections.abc import Callable, Container, Iterator, Sequence
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import faiss
import matplotlib as mpl
import numpy as np
from machine import Report, add_plot, arguments
from numpy.typing import NDArray
from plots import new_plot, save
from sklearn.datasets import make_blobs
from sklearn.model_selection import train_test_split

from index.kinds import Kind
from index.search import Index
from index.tuning import Questions, recall, tune
from index.tuning import timed as timed_index
from index.vectors import Vectors
from retrieval.evaluation.latency import larger
from retrieval.pipeline.indexing import questions
from retrieval.run.folder import open_index, open_run

# Packages of the peers.
PACKAGES = {
    "faiss.IndexFlatIP": "faiss-cpu",
    "hnswlib": "hnswlib",
    "usearch": "usearch",
    "voyager": "voyager",
    "scann": "scann",
    "svs": "scalable-vs",
}

# Of all graphs: neighbours of a node, and nodes in sight when one is added and in a search.
LINKS, EF_CONSTRUCTION = 32, 200
EFS = (16, 32, 64, 128, 256, 512, 1024)

# Recall at which the title of the plot compares systems.
ENOUGH = 0.98

# Candidates that ScaNN scores exactly for each result: with 4, it finds less than .96 of a million.
REORDERED = 16

# Search parameters of a kind, where it has them.
NAMES = ("nprobe", "ef", "oversampling")

# Of peers that are asked for one query in a way that leaves them on one thread.
Ask = Callable[[Vectors, int], NDArray[np.integer]]  # (1, D), depth -> (depth,) rows


class PublicSet(NamedTuple):
    """A set of ann-benchmarks.com that is made, not downloaded."""

    components: int
    vectors: int  # queries included, a tenth of them
    centres: int


PUBLIC = {
    "random-xs-20-angular": PublicSet(20, 10_000, 100),
    "random-s-100-angular": PublicSet(100, 100_000, 1_000),
}
PUBLIC_K, PUBLIC_QUERIES = 10, 1_000


class Point(NamedTuple):
    """One system with some search parameters."""

    system: str
    parameters: str
    recall: float
    milliseconds: float
    build_seconds: float


class Measured(NamedTuple):
    """A point, and what asks its system every question again."""

    point: Point
    again: Callable[[], tuple[object, float]]  # what is found, and the median milliseconds


def main() -> None:
    """Measure, report and draw."""
    parser = arguments(__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--run", type=Path, help="folder of a run")
    source.add_argument("--public", choices=list(PUBLIC), help="a public set of vectors")
    parser.add_argument("--size", type=int, default=100_000, help="number of movies")
    parser.add_argument("--random", action="store_true", help="leave out random movies")
    systems = [*map(str, Kind), *PACKAGES]
    parser.add_argument("--skip", nargs="*", choices=systems, default=[], help="systems left out")
    parser.add_argument("--turns", type=int, default=5, help="times that the best are asked again")
    add_plot(parser, "search")
    asked = parser.parse_args()
    if asked.public and asked.random:
        parser.error("--public leaves nothing out: --random has no effect")
    if asked.public:
        vectors, made = public(PUBLIC[asked.public])
    else:
        run = open_run(asked.run)
        vectors, made = larger(open_index(run).snapshot, questions(run), asked.size, asked.seed)
    if asked.random:
        rng = np.random.default_rng(asked.seed)
        others = [rng.choice(len(vectors), len(ids), replace=False) for ids in made.excluded]
        made = made._replace(excluded=others)
    seen = made.excluded
    truth = Index.build(np.arange(len(vectors)), vectors).search(made.queries, made.k, seen).ids
    versions = installed()
    report = Report(
        asked,
        f"{len(vectors):,} vectors of {vectors.shape[1]} components "
        f"{f'of {asked.public}' if asked.public else f'like those of {asked.run.name}'}, "
        f"{len(seen)} queries one at a time on one thread, "
        f"{np.mean([len(ids) for ids in seen]):.0f} movies excluded each, "
        + ", ".join(f"{PACKAGES[name]} {found}" for name, found in versions.items()),
    )
    report.say(f"{'system':20} {'parameters':28} {f'recall@{made.k}':>9}      ms  build s")
    skip = {*asked.skip, *(PACKAGES.keys() - versions.keys())}
    points: list[Point] = []
    enough: dict[str, Measured] = {}
    for group in (of_rec(vectors, made, skip), peers(vectors, made, truth, skip)):
        for measured in group:
            point = measured.point
            points.append(point)
            best = enough.get(point.system, measured).point
            if point.recall >= ENOUGH and point.milliseconds <= best.milliseconds:
                enough[point.system] = measured
            report.add(
                f"{point.system:20} {point.parameters:28} {point.recall:9.4f} "
                f"{point.milliseconds:7.3f} {point.build_seconds:8.1f}",
                **point._asdict(),
            )
    for name, times in in_turns(enough, asked.turns).items():
        point = enough[name].point
        report.add(
            f"in turns: {name:20} {point.parameters:28} {point.recall:9.4f} "
            f"{np.median(times):7.3f} of {min(times):.3f} to {max(times):.3f}",
            **point._asdict() | {"milliseconds": float(np.median(times)), "turns": times},
        )
    report.save()
    if asked.plot:
        draw(points, len(vectors), asked.plot)


def public(wanted: PublicSet) -> tuple[Vectors, Questions]:
    """Return the vectors of a public set, and its queries.

    Source: ann-benchmarks, `random_float` of its datasets.py: the same numbers, of length 1.
    """
    made, _ = make_blobs(
        n_samples=wanted.vectors,
        n_features=wanted.components,
        centers=wanted.centres,
        random_state=1,
    )
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    vectors, queries = train_test_split(made.astype(np.float32), test_size=0.1, random_state=1)
    queries = queries[:PUBLIC_QUERIES]
    nothing = [np.zeros(0, np.int64)] * len(queries)
    return vectors, Questions(queries, PUBLIC_K, nothing)


def installed() -> dict[str, str]:
    """Return the versions of the peers that are there, by name of the system."""
    found = {}
    for system, package in PACKAGES.items():
        try:
            found[system] = version(package)
        except PackageNotFoundError:
            continue
    return found


def in_turns(systems: dict[str, Measured], turns: int) -> dict[str, list[float]]:
    """Return the median milliseconds of each system in each turn, the fastest first."""
    times: dict[str, list[float]] = {name: [] for name in systems}
    for _ in range(turns):
        for name, measured in systems.items():
            times[name].append(measured.again()[1])
    return dict(sorted(times.items(), key=lambda row: np.median(row[1]))) if turns else {}


def of_rec(vectors: Vectors, made: Questions, skip: Container[str]) -> Iterator[Measured]:
    """Measure the kinds of index of `rec`, each as `rec build-index` tunes it."""
    ids = np.arange(len(vectors))
    for kind in Kind:
        if kind.value in skip:
            continue
        tuned = tune(ids, vectors, made, 0.9995, [kind])
        for trial in tuned.trials[::-1]:
            row = trial.as_dict()
            given = [f"{name} {row[name]}" for name in NAMES if row[name] is not None]
            point = Point(
                f"rec {kind}",
                ", ".join(given),
                trial.check,
                trial.milliseconds,
                trial.build_seconds,
            )
            index = tuned.chosen.with_parameters(trial.parameters)
            yield Measured(point, partial(timed_index, index, made))


def peers(
    vectors: Vectors, made: Questions, truth: NDArray[np.int64], skip: Container[str]
) -> Iterator[Measured]:
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
        for parameters, ask in make(vectors, deepest):
            seconds = seconds or time.perf_counter() - began
            found, milliseconds = timed(ask, made)
            # The half of the questions that an index of `rec` is judged by.
            enough = recall(found[1::2], truth[1::2])
            point = Point(name, parameters, enough, milliseconds, seconds)
            yield Measured(point, partial(timed, ask, made))


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
    index = import_module("hnswlib").Index(space="ip", dim=vectors.shape[1])
    index.init_index(max_elements=len(vectors), M=LINKS // 2, ef_construction=EF_CONSTRUCTION)
    index.add_items(vectors)
    index.set_num_threads(1)

    def ask(query: Vectors, depth: int, ef: int) -> NDArray[np.integer]:
        index.set_ef(max(ef, depth))
        return np.asarray(index.knn_query(query, k=depth)[0][0])

    for ef in EFS:
        yield f"ef {ef}", partial(ask, ef=ef)


def of_usearch(vectors: Vectors, deepest: int) -> Iterator[tuple[str, Ask]]:
    """A graph on inner products."""
    del deepest
    index = import_module("usearch.index").Index(
        ndim=vectors.shape[1],
        metric="ip",
        connectivity=LINKS // 2,
        expansion_add=EF_CONSTRUCTION,
    )
    index.add(np.arange(len(vectors)), vectors)

    def ask(query: Vectors, depth: int, ef: int) -> NDArray[np.integer]:
        index.expansion_search = max(ef, depth)
        return np.asarray(index.search(query[0], depth, threads=1).keys)

    for ef in EFS:
        yield f"expansion {ef}", partial(ask, ef=ef)


def of_voyager(vectors: Vectors, deepest: int) -> Iterator[tuple[str, Ask]]:
    """A graph on vectors whose norms are made equal."""
    del deepest
    voyager = import_module("voyager")
    index = voyager.Index(
        voyager.Space.InnerProduct,
        vectors.shape[1],
        M=LINKS // 2,
        ef_construction=EF_CONSTRUCTION,
    )
    index.add_items(vectors)

    def ask(query: Vectors, depth: int, ef: int) -> NDArray[np.integer]:
        found = index.query(query[0], k=depth, num_threads=1, query_ef=max(ef, depth))
        return np.asarray(found[0])

    for ef in EFS:
        yield f"ef {ef}", partial(ask, ef=ef)


def of_scann(vectors: Vectors, deepest: int) -> Iterator[tuple[str, Ask]]:
    """Lists of short codes that are learned for inner products, and exact scores at the end."""
    lists = max(8, round(2 * len(vectors) ** 0.5))
    index = (
        import_module("scann")
        .scann_ops_pybind.builder(vectors, deepest, "dot_product")
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
    svs = import_module("svs")
    index = svs.Vamana.build(
        svs.VamanaBuildParameters(
            graph_max_degree=2 * LINKS, window_size=EF_CONSTRUCTION, alpha=0.95
        ),
        vectors,
        svs.DistanceType.MIP,
        num_threads=2,
    )
    index.num_threads = 1

    def ask(query: Vectors, depth: int, ef: int) -> NDArray[np.integer]:
        index.search_window_size = max(ef, depth)
        return np.asarray(index.search(query, depth)[0][0])

    del deepest
    for ef in EFS:
        yield f"window {ef}", partial(ask, ef=ef)


def draw(points: Sequence[Point], size: int, path: Path) -> None:
    """Draw what is missed against time: down and left is better."""
    enough = [point for point in points if point.recall >= ENOUGH]
    times: dict[str, float] = {}
    for point in sorted(enough, key=lambda point: point.milliseconds, reverse=True):
        times[point.system] = point.milliseconds
    order = sorted(times, key=lambda system: times[system])
    first = [f"{system} in {times[system]:.2g} ms" for system in order[:3]]
    title = f"No system reaches a recall of {ENOUGH:g} in {size:,} movies"
    if first:
        title = (
            f"A recall of {ENOUGH:g} in {size:,} movies is reached soonest by {'; '.join(first)}"
        )
    figure, (axes,) = new_plot(title, width=9, height=5)
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
        ylabel="share of the best that is missed",
    )
    figure.legend(loc="outside right center", fontsize=8)
    save(figure, path)


if __name__ == "__main__":
    main()
