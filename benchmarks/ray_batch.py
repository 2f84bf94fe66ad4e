"""Users per second of `rec batch topk`, in one process and on Ray.

python benchmarks/ray_batch.py RUN [--users 6000] [--workers 1,2]

Each row answers the same users in the same blocks; lists are compared to the last bit. Ray runs on
this machine. Starting it, and opening the run in each of its processes, is timed apart.
"""

import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
from machine import Report, arguments

from retrieval.distributed.cluster import connected
from retrieval.distributed.lists import lists_on
from retrieval.serving.blocks import ListJob, blocks_of, lists_of
from retrieval.serving.recommender import Recommender
from retrieval.serving.results import TopK
from retrieval.serving.threads import configure_threads

JOB = ListJob(k=20, rank_by=None, filters=None, diversity=0.0, include_seen=False, in_sitting=False)


def timed(answers: Iterator[TopK]) -> tuple[list[TopK], float, float]:
    """Return all answers, the seconds until the first, and the seconds of the others."""
    began = time.perf_counter()
    first = next(answers)
    opened = time.perf_counter()
    return list(chain([first], answers)), opened - began, time.perf_counter() - opened


def same(lists: list[TopK], others: list[TopK]) -> bool:
    """Return whether two engines gave the same lists."""
    return all(
        np.array_equal(one.movie_ids, two.movie_ids) and np.array_equal(one.scores, two.scores)
        for one, two in zip(lists, others, strict=True)
    )


def main() -> None:
    """Print a row for each engine."""
    parser = arguments(__doc__)
    parser.add_argument("run", type=Path, help="folder of a run")
    parser.add_argument("--users", type=int, default=6000, help="number of users, drawn at random")
    parser.add_argument("--workers", default="1,2", help="numbers of processes of Ray")
    asked = parser.parse_args()
    configure_threads()
    recommender = Recommender.load(asked.run)
    ids = recommender.run.users.ids
    users = np.random.default_rng(asked.seed).choice(ids, asked.users)
    report = Report(asked, f"lists of 20 for {asked.users:,} users of {asked.run.name}")
    blocks = list(blocks_of(users, None, {}))
    rest = asked.users - len(blocks[0].users)
    alone, first, seconds = timed(lists_of(recommender, JOB, block) for block in blocks)
    row = {"workers": 0, "start_s": 0.0, "first_s": first, "users_per_s": rest / seconds}
    report.add(f"one process: first block {first:.2f} s, then {rest / seconds:,.0f} users/s", **row)
    for count in map(int, asked.workers.split(",")):
        began = time.perf_counter()
        with connected(None, count) as cluster:
            started = time.perf_counter() - began
            answers = lists_on(cluster, recommender.run, JOB, blocks, count)
            made, first, seconds = timed(answer.lists for answer in answers)
        equal = same(alone, made)
        report.add(
            f"Ray, {count} processes: start {started:.1f} s, first block {first:.2f} s, then "
            f"{rest / seconds:,.0f} users/s; {'the same lists' if equal else 'OTHER LISTS'}",
            workers=count,
            start_s=started,
            first_s=first,
            users_per_s=rest / seconds,
            same=equal,
        )
    report.save()


if __name__ == "__main__":
    main()
