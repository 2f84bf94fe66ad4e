"""How long answers take: of one user and of all, from a cold start, and in larger catalogues."""

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from index.imitation import imitate
from index.kinds import Kind
from index.tuning import Questions, Trial, tune
from retrieval.indexing import questions
from retrieval.recommender import Recommender
from retrieval.run import Run

# Users asked one after another, and starts from nothing.
USERS, STARTS = 500, 5

# Asked before anything counts: files are read, and caches filled.
WARM_UP = 30

K = 20


class Latency(NamedTuple):
    """Milliseconds of answers to one user after another, on one thread, warm."""

    users: int
    events: float  # that they have in the history, on average
    p50: float
    p95: float
    p99: float
    stages: dict[str, float]  # the mean of each


class Sized(NamedTuple):
    """What one kind and effort is worth in a catalogue of a size."""

    movies: int
    trial: Trial


def one_by_one(recommender: Recommender, events: int) -> Latency:
    """Measure top-k lists of the known users who have most nearly so many events."""
    run = recommender.run
    counts = np.diff(run.histories.offsets)
    nearest = np.argsort(np.abs(counts - events), kind="stable")[:USERS]
    asked = run.users.ids[nearest].tolist()
    for user in asked[:WARM_UP]:
        recommender.topk(user, K)
    times = []
    for user in asked:
        began = time.perf_counter()
        recommender.topk(user, K)
        times.append(1000 * (time.perf_counter() - began))
    recommender.stopwatch.start()
    for user in asked:
        recommender.topk(user, K)
    stages = {
        stage: 1000 * seconds / len(asked)
        for stage, seconds in recommender.stopwatch.seconds.items()
    }
    recommender.stopwatch.stop()
    p50, p95, p99 = np.percentile(times, [50, 95, 99]).tolist()
    return Latency(len(asked), float(counts[nearest].mean()), p50, p95, p99, stages)


def all_at_once(recommender: Recommender) -> float:
    """Return the seconds that the lists of all users of a run take, made together."""
    began = time.perf_counter()
    recommender.topk_many(recommender.run.users.ids, K)
    return time.perf_counter() - began


def cold_start(run: Run) -> float:
    """Return the median seconds from nothing to one user's list, as the command line gives it."""
    user = str(run.users.ids[0])
    command = [sys.executable, "-m", "retrieval", "topk", "--run", str(run.folder), "--user", user]
    times = []
    for _ in range(STARTS):
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603 (our own command)
        times.append(time.perf_counter() - began)
    return float(np.median(times))


def by_size(
    recommender: Recommender,
    sizes: Sequence[int],
    target: float,
    kinds: Sequence[Kind],
    seed: int,
) -> Iterator[Sized]:
    """Measure kinds of index in catalogues that look like the run's, for its users' questions.

    Each question excludes as many movies as its user has seen.
    """
    asked = questions(recommender.run)
    for size in sizes:
        vectors, ids = imitate(recommender.index.vectors, size, seed), np.arange(size)
        rng = np.random.default_rng(seed)
        excluded = [
            rng.choice(size, min(len(seen), size // 2), replace=False) for seen in asked.excluded
        ]
        made = Questions(asked.queries, K, excluded)
        for kind in kinds:  # one after another, so that memory holds one
            for trial in tune(ids, vectors, made, target, [kind]).trials:
                yield Sized(size, trial)


def fastest(measured: Sequence[Sized], target: float) -> list[Sized]:
    """Return for each size and kind the fastest that reaches a recall, or what comes nearest."""
    groups: dict[tuple[int, Kind], list[Sized]] = {}
    for row in measured:
        groups.setdefault((row.movies, row.trial.kind), []).append(row)
    chosen = []
    for rows in groups.values():
        enough = [row for row in rows if row.trial.recall >= target]
        chosen.append(
            min(enough, key=lambda row: row.trial.milliseconds)
            if enough
            else max(rows, key=lambda row: row.trial.recall)
        )
    return chosen
