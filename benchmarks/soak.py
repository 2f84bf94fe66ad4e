"""A service under everything at once, for a long time: nothing fails, nothing told is lost.

PYTHONPATH=tests python benchmarks/soak.py --run RUN --minutes 60 --workers 2 --database postgresql

Several client processes read and write without end, each as users of its own. Meanwhile other
versions of the run take over, a worker is killed, and the database is stopped and started. Counted
are:

- failed reads: those that fail, and fail again on a new connection. A connection to a worker that
  was killed is made again once, as HTTP clients do with requests that change nothing.
- failed writes: those that are refused for good. A write that is refused for now (503), or whose
  connection broke, is sent again with its idempotency key until it is acknowledged.
- lost and doubled: acknowledged events that are not, or not once, in the log and in what
  `/v1/users/{id}/history` says at the end, and users who were forgotten and are still there.
- forgot: lists that show the movie of an event, or a hidden movie, after that was acknowledged,
  whichever worker answers. An answer that says `"stale": true` may not know it yet: the database
  is away.
- mixed: answers that are of two versions. Two versions hide different halves of the movies that are
  listed most, so that the movies of a list show when it is not of the version that it names. The
  versions in the ETag and in each list of an answer have to be the same.
- watched: movies in lists of which it was checked that the version may list them.
- memory: what the largest of all processes has (resident), in the middle, when every user was
  asked about, and at the end. In between versions take over; a worker is killed only before.

The run is copied first, and stays as it is. Exit status 1 says that something was counted which
should not have been.
"""

import multiprocessing
import os
import queue
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.queues import Queue
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, Protocol

import numpy as np
from http_client import Client, request
from machine import Report, arguments
from postgres_server import PostgresServer, programs
from soak_client import Findings, Part, Told, work
from web import Served, serving

from retrieval.data.vocabulary import Id
from retrieval.pipeline.hiding import hide_movies, show_movies
from retrieval.pipeline.indexing import changed_version
from retrieval.run.folder import open_run
from retrieval.run.promotion import promote
from retrieval.run.shelves import HIDDEN, read_ids, write_ids
from retrieval.run.versions import current, kept, writing
from retrieval.service.log import EVENTS, open_log
from retrieval.serving.recommender import Recommender
from retrieval.storage.files import new_file

CLIENTS = 3

# Movies that are listed most: two versions hide one half of them each, another is hidden in both
# for a while, and each client has one that it hides and shows.
WATCHED = 20

# Users whose lists say which movies those are.
ASKED = 100

# Seconds between two looks at the memory, for which the database is away, and that clients may
# take to end, and a version to take over.
LOOK, AWAY, ENDING = 1.0, 2.0, 180.0

# Lines of the service's log that are told where a soak cannot go on.
LOGGED = 40

# Share of the time after which memory is counted, and share of what was counted then that is
# compared, the first with the last.
SETTLED, COMPARED = 0.5, 0.2

# Shares of the time in which everything happens, and in which versions alone take over; and seconds
# in which all of it happens once.
DISTURBED, SWAPPED, ROUND = (0.08, 0.42), (0.6, 0.85), 1200.0

# In how many parts of the time memory is told.
PARTS = 20

# By how much memory may differ.
FLAT = 0.05

# What is told of a soak, so that one sees that it was one.
COUNTED = (
    *("reads", "watched", "stale", "reconnected"),
    *("writes", "acknowledged", "refused", "swaps"),
)

# What must not be, by the names that clients and the end count it under.
WRONG = ("failed reads", "failed writes", "lost", "doubled", "forgot", "mixed")

MEGABYTE = 2**20


class Database(Protocol):
    """Where the log is."""

    url: str

    def restart(self) -> None:
        """Stop it without a word and start it again, if it is a server."""
        ...


class SQLiteFile:
    """A log in a file, which cannot go away.

    Args:
        folder: Where it is.
    """

    def __init__(self, folder: Path) -> None:
        self.url = str(folder / "events.db")

    def restart(self) -> None:
        """Do nothing."""


class PostgreSQL:
    """A log in a server of one's own.

    Args:
        server: The server.
        schema: Name of a schema, which is made.
    """

    def __init__(self, server: PostgresServer, schema: str) -> None:
        self._server = server
        server.run(f"CREATE SCHEMA {schema}")
        self.url = server.url(schema)

    def restart(self) -> None:
        """Stop it as if it crashed, and start it again."""
        self._server.stop()
        time.sleep(AWAY)
        self._server.start()


