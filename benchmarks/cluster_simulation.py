"""A cluster simulated event by event: routers, shards, replicas, hedged searches, a failing rack.

Requests arrive as a Poisson process. A router encodes the user, asks one replica of every shard,
and merges when all have answered. A machine has some cores and one queue, first come, first served.
Of two replicas drawn at random, the one with fewer searches under way is asked.

A plain heap of callbacks serves better here than a library of processes: the 99.9th percentile of a
fan-out to ten shards needs hundreds of thousands of searches a scenario, and simpy takes about 15
microseconds for each that only queues and is served.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Seconds = NDArray[np.float64]

# Samples drawn together.
BLOCK = 65_536

# The shard of which some replicas are slow.
SLOW_SHARD = 0

NEVER = float("inf")


class Times(NamedTuple):
    """Measured seconds, from which a simulation draws."""

    encode: Seconds  # (E,) of a user on a router
    search: Seconds  # (Q, W) of a question in each of some shards, the machine at its usual speed
    noise: Seconds  # (N,) factors by which one search of the same question differs from another
    network: Seconds  # (H,) of a message, one way
    merge: Seconds  # (G,) of the shards' lists on a router


class Failure(NamedTuple):
    """A rack that fails and stays away."""

    rack: int
    at: float  # seconds after the first request
    noticed: float  # seconds from then until routers know, and ask others again


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """What answers.

    Args:
        shards: Number of parts of the catalogue, S.
        replicas: Number of machines for each shard, R.
        cores: Number of cores of a machine; a search takes one.
        routers: Number of machines that encode, fan out and merge.
        racks: Number of racks; replica r of every shard stands in rack r modulo racks.
        slow: Factor by which some replicas of one shard are slower than others.
        slow_replicas: Number of them.
        hedge_after: Seconds without an answer after which another replica is asked too; None asks
            nobody.
        hedge_share: Largest share of searches that are asked twice; without a limit, an overloaded
            cluster would be asked most.
        failure: Rack that fails; None where all stay.
    """

    shards: int
    replicas: int
    cores: int
    routers: int
    racks: int = 1
    slow: float = 1.0
    slow_replicas: int = 1
    hedge_after: float | None = None
    hedge_share: float = 0.1
    failure: Failure | None = None

    def capacity(self, times: Times) -> float:
        """Return the requests a second that keep every core of the shards busy."""
        seconds = float(times.search.mean() * times.noise.mean()) * self.shards
        return self.shards * self.replicas * self.cores / seconds


class Outcome(NamedTuple):
    """What N requests took, in the order in which they came."""

    began: Seconds  # (N,) from the start of the simulation
    taken: Seconds  # (N,)
    searches: Seconds  # (N * S,) from asking a shard to its answer
    hedged: float  # share of searches that were asked twice
    utilisation: float  # share of time that a core of the shards was busy until the last arrival

    def percentiles(self, *which: float, start: float = 0.0, end: float = NEVER) -> list[float]:
        """Return percentiles in milliseconds of the requests that came in some span of time."""
        chosen = (self.began >= start) & (self.began < end)
        return [1e3 * float(each) for each in np.percentile(self.taken[chosen], which)]


def simulate(
    cluster: Cluster, times: Times, rate: float, requests: int, rng: np.random.Generator
) -> Outcome:
    """Return what requests to a cluster would take.

    Args:
        cluster: What answers.
        times: What its parts take.
        rate: Requests a second.
        requests: Number of requests, N.
        rng: Generator of everything random. The same seed gives the same arrivals and questions,
            whatever the cluster.
    """
    return _Simulation(cluster, times, rate, requests, rng).run()


class _Machine:
    """Cores and a queue."""

    __slots__ = ("asked", "busy", "free", "rack", "slow", "up", "waiting")

    def __init__(self, cores: int, rack: int, slow: float) -> None:
        self.free, self.rack, self.slow = cores, rack, slow
        self.asked, self.busy, self.up = 0, 0.0, True
        self.waiting: deque[_Work] = deque()


class _Request:
    """A request under way."""

    __slots__ = ("answered", "began", "left", "machines", "place", "question", "router", "sent")

    def __init__(self, place: int, began: float, router: _Machine, shards: int) -> None:
        self.place, self.began, self.router = place, began, router
        self.left, self.sent, self.question = shards, 0.0, 0
        self.machines: list[_Machine | None] = [None] * shards  # asked last
        self.answered = [NEVER] * shards  # when


class _Work(NamedTuple):
    """What a core of a machine is to do."""

    seconds: float
    request: _Request
    shard: int  # -1 is work of a router
    then: Callable[[_Request], None] | None = None  # of a router


class _Simulation:
    """The state of one simulation."""

    def __init__(
        self,
        cluster: Cluster,
        times: Times,
        rate: float,
        requests: int,
        rng: np.random.Generator,
    ) -> None:
        self._cluster, self._now = cluster, 0.0
        arrivals, questions, encode, merge, network, noise, choices = rng.spawn(7)
        self._arrivals = np.cumsum(arrivals.exponential(1 / rate, requests))
        self._questions = questions.integers(0, len(times.search), requests).tolist()
        self._encode, self._merge = _draws(times.encode, encode), _draws(times.merge, merge)
        self._network, self._noise = _draws(times.network, network), _draws(times.noise, noise)
        self._choices = _uniforms(choices)
        self._search: list[list[float]] = times.search.tolist()
        self._columns = times.search.shape[1]
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = count()
        self._routers = [_Machine(cluster.cores, 0, 1.0) for _ in range(cluster.routers)]
        slow_replicas = cluster.slow_replicas
        self._shards = [
            [
                _Machine(
                    cluster.cores,
                    replica % cluster.racks,
                    cluster.slow if shard == SLOW_SHARD and replica < slow_replicas else 1.0,
                )
                for replica in range(cluster.replicas)
            ]
            for shard in range(cluster.shards)
        ]
        self._listed = [list(machines) for machines in self._shards]  # that routers believe in
        self._pending: set[_Request] = set()
        self._taken = np.zeros(requests)
        self._searches: list[float] = []
        self._asked = self._hedged = 0

    def run(self) -> Outcome:
        """Let all requests come and be answered."""
        moments = self._arrivals.tolist()
        self._at(moments[0], self._arrive, 0, moments)
        failure = self._cluster.failure
        if failure is not None:
            self._at(failure.at, self._fail, failure.rack)
            self._at(failure.at + failure.noticed, self._notice)
        while self._events:
            self._now, _, act, values = heappop(self._events)
            act(*values)
        busy = sum(machine.busy for machines in self._shards for machine in machines)
        cores = self._cluster.shards * self._cluster.replicas * self._cluster.cores
        return Outcome(
            began=self._arrivals,
            taken=self._taken,
            searches=np.array(self._searches),
            hedged=self._hedged / max(1, self._asked),
            utilisation=busy / (cores * moments[-1]),
        )

    def _at(self, moment: float, act: Callable[..., None], *values: object) -> None:
        heappush(self._events, (moment, next(self._order), act, values))

    def _arrive(self, place: int, moments: list[float]) -> None:
        """Let a request come, and the next one later."""
        if place + 1 < len(moments):
            self._at(moments[place + 1], self._arrive, place + 1, moments)
        router = self._routers[place % len(self._routers)]
        request = _Request(place, self._now, router, self._cluster.shards)
        request.question = self._questions[place]
        self._work(router, _Work(next(self._encode), request, -1, self._fan_out))

    def _fan_out(self, request: _Request) -> None:
        """Ask every shard."""
        self._pending.add(request)
        request.sent = self._now
        for shard in range(self._cluster.shards):
            self._asked += 1
            self._ask(request, shard)
        if self._cluster.hedge_after is not None:
            self._at(self._now + self._cluster.hedge_after, self._hedge, request)

    def _ask(self, request: _Request, shard: int) -> None:
        """Ask the less busy of two replicas that were not asked before."""
        before = request.machines[shard]
        there = [machine for machine in self._listed[shard] if machine is not before]
        if not there:
            return
        one = there[int(next(self._choices) * len(there))]
        other = there[int(next(self._choices) * len(there))]
        machine = one if one.asked <= other.asked else other
        machine.asked += 1
        request.machines[shard] = machine
        self._at(self._now + next(self._network), self._reach, machine, request, shard)

    def _reach(self, machine: _Machine, request: _Request, shard: int) -> None:
        """Let a machine have a question; where it is down, the question is lost."""
        if machine.up:
            own = self._search[request.question][shard % self._columns]
            seconds = own * next(self._noise) * machine.slow
            self._work(machine, _Work(seconds, request, shard))

    def _hedge(self, request: _Request) -> None:
        """Ask others what was not answered, as long as few are asked twice."""
        for shard, moment in enumerate(request.answered):
            if moment == NEVER and self._hedged < self._cluster.hedge_share * self._asked:
                self._hedged += 1
                self._ask(request, shard)

    def _work(self, machine: _Machine, work: _Work) -> None:
        """Give a core something to do, or let it wait for one."""
        if machine.free:
            self._start(machine, work)
        else:
            machine.waiting.append(work)

    def _start(self, machine: _Machine, work: _Work) -> None:
        machine.free -= 1
        machine.busy += work.seconds
        self._at(self._now + work.seconds, self._done, machine, work)

    def _done(self, machine: _Machine, work: _Work) -> None:
        """End some work, and begin what waits and is still wanted."""
        if not machine.up:
            return
        machine.free += 1
        while machine.waiting and machine.free:
            waiting = machine.waiting.popleft()
            if self._is_wanted(waiting):
                self._start(machine, waiting)
            else:
                machine.asked -= 1
        if work.then is not None:
            work.then(work.request)
        else:
            moment = self._now + next(self._network)
            self._at(moment, self._answer, machine, work.request, work.shard)

    def _is_wanted(self, work: _Work) -> bool:
        """Return whether no word has come that another replica has answered."""
        if work.shard < 0 or work.request.answered[work.shard] > self._now:
            return True
        return work.request.answered[work.shard] + next(self._network) > self._now

    def _answer(self, machine: _Machine, request: _Request, shard: int) -> None:
        """Take the first answer of a shard; with the last shard's, merge."""
        machine.asked -= 1
        if request.answered[shard] != NEVER:
            return
        request.answered[shard] = self._now
        self._searches.append(self._now - request.sent)
        request.left -= 1
        if not request.left:
            self._pending.discard(request)
            self._work(request.router, _Work(next(self._merge), request, -1, self._finish))

    def _finish(self, request: _Request) -> None:
        self._taken[request.place] = self._now - request.began

    def _fail(self, rack: int) -> None:
        """Stop the machines of a rack, and lose what they had."""
        for machines in self._shards:
            for machine in machines:
                if machine.rack == rack:
                    machine.up = False
                    machine.waiting.clear()

    def _notice(self) -> None:
        """Ask others what machines that failed were asked, and these no more."""
        self._listed = [
            [machine for machine in machines if machine.up] for machines in self._shards
        ]
        for request in sorted(self._pending, key=lambda request: request.place):
            for shard, machine in enumerate(request.machines):
                lost = machine is not None and not machine.up
                if lost and request.answered[shard] == NEVER:
                    self._ask(request, shard)


def _draws(samples: Seconds, rng: np.random.Generator) -> Iterator[float]:
    """Yield samples drawn at random, for ever."""
    while True:
        yield from rng.choice(samples, BLOCK).tolist()


def _uniforms(rng: np.random.Generator) -> Iterator[float]:
    """Yield numbers from 0 to below 1, for ever."""
    while True:
        yield from rng.random(BLOCK).tolist()
