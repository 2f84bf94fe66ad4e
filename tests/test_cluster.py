"""The simulated cluster, held against what queueing theory says."""

from math import factorial

import numpy as np
import pytest
from cluster_simulation import Cluster, Failure, Outcome, Times, simulate

ONE = Cluster(shards=1, replicas=1, cores=1, routers=1)
NOTHING = np.zeros(1)

# Requests of the start, when the queue is shorter than it gets.
WARM_UP = 1_000


def times_of(search: np.ndarray, network: float = 0.0) -> Times:
    return Times(NOTHING, search.reshape(-1, 1), np.ones(1), np.full(1, network), NOTHING)


def exponential() -> Times:
    """Searches of exponential times, of 1 s on average."""
    quantiles = (np.arange(10_000) + 0.5) / 10_000
    return times_of(-np.log1p(-quantiles))


def outcome(cluster: Cluster, times: Times, rate: float, requests: int = 20_000) -> Outcome:
    return simulate(cluster, times, rate, requests, np.random.default_rng(0))


def waiting(cluster: Cluster, times: Times, rate: float) -> float:
    """Return the mean seconds that requests wait before their search."""
    taken = outcome(cluster, times, rate).taken[WARM_UP:]
    return float(taken.mean() - times.search.mean())


def erlang_c(cores: int, load: float) -> float:
    """Return the probability that a request waits in M/M/c, with `load` cores busy on average."""
    waits = load**cores / factorial(cores) * cores / (cores - load)
    return waits / (sum(load**busy / factorial(busy) for busy in range(cores)) + waits)


@pytest.mark.parametrize("cores", [1, 4])
def test_exponential_searches_wait_as_in_m_m_c(cores: int) -> None:
    load = 0.7 * cores
    theory = erlang_c(cores, load) / (cores - load)
    cluster = Cluster(shards=1, replicas=1, cores=cores, routers=1)
    assert waiting(cluster, exponential(), load) == pytest.approx(theory, rel=0.1)


def test_equal_searches_wait_as_in_m_d_1() -> None:
    theory = 0.8 / (2 * (1 - 0.8))
    assert waiting(ONE, times_of(np.ones(1)), 0.8) == pytest.approx(theory, rel=0.1)


def test_an_idle_cluster_takes_as_long_as_its_slowest_shard() -> None:
    # The mean of the largest of 5 exponential times is 1 + 1/2 + ... + 1/5.
    questions = np.random.default_rng(1).exponential(size=(10_000, 5))
    times = exponential()._replace(search=questions)
    found = outcome(Cluster(shards=5, replicas=1, cores=64, routers=1), times, 1.0, 5_000)
    assert found.taken.mean() == pytest.approx(1 + 1 / 2 + 1 / 3 + 1 / 4 + 1 / 5, rel=0.03)


def test_cores_are_as_busy_as_the_load_says() -> None:
    cluster = Cluster(shards=2, replicas=3, cores=2, routers=1)
    times = exponential()
    found = outcome(cluster, times, 0.5 * cluster.capacity(times), 5_000)
    assert found.utilisation == pytest.approx(0.5, rel=0.03)


def test_a_message_takes_its_time_both_ways() -> None:
    found = outcome(ONE, times_of(np.ones(1), network=0.25), 1e-3, 100)
    assert found.taken == pytest.approx(1.5)


def test_a_seed_gives_the_same_requests_again() -> None:
    cluster = Cluster(shards=3, replicas=3, cores=1, routers=2, hedge_after=2.0)
    first, second = (outcome(cluster, exponential(), 1.0, 1_000) for _ in range(2))
    assert np.array_equal(first.taken, second.taken)
    assert np.array_equal(first.searches, second.searches)


SLOW = Cluster(shards=4, replicas=3, cores=2, routers=1, slow=20.0)


def hedging(after: float, share: float = 0.1) -> Cluster:
    return Cluster(
        shards=4, replicas=3, cores=2, routers=1, slow=20.0, hedge_after=after, hedge_share=share
    )


def test_hedging_takes_a_slow_machine_out_of_the_tail() -> None:
    times = times_of(np.linspace(0.9, 1.1, 50))
    plain, hedged = (outcome(each, times, 1.5, 3_000) for each in (SLOW, hedging(1.5)))
    assert plain.percentiles(99)[0] > 15_000
    assert hedged.percentiles(99)[0] < 3_000
    assert hedged.percentiles(50)[0] == pytest.approx(plain.percentiles(50)[0], rel=0.1)


def test_few_searches_are_asked_twice() -> None:
    times = times_of(np.linspace(0.9, 1.1, 50))
    assert 0.0 < outcome(hedging(0.1, share=0.05), times, 1.5, 3_000).hedged <= 0.05


def test_a_search_that_another_replica_has_answered_is_not_begun() -> None:
    # Two arrive together on average; whoever waits behind a slow one is answered elsewhere.
    times = times_of(np.ones(1))
    plain, hedged = (outcome(each, times, 3.0, 3_000) for each in (SLOW, hedging(1.5, share=1.0)))
    assert hedged.utilisation < plain.utilisation + hedged.hedged


def test_a_failed_rack_delays_requests_and_loses_none() -> None:
    failure = Failure(rack=0, at=500.0, noticed=10.0)
    cluster = Cluster(shards=2, replicas=3, cores=4, routers=1, racks=3, failure=failure)
    found = outcome(cluster, times_of(np.ones(1)), 3.0, 6_000)
    assert (found.taken > 0).all()
    before, during, after = (
        found.percentiles(100, start=start, end=end)[0]
        for start, end in ((0.0, 498.0), (499.0, 510.0), (530.0, 1e9))
    )
    assert before < 3_000
    assert 10_000 < during < 14_000  # asked again when it was noticed
    assert after < 5_000


def test_hedging_answers_before_a_failed_rack_is_noticed() -> None:
    failure = Failure(rack=0, at=500.0, noticed=10.0)
    cluster = Cluster(
        shards=2, replicas=3, cores=4, routers=1, racks=3, failure=failure, hedge_after=2.0
    )
    found = outcome(cluster, times_of(np.ones(1)), 3.0, 6_000)
    assert found.percentiles(90, start=499.0, end=510.0)[0] < 5_000
