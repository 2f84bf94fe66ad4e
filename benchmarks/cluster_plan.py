"""The arithmetic of a large deployment: from measured units and stated assumptions to machines."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

GIGA, TERA = 1e9, 1e12
MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0


class Law(NamedTuple):
    """Seconds of a search in N vectors: `scale * N ** power`."""

    scale: float
    power: float

    @classmethod
    def fitted(cls, sizes: Sequence[int], seconds: Sequence[float]) -> "Law":
        """Return the law with the least squared error of the logarithms."""
        power, intercept = np.polyfit(np.log(sizes), np.log(seconds), 1)
        return cls(math.exp(intercept), float(power))

    def at(self, vectors: float) -> float:
        """Return the seconds of a search."""
        return self.scale * math.pow(vectors, self.power)


@dataclass(frozen=True, kw_only=True)
class Units:
    """What was measured.

    Args:
        search: Law of one search.
        build: Seconds of building an index, for each vector.
        held: Bytes of a vector and its id, from which scores are made.
        codes: Bytes of a vector's code, by which candidates are found.
        encode: Seconds of encoding one user who has a new event.
        merge: Seconds of merging the lists of all shards.
        event: Bytes of an event in a history.
        facts: Bytes of a user's id and attributes.
        vectors: Bytes of what the towers made of a user.
        query: Bytes of a query vector.
        logged: Bytes of an event in the log.
        appended: Events a second that one log takes in, in batches.
        batch: Users a second whom one core encodes, many together.
    """

    search: Law
    build: float
    held: float
    codes: float
    encode: float
    merge: float
    event: float
    facts: float
    vectors: float
    query: float
    logged: float
    appended: float
    batch: float


@dataclass(frozen=True, kw_only=True)
class Assumptions:
    """What is to be served, and on what. None of it is measured.

    Args:
        movies: Number of movies.
        users: Number of users.
        requests: Lists a second, at the peak of a day.
        events: Events a second.
        shard: Movies of a shard.
        utilisation: Share of time that cores are busy at the peak; an autoscaler keeps it.
        cores: Cores of a machine.
        racks: Racks over which the replicas of each shard are spread.
        kept: Events of a user's history that are at hand; all are in the log.
        seen: Movies that a request leaves out.
        copies: Copies of histories and of the log.
        load: Mean load of a day as a share of the peak.
        load_rate: Bytes a second at which a machine reads a shard from the store of objects.
        core_price: Dollars an hour for a core.
        memory_price: Dollars an hour for a GB of memory.
    """

    movies: float = 1e8
    users: float = 1e9
    requests: float = 1e5
    events: float = 1e7 / MINUTE
    shard: float = 1e7
    utilisation: float = 0.5
    cores: int = 16
    racks: int = 10
    kept: int = 200
    seen: int = 200
    copies: int = 3
    load: float = 0.6
    load_rate: float = 1e9
    core_price: float = 0.03
    memory_price: float = 0.004


class Sizing(NamedTuple):
    """What shards of one size need."""

    vectors: float  # of a shard
    shards: int
    seconds: float  # of a search
    replicas: int
    gigabytes: float  # of a shard
    hours: float  # of building a shard on one core
    dollars: float  # an hour, of the cores and the memory of all replicas

    def cores(self, given: Assumptions) -> int:
        """Return the number of cores of all replicas."""
        return self.shards * self.replicas * given.cores


def sizing(units: Units, given: Assumptions, vectors: float) -> Sizing:
    """Return what shards of a size need, at least three replicas of each.

    Args:
        units: What was measured.
        given: What is to be served.
        vectors: Number of vectors of a shard.
    """
    shards = math.ceil(given.movies / vectors)
    seconds = units.search.at(vectors)
    busy = given.requests * seconds  # of each shard
    replicas = max(3, math.ceil(busy / given.utilisation / given.cores))
    gigabytes = vectors * (units.held + units.codes) / GIGA
    cores = shards * replicas * given.cores
    dollars = cores * given.core_price + shards * replicas * gigabytes * given.memory_price
    return Sizing(
        vectors, shards, seconds, replicas, gigabytes, vectors * units.build / HOUR, dollars
    )


class Line(NamedTuple):
    """One line of the arithmetic."""

    what: str
    arithmetic: str
    result: str
    value: float


def encoders(units: Units, given: Assumptions) -> int:
    """Return the number of machines that encode users and merge lists."""
    busy = given.requests * (units.encode + units.merge)
    return math.ceil(busy / given.utilisation / given.cores)


def plan(units: Units, given: Assumptions) -> list[Line]:
    """Return the arithmetic, each line from units, assumptions and the lines before."""
    size = sizing(units, given, given.shard)
    ms = size.seconds * 1e3
    machines, routers = size.shards * size.replicas, encoders(units, given)
    memory = machines * size.gigabytes
    user = given.kept * units.event + units.facts + units.vectors
    state = given.users * user * given.copies
    logged = given.events * units.logged * DAY * given.copies
    logs = math.ceil(given.events / units.appended / given.utilisation)
    message = 16 + units.query + 8 * given.seen
    wire = given.requests * size.shards * (message + 8 + 16 * 20) * 8
    cores = size.cores(given) + routers * given.cores
    all_memory = memory + state / GIGA
    dollars = cores * given.core_price * given.load + all_memory * given.memory_price
    return [
        Line(
            "one copy of the vectors and ids",
            f"{given.movies:,.0f} x {units.held:,.0f} B",
            f"{given.movies * units.held / GIGA:,.0f} GB",
            given.movies * units.held,
        ),
        Line(
            "one copy of the codes",
            f"{given.movies:,.0f} x {units.codes:,.0f} B",
            f"{given.movies * units.codes / GIGA:,.0f} GB",
            given.movies * units.codes,
        ),
        Line(
            "shards",
            f"{given.movies:,.0f} / {given.shard:,.0f}",
            f"{size.shards}",
            size.shards,
        ),
        Line(
            "memory of a shard",
            f"{given.shard:,.0f} x ({units.held:,.0f} + {units.codes:,.0f}) B",
            f"{size.gigabytes:.1f} GB",
            size.gigabytes,
        ),
        Line(
            "one search in a shard (extrapolated)",
            f"{units.search.scale * 1e3:.3g} ms x {given.shard:,.0f}^{units.search.power:.3f}",
            f"{ms:.2f} ms",
            size.seconds,
        ),
        Line(
            "cores busy with searches",
            f"{given.requests:,.0f} /s x {size.shards} x {ms:.2f} ms",
            f"{given.requests * size.shards * size.seconds:,.0f}",
            given.requests * size.shards * size.seconds,
        ),
        Line(
            "replicas of each shard",
            f"{given.requests:,.0f} /s x {ms:.2f} ms / {given.utilisation:g} / {given.cores} cores",
            f"{size.replicas}",
            size.replicas,
        ),
        Line(
            "machines of shards",
            f"{size.shards} x {size.replicas}",
            f"{machines:,} ({size.cores(given):,} cores)",
            machines,
        ),
        Line(
            "memory of all shards",
            f"{machines:,} x {size.gigabytes:.1f} GB",
            f"{memory / 1e3:,.1f} TB",
            memory,
        ),
        Line(
            "machines that encode and merge",
            f"{given.requests:,.0f} /s x ({units.encode * 1e3:.2f} + {units.merge * 1e3:.3f}) ms "
            f"/ {given.utilisation:g} / {given.cores} cores",
            f"{routers:,} ({routers * given.cores:,} cores)",
            routers,
        ),
        Line(
            "state of a user",
            f"{given.kept} x {units.event:.0f} + {units.facts:.0f} + {units.vectors:.0f} B",
            f"{user:,.0f} B",
            user,
        ),
        Line(
            "state of all users",
            f"{given.users:,.0f} x {user:,.0f} B x {given.copies} copies",
            f"{state / TERA:,.1f} TB",
            state,
        ),
        Line(
            "logs that events are spread over",
            f"{given.events:,.0f} /s / {units.appended:,.0f} /s / {given.utilisation:g}",
            f"{logs}",
            logs,
        ),
        Line(
            "log of a day",
            f"{given.events:,.0f} /s x {units.logged:.0f} B x {DAY:,.0f} s x {given.copies} copies",
            f"{logged / TERA:,.2f} TB",
            logged,
        ),
        Line(
            "questions and answers of all shards",
            f"{given.requests:,.0f} /s x {size.shards} x ({message:,.0f} + 328) B x 8",
            f"{wire / 1e9:,.0f} Gbit/s",
            wire,
        ),
        Line(
            "encoding all users anew",
            f"{given.users:,.0f} / {units.batch:,.0f} /s",
            f"{given.users / units.batch / HOUR:,.0f} core hours",
            given.users / units.batch,
        ),
        Line(
            "building a shard",
            f"{given.shard:,.0f} x {units.build * 1e6:.1f} microseconds",
            f"{size.hours:.2f} core hours",
            size.hours,
        ),
        Line(
            "loading a shard on a fresh machine",
            f"{size.gigabytes:.1f} GB / {given.load_rate / GIGA:g} GB/s",
            f"{size.gigabytes * GIGA / given.load_rate:.0f} s",
            size.gigabytes * GIGA / given.load_rate,
        ),
        Line(
            "utilisation without one rack",
            f"{given.utilisation:g} x {given.racks} / {given.racks - 1}",
            f"{given.utilisation * given.racks / (given.racks - 1):.2f}",
            given.utilisation * given.racks / (given.racks - 1),
        ),
        Line(
            "cores and memory",
            f"{size.cores(given):,} + {routers * given.cores:,} cores; "
            f"{memory / 1e3:,.1f} + {state / TERA:,.1f} TB",
            f"{cores:,} cores, {all_memory / 1e3:,.1f} TB",
            cores,
        ),
        Line(
            "money",
            f"{cores:,} x {given.core_price:g} $/h x {given.load:g} + {all_memory:,.0f} GB x "
            f"{given.memory_price:g} $/h",
            f"{dollars:,.0f} $/h, {dollars / given.requests / given.load / HOUR * 1e6:.2f} $ a "
            "million lists",
            dollars,
        ),
    ]
