"""What a list over HTTP takes, beside a route of the same framework that does nothing.

PYTHONPATH=tests python benchmarks/service.py --run RUN --json docs/figures/service.json --plot

One worker of `rec serve` has one core to itself. So has, in turn, an application of FastAPI with
one empty route. Whoever asks has another core. Connections stay open, and all is over loopback.

Closed loop: one connection, one request after another. Rounds come to each kind of request in turn,
so that what disturbs the machine disturbs all of them. Random users are asked about once each:
nobody has asked before, and the service has made their lists ready by itself, as it does for the
users who were here last. The same users are asked about again at once, and then as of when they
come back, which is a list that nobody made ready. A list after an event
is asked for as soon as the event was acknowledged, which means that it is on the disk. Where the
user has seen a list before, the event rates a movie of it. What says that the service is alive is
asked for after an event too: it needs no user and no movie, and tells what it costs to come next
after a write.

Open loop: requests arrive as a Poisson process at shares of the rate that saturates the worker. A
latency runs from the moment at which a request was due, not from when it could be sent, so that no
wait is left out. The requests are lists of users drawn at random again and again: most are in the
cache. The load generator is benchmarks/load.py: threads with a connection each, which sleep until
the next moment. The figures say how late it sends.

Targets: the median of a list is at most twice that of the empty route, its 99th percentile at most
four times; the median after an event is at most 1.5 times that of a list. Each is told of lists
that are in no cache and of those that are.

Peers: LibRecommender's libserving is measured in the same run where `--libserving PYTHON` names an
interpreter with what benchmarks/libserving_peer.py says; its server and its Redis share the core
that the others have. gorse publishes no figure for a list: its repository has benchmarks of its
HTTP interface (server/bench_test.go, server/bench_test.sh), which print nanoseconds on the machine
that runs them, and its documentation of performance (https://docs.gorse.io/ch02-04-performance.html)
says how to trade accuracy for time, and names none either.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple
from urllib.parse import quote

import numpy as np
from http_client import Client, request
from load import Load, as_fast_as_it_can, at_a_rate, cpu_seconds, one_by_one, percentiles, pin
from machine import Report, add_plot, arguments
from numpy.typing import NDArray
from plots import new_plot, save
from web import serving

from retrieval.data.vocabulary import Id
from retrieval.run.folder import Run, open_run

BESIDE = Path(__file__).parent

# Rounds of the closed loop, and connections that saturate a worker.
ROUNDS, CONNECTIONS = 5, 4

# Length of a list, and events of a person whom the service does not know.
K, HISTORY = 20, 10

# Seconds in which a service that makes lists ready would be seen to work.
QUIET = 3.0

# Shares of the rate that saturates, at which requests arrive.
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)

PERCENTILES = (50.0, 90.0, 99.0, 99.9)

SIGN_OF_LIFE = request("GET", "/health/live")

# An id that no user has.
NOBODY = 900_000_000

EMPTY, LIST, AGAIN = "empty route", "list of 20, random users", "list of 20, the same again"
UNKEPT = "list of 20 that nobody made ready"
SEEN, UNSEEN = "list after an event, list seen before", "list after an event, never asked before"
BOTH = "event and list after it, list seen before"
ALIVE = "a sign of life after an event"
RATING, NEW, PERSON = "rating of a pair, random users", "list of a new user", "list by a history"
SEARCH = "search"
PEER = "libserving, list of 20, random users"


class Target(NamedTuple):
    """How much of one time another may be at most."""

    what: str
    percentile: int
    of: str
    most: float


TARGETS = (
    Target(LIST, 50, EMPTY, 2.0),
    Target(LIST, 99, EMPTY, 4.0),
    Target(AGAIN, 50, EMPTY, 2.0),
    Target(AGAIN, 99, EMPTY, 4.0),
    Target(SEEN, 50, LIST, 1.5),
    Target(UNSEEN, 50, LIST, 1.5),
    Target(SEEN, 50, AGAIN, 1.5),
    Target(UNSEEN, 50, AGAIN, 1.5),
)

Times = dict[str, list[NDArray[np.float64]]]


class Server(NamedTuple):
    """A server that can be asked."""

    address: str
    process: int


def main() -> None:
    """Measure what the command line names."""
    parser = arguments(__doc__)
    parser.add_argument("--run", type=Path, required=True, help="folder of a run; only read")
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="for each kind of request, and each rate"
    )
    parser.add_argument("--libserving", type=Path, help="interpreter that has libserving")
    add_plot(parser, "service")
    asked = parser.parse_args()
    ours, theirs = cores()
    os.sched_setaffinity(0, {ours})
    run, rng = open_run(asked.run), np.random.default_rng(asked.seed)
    report = Report(
        asked, f"{Path(run.config.data).name}, preset {run.config.preset}, one worker on one core"
    )
    with TemporaryDirectory() as scratch, serving(asked.run, Path(scratch)) as served:
        service = Server(served.address, served.process.pid)
        with empty_route() as empty, libserving(asked.libserving, run, Path(scratch)) as peer:
            for server in (service, empty, *([peer] if peer else [])):
                pin(server.process, {theirs})
            ready = wait_until_ready(service.process)
            report.say(f"lists made ready before anybody asked: {ready:.1f} s after the start")
            times = closed_loop(run, service, empty, peer, asked.seconds, rng)
            say_times(report, times)
            users = known_users(run)
            lists = [list_of(user) for user in rng.choice(users, 4096).tolist()]
            full = saturated(report, service, empty, peer, lists, users, asked.seconds)
            loads = open_loop(report, service, lists, full.rate, asked.seconds, rng)
    report.save()
    if asked.plot is not None:
        draw(asked.plot, loads, full.rate, percentiles(np.concatenate(times[EMPTY]), 50)[0])


def cores() -> tuple[int, int]:
    """Return the core of whoever asks, and that of the server.

    Raises:
        SystemExit: There is only one.
    """
    there = sorted(os.sched_getaffinity(0))
    if len(there) < 2:
        raise SystemExit("two cores are needed: one asks, the other answers")
    return there[0], there[1]


@contextmanager
def empty_route() -> Iterator[Server]:
    """Give an application that does nothing."""
    with started([sys.executable, str(BESIDE / "empty_route.py")], BESIDE) as server:
        yield server


@contextmanager
def libserving(python: Path | None, run: Run, scratch: Path) -> Iterator[Server | None]:
    """Give LibRecommender's server with the users and movies of a run, if an interpreter has it."""
    if python is None:
        yield None
        return
    known = scratch / "known.npz"
    np.savez(known, offsets=run.histories.offsets, movies=run.histories.movies)
    script = BESIDE / "libserving_peer.py"
    command = [str(python), str(script), str(known), str(len(run.catalogue))]
    with started(command, scratch) as server:
        yield server


