"""What a filter costs that lets through a share of a large catalogue, and what it finds.

python benchmarks/filters.py --run FOLDER [--size 100000] [--shares 0.001,0.01,0.1,0.6]
                             [--kind ivfpq] [--nprobe 64] [--oversampling 8]

The catalogue is made to look like the run's; the queries are those of its users, each asked for 20
movies without what the user has seen, one at a time on one thread. The movies that are let through
are drawn at random, and stay the same for all queries, as those of a condition do. What an index
makes of a selection that is asked about often is there before the first query. Recall is the share
of the exact answers, which scan everything.
"""

from pathlib import Path

import numpy as np
from machine import Report, arguments

from index.compiled import prepare
from index.kinds import Kind, SearchParameters
from index.search import Index
from index.tuning import recall, timed
from retrieval.evaluation.latency import larger
from retrieval.pipeline.indexing import questions
from retrieval.run.folder import open_index, open_run


def main() -> None:
    """Measure and report."""
    parser = arguments(__doc__)
    parser.add_argument("--run", type=Path, required=True, help="folder of a run")
    parser.add_argument("--size", type=int, default=100_000, help="number of movies")
    parser.add_argument("--shares", default="0.001,0.01,0.03,0.1,0.3,0.6,1", help="shares allowed")
    parser.add_argument("--kind", type=Kind, choices=list(Kind), default=Kind.IVFPQ)
    parser.add_argument("--nprobe", type=int, default=64, help="lists that an ivf or ivfpq visits")
    parser.add_argument("--oversampling", type=int, default=8, help="candidates of a result")
    asked = parser.parse_args()
    run = open_run(asked.run)
    vectors, made = larger(open_index(run).snapshot, questions(run), asked.size, asked.seed)
    ids = np.arange(asked.size)
    parameters = SearchParameters(nprobe=asked.nprobe, oversampling=asked.oversampling)
    index = Index.build(ids, vectors, asked.kind, parameters, made.queries[::2])
    exact = Index.build(ids, vectors)
    prepare(index.dimension)
    report = Report(
        asked,
        f"{asked.size:,} vectors of {index.dimension} components like those of {asked.run.name}, "
        f"{asked.kind}, {len(made.queries)} queries one at a time on one thread",
    )
    report.say(f"{'share':>7} {'allowed':>10} {'recall@20':>9} {'ms':>8}")
    rng = np.random.default_rng(asked.seed)
    for share in (float(share) for share in asked.shares.split(",")):
        allowed = np.flatnonzero(rng.random(asked.size) < share)
        chosen = index.select(allowed)
        index.snapshot.prepare(chosen)
        found, milliseconds = timed(index, made, chosen)
        truth = exact.search(made.queries, made.k, made.excluded, exact.select(allowed))
        share_found = recall(found.ids, truth.ids)
        report.add(
            f"{share:7g} {len(allowed):10,} {share_found:9.4f} {milliseconds:8.3f}",
            share=share,
            allowed=len(allowed),
            recall=share_found,
            milliseconds=milliseconds,
        )
    report.save()


if __name__ == "__main__":
    main()
