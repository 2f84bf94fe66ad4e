"""How a server is asked: one request after another, as many as it can take, or at a given rate."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from itertools import count, cycle, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from http_client import Client
from numpy.typing import NDArray

# Connections of an open loop. Who finds none free waits here, and the wait counts.
CONNECTIONS = 64

# Seconds until the first request of an open loop is due: until then all connections are there.
LEAD = 0.5

OK = range(200, 300)

TICKS = os.sysconf("SC_CLK_TCK")


class Load(NamedTuple):
    """What N requests at some rate took."""

    rate: float  # requests a second that were answered
    seconds: NDArray[np.float64]  # (N,) from when each was due to its answer
    late: NDArray[np.float64]  # (N,) from when each was due to when it was sent
    server: float  # share of a core that the server had
    client: float  # share of a core that asking took


def percentiles(seconds: NDArray[np.float64], *which: float) -> list[float]:
    """Return percentiles of times, in milliseconds."""
    return [1e3 * float(each) for each in np.percentile(seconds, which)]


def one_by_one(client: Client, requests: Sequence[bytes]) -> NDArray[np.float64]:
    """Return what each of N requests takes, asked after the answer to the one before.

    Raises:
        SystemExit: One was refused.
    """
    times = np.empty(len(requests))
    for place, request in enumerate(requests):
        began = time.perf_counter()
        answer = client.ask(request)
        times[place] = time.perf_counter() - began
        if answer.status not in OK:
            raise SystemExit(f"refused: {answer.body.decode()}")
    return times


def as_fast_as_it_can(
    address: str, process: int, requests: Sequence[bytes], connections: int, seconds: float
) -> Load:
    """Ask on several connections, on each after the answer to the request before.

    Args:
        address: The server.
        process: Its id.
        requests: What is asked, from the beginning again when all were.
        connections: Number of connections.
        seconds: How long.
    """
    times: list[list[float]] = [[] for _ in range(connections)]
    until = time.perf_counter() + seconds

    def ask(place: int) -> None:
        with Client(address) as client:
            for request in islice(cycle(requests), place * 37, None):
                began = time.perf_counter()
                if began > until:
                    return
                _checked(client, request)
                times[place].append(time.perf_counter() - began)

    return _measured(process, ask, connections, lambda: np.concatenate(times))


def at_a_rate(
    address: str,
    process: int,
    requests: Sequence[bytes],
    rate: float,
    seconds: float,
    rng: np.random.Generator,
) -> Load:
    """Ask at moments that do not depend on the answers: a Poisson process.

    A latency runs from the moment at which a request was due. A server that stands still for a
    second is charged with all who came in that second, not only with the one who waited for it.

    Args:
        address: The server.
        process: Its id.
        requests: What is asked, from the beginning again when all were.
        rate: Requests a second.
        seconds: How long.
        rng: Generator of the moments.
    """
    due = np.cumsum(rng.exponential(1 / rate, max(1, round(rate * seconds))))
    sent, done = np.empty_like(due), np.empty_like(due)
    due += time.perf_counter() + LEAD
    moments, places = due.tolist(), count()

    def ask(_: int) -> None:
        with Client(address) as client:
            while (place := next(places)) < len(moments):
                time.sleep(max(0.0, moments[place] - time.perf_counter()))
                sent[place] = time.perf_counter()
                _checked(client, requests[place % len(requests)])
                done[place] = time.perf_counter()

    load = _measured(process, ask, CONNECTIONS, lambda: done - due)
    return load._replace(late=sent - due, rate=len(due) / (done.max() - due[0]))


def _checked(client: Client, request: bytes) -> None:
    answer = client.ask(request)
    if answer.status not in OK:
        raise ConnectionError(f"refused: {answer.body.decode()}")


def _measured(
    process: int,
    ask: Callable[[int], None],
    threads: int,
    times: Callable[[], NDArray[np.float64]],
) -> Load:
    """Let threads ask, and measure how busy both sides are meanwhile."""
    failed: list[BaseException] = []

    def run(place: int) -> None:
        try:
            ask(place)
        except OSError as error:
            failed.append(error)

    began, server, client = time.perf_counter(), cpu_seconds(process), time.process_time()
    asking = [threading.Thread(target=run, args=(place,)) for place in range(threads)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    wall = time.perf_counter() - began
    if failed:
        raise SystemExit(f"a request failed: {failed[0]}")
    taken = times()
    return Load(
        rate=len(taken) / wall,
        seconds=taken,
        late=np.zeros_like(taken),
        server=(cpu_seconds(process) - server) / wall,
        client=(time.process_time() - client) / wall,
    )


def cpu_seconds(process: int) -> float:
    """Return the seconds of a core that a process and its children have had."""
    total = 0
    for each in family(process):
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def pin(process: int, cores: set[int]) -> None:
    """Keep a process and its children, with the threads that they have, on some cores."""
    for each in family(process):
        for thread in Path(f"/proc/{each}/task").iterdir():
            os.sched_setaffinity(int(thread.name), cores)


def family(process: int) -> list[int]:
    """Return a process and its children."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [process, *map(int, children)]
