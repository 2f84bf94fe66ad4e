import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event as Flag
from typing import Any

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from index.neighbours import Neighbours
from index.snapshot import Snapshot
from retrieval.data import columns
from retrieval.data.layouts import read_movies
from retrieval.options import RankBy
from retrieval.pipeline.indexing import add_movies
from retrieval.run.versions import CURRENT, current
from retrieval.serving.events import Event
from retrieval.serving.filters import Filter
from retrieval.serving.recommender import Recommender
from retrieval.serving.results import TopK
from retrieval.serving.stopwatch import StageTimes
from retrieval.serving.threads import search_alone
from retrieval.serving.users import Person

THREADS, CALLS = 8, 500

LATE = 9001  # a movie that only the second version of a run has

Question = Callable[[Recommender], object]


def blas() -> list[int]:
    """Return the counts of the libraries that have one for the whole process."""
    return [
        pool["num_threads"]
        for pool in threadpool_info()
        if pool["user_api"] == "blas" and pool["threading_layer"] != "openmp"
    ]


def lists(found: TopK) -> list[bytes]:
    """Return what can be compared; no rating is unlike itself."""
    return [column.tobytes() for column in (found.movie_ids, found.scores, found.ratings)]


def question(recommender: Recommender, number: int) -> Question:
    """Return one of a long row of questions of all kinds; the answer can be compared."""
    rng = np.random.default_rng(number)
    users = rng.choice(recommender.run.users.ids, 3).tolist()
    movies = rng.choice(recommender.run.catalogue.vocabulary.ids, 3).tolist()
    user, movie = users[0], movies[0]
    at = None if number % 3 else 978_300_760 + 10**6 * number
    person = Person(history=[Event(each, 1.0 + each % 5) for each in {*movies[:2]}])
    by = list(RankBy)[number % 3]
    late = Filter(allow=[*movies, LATE])
    questions: list[Question] = [
        lambda of: of.topk(user, 10, at=at, rank_by=by),
        lambda of: of.topk(person, 10, at=at, diversity=0.3),
        lambda of: of.topk(person, 8, filters=late, include_seen=True),
        lambda of: of.rate(user, movie, at=at),
        lambda of: of.explain(person, movie, by=by, at=at),
        lambda of: of.similar(movie, 5),
        lambda of: lists(of.topk_many(users, 8, filters=late, rank_by=by)),
        lambda of: of.rate_many(users, movies).ratings.tolist(),
    ]
    return questions[number % len(questions)]


def ask_from_all(
    recommender: Recommender, asked: Sequence[Question], check: Callable[[int, object], None]
) -> None:
    """Ask all questions from each of the threads, which begin at different ones."""

    def ask_all(first: int) -> None:
        for place in range(first, first + len(asked)):
            check(place % len(asked), asked[place % len(asked)](recommender))

    with ThreadPoolExecutor(THREADS, initializer=search_alone) as pool:
        list(pool.map(ask_all, range(0, 61 * THREADS, 61)))


@pytest.fixture(scope="module")
def versions(run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A run with two versions, of which the second has one movie more, and their names."""
    folder = tmp_path_factory.mktemp("versions") / "run"
    shutil.copytree(run, folder)
    first = current(folder)
    kept = first.rename(folder.parent / first.name)
    shutil.copytree(kept, first)
    pd.DataFrame(
        {columns.MOVIE_ID: [LATE], columns.TITLE: ["Late (2030)"], columns.GENRES: ["Drama"]}
    ).to_csv(folder.parent / "movies.csv", index=False)
    add_movies(folder, read_movies(folder.parent / "movies.csv"))
    shutil.copytree(kept, first)
    return folder, [first.name, current(folder).name]


def point(folder: Path, name: str) -> None:
    """Let a version of a run answer, as its writer does."""
    (folder / "new").write_text(name + "\n", encoding="ascii")
    (folder / "new").replace(folder / CURRENT)


def test_threads_that_ask_at_once_get_the_answers_that_one_gets(run: Path) -> None:
    recommender = Recommender.load(run, threads=2)
    asked = [question(recommender, number) for number in range(CALLS)]
    alone = [ask(recommender) for ask in asked]

    def same(place: int, answer: object) -> None:
        assert answer == alone[place]

    ask_from_all(recommender, asked, same)


def test_every_answer_comes_from_one_version_while_versions_change(
    versions: tuple[Path, list[str]],
) -> None:
    folder, names = versions
    point(folder, names[0])
    recommender = Recommender.load(folder, threads=2)
    asked = [question(recommender, number) for number in range(96)]
    first = [ask(recommender) for ask in asked]
    point(folder, names[1])
    assert recommender.reload()
    second = [ask(recommender) for ask in asked]
    differ = [place for place in range(len(asked)) if first[place] != second[place]]
    assert len(differ) > 20
    from_each, done = Counter[int](), Flag()

    def one_of_two(place: int, answer: object) -> None:
        assert answer in (first[place], second[place])
        if place in differ:
            from_each[int(answer == second[place])] += 1

    def change() -> int:
        changes = 0
        while not done.is_set():
            point(folder, names[changes % 2])
            changes += recommender.reload()
        return changes

    with ThreadPoolExecutor(1) as pool:
        changing = pool.submit(change)
        try:
            ask_from_all(recommender, asked, one_of_two)
        finally:
            done.set()
        assert changing.result() > 2
    assert min(from_each[0], from_each[1]) > 0


def test_a_list_comes_from_one_snapshot(
    versions: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another version takes its place when movies have been found, and before they are rated."""
    folder, names = versions
    point(folder, names[0])
    other = Recommender.load(folder).snapshot
    point(folder, names[1])
    recommender = Recommender.load(folder)
    filters = Filter(allow=[LATE, 1, 2])
    rows = recommender.topk(5, 3, rank_by=RankBy.WATCH, filters=filters, include_seen=True)
    assert LATE in {row.movie.id for row in rows}
    search = Snapshot.search

    def found_and_swapped(*asked: Any) -> Neighbours:  # noqa: ANN401 (what `search` takes)
        found = search(*asked)
        recommender.swap(other)
        return found

    monkeypatch.setattr(Snapshot, "search", found_and_swapped)
    again = recommender.topk(5, 3, rank_by=RankBy.WATCH, filters=filters, include_seen=True)
    assert again == rows
    after = recommender.topk(5, 3, rank_by=RankBy.WATCH, filters=filters, include_seen=True)
    assert {row.movie.id for row in after} == {1, 2}


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
    search, during = Snapshot.search, []

    def spy(*words: Any) -> Neighbours:  # noqa: ANN401 (what `search` takes)
        during.append(blas())
        return search(*words)

    monkeypatch.setattr(Snapshot, "search", spy)
    with threadpool_limits(limits=2, user_api="blas"):
        before = blas()
        recommender.topk_many(users, 5)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: recommender.topk_many(users, 5), range(8)))
        assert blas() == before
    assert set(before) == {2}
    assert during
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


def test_the_stages_of_one_request_are_not_those_of_another(recommender: Recommender) -> None:
    def measured(user: int) -> StageTimes:
        timer = StageTimes()
        recommender.topk(user, 5, timer=timer)
        return timer

    with ThreadPoolExecutor(4) as pool:
        timers = list(pool.map(measured, range(1, 20)))
    once = measured(1)
    recommender.topk(1, 5)
    assert all(timer.seconds.keys() == once.seconds.keys() for timer in timers)
    assert {"history", "search", "ratings", "titles"} <= once.seconds.keys()