@contextmanager
def started(command: list[str], folder: Path) -> Iterator[Server]:
    """Give a server that says its port on its first line.

    Args:
        command: What is run.
        folder: Folder in which it runs.

    Raises:
        SystemExit: It says nothing.
    """
    with subprocess.Popen(  # noqa: S603 (ours)
        command, stdout=subprocess.PIPE, text=True, cwd=folder
    ) as process:
        try:
            port = "" if process.stdout is None else process.stdout.readline().strip()
            if not port:
                raise SystemExit(f"{' '.join(command)} did not start")
            yield Server(f"http://127.0.0.1:{port}/", process.pid)
        finally:
            process.terminate()


def known_users(run: Run) -> NDArray[np.int64]:
    """Return the numbers of users with events that the run stores."""
    return np.flatnonzero(np.diff(run.histories.offsets))


def wait_until_ready(process: int) -> float:
    """Wait until a service has made the lists that it makes before anybody asks; return seconds."""
    began = time.perf_counter()
    while True:
        spent = cpu_seconds(process)
        time.sleep(QUIET)
        if cpu_seconds(process) - spent < 0.02 * QUIET:
            return time.perf_counter() - began - QUIET


def closed_loop(
    run: Run,
    service: Server,
    empty: Server,
    peer: Server | None,
    seconds: float,
    rng: np.random.Generator,
) -> Times:
    """Return what each request of each kind takes, in seconds."""
    questions = Questions(run, rng)
    times: Times = {}
    with Client(service.address) as ours, Client(empty.address) as floor:
        one_by_one(floor, [request("GET", "/")] * 200)
        for _ in range(ROUNDS):
            share = seconds / ROUNDS

            def measure(
                name: str, client: Client, requests: Iterator[bytes], share: float = share
            ) -> list[bytes]:
                made, taken = within(client, requests, share)
                times.setdefault(name, []).append(taken)
                return made

            measure(EMPTY, floor, questions.nothing())
            made = measure(LIST, ours, questions.lists(0.4))
            measure(AGAIN, ours, iter(made))
            measure(UNKEPT, ours, (coming_back(each) for each in made))
            measure(RATING, ours, questions.ratings(0.15))
            measure(NEW, ours, questions.new_users())
            measure(PERSON, ours, questions.people())
            measure(SEARCH, ours, questions.searches())
            seen = after_events(ours, questions, share, looks=True)
            times.setdefault(SEEN, []).append(seen[0])
            times.setdefault(BOTH, []).append(seen[1])
            unseen = after_events(ours, questions, share, looks=False)
            times.setdefault(UNSEEN, []).append(unseen[0])
            alive = after_events(ours, questions, share, looks=False, asking=SIGN_OF_LIFE)
            times.setdefault(ALIVE, []).append(alive[0])
            if peer is not None:
                with Client(peer.address) as theirs:
                    measure(PEER, theirs, questions.of_libserving())
    return times