class Sample(NamedTuple):
    """Memory of the largest process of a service at a moment, in MB."""

    passed: float  # share of the time
    resident: float
    own: float  # of this, what no file and no other process shares


class Verdict(NamedTuple):
    """What a soak found."""

    counts: Counter[str]
    samples: list[Sample]  # of memory
    wrong: list[str]

    @property
    def compared(self) -> tuple[float, float]:
        """Memory in the middle and at the end, in MB."""
        settled = [each.resident for each in self.samples if each.passed >= SETTLED]
        count = max(1, round(COMPARED * len(settled)))
        return float(np.median(settled[:count])), float(np.median(settled[-count:]))

    @property
    def grown(self) -> float:
        """Share by which memory grew."""
        before, after = self.compared
        return after / before - 1

    def fine(self) -> bool:
        """Return whether nothing was wrong."""
        return not any(self.counts[name] for name in WRONG) and abs(self.grown) <= FLAT


def main() -> None:
    """Soak what the command line names."""
    parser = arguments(__doc__)
    parser.add_argument("--run", type=Path, required=True, help="folder of a run, which is copied")
    parser.add_argument("--minutes", type=float, default=60.0, help="how long")
    parser.add_argument("--workers", type=int, default=2, help="processes that answer")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    asked = parser.parse_args()
    report = Report(asked, f"{asked.minutes:g} minutes, {asked.workers} workers, {asked.database}")
    with TemporaryDirectory(prefix="rec-soak-") as scratch:
        folder = Path(scratch)
        with database(asked.database, folder) as there:
            run = copied(asked.run, folder)
            verdict = soak(
                run, folder, there, asked.minutes * 60, asked.workers, asked.seed, report.say
            )
    say(report, verdict)
    report.save()
    sys.exit(0 if verdict.fine() else 1)


@contextmanager
def database(kind: str, folder: Path) -> Iterator[Database]:
    """Give a database of a kind.

    Raises:
        SystemExit: There is no PostgreSQL here.
    """
    if kind == "sqlite":
        yield SQLiteFile(folder)
        return
    found = programs()
    if found is None:
        raise SystemExit("there is no PostgreSQL here; install it, or pip install '.[dev]'")
    server = PostgresServer(found)
    try:
        yield PostgreSQL(server, "soak")
    finally:
        server.remove()


def copied(run: Path, folder: Path) -> Path:
    """Copy a run, and return the copy."""
    return Path(shutil.copytree(run, folder / "run"))


def say(report: Report, verdict: Verdict) -> None:
    """Report what was found."""
    for name in COUNTED:
        report.add(f"{name:14} {verdict.counts[name]:12,}", what=name, count=verdict.counts[name])
    for name in WRONG:
        count = verdict.counts[name]
        report.add(f"{name:14} {count:12,}  {'WRONG' if count else 'fine'}", what=name, count=count)
    flat = "fine" if abs(verdict.grown) <= FLAT else "WRONG"
    before, after = verdict.compared
    report.add(
        f"{'memory, MB':14} {before:12,.0f}  {flat}: then {after:,.0f}, {verdict.grown:+.1%}",
        what="memory",
        before=before,
        after=after,
        grown=verdict.grown,
    )
    for part in np.array_split(np.array(verdict.samples), min(PARTS, len(verdict.samples))):
        passed, resident, own = np.median(part, axis=0).tolist()
        report.add(
            f"  after {passed:4.0%} {resident:8,.0f} MB, {own:,.0f} of it shared with nobody",
            passed=passed,
            resident=resident,
            own=own,
        )
    for line in verdict.wrong:
        report.say(line)


