"""What vectors of unequal length do to lists and to graphs, and what making them equal does.

python benchmarks/lengths.py --run FOLDER [--size 30000] [--stretch 0.0] [--seed N]

Vectors like the run's, each times a random factor where --stretch, the spread of its logarithm, is
not 0; and the queries of the run's users. An ivf and an hnsw of FAISS hold them as they are,
or with one more component that makes all equally long and that queries have no use for. Of what is
exactly the best, the share that is found near the top, and deep, where a user who has seen the best
would look.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np
from machine import describe
from numpy.typing import NDArray

from index.candidates import ADDING, LINKS
from index.exact import exact_search
from index.imitation import imitate
from index.tuning import recall
from index.vectors import Vectors
from retrieval.pipeline.indexing import questions
from retrieval.serving.recommender import Recommender

LISTS = 400
EFFORTS = {"ivf": (8, 32, 128), "hnsw": (64, 256, 1024)}

# The first of twenty places in the exact list, from 0.
DEPTHS = (0, 100, 400)
WIDTH = 20

Ask = Callable[[Vectors, int, int], NDArray[np.int64]]


def ivf(vectors: Vectors) -> Ask:
    """Return what asks lists around centres."""
    dimension = vectors.shape[1]
    centres = faiss.IndexFlatIP(dimension)
    index = faiss.IndexIVFFlat(centres, dimension, LISTS, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)

    def ask(queries: Vectors, count: int, effort: int) -> NDArray[np.int64]:
        parameters = faiss.SearchParametersIVF(nprobe=effort)
        return np.asarray(index.search(queries, count, params=parameters)[1])

    return ask


def hnsw(vectors: Vectors) -> Ask:
    """Return what asks a graph."""
    index = faiss.IndexHNSWFlat(vectors.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = ADDING
    index.add(vectors)

    def ask(queries: Vectors, count: int, effort: int) -> NDArray[np.int64]:
        parameters = faiss.SearchParametersHNSW(efSearch=effort)
        return np.asarray(index.search(queries, min(count, effort), params=parameters)[1])

    return ask


def equally_long(vectors: Vectors) -> Vectors:
    """Return vectors `(N, D + 1)` of one length, with the same inner products with queries."""
    squares = np.square(vectors).sum(axis=1, keepdims=True)
    return np.hstack([vectors, np.sqrt(squares.max() - squares)])


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--size", type=int, default=30_000)
    parser.add_argument("--stretch", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    recommender = Recommender.load(asked.run)
    of_users = questions(recommender.run).queries
    vectors = imitate(recommender.index.vectors, asked.size, asked.seed)
    factors = np.random.default_rng(asked.seed).lognormal(0, asked.stretch, (asked.size, 1))
    vectors = (vectors * factors).astype(np.float32)
    lengths = np.linalg.norm(vectors, axis=1)
    print(describe())
    print(
        f"{asked.size:,} vectors like those of {asked.run.name}, seed {asked.seed}, of lengths "
        f"{lengths.min():.2f} to {lengths.max():.2f}; {len(of_users)} queries"
    )
    deepest = DEPTHS[-1] + WIDTH
    truth = exact_search(np.arange(asked.size), vectors, of_users, deepest).ids
    header = "".join(f"{f'{start + 1}-{start + WIDTH}':>10}" for start in DEPTHS)
    print(f"{'index':8}{'lengths':10}{'effort':>8}{header}")
    wide = np.hstack([of_users, np.zeros((len(of_users), 1), np.float32)])
    for name, build in (("ivf", ivf), ("hnsw", hnsw)):
        for kept, held, queries in (
            ("unequal", vectors, of_users),
            ("equal", equally_long(vectors), wide),
        ):
            ask = build(held)
            for effort in EFFORTS[name]:
                found = ask(queries, deepest, effort)
                parts = [slice(start, start + WIDTH) for start in DEPTHS]
                cells = [
                    f"{recall(found, truth[:, part]):10.4f}" if part.stop <= found.shape[1] else ""
                    for part in parts
                ]
                print(f"{name:8}{kept:10}{effort:8}{''.join(cells)}", flush=True)


if __name__ == "__main__":
    main()
