import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest

from retrieval.cli.app import main
from retrieval.distributed import cluster as clusters
from retrieval.distributed.cluster import Cluster, connected
from retrieval.distributed.pool import AHEAD, Pool
from retrieval.errors import RecError, RequestError
from retrieval.pairs.training import ALONE, Ranks, generator_of, share_of, torch_seed
from retrieval.serving.blocks import BLOCK, blocks_of, count_of


class Rank(NamedTuple):
    rank: int
    size: int
    average: Any = ALONE.average
    total: Any = ALONE.total
    first: Any = ALONE.first


class LostError(Exception):
    """What the fake Ray raises of a process that is gone."""


class WorkerError(LostError):
    """What it raises of a method that raised."""

    def __init__(self, cause: Exception) -> None:
        self.cause = cause


class Reference:
    def __init__(self, result: Callable[[], Any]) -> None:
        self.result = result


class FakeRay(ModuleType):
    """Ray in this process: the last call that was made is the first to end."""

    exceptions = ModuleType("exceptions")

    def __init__(self) -> None:
        super().__init__("ray")
        vars(self.exceptions).update(RayError=LostError, RayTaskError=WorkerError)

    def wait(
        self, references: list[Reference], num_returns: int
    ) -> tuple[list[Reference], list[Reference]]:
        return references[-num_returns:], references[:-num_returns]

    def get(self, reference: Reference) -> object:
        return reference.result()


class Method:
    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def remote(self, *given: object) -> Reference:
        return Reference(lambda: self.function(*given))


class Worker:
    """Doubles numbers, until it is lost."""

    def __init__(self, broken: set[int]) -> None:
        self.broken, self.lost = broken, False
        self.ready, self.answer = Method(lambda: None), Method(self.doubled)

    def doubled(self, number: int) -> int:
        if self.lost or number in self.broken:
            self.broken.discard(number)
            self.lost = True
            raise LostError
        return 2 * number


def pool(start: Callable[[], Any], workers: int = 2) -> Pool[int, int]:
    return Pool(Cluster(ray=FakeRay(), cpus=workers, machines=1, fewest=workers), start, workers)


def words(monkeypatch: pytest.MonkeyPatch, *given: str) -> None:
    monkeypatch.setattr(sys, "argv", ["rec", *given])


def test_answers_come_once_each_and_in_order_whatever_is_done_first() -> None:
    made = list(pool(lambda: Worker(set())).answers(range(50)))
    assert made == [2 * number for number in range(50)]


def test_blocks_of_a_process_that_is_lost_are_done_by_another() -> None:
    broken = {0, 7, 31, 32, 49}
    started: list[Worker] = []

    def start() -> Worker:
        started.append(Worker(broken))
        return started[-1]

    assert list(pool(start).answers(range(50))) == [2 * number for number in range(50)]
    assert not broken
    assert len(started) == 2 + sum(worker.lost for worker in started)


def test_no_more_blocks_are_read_than_can_be_kept() -> None:
    read: list[int] = []

    def blocks() -> Iterator[int]:
        for number in range(1000):
            read.append(number)
            yield number

    answers = pool(lambda: Worker(set())).answers(blocks())
    next(answers)
    assert len(read) <= 2 * AHEAD


def test_processes_that_are_lost_one_after_the_other_are_an_error() -> None:
    class Broken(Worker):
        def doubled(self, number: int) -> int:
            raise LostError(number)

    with pytest.raises(RecError, match="lost before one of them had answered"):
        list(pool(lambda: Broken(set())).answers(range(3)))


def test_what_a_user_can_mend_comes_back_as_it_was_raised() -> None:
    class Wrong(Worker):
        def doubled(self, number: int) -> int:
            raise WorkerError(RequestError(f"impossible {number}"))

    with pytest.raises(RequestError, match="impossible 0"):
        list(pool(lambda: Wrong(set()), workers=1).answers(range(1)))


def test_without_ray_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> ModuleType:
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(clusters, "import_module", missing)
    with pytest.raises(RequestError, match=r"pip install -e '\.\[ray\]'"), connected(None, 2):
        pass


@pytest.mark.parametrize("command", [["batch", "topk", "--users", "users.csv"], ["train"]])
def test_workers_without_the_engine_are_refused(
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = ["--out", str(tmp_path / "lists.csv")] if command[0] == "batch" else []
    words(monkeypatch, *command, *out, "--workers", "2")
    with pytest.raises(SystemExit):
        main()
    assert "--workers 2 is for the engine ray" in capsys.readouterr().err


def test_blocks_hold_every_user_once_in_the_order_of_the_file() -> None:
    users = np.arange(2 * BLOCK + 3)
    blocks = list(blocks_of(users, users + 10, {5: [], BLOCK: []}))
    assert [len(block.users) for block in blocks] == [BLOCK, BLOCK, 3]
    assert len(blocks) == count_of(users)
    assert np.concatenate([block.users for block in blocks]).tolist() == users.tolist()
    assert all(
        np.array_equal(block.users + 10, block.times) for block in blocks if block.times is not None
    )
    assert [list(block.histories) for block in blocks] == [[5], [BLOCK], []]


def test_processes_share_a_batch_and_one_that_is_too_small_is_everybodys() -> None:
    ranks: list[Ranks] = [Rank(rank, 3) for rank in range(3)]
    rows = np.arange(10)
    shares = [share_of(rows, rank) for rank in ranks]
    assert sorted(np.concatenate(shares)) == rows.tolist()
    assert [share_of(rows[:2], rank).tolist() for rank in ranks] == [[0, 1]] * 3
    assert share_of(rows, ALONE).tolist() == rows.tolist()


def test_a_process_alone_draws_as_if_there_were_no_others() -> None:
    rng = np.random.default_rng(0)
    assert generator_of(rng, ALONE, 7) is rng
    assert torch_seed(7, ALONE) == 7
    others: list[Ranks] = [Rank(0, 2), Rank(1, 2)]
    drawn = {generator_of(rng, rank, 7).random() for rank in others}
    assert len(drawn) == 2
    assert len({torch_seed(7, rank) for rank in others}) == 2


@pytest.mark.parametrize(
    ("machines", "fewest", "workers", "each"), [(2, 16, 3, 8), (2, 8, 2, 8), (1, 2, 4, 1)]
)
def test_processes_get_no_more_cpus_than_any_machine_has(
    machines: int, fewest: int, workers: int, each: int
) -> None:
    cluster = Cluster(ray=ModuleType("ray"), cpus=64, machines=machines, fewest=fewest)
    assert cluster.cpus_of_each(workers) == each
