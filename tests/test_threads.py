import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from index.neighbours import Neighbours
from index.snapshot import Snapshot
from retrieval.options import RankBy
from retrieval.serving.filters import Filter
from retrieval.serving.recommender import Recommender
from retrieval.serving.threads import search_alone
from retrieval.serving.users import Event, Person

THREADS, CALLS = 8, 100


def blas() -> list[int]:
    """Return the counts of the libraries that have one for the whole process."""
    return [
        pool["num_threads"]
        for pool in threadpool_info()
        if pool["user_api"] == "blas" and pool["threading_layer"] != "openmp"
    ]


def question(recommender: Recommender, number: int) -> Callable[[], object]:
    """Return one of a long row of questions of all kinds; the answer can be compared."""
    rng = np.random.default_rng(number)
    users = rng.choice(recommender.run.users.ids, 70).tolist()
    movies = rng.choice(recommender.run.catalogue.vocabulary.ids, 70).tolist()
    user, movie = users[0], movies[0]
    at = None if number % 3 else 978_300_760 + 10**6 * number
    person = Person(history=[Event(each, 1.0 + each % 5) for each in {*movies[:5]}])
    by = list(RankBy)[number % 3]
    wanted = Filter(allow=movies)
    calls: list[Callable[[], object]] = [
        partial(recommender.topk, user, 10, at=at, rank_by=by),
        partial(recommender.topk, person, 10, at=at, diversity=0.3),
        partial(recommender.rate, user, movie, at=at),
        partial(recommender.explain, person, movie, by=by, at=at),
        partial(recommender.similar, movie, 5),
        lambda: [*map(np.ndarray.tolist, recommender.topk_many(users, 5, wanted=wanted))],
        lambda: [*map(np.ndarray.tolist, recommender.topk_many(users, 5, rank_by=by))],
        lambda: [*map(np.ndarray.tolist, recommender.rate_many(users, movies)[:1])],
    ]
    return calls[number % len(calls)]


def test_threads_that_ask_at_once_get_the_answers_that_one_gets(run: Path) -> None:
    recommender = Recommender.load(run, threads=2)
    asked = [question(recommender, number) for number in range(CALLS)]
    alone = [ask() for ask in asked]

    def ask_all(first: int) -> None:
        for place in range(first, first + CALLS):
            assert asked[place % CALLS]() == alone[place % CALLS]

    with ThreadPoolExecutor(THREADS, initializer=search_alone) as pool:
        list(pool.map(ask_all, range(0, 13 * THREADS, 13)))


def test_a_list_comes_from_one_state_of_the_index(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread removes a movie when it has been found, and before it is rated."""
    recommender = Recommender.load(run)
    rows = recommender.topk(5, 3, rank_by=RankBy.WATCH)
    search = Snapshot.search

    def found_and_removed(*asked: Any) -> Neighbours:  # noqa: ANN401 (what `search` takes)
        found = search(*asked)
        recommender.index.remove(found.ids[0, :1])
        return found

    monkeypatch.setattr(Snapshot, "search", found_and_removed)
    assert recommender.topk(5, 3, rank_by=RankBy.WATCH) == rows
    assert recommender.topk(5, 3, rank_by=RankBy.WATCH)[:2] != rows[:2]


def test_loading_and_asking_leave_the_threads_of_the_process_alone(run: Path) -> None:
    with threadpool_limits(limits=2):
        before = threadpool_info()
        Recommender.load(run).topk(42, 5)
        assert threadpool_info() == before


def test_batches_leave_the_threads_of_the_process_alone(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recommender = Recommender.load(run, threads=2)
    monkeypatch.setattr("retrieval.serving.recommender.USERS", 4)
    users = recommender.run.users.ids
    search, during = recommender.index.search, []

    def spy(*words: Any, **named: Any) -> object:  # noqa: ANN401 (what search takes)
        during.append(blas())
        return search(*words, **named)

    monkeypatch.setattr(recommender.index, "search", spy)
    with threadpool_limits(limits=2, user_api="blas"):
        before = blas()
        recommender.topk_many(users, 5)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: recommender.topk_many(users, 5), range(8)))
        assert blas() == before
    assert set(before) == {2}
    assert all(counts == before for counts in during)


def test_each_thread_of_a_server_works_alone() -> None:
    program = (
        "import faiss\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from threadpoolctl import threadpool_info\n"
        "from retrieval.serving.threads import configure_threads\n"
        "configure_threads()\n"
        "with ThreadPoolExecutor(2, initializer=configure_threads) as pool:\n"
        "    search = pool.submit(faiss.omp_get_max_threads).result()\n"
        "    info = pool.submit(threadpool_info).result()\n"
        "print(search, {each['num_threads'] for each in info if each['user_api'] == 'blas'})\n"
    )
    threads = {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    said = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | threads,
    )
    assert said.stdout == "1 {1}\n"


def test_the_stages_of_one_thread_are_not_those_of_another(recommender: Recommender) -> None:
    recommender.stopwatch.start()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda user: recommender.topk(user, 5), range(1, 20)))
    assert not recommender.stopwatch.seconds
    recommender.topk(1, 5)
    assert {"history", "search", "ratings"} <= set(recommender.stopwatch.seconds)
    recommender.stopwatch.stop()