class Versions:
    """The versions of a run, and what each hides.

    Args:
        run: Folder of a run that is only ours.
        hidden: Movies that the run hides, and those that a version beside it hides.
        third: Movie that both hide for a while.
    """

    def __init__(self, run: Path, hidden: tuple[Sequence[Id], Sequence[Id]], third: Id) -> None:
        self._run, self._third = run, third
        self.hidden: dict[str, frozenset[Id]] = {}
        self.swaps = 0
        self._hide_alone(hidden[0])
        with writing(run) as writer, writer.new_candidate() as partial:
            shutil.copytree(current(run), partial, dirs_exist_ok=True)
        promote(run, kept(run).others[0])
        self._hide_alone(hidden[1])
        self._remember()

    def other(self, address: str) -> None:
        """Let the other version answer, as an operator does from afar."""
        name = kept(self._run).names[0]
        with Client(address, ENDING) as client:
            answer = client.ask(request("POST", f"/v1/runs/{name}/promote"))
        if answer.status != 200:
            raise RuntimeError(answer.body.decode())
        self._remember()
        self.swaps += 1

    def changed(self) -> None:
        """Put new versions in the place of both, as `rec hide` and `rec show` do."""
        if self._third in read_ids(current(self._run) / HIDDEN):
            show_movies(self._run, [self._third])
        else:
            hide_movies(self._run, [self._third])
        self._remember()
        self.swaps += 1

    def _hide_alone(self, movies: Sequence[Id]) -> None:
        """Hide movies in the version that answers, and in no other."""
        with (
            writing(self._run) as writer,
            changed_version(writer, open_run(self._run)) as partial,
            new_file(partial / HIDDEN) as file,
        ):
            write_ids(file, movies)

    def _remember(self) -> None:
        for name in (current(self._run).name, *kept(self._run).names):
            self.hidden[name] = frozenset(read_ids(self._run / name / HIDDEN))


def soak(
    run: Path,
    scratch: Path,
    there: Database,
    seconds: float,
    workers: int,
    seed: int = 0,
    tell: Callable[[str], None] = lambda _: None,
) -> Verdict:
    """Soak a service, and return what was found.

    Args:
        run: Folder of a run, which is written.
        scratch: Folder for what the service logs.
        there: Database of the log.
        seconds: How long.
        workers: Number of processes that answer; with several, one is killed.
        seed: Seed of what clients do.
        tell: Function that is told what happens.
    """
    popular = listed_most(run)
    watched, shelved = popular[: WATCHED + 1], popular[WATCHED + 1 :]
    versions = Versions(run, (watched[0:WATCHED:2], watched[1:WATCHED:2]), watched[WATCHED])
    options = ("--workers", str(workers), "--database", there.url)
    forking = multiprocessing.get_context("fork")
    stop, found = forking.Event(), forking.Queue()
    with serving(run, scratch, *options) as served:
        parts = shares(run, served.address, frozenset(watched), shelved, seed)
        clients = [forking.Process(target=work, args=(part, stop, found)) for part in parts]
        for each in clients:
            each.start()
        try:
            samples = disturbed(served, versions, there, seconds, workers, tell)
        except Exception:
            tell("".join(served.log.read_text().splitlines(keepends=True)[-LOGGED:]))
            for each in clients:
                each.kill()
            raise
        finally:
            stop.set()
        findings = [_finding(found) for _ in clients]
        for each in clients:
            each.join()
        verdict = judged(findings, versions, samples)
        check_events(verdict, findings, there.url, served.address, workers)
    return verdict


def _finding(found: "Queue[Findings]") -> Findings:
    try:
        return found.get(timeout=ENDING)
    except queue.Empty:
        raise RuntimeError("a client did not end; its last lines are above") from None


