"""Ray: started on this machine alone, or joined where it runs already."""

import math
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

from retrieval.errors import RequestError, shown

# Bytes for what processes of one machine hand each other; an answer is about a megabyte.
OBJECTS = 2**28

LOOPBACK = "127.0.0.1"

# No statistics of use are sent; nodes keep the address they are given, on every system.
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Machines that Ray has joined.

    Args:
        ray: The module.
        cpus: Number of CPUs that all of them have.
        machines: Number of them.
        fewest: Number of CPUs of the machine that has fewest.
    """

    ray: ModuleType
    cpus: int
    machines: int
    fewest: int

    def cpus_of_each(self, workers: int) -> int:
        """Return how many CPUs each of some processes may have, so that all find a machine."""
        return max(1, self.fewest // math.ceil(workers / self.machines))


def ray_module() -> ModuleType:
    """Return the module of Ray, which sends no statistics of use.

    Raises:
        RequestError: It is not installed.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        return import_module("ray")
    except ImportError as error:
        raise RequestError(
            "the engine ray needs the package ray, which is not installed: "
            "pip install -e '.[ray]' in the project's folder, or leave out --engine ray"
        ) from error


@contextmanager
def connected(address: str | None, workers: int | None) -> Iterator[Cluster]:
    """Give a cluster to work on, and leave it at the end of the block.

    Args:
        address: Where a cluster listens, or auto for the one on this machine. None starts Ray for
            this block, on loopback, unless the environment variable RAY_ADDRESS names a cluster.
        workers: Number of processes that are wanted; None is one for each CPU.

    Raises:
        RequestError: Ray is not installed, or no cluster answers at the address.
    """
    ray = ray_module()
    address = address or os.environ.get("RAY_ADDRESS") or None
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address is None:
            ray.init(
                address="local",
                num_cpus=max(workers or 1, os.cpu_count() or 1),
                include_dashboard=False,
                object_store_memory=OBJECTS,
                _node_ip_address=LOOPBACK,
                **quiet,
            )
        else:
            ray.init(address=address, **quiet)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise RequestError(
            f"no Ray cluster at {shown(address or LOOPBACK)}: {shown(error)}; start one with "
            "ray start --head, or leave out --ray-address"
        ) from error
    try:
        for number, handler in before.items():  # Ray takes them over
            signal.signal(number, handler)
        alive = [node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]]
        cpus = [int(count) for count in alive if count >= 1]
        yield Cluster(
            ray=ray,
            cpus=max(1, sum(cpus)),
            machines=max(1, len(cpus)),
            fewest=min(cpus, default=1),
        )
    finally:
        ray.shutdown()
