"""What one vector, user, event, search and encoding costs here: the units of docs/scale.md."""

import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import faiss
import numpy as np
from cluster_shards import merge
from cluster_simulation import Seconds
from numpy.typing import NDArray

from index.faiss_backend import embedded
from index.kinds import Kind
from index.neighbours import Neighbours
from index.search import Index
from index.tuning import Questions, recall, tune
from index.vectors import Vectors
from retrieval.data.vocabulary import UNKNOWN
from retrieval.evaluation.latency import larger
from retrieval.pipeline.indexing import questions
from retrieval.run.folder import open_index
from retrieval.service.log import Kind as Entry
from retrieval.service.log import NewEvent, open_log
from retrieval.serving.encoder import questions_of
from retrieval.serving.events import Event
from retrieval.serving.recommender import Recommender
from retrieval.serving.stopwatch import StageTimes
from retrieval.serving.threads import configure_threads
from retrieval.serving.users import Person, many_users

# Rounds in which every question is searched in every shard, one shard after another, so that other
# work on the machine weighs as much on all. The shortest time is the question's own, and what it
# varies beyond that is the machine's.
ROUNDS = 7

# Users who are encoded one by one, and together.
USERS, TOGETHER = 300, 1024

# Times that anything else is measured; the best counts.
REPEATS = 3

# Stages of an answer that come after the user is encoded.
LATER = frozenset({"search", "ratings", "titles"})

# Events in one append, and seconds for each.
BATCHES, SPAN = (1, 10, 100, 1_000), 1.0

# Movies that are put into a shard at once.
PUT = 1_000


class Shard(NamedTuple):
    """An ivf that finds enough, and what it costs."""

    searched: Index
    nprobe: int  # lists visited
    recall: float
    build: float  # s
    held: float  # bytes a vector: vectors and ids, from which scores are made
    codes: float  # bytes a vector: what candidates are found by


def shard_of(ids: NDArray[np.int64], vectors: Vectors, asked: Questions, target: float) -> Shard:
    """Build the ivf of a part of a catalogue, and tune it.

    Args:
        ids: Ids of the part, `(N,)`.
        vectors: Vectors of the part, `(N, D)`.
        asked: Questions about the whole.
        target: Recall that the part has to reach.
    """
    faiss.omp_set_num_threads(1)
    chosen = tune(ids, vectors, asked, target, [Kind.IVF])
    trial, index = chosen.trials[0], chosen.chosen
    local = index.snapshot.local
    return Shard(
        index,
        trial.parameters.nprobe,
        trial.check,
        trial.build_seconds,
        (local.vectors.nbytes + local.rows.all_ids.nbytes) / len(ids),
        embedded(index.snapshot.backend).size / len(ids),
    )


def rounds(made: Sequence[Shard], asked: Questions) -> NDArray[np.float64]:
    """Return the seconds of each question in each of W shards and round, `(ROUNDS, W, Q)`."""
    times = np.empty((ROUNDS, len(made), len(asked.queries)))
    for turn in range(ROUNDS):
        for number, shard in enumerate(made):
            for place, excluded in enumerate(asked.excluded):
                query = asked.queries[place : place + 1]
                began = time.perf_counter()
                shard.searched.search(query, asked.k, [excluded])
                times[turn, number, place] = time.perf_counter() - began
    return times


class Pair(NamedTuple):
    """Two halves of a catalogue, searched by the same questions."""

    search: Seconds  # (Q, 2) a question's own time in each half
    noise: Seconds  # (ROUNDS * 2 * Q,) what single searches are in times of that, 1 in the middle
    likeness: float  # correlation of a question's times in both halves
    recall: float  # of the merged lists
    merge: Seconds  # (Q,)


def pair_of(
    halves: Sequence[Shard],
    times: NDArray[np.float64],
    whole: Questions,
    truth: NDArray[np.int64],
) -> Pair:
    """Return how halves behave together.

    Args:
        halves: The two.
        times: Seconds of their searches, `(ROUNDS, 2, Q)`.
        whole: Questions about the whole.
        truth: Exact results, `(Q, K)`.
    """
    own = times.min(axis=0)  # (2, Q)
    noise = (times / own).ravel()
    noise /= np.median(noise)
    found, seconds = [], np.empty(len(truth))
    for place, excluded in enumerate(whole.excluded):
        query = whole.queries[place : place + 1]
        parts = [half.searched.search(query, whole.k, [excluded]) for half in halves]
        began = time.perf_counter()
        found.append(merge(parts, whole.k).ids)
        seconds[place] = time.perf_counter() - began
    likeness = float(np.asarray(np.corrcoef(own))[0, 1])
    return Pair(own.T, noise, likeness, recall(np.concatenate(found), truth), seconds)