class Questions:
    """Requests about a run, of which those for lists name no user twice.

    Args:
        run: The run.
        rng: Generator for what is drawn.
    """

    def __init__(self, run: Run, rng: np.random.Generator) -> None:
        self._run, self._rng = run, rng
        self._numbers = known_users(run)
        self._users: list[Id] = run.users.ids[rng.permutation(self._numbers)].tolist()
        self._next = 0
        self._ids = run.catalogue.vocabulary.ids
        self._titles = [movie.title for movie in run.catalogue.movies]

    def fresh(self, share: float) -> list[Id]:
        """Return users who were not asked about yet: in all rounds this share of all."""
        first, count = self._next, round(share * len(self._users) / ROUNDS)
        self._next += count
        return self._users[first : first + count]

    def movie(self) -> Id:
        """Return a movie."""
        movie: Id = self._rng.choice(self._ids).item()
        return movie

    def nothing(self) -> Iterator[bytes]:
        """Give requests of the empty route."""
        while True:
            yield request("GET", "/")

    def lists(self, share: float) -> Iterator[bytes]:
        """Give requests for lists."""
        return (list_of(user) for user in self.fresh(share))

    def ratings(self, share: float) -> Iterator[bytes]:
        """Give requests for ratings."""
        for user in self.fresh(share):
            yield request("GET", f"/v1/users/{_quoted(user)}/movies/{_quoted(self.movie())}")

    def new_users(self) -> Iterator[bytes]:
        """Give requests for lists of users whom nobody knows."""
        while True:
            yield list_of(NOBODY + int(self._rng.integers(10**6)))

    def people(self) -> Iterator[bytes]:
        """Give requests for lists of people by their ratings."""
        scale = self._run.config.scale
        while True:
            movies = self._rng.choice(self._ids, HISTORY, replace=False).tolist()
            ratings = self._rng.integers(int(scale.lowest), int(scale.highest) + 1, HISTORY)
            history = [
                {"movie_id": movie, "rating": rating}
                for movie, rating in zip(movies, ratings.tolist(), strict=True)
            ]
            yield request("POST", "/v1/recommendations", {"history": history, "k": K})

    def searches(self) -> Iterator[bytes]:
        """Give requests for movies by the first words of a title, of which a letter is missing."""
        while True:
            words = self._rng.choice(self._titles)[:12]
            gap = int(self._rng.integers(len(words)))
            yield request("GET", f"/v1/movies?q={quote(words[:gap] + words[gap + 1 :])}")

    def of_libserving(self) -> Iterator[bytes]:
        """Give requests of libserving."""
        for user in self._rng.permutation(self._numbers).tolist():
            yield of_libserving(user)


