"""What a list costs after a fresh event, and asked now, beside a search by FAISS alone.

python benchmarks/fresh_event.py --run FOLDER [--users 300] [--k 20] [--busy]

All in one run, in process, on one thread. Users drawn at random are asked one after another for a
list each, in rounds: as they are stored; now, which is a day after the last event that the run
knows; and with fresh events, which the run does not store, one more in a round. A round that is the
first to read histories says so. FAISS searches the vectors of the same index exactly, thrice before
each list, and its median counts. On a machine that others use, --busy counts the time that the
thread computes, not the time that it waits for them.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import faiss
import numpy as np
from machine import Report, arguments
from numpy.typing import NDArray

from index.vectors import Vectors
from retrieval.run.folder import Run
from retrieval.serving.events import Event
from retrieval.serving.recommender import Recommender
from retrieval.serving.threads import configure_threads
from retrieval.serving.users import Person

MINUTE, HOUR, DAY = 60, 3600, 86_400

# Questions before anything counts.
WARM_UP = 30

# Searches before each list, so that the median finds the vectors in the cache.
SEARCHES = 3


class Round(NamedTuple):
    """One question to each user."""

    name: str
    events: int  # fresh ones
    after: int | None  # seconds from the last event that the run knows to now; None is coming back


ROUNDS = (
    Round("as stored, coming back", 0, None),
    Round("as stored, now, first read", 0, DAY),
    Round("as stored, now", 0, DAY + MINUTE),
    Round("a fresh event, coming back, first read", 1, None),
    Round("a fresh event, coming back", 2, None),
    Round("a fresh event, now, first read", 3, HOUR),
    Round("a fresh event, now", 4, HOUR),
    Round("no fresh event since, a minute later", 4, HOUR + MINUTE),
)


def main() -> None:
    """Ask everyone in every round, and report."""
    parser = arguments(__doc__)
    parser.add_argument("--run", type=Path, required=True, help="folder of the run")
    parser.add_argument("--users", type=int, default=300, help="number of users")
    parser.add_argument("--k", type=int, default=20, help="length of a list")
    parser.add_argument("--busy", action="store_true", help="count what the thread computes")
    asked = parser.parse_args()
    configure_threads()
    recommender = Recommender.load(asked.run)
    run, vectors = recommender.run, recommender.index.vectors
    rng = np.random.default_rng(asked.seed)
    counts = np.diff(run.histories.offsets)
    users = rng.permutation(np.flatnonzero(run.trained_users & (counts > 0)))[: asked.users]
    report = Report(
        asked,
        f"{asked.run.name}, preset {run.config.preset}, pairs {', '.join(run.config.layout.names)};"
        f" lists of {asked.k} for {len(users)} users of {np.median(counts[users]):.0f} events in "
        f"the median; {len(vectors):,} movies in {vectors.shape[1]} components; one thread",
    )
    movies = [unseen(run, user, rng) for user in users.tolist()]
    clock = time.thread_time if asked.busy else time.perf_counter
    bare, times = list[float](), dict[Round, list[float]]()
    for one in ROUNDS:
        at = None if one.after is None else run.config.present + one.after
        people = [
            person(run, user, its[: one.events])
            for user, its in zip(users.tolist(), movies, strict=True)
        ]
        searches, times[one] = milliseconds(recommender, people, asked.k, at, clock)
        bare += searches
    say(report, "FAISS alone", bare, float(np.median(bare)))
    for one, each in times.items():
        say(report, one.name, each, float(np.median(bare)))
    report.save()


def say(report: Report, name: str, times: list[float], bare: float) -> None:
    """Report milliseconds, and as multiples of those of a search by FAISS alone."""
    p50, p99 = np.percentile(times, [50, 99]).tolist()
    report.add(
        f"{name:40} p50 {p50:7.3f} ms  p99 {p99:7.3f} ms   x{p50 / bare:5.1f}  x{p99 / bare:5.1f}",
        round=name,
        p50_milliseconds=p50,
        p99_milliseconds=p99,
        p50_multiple=p50 / bare,
        p99_multiple=p99 / bare,
    )


def unseen(run: Run, user: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return movies that training knew and a user, given by number, has not seen: one a round."""
    trained = np.arange(len(run.catalogue) - run.catalogue.added)
    seen = run.histories.movies[slice(*run.histories.offsets[user : user + 2])]
    return rng.permutation(np.setdiff1d(trained, seen))[: len(ROUNDS)]


def person(run: Run, user: int, movies: NDArray[np.int64]) -> Person:
    """Return a known user, given by number, with fresh events of movies a minute apart."""
    ids = run.catalogue.vocabulary.ids[movies].tolist()
    added = [
        Event(movie, run.config.scale.highest, run.config.present + MINUTE * place)
        for place, movie in enumerate(ids)
    ]
    return Person(user_id=run.users.ids[user].item(), added=added)


def milliseconds(
    recommender: Recommender,
    people: Sequence[Person],
    k: int,
    at: int | None,
    clock: Callable[[], float],
) -> tuple[list[float], list[float]]:
    """Return what the list of each user takes, and before it a search by FAISS alone.

    Args:
        recommender: What answers.
        people: The users.
        k: Length of a list.
        at: Time of asking, in seconds; None is before each comes back.
        clock: Clock, in seconds.

    Returns:
        The times of the searches, and those of the lists.
    """
    vectors: Vectors = recommender.index.vectors
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    for _ in range(WARM_UP):
        recommender.topk(Person(history=[]), k, at=at)
    searches, lists = [], []
    for place, each in enumerate(people):
        query = vectors[place % len(vectors)][None]
        for _ in range(SEARCHES):
            began = clock()
            index.search(query, k)
            searches.append(1000 * (clock() - began))
        began = clock()
        recommender.topk(each, k, at=at)
        lists.append(1000 * (clock() - began))
    return searches, lists


if __name__ == "__main__":
    main()
