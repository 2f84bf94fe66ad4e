"""A Ray cluster of two nodes on this machine, over loopback."""

import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from small_worlds import tiny_settings

from retrieval.cli.app import main
from retrieval.data.frames import MovieData
from retrieval.distributed import lists
from retrieval.distributed.cluster import Cluster, connected, ray_module
from retrieval.distributed.lists import Answer, Lister, lists_on
from retrieval.distributed.training import loops_on
from retrieval.options import Device
from retrieval.pipeline.training import train
from retrieval.serving import blocks
from retrieval.serving.blocks import ListBlock, ListJob, blocks_of, lists_of
from retrieval.serving.recommender import Recommender

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

JOB = ListJob(k=5, rank_by=None, filters=None, diversity=0.0, include_seen=False, in_sitting=False)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A cluster of two nodes with four logical CPUs each."""
    ray_module()
    node = {
        "num_cpus": 4,
        "node_ip_address": "127.0.0.1",
        "include_dashboard": False,
        "object_store_memory": 2**27,
    }
    made = import_module("ray.cluster_utils").Cluster(initialize_head=True, head_node_args=node)
    try:
        made.add_node(num_cpus=4, node_ip_address="127.0.0.1", object_store_memory=2**27)
        yield made.address
    finally:
        made.shutdown()


@contextmanager
def joined(address: str) -> Iterator[Cluster]:
    """Join the cluster, and put back what Ray does to logging and to signals."""
    level = logging.getLogger().level
    with connected(address, None) as cluster:
        yield cluster
    logging.getLogger().setLevel(level)


def answered(monkeypatch: pytest.MonkeyPatch, *given: str) -> None:
    monkeypatch.setattr(sys, "argv", ["rec", *given])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 0


def test_lists_of_two_machines_are_those_of_one(
    run: Path,
    recommender: Recommender,
    address: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    users, ids = tmp_path / "users.csv", recommender.run.users.ids.tolist()
    users.write_text("user_id\n" + "\n".join(map(str, ids * 20)))  # in blocks of 1,024
    same = ["batch", "topk", "--run", str(run), "--users", str(users), "--genre", "Drama"]
    answered(monkeypatch, *same, "--out", str(tmp_path / "one.parquet"))
    ray = ["--engine", "ray", "--ray-address", address, "--workers", "4"]
    answered(monkeypatch, *same, "--out", str(tmp_path / "two.parquet"), *ray)
    one, two = (pq.read_table(tmp_path / f"{name}.parquet") for name in ("one", "two"))
    assert one.num_rows > 20 * len(ids)
    assert one.equals(two)


def test_a_process_that_is_killed_half_way_loses_and_doubles_nothing(
    recommender: Recommender, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = tmp_path / "killed"

    class Fragile(Lister):
        def answer(self, block: ListBlock) -> Answer:
            if 42 in block.users and not killed.exists():
                killed.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return super().answer(block)

    monkeypatch.setattr(blocks, "BLOCK", 10)
    monkeypatch.setattr(lists, "Lister", Fragile)
    whole = list(blocks_of(recommender.run.users.ids, None, {}))
    with joined(address) as cluster:
        made = list(lists_on(cluster, recommender.run, JOB, whole, 3))
    assert killed.exists()
    assert len(made) == len(whole) > 10
    for block, answer in zip(whole, made, strict=True):
        alone = lists_of(recommender, JOB, block)
        assert answer.lists.user_ids.tolist() == block.users.tolist()
        assert np.array_equal(answer.lists.movie_ids, alone.movie_ids)
        assert np.array_equal(answer.lists.scores, alone.scores)
        assert np.array_equal(answer.lists.ratings, alone.ratings, equal_nan=True)


def test_two_processes_train_as_well_as_one(data: MovieData, address: str, tmp_path: Path) -> None:
    settings = tiny_settings(["neural", "sequence"]).changed(
        {"neural.epochs": 3, "sequence.epochs": 3}
    )
    one = train(data, settings, tmp_path / "one", index=False)
    with joined(address) as cluster:
        loops = loops_on(cluster, 2, Device.AUTO)
        two = train(data, settings, tmp_path / "two", index=False, loops_of=loops)
    error, ndcg = one.validation_error, one.validation_ndcg
    assert error is not None
    assert ndcg is not None
    assert two.validation_error == pytest.approx(error, abs=0.03)
    assert two.validation_ndcg == pytest.approx(ndcg, abs=0.03)
    assert two.metrics != one.metrics  # it was another training