def list_of(user: object) -> bytes:
    """Return a request for a list."""
    return request("GET", f"/v1/users/{_quoted(user)}/recommendations?k={K}")


def coming_back(asked: bytes) -> bytes:
    """Return a request for a list as the same for when the user comes back."""
    return asked.replace(b"?k=", b"?when=coming-back&k=", 1)


def of_libserving(user: int) -> bytes:
    """Return a request for a list of libserving."""
    content = {"user": str(user), "n_rec": K, "user_feats": None, "seq": None}
    return request("POST", "/embed/recommend", content)


def _quoted(id_: object) -> str:
    return quote(str(id_), safe="")


def within(
    client: Client, requests: Iterator[bytes], seconds: float
) -> tuple[list[bytes], NDArray[np.float64]]:
    """Ask until the requests or the time are over; return what was asked and what each took."""
    made: list[bytes] = []
    taken = [np.zeros(0)]
    total = 0.0
    for each in requests:
        taken.append(one_by_one(client, [each]))
        made.append(each)
        total += float(taken[-1][0])
        if total > seconds:
            break
    return made, np.concatenate(taken)


def after_events(
    client: Client,
    questions: Questions,
    seconds: float,
    *,
    looks: bool,
    asking: bytes | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what lists take right after an event, alone and with the event.

    Args:
        client: A connection.
        questions: What names users and movies.
        seconds: How long is asked at most.
        looks: Whether users have looked at a list, of which they rate a movie.
        asking: Request after the event; None asks for a list.
    """
    alone, together = [], []
    total = 0.0
    for user in questions.fresh(0.1):
        question, movie = list_of(user), questions.movie()
        if looks:
            movie = client.ask(question).json()["movies"][0]["movie_id"]
        event = {"user_id": user, "movie_id": movie, "kind": "rating", "rating": 4}
        told = one_by_one(client, [request("POST", "/v1/events", event)])
        alone.append(one_by_one(client, [asking or question]))
        together.append(told + alone[-1])
        total += float(together[-1][0])
        if total > seconds:
            break
    return np.concatenate(alone), np.concatenate(together)


def say_times(report: Report, times: Mapping[str, Sequence[NDArray[np.float64]]]) -> None:
    """Report times, beside those of the empty route, and whether the targets are met."""
    found = {name: percentiles(np.concatenate(each), 50, 99) for name, each in times.items()}
    floor = found[EMPTY]
    report.say(f"{'one connection, ms':42} {'p50':>8} {'p99':>8}   as often as empty    requests")
    for name, (middle, high) in found.items():
        count = sum(map(len, times[name]))
        report.add(
            f"{name:42} {middle:8.3f} {high:8.3f} {middle / floor[0]:8.2f} {high / floor[1]:8.2f}"
            f" {count:13,}",
            kind="closed loop",
            what=name,
            p50=middle,
            p99=high,
            p50_of_empty=middle / floor[0],
            p99_of_empty=high / floor[1],
            requests=count,
        )
    for target in TARGETS:
        which = 0 if target.percentile == 50 else 1
        ratio = found[target.what][which] / found[target.of][which]
        met = ratio <= target.most
        report.add(
            f"{'met' if met else 'NOT MET':8} {target.what}, p{target.percentile}: {ratio:.2f} "
            f"times {target.of}; at most {target.most:g}",
            kind="target",
            **target._asdict(),
            ratio=ratio,
            met=met,
        )


def saturated(
    report: Report,
    service: Server,
    empty: Server,
    peer: Server | None,
    lists: Sequence[bytes],
    users: NDArray[np.int64],
    seconds: float,
) -> Load:
    """Report the requests a second that a core answers; return those of lists."""
    asked: list[tuple[str, Server, Sequence[bytes]]] = [
        (EMPTY, empty, [request("GET", "/")]),
        ("list of 20", service, lists),
    ]
    if peer is not None:
        asked.append((PEER, peer, [of_libserving(user) for user in users.tolist()]))
    report.say(f"{CONNECTIONS} connections: requests a second of a core, p50 and p99 in ms")
    found = {}
    for name, server, requests in asked:
        load = as_fast_as_it_can(server.address, server.process, requests, CONNECTIONS, seconds)
        found[name] = load
        middle, high = percentiles(load.seconds, 50, 99)
        report.add(
            f"{name:42} {load.rate / load.server:8.0f} {middle:8.3f} {high:8.3f}   "
            f"server {load.server:.0%} busy, client {load.client:.0%}",
            kind="saturation",
            what=name,
            rate=load.rate,
            rate_of_core=load.rate / load.server,
            p50=middle,
            p99=high,
            server_busy=load.server,
            client_busy=load.client,
        )
    return found["list of 20"]


def open_loop(
    report: Report,
    service: Server,
    lists: Sequence[bytes],
    most: float,
    seconds: float,
    rng: np.random.Generator,
) -> list[tuple[float, list[float]]]:
    """Report latencies at shares of a rate; return the rates and the percentiles, in ms."""
    found = []
    names = " ".join(f"{f'p{each:g}':>8}" for each in PERCENTILES)
    report.say(f"open loop, lists of 20, ms: share, requests a second, {names}")
    for share in SHARES:
        load = at_a_rate(service.address, service.process, lists, share * most, seconds, rng)
        values = percentiles(load.seconds, *PERCENTILES)
        late = percentiles(load.late, 50, 99)
        report.add(
            f"{share:4.0%} {load.rate:8.0f} {' '.join(f'{each:8.2f}' for each in values)}   "
            f"sent late by {late[0]:.2f}, p99 {late[1]:.2f}; server {load.server:.0%} busy",
            kind="open loop",
            share=share,
            rate=load.rate,
            **{f"p{each:g}": value for each, value in zip(PERCENTILES, values, strict=True)},
            late_p50=late[0],
            late_p99=late[1],
            requests=len(load.seconds),
            server_busy=load.server,
            client_busy=load.client,
        )
        found.append((load.rate, values))
    return found


def draw(path: Path, loads: list[tuple[float, list[float]]], most: float, floor: float) -> None:
    """Draw latencies against load."""
    half = loads[SHARES.index(0.5)]
    title = (
        f"One core answers {most:.0f} lists a second; at half of that, 99 of 100 come within "
        f"{half[1][PERCENTILES.index(99.0)]:.1f} ms of when they were due"
    )
    figure, (axes,) = new_plot(title)
    rates = [rate for rate, _ in loads]
    for place, each in enumerate(PERCENTILES):
        axes.plot(rates, [values[place] for _, values in loads], marker="o", label=f"p{each:g}")
    axes.axhline(floor, linestyle="--", color="grey", label="empty route, p50, idle")
    axes.axvline(most, linestyle=":", color="grey", label="saturated")
    axes.set(xlabel="lists a second (Poisson arrivals)", ylabel="latency (ms)", yscale="log")
    axes.set_xlim(left=0)
    figure.legend(loc="outside lower center", ncols=3)
    save(figure, path)


if __name__ == "__main__":
    main()
