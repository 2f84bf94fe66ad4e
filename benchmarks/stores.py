"""Vector stores beside FAISS, and their own filters: recall and milliseconds of the same questions.

    python benchmarks/stores.py --store postgresql://... --store milvus://... [--run runs/demo]
        [--vectors 20000] [--users 200]

Without a run the vectors are drawn: clusters of unequal norms, 66 components. Each question leaves
out what its user has seen, here the best of what there is. The last table asks the engine itself to
leave that out, with its own filter on its graph, at the same `ef`.
"""

import argparse
from pathlib import Path

import numpy as np
from machine import describe

from index.kinds import Kind
from index.search import Index
from index.stores.address import parse_address
from index.tuning import Questions, recalls, timed
from index.vectors import Vectors
from retrieval.evaluation.latency import larger
from retrieval.evaluation.stores import compared, loaded
from retrieval.pipeline.indexing import questions
from retrieval.run.stores import behind
from retrieval.serving.recommender import Recommender

DIMENSION, K, SEED = 66, 20, 0

# Movies that are in the way of each list.
EXCLUDED = (0, 20, 100, 400)


def world(count: int, users: int) -> tuple[Vectors, Vectors]:
    """Draw vectors `(count, D)` and queries `(users, D)`."""
    rng = np.random.default_rng(SEED)
    centres = rng.normal(size=(100, DIMENSION))
    vectors = centres[rng.integers(0, 100, count)] + 0.7 * rng.normal(size=(count, DIMENSION))
    vectors *= rng.lognormal(0, 0.3, (count, 1))
    queries = centres[rng.integers(0, 100, users)] + rng.normal(size=(users, DIMENSION))
    return vectors.astype(np.float32), queries.astype(np.float32)


def asked(folder: Path | None, count: int, users: int) -> tuple[Vectors, Vectors]:
    """Return vectors and queries, like those of a run if one is given."""
    if folder is None:
        return world(count, users)
    recommender = Recommender.load(folder)
    sample = questions(recommender.run, users)
    vectors, made = larger(recommender.index, sample, count, SEED)
    return vectors, made.queries


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--store", action="append", required=True)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--vectors", type=int, default=20_000)
    parser.add_argument("--users", type=int, default=200)
    parser.add_argument("--target", type=float, default=0.98)
    options = parser.parse_args()
    stores = [parse_address(url) for url in options.store]
    vectors, queries = asked(options.run, options.vectors, options.users)
    exact = Index.build(np.arange(len(vectors)), vectors)
    best = exact.search(queries, max(EXCLUDED) + K).ids
    print(f"{len(vectors):,} x {vectors.shape[1]}, {len(queries)} queries, {describe()}")
    usual = Questions(queries, K, [row[: EXCLUDED[1]] for row in best])
    print(f"\nthe best {EXCLUDED[1]} left out")
    print(f"{'engine':12}{'kind':8}{'ef':>5}{'recall':>9}{'ms':>9}{'load s':>9}")
    chosen = {}
    for row in compared(vectors, usual, stores, options.target):
        trial = row.trial
        chosen[trial.engine, trial.kind] = trial.parameters
        ef = trial.parameters.ef if trial.kind is Kind.HNSW else ""
        print(
            f"{trial.engine:12}{trial.kind:8}{ef:>5}{trial.recall:9.4f}"
            f"{trial.milliseconds:9.3f}{row.load_seconds:9.1f}"
        )
    print("\nrecall on the graph, by how many of the best are left out")
    print(f"{'engine':12}{'who leaves out':18}" + "".join(f"{each:>8}" for each in EXCLUDED))
    for address in stores:
        parameters = chosen[address.engine, Kind.HNSW]
        rounds, own = [], []
        with loaded(address, exact, Kind.HNSW) as (connection, _):
            index = Index(behind(connection, exact)).with_parameters(parameters)
            store, name = connection.open()
            for count in EXCLUDED:
                excluded, truth = [row[:count] for row in best], best[:, count : count + K]
                found, _ = timed(index, Questions(queries, K, excluded))
                rounds.append(recalls(found.ids, truth).mean())
                filtered = [
                    store.nearest_but(name, query[None], K, Kind.HNSW, parameters.ef, out.tolist())
                    for query, out in zip(queries, excluded, strict=True)
                ]
                padded = np.array([(*rows, *[-2] * (K - len(rows))) for rows in filtered])
                own.append(recalls(padded, truth).mean())
        for words, found_share in (("rounds", rounds), ("its own filter", own)):
            cells = "".join(f"{share:8.4f}" for share in found_share)
            print(f"{address.engine:12}{words:18}{cells}")


if __name__ == "__main__":
    main()
