"""How long answers take: of one user and of all, from a cold start, and in larger catalogues."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from index.compiled import prepare
from index.kinds import Kind
from index.snapshot import Snapshot
from index.synthetic import synthetic_vectors
from index.tuning import Questions, Trial, fastest, tune
from index.vectors import Vectors
from retrieval.data.vocabulary import Id
from retrieval.pipeline.indexing import check_target, questions
from retrieval.run.folder import Run
from retrieval.serving.events import Event
from retrieval.serving.recommender import Recommender
from retrieval.serving.stopwatch import StageTimes
from retrieval.serving.users import Person

# Users whose lists are measured one after another, and starts from nothing.
USERS, STARTS = 500, 5

# Answers before anything counts: files are read, and caches filled.
WARM_UP = 30

# Users who are asked about together: what was read of them is kept until then, whatever the preset.
TOGETHER = 50

K = 20


class Latency(NamedTuple):
    """Milliseconds of answers to one user after another, on one thread, warm."""

    p50: float
    p95: float
    p99: float
    stages: dict[str, float]  # mean of each stage


class OneByOne(NamedTuple):
    """What it takes to answer known users."""

    users: int
    events: float  # in a history, on average
    stored: Latency  # with histories as they are stored
    added: Latency  # with one rating more in each, so that no stored vector holds
    again: Latency  # with another one, after the history before it was read
    bare: float  # ms, median of a search by FAISS alone in the same vectors: what the machine does


class Sized(NamedTuple):
    """What one kind of index with its search parameters is worth in a catalogue of a size."""

    movies: int
    trial: Trial


def one_by_one(recommender: Recommender, events: int) -> OneByOne:
    """Measure top-k lists of the known users who have most nearly so many events."""
    prepare(recommender.index.dimension)
    run = recommender.run
    counts = np.diff(run.histories.offsets)
    nearest = np.argsort(np.abs(counts - events), kind="stable")[:USERS]
    users = run.users.ids[nearest].tolist()
    once, twice = ([_with_more(run, user, count) for user in nearest.tolist()] for count in (1, 2))

    def forget(_: slice) -> None:
        recommender.encoder.forget()

    with threadpool_limits(1):
        return OneByOne(
            users=len(users),
            events=float(counts[nearest].mean()),
            stored=_latency(recommender, users, forget),
            added=_latency(recommender, once, forget),
            again=_latency(recommender, twice, lambda part: _ask(recommender, once[part])),
            bare=bare_search(recommender.index.vectors),
        )


def _with_more(run: Run, user: int, count: int) -> Person:
    """Return a known user, given by number, with so many ratings more than are stored."""
    start, end = run.histories.offsets[user : user + 2]
    trained = np.arange(len(run.catalogue) - run.catalogue.added)
    unseen = np.setdiff1d(trained, run.histories.movies[start:end])
    # A user who has rated everything rates movies again.
    movies = run.catalogue.vocabulary.ids[np.append(unseen, trained)[:count]].tolist()
    added = [Event(movie, run.config.scale.highest) for movie in movies]
    return Person(user_id=run.users.ids[user].item(), added=added)


def _length(recommender: Recommender) -> int:
    """Return how long lists are."""
    return min(K, len(recommender.run.catalogue))


def _ask(recommender: Recommender, users: Sequence[Id | Person]) -> None:
    for user in users:
        recommender.topk(user, _length(recommender))


def _latency(
    recommender: Recommender, users: Sequence[Id | Person], before: Callable[[slice], None]
) -> Latency:
    """Measure lists of users, twice.

    Args:
        recommender: What answers.
        users: The users.
        before: Makes what is kept of some of the users what it has to be when they are asked about.
    """
    _ask(recommender, users[:WARM_UP])
    k = _length(recommender)
    times, stages = list[float](), dict[str, float]()
    for start in range(0, len(users), TOGETHER):
        part = slice(start, start + TOGETHER)
        before(part)
        for user in users[part]:
            began = time.perf_counter()
            recommender.topk(user, k)
            times.append(1000 * (time.perf_counter() - began))
        before(part)
        for user in users[part]:
            timer = StageTimes()
            recommender.topk(user, k, timer=timer)
            for stage, seconds in timer.seconds.items():
                stages[stage] = stages.get(stage, 0.0) + 1000 * seconds / len(users)
    p50, p95, p99 = np.percentile(times, [50, 95, 99]).tolist()
    return Latency(p50, p95, p99, stages)


def bare_search(vectors: Vectors) -> float:
    """Return the median milliseconds of an exact search by FAISS alone.

    Args:
        vectors: `(N, D)`, of which the first are the queries too.
    """
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    times = []
    for place in range(min(USERS, len(vectors))):
        query = vectors[place : place + 1]
        began = time.perf_counter()
        index.search(query, K)
        times.append(1000 * (time.perf_counter() - began))
    return float(np.median(times))


def all_at_once(recommender: Recommender) -> float:
    """Return the seconds that the lists of all users of a run take, made together."""
    with threadpool_limits(1):  # each thread that shares the work has a core of its own
        began = time.perf_counter()
        recommender.topk_many(recommender.run.users.ids, _length(recommender))
        return time.perf_counter() - began


def cold_start(run: Run) -> float:
    """Return the median seconds from nothing to one user's list, as the command line gives it."""
    user = str(run.users.ids[0])
    command = [sys.executable, "-m", "retrieval", "topk", "--run", str(run.home), "--user", user]
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

    Args:
        recommender: What holds the run and its index.
        sizes: Numbers of movies in the catalogues.
        target: Recall that is wanted.
        kinds: Kinds of index.
        seed: Seed of the draws.

    Raises:
        RequestError: An impossible target.
    """
    check_target(target)
    sample = questions(recommender.run)
    threads = faiss.omp_get_max_threads()
    for size in sizes:
        vectors, made = larger(recommender.index, sample, size, seed)
        for kind in kinds:  # one after another, so that memory holds one
            faiss.omp_set_num_threads(os.cpu_count() or 1)  # to build
            try:
                trials = tune(np.arange(size), vectors, made, target, [kind]).trials
            finally:
                faiss.omp_set_num_threads(threads)
            yield from (Sized(size, trial) for trial in trials)


def larger(index: Snapshot, sample: Questions, size: int, seed: int) -> tuple[Vectors, Questions]:
    """Return a catalogue of a size that looks like an index's, and the same questions about it.

    Seen movies are in the way as much as in the index: those of the same ranks are excluded, if the
    catalogue has so many, but never more than half of all.

    Args:
        index: Index whose vectors the catalogue resembles.
        sample: Questions about the movies of the index.
        size: Number of movies in the catalogue.
        seed: Seed of the draw.

    Returns:
        The vectors `(N, D)`, and the questions about them.
    """
    vectors = index.vectors
    made = synthetic_vectors(vectors, size, seed)
    excluded = []
    for query, seen in zip(sample.queries, sample.excluded, strict=True):
        order = np.argsort(-(vectors @ query), kind="stable")
        ranks = np.flatnonzero(np.isin(index.ids[order[:size]], seen))[: size // 2]
        excluded.append(_best(made @ query, 1 + int(ranks.max(initial=-1)))[ranks])
    return made, Questions(sample.queries, sample.k, excluded)


def _best(scores: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Return the places of the so many highest of some scores, best first."""
    some = np.argpartition(-scores, count - 1)[:count] if count else np.zeros(0, np.int64)
    return some[np.argsort(-scores[some], kind="stable")]


def of_each(measured: Sequence[Sized], target: float) -> list[Sized]:
    """Return for each size and kind the fastest that reaches a recall, or the nearest to it."""
    groups: dict[tuple[int, Kind], list[Trial]] = {}
    for row in measured:
        groups.setdefault((row.movies, row.trial.kind), []).append(row.trial)
    return [Sized(size, fastest(trials, target)) for (size, _), trials in groups.items()]