def merging(shards: int, k: int, rng: np.random.Generator) -> float:
    """Return the median seconds of merging the lists of some shards."""
    parts = [
        Neighbours(rng.integers(0, 1 << 40, (1, k)), np.sort(rng.random((1, k)))[:, ::-1])
        for _ in range(shards)
    ]
    times = []
    for _ in range(200):
        began = time.perf_counter()
        merge(parts, k)
        times.append(time.perf_counter() - began)
    return float(np.median(times))


def catalogue(
    recommender: Recommender, size: int, seed: int
) -> tuple[Vectors, Questions, NDArray[np.int64]]:
    """Return vectors that look like a run's, its users' questions about them, and the answers."""
    sample = questions(recommender.run)
    vectors, asked = larger(open_index(recommender.run).snapshot, sample, size, seed)
    exact = Index.build(np.arange(size), vectors)
    return vectors, asked, exact.search(asked.queries, asked.k, asked.excluded).ids


def putting(shard: Shard) -> float:
    """Return the seconds of putting `PUT` vectors into a shard, which copies it."""
    index = shard.searched.with_parameters(shard.searched.snapshot.parameters)
    fresh = int(index.ids.max()) + 1 + np.arange(PUT)
    began = time.perf_counter()
    index.put(fresh, index.vectors[:PUT].copy())
    return time.perf_counter() - began


def encoding(recommender: Recommender, rng: np.random.Generator) -> Seconds:
    """Return the seconds of encoding each of some users who have one event more than is stored."""
    run = recommender.run
    configure_threads()
    numbers = rng.choice(len(run.users), min(USERS, len(run.users)), replace=False)
    movies = rng.integers(0, len(run.catalogue), len(numbers))
    seconds = np.empty((REPEATS, len(numbers)))
    for turn in range(REPEATS):
        recommender.encoder.forget()  # a machine that routes keeps nothing of users
        for place, (number, movie) in enumerate(zip(numbers, movies, strict=True)):
            added = [Event(run.catalogue.movies[movie].id, run.config.scale.highest)]
            person = Person(user_id=run.users.ids[number].item(), added=added)
            timer = StageTimes()
            recommender.topk(person, timer=timer)
            stages = timer.seconds.items()
            seconds[turn, place] = sum(each for stage, each in stages if stage not in LATER)
    return np.asarray(seconds.min(axis=0))


def batch_encoding(recommender: Recommender) -> float:
    """Return the users a second whom one core encodes anew, many together."""
    run, encoder = recommender.run, recommender.encoder
    users, rows = many_users(run, run.users.ids[:TOGETHER], {})
    users = users._replace(stored=np.full_like(users.stored, UNKNOWN))
    best = np.inf
    for _ in range(REPEATS):
        began = time.perf_counter()
        asked = questions_of(users, rows, None)
        encoder.queries(asked, encoder.encode(asked).vectors, None)
        best = min(best, time.perf_counter() - began)
    return len(rows) / best


class UserBytes(NamedTuple):
    """Bytes of what is kept of a user."""

    event: float  # of a history
    vectors: float  # that towers made of it
    facts: float  # id and attributes
    query: float  # a query vector


def user_bytes(recommender: Recommender) -> UserBytes:
    """Return what a run keeps of a user."""
    run = recommender.run
    history = run.histories
    event = history.movies.itemsize + history.ratings.itemsize + history.timestamps.itemsize
    width = sum(part.width for part in run.config.layout.parts)
    facts = run.user_codes.nbytes / len(run.users) + run.users.ids.itemsize
    return UserBytes(event, 4.0 * width, facts, 4.0 * recommender.index.dimension)


class Appending(NamedTuple):
    """What one log takes in."""

    batch: int  # events in an append
    rate: float  # events a second
    size: float  # bytes an event on the disk


def appending(url: str | None) -> list[Appending]:
    """Append events of made-up users one batch after another.

    Args:
        url: Address of the log; None is a SQLite file in a temporary folder.
    """
    found = []
    for batch in BATCHES:
        turns = [_appending(url, batch) for _ in range(REPEATS)]
        found.append(max(turns, key=lambda turn: turn.rate))
    return found


def _appending(url: str | None, batch: int) -> Appending:
    with TemporaryDirectory() as scratch:
        file = Path(scratch) / "events.db"
        log = open_log(url or f"sqlite:///{file}")
        try:
            count, began = 0, time.perf_counter()
            while time.perf_counter() < began + SPAN:
                log.append(
                    [
                        NewEvent(
                            kind=Entry.RATING,
                            user_id=str(place * 7_919 % 1_000_000_007),
                            movie_id=str(place * 31 % 100_000_007),
                            rating=4.0,
                            timestamp=1_700_000_000 + place,
                        )
                        for place in range(count, count + batch)
                    ]
                )
                count += batch
            rate = count / (time.perf_counter() - began)
        finally:
            log.close()
        files = sum(each.stat().st_size for each in Path(scratch).iterdir())
        return Appending(batch, rate, files / count)