def listed_most(run: Path) -> list[int]:
    """Return the movies that lists of a run begin with most often."""
    recommender = Recommender.load(run)
    users = recommender.run.users.ids
    some = users[:: max(1, len(users) // ASKED)]
    lists = recommender.topk_many(some, WATCHED).movie_ids
    ids, counts = np.unique(lists, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    most: list[int] = ids[order][: WATCHED + 1 + CLIENTS].tolist()
    return most


def shares(
    run: Path, address: str, watched: frozenset[int], shelved: Sequence[int], seed: int
) -> list[Part]:
    """Return what each client works on: users and a movie that are its own."""
    opened = open_run(run)
    known = np.flatnonzero(np.diff(opened.histories.offsets))
    users, movies = opened.users.ids[known].tolist(), opened.catalogue.vocabulary.ids.tolist()
    return [
        Part(
            address=address,
            seed=seed * CLIENTS + place,
            users=tuple(users[place::CLIENTS]),
            first_new=max(users) + (place + 1) * 10**7,
            movies=tuple(set(movies) - watched - set(shelved)),
            shelved=shelved[place],
            many=min(200, len(movies) // 2),
            watched=watched,
        )
        for place in range(CLIENTS)
    ]


def disturbed(
    served: Served,
    versions: Versions,
    there: Database,
    seconds: float,
    workers: int,
    tell: Callable[[str], None],
) -> list[Sample]:
    """Disturb a service for a while; return how much memory it had."""

    def kill() -> None:
        if workers > 1:
            os.kill(workers_of(served)[0], signal.SIGKILL)

    def other() -> None:
        versions.other(served.address)

    version = ("another version", other)
    changed = ("versions are replaced", versions.changed)
    killed = ("a worker is killed", kill)
    restarted = ("the database restarts", there.restart)
    rounds = max(1, round(seconds / ROUND))
    first = [version, killed, changed, restarted, version] * rounds
    second = [changed, version, version] * rounds
    moments = [*np.linspace(*DISTURBED, len(first)), *np.linspace(*SWAPPED, len(second))]
    plan = list(zip(moments, first + second, strict=True))
    began = time.monotonic()
    samples: list[Sample] = []
    while (passed := (time.monotonic() - began) / seconds) < 1:
        if plan and passed >= plan[0][0]:
            _, (what, act) = plan.pop(0)
            tell(f"{passed:4.0%} {what}")
            act()
        samples.append(Sample(passed, *memory_of(served)))
        time.sleep(LOOK)
    return samples


def workers_of(served: Served) -> list[int]:
    """Return the processes that answer for a service of several."""
    process = served.process.pid
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [
        int(child)
        for child in children
        if b"resource_tracker" not in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


def memory_of(served: Served) -> tuple[float, float]:
    """Return the resident memory of the largest process of a service, and its own part, in MB.

    That of all together would tell how many workers there are at the moment.
    """
    largest, own = 0, 0
    for process in (served.process.pid, *workers_of(served)):
        with suppress(FileNotFoundError, ProcessLookupError):  # it was killed just now
            _, resident, shared, *_ = Path(f"/proc/{process}/statm").read_text().split()
            largest, own = max((largest, own), (int(resident), int(resident) - int(shared)))
    page = os.sysconf("SC_PAGE_SIZE") / MEGABYTE
    return largest * page, own * page


def judged(findings: Sequence[Findings], versions: Versions, samples: list[Sample]) -> Verdict:
    """Return what clients found, all together."""
    counts: Counter[str] = Counter(swaps=versions.swaps)
    wrong = []
    for each in findings:
        counts.update(each.counts)
        wrong += each.wrong
        for (version, movie), times in each.seen.items():
            if version not in versions.hidden or movie in versions.hidden[version]:
                counts["mixed"] += times
                wrong.append(f"mixed: {version} lists movie {movie}, {times} times")
        counts["watched"] += sum(each.seen.values())
    counts["acknowledged"] = sum(len(each.acknowledged) for each in findings)
    return Verdict(counts, samples, wrong)


def check_events(
    verdict: Verdict, findings: Sequence[Findings], url: str, address: str, workers: int
) -> None:
    """Count acknowledged events that the log, or a history, has not, or not once."""
    promised = {event for each in findings for event in each.acknowledged}
    forgotten = {user for each in findings for user in each.forgotten}
    kept_events = logged(url)
    _compare(verdict, "the log", promised, kept_events)
    for user in sorted(forgotten & {event.user_id for event in kept_events}):
        verdict.counts["lost"] += 1
        verdict.wrong.append(f"lost: the log has events of user {user}, who was forgotten")
    times = {event.timestamp for event in promised}
    for user in sorted({event.user_id for event in promised}):
        own = {event for event in promised if event.user_id == user}
        for _ in range(workers):  # a new connection may be another worker's
            with Client(address) as client:
                answer = client.ask(request("GET", f"/v1/users/{user}/history?limit=100000"))
            told = [
                Told(user, row["movie_id"], row["kind"], row["rating"], row["timestamp"])
                for row in answer.json()["events"]
                if row["timestamp"] in times
            ]
            _compare(verdict, f"the history of user {user}", own, Counter(told))


def logged(url: str) -> Counter[Told]:
    """Return the events of a log, and how often each is there."""
    log = open_log(url)
    found: Counter[Told] = Counter()
    try:
        for entries in log.through(0, kinds=EVENTS):
            found.update(
                Told(
                    int(entry.user_id or 0),
                    int(entry.movie_id or 0),
                    entry.kind.value,
                    entry.rating,
                    entry.timestamp or 0,
                )
                for entry in entries
            )
    finally:
        log.close()
    return found


def _compare(verdict: Verdict, where: str, promised: set[Told], there: Counter[Told]) -> None:
    """Count what was promised and is not there, and what is there and should not be."""
    lost = [event for event in promised if not there[event]]
    doubled = [event for event, times in there.items() if times > 1 or event not in promised]
    for name, events in (("lost", lost), ("doubled", doubled)):
        verdict.counts[name] += len(events)
        verdict.wrong.extend(f"{name}: {event} in {where}" for event in events[:5])


if __name__ == "__main__":
    main()
