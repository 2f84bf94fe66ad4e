"""What vectors of unequal norms do to lists and to graphs, and what making the norms equal does.

python benchmarks/norms.py --run FOLDER [--size 30000] [--stretch 0.0]

The vectors look like the run's, each times a random factor where --stretch, the standard deviation
of its logarithm, is not 0; the queries are those of the run's users. An ivf and an hnsw of FAISS
hold the vectors as they are, or with one more component that makes all norms equal and that is 0 in
queries. Of what is exactly the best, the share that is found near the top, and deep, where a user
who has seen the best would look.
"""

from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np
from machine import Report, arguments
from numpy.typing import NDArray

from index.exact import exact_search
from index.faiss_kinds import EF_CONSTRUCTION, LINKS
from index.synthetic import synthetic_vectors
from index.tuning import recall
from index.vectors import Vectors
from retrieval.pipeline.indexing import questions
from retrieval.serving.recommender import Recommender

LISTS = 400

# The nprobe of the ivf, and the ef of the hnsw.
PARAMETERS = {"ivf": (8, 32, 128), "hnsw": (64, 256, 1024)}

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

    def ask(queries: Vectors, count: int, parameter: int) -> NDArray[np.int64]:
        parameters = faiss.SearchParametersIVF(nprobe=parameter)
        return np.asarray(index.search(queries, count, params=parameters)[1])

    return ask


def hnsw(vectors: Vectors) -> Ask:
    """Return what asks a graph."""
    index = faiss.IndexHNSWFlat(vectors.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = EF_CONSTRUCTION
    index.add(vectors)

    def ask(queries: Vectors, count: int, parameter: int) -> NDArray[np.int64]:
        parameters = faiss.SearchParametersHNSW(efSearch=parameter)
        return np.asarray(index.search(queries, min(count, parameter), params=parameters)[1])

    return ask


def of_equal_norms(vectors: Vectors) -> Vectors:
    """Return vectors `(N, D + 1)` of one norm, with the same inner products with queries."""
    squares = np.square(vectors).sum(axis=1, keepdims=True)
    return np.hstack([vectors, np.sqrt(squares.max() - squares)])


def main() -> None:
    """Measure and report."""
    parser = arguments(__doc__)
    parser.add_argument("--run", type=Path, required=True, help="folder of a run")
    parser.add_argument("--size", type=int, default=30_000, help="number of vectors")
    parser.add_argument("--stretch", type=float, default=0.0, help="how unequal norms are made")
    asked = parser.parse_args()
    recommender = Recommender.load(asked.run)
    of_users = questions(recommender.run).queries
    vectors = synthetic_vectors(recommender.index.vectors, asked.size, asked.seed)
    factors = np.random.default_rng(asked.seed).lognormal(0, asked.stretch, (asked.size, 1))
    vectors = (vectors * factors).astype(np.float32)
    norms = np.linalg.norm(vectors, axis=1)
    report = Report(
        asked,
        f"{asked.size:,} vectors like those of {asked.run.name}, of norms {norms.min():.2f} to "
        f"{norms.max():.2f}; {len(of_users)} queries",
    )
    deepest = DEPTHS[-1] + WIDTH
    truth = exact_search(np.arange(asked.size), vectors, of_users, deepest).ids
    places = [f"{start + 1}-{start + WIDTH}" for start in DEPTHS]
    header = "".join(f"{place:>10}" for place in places)
    report.say(f"{'index':8}{'norms':10}{'parameter':>10}{header}")
    wide = np.hstack([of_users, np.zeros((len(of_users), 1), np.float32)])
    for name, build in (("ivf", ivf), ("hnsw", hnsw)):
        for kept, held, queries in (
            ("unequal", vectors, of_users),
            ("equal", of_equal_norms(vectors), wide),
        ):
            ask = build(held)
            for parameter in PARAMETERS[name]:
                found = ask(queries, deepest, parameter)
                shares = {
                    place: recall(found, truth[:, start : start + WIDTH])
                    for place, start in zip(places, DEPTHS, strict=True)
                    if start + WIDTH <= found.shape[1]
                }
                cells = "".join(f"{share:10.4f}" for share in shares.values())
                report.add(
                    f"{name:8}{kept:10}{parameter:10}{cells}",
                    index=name,
                    norms=kept,
                    parameter=parameter,
                    recall_of_places=shares,
                )
    report.save()


if __name__ == "__main__":
    main()
