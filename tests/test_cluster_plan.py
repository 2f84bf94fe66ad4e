"""The arithmetic of a large deployment, worked by hand."""

import pytest
from cluster_plan import Assumptions, Law, Units, encoders, plan, sizing

UNITS = Units(
    search=Law(scale=1e-6, power=0.5),  # 1 ms in a million vectors
    build=1e-5,
    held=800.0,
    codes=200.0,
    encode=0.003,
    merge=0.001,
    event=16.0,
    facts=20.0,
    vectors=100.0,
    query=800.0,
    logged=50.0,
    appended=1_000.0,
    batch=100.0,
)
GIVEN = Assumptions(movies=4e6, users=1e6, requests=1_000.0, events=2_000.0, shard=1e6, cores=1)


def test_a_law_is_found_again_in_what_it_gives() -> None:
    sizes = [1_000, 30_000, 500_000]
    law = Law.fitted(sizes, [2e-6 * size**0.6 for size in sizes])
    assert law.power == pytest.approx(0.6)
    assert law.at(1e7) == pytest.approx(2e-6 * 1e7**0.6)


def test_a_shard_has_replicas_for_its_searches() -> None:
    # 1,000 searches of 1 ms keep one core of each shard busy, which may be busy half of the time;
    # three replicas are the least.
    assert sizing(UNITS, GIVEN, 1e6).replicas == 3
    more = Assumptions(movies=4e6, requests=10_000.0, cores=1)
    found = sizing(UNITS, more, 1e6)
    assert (found.shards, found.replicas) == (4, 20)
    assert found.gigabytes == pytest.approx(1.0)
    assert found.hours == pytest.approx(10 / 3600)


def test_larger_shards_take_fewer_cores_and_more_memory() -> None:
    given = Assumptions(movies=4e6, requests=1e5, cores=1)
    small, large = (sizing(UNITS, given, size) for size in (1e6, 4e6))
    assert large.cores(given) == pytest.approx(small.cores(given) / 2, rel=0.01)
    assert large.replicas * large.gigabytes > small.replicas * small.gigabytes * small.shards


def test_lines_are_those_of_a_hand() -> None:
    values = {line.what: line.value for line in plan(UNITS, GIVEN)}
    assert values["one copy of the vectors and ids"] == 3.2e9
    assert values["machines of shards"] == 12
    assert values["state of a user"] == 200 * 16 + 20 + 100
    assert values["state of all users"] == 1e6 * 3_320 * 3
    assert values["logs that events are spread over"] == 4
    assert values["machines that encode and merge"] == encoders(UNITS, GIVEN) == 8
    assert values["log of a day"] == 2_000 * 50 * 86_400 * 3
    # 12 + 8 cores; 12 GB of shards and 9.96 GB of users.
    assert values["cores and memory"] == 20
