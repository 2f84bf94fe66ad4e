"""The log on both databases: nothing acknowledged is lost, nothing is doubled, no gap is seen."""

import logging
import multiprocessing
import os
import resource
import secrets
import signal
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from postgres_server import PostgresServer, programs, running
from sqlalchemy import Connection, text

from retrieval.errors import RequestError
from retrieval.service.log import (
    Appended,
    Entry,
    KeyConflictError,
    Kind,
    Log,
    LogError,
    NewEvent,
    open_log,
    postgresql,
    schema,
    sqlite,
)
from retrieval.service.log.log import KEEP_KEYS, find_database, sqlite_path

FORK = multiprocessing.get_context("fork")


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    yield from running(programs(), "there is no PostgreSQL here")


@pytest.fixture
def postgres(server: PostgresServer) -> str:
    name = f"log_{secrets.token_hex(4)}"
    server.run(f"CREATE SCHEMA {name}")
    return server.url(name)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "log.db")
    address: str = request.getfixturevalue("postgres")
    return address


@pytest.fixture
def opened() -> Iterator[Callable[[str], Log]]:
    logs = []

    def opening(url: str) -> Log:
        logs.append(open_log(url))
        return logs[-1]

    yield opening
    for log in logs:
        log.close()


@pytest.fixture
def log(url: str, opened: Callable[[str], Log]) -> Log:
    return opened(url)


def rating(user: str, movie: str = "1", stars: float | None = 4.0, at: int = 100) -> NewEvent:
    return NewEvent(kind=Kind.RATING, user_id=user, movie_id=movie, rating=stars, timestamp=at)


def users(log: Log) -> list[str | None]:
    return [entry.user_id for entry in log.entries(0)]


def bytes_of(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


def ended(process: multiprocessing.process.BaseProcess) -> None:
    process.join()
    assert process.exitcode == 0


# What it holds


def test_what_is_told_comes_back_in_its_order(log: Log) -> None:
    assert log.head() == 0
    play = NewEvent(kind=Kind.PLAY, user_id="7", movie_id="2", timestamp=-5)
    appended = log.append([rating("7", stars=4.5), play])
    assert (appended.first, appended.last, appended.repeated) == (1, 2, False)
    facts = {"title": "Heat\0", "year": 1995, "genres": ["Crime"], "score": None}
    assert log.set_movie("9", facts) == 3
    assert [log.hide("9"), log.show("9"), log.remove("9")] == [4, 5, 6]
    entries = log.entries(0)
    received = entries[0].received
    assert abs(received - time.time()) < 60
    empty = {"user_id": None, "rating": None, "timestamp": None, "body": None}
    assert entries[0] == Entry(
        sequence=1,
        kind=Kind.RATING,
        user_id="7",
        movie_id="1",
        rating=4.5,
        timestamp=100,
        received=received,
        body=None,
    )
    assert (entries[1].kind, entries[1].rating, entries[1].timestamp) == (Kind.PLAY, None, -5)
    assert (entries[2].kind, entries[2].movie_id, entries[2].body) == (Kind.MOVIE, "9", facts)
    assert [entry.kind for entry in entries[3:]] == [Kind.HIDE, Kind.SHOW, Kind.REMOVE]
    assert all(getattr(entry, name) is None for entry in entries[3:] for name in empty)
    assert log.head() == 6


def test_entries_are_read_in_parts_and_by_kind(log: Log) -> None:
    log.append([rating(str(user)) for user in range(10)])
    log.set_movie("1", {})
    log.append([rating("10")])
    log.hide("1")
    assert [entry.sequence for entry in log.entries(3, 4)] == [4, 5, 6, 7]
    assert [entry.sequence for entry in log.entries(0, kinds=[Kind.MOVIE, Kind.HIDE])] == [11, 13]
    assert [entry.sequence for entry in log.entries(11, kinds=[Kind.HIDE, Kind.RATING])] == [12, 13]
    assert log.entries(13) == []
    assert log.entries(0, kinds=[]) == []


def test_a_log_is_the_same_when_it_is_opened_again(
    url: str, log: Log, opened: Callable[[str], Log]
) -> None:
    log.append([rating("7")])
    again = opened(url)
    assert again.identity == log.identity
    assert users(again) == ["7"]
    log.append([rating("8")])
    assert again.head() == 2


def test_those_who_open_a_log_first_make_one(url: str, opened: Callable[[str], Log]) -> None:
    start = threading.Barrier(4)

    def opening(_: int) -> str:
        start.wait()
        return opened(url).identity

    with ThreadPoolExecutor(4) as threads:
        assert len(set(threads.map(opening, range(4)))) == 1


class Refusing(sqlite3.Connection):
    """A connection that SQLite refuses to change twice, because another one changes it too."""

    refusals = 2

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:  # noqa: ANN401 (its own)
        if "= WAL" in sql and self.refusals:
            self.refusals -= 1
            error = sqlite3.OperationalError("database is locked")
            error.sqlite_errorcode = sqlite3.SQLITE_BUSY
            raise error
        return super().execute(sql, parameters)


def test_who_is_refused_because_others_make_the_log_asks_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = partial(sqlite3.connect, factory=Refusing)
    monkeypatch.setattr(sqlite3, "connect", connect)
    assert open_log(str(tmp_path / "log.db")).append([rating("7")]).last == 1
    monkeypatch.setattr(sqlite, "PATIENCE", 0.0)
    monkeypatch.setattr(Refusing, "refusals", 99)
    with pytest.raises(LogError, match="is locked by another process"):
        open_log(str(tmp_path / "other.db"))


def test_strange_ids_are_kept_as_they_are(log: Log) -> None:
    for id_ in (
        "å\u202e<b>\x1b[31m",
        "'; DROP TABLE rec_entries; --",
        "%s:user\\",
        " 7 ",
        "x" * 256,
        "\U0001f3ac" * 256,
    ):
        last = log.append([rating(id_, movie=id_)], key=id_).last
        (entry,) = log.entries(last - 1)
        assert (entry.user_id, entry.movie_id) == (id_, id_)
        assert log.append([rating(id_, movie=id_)], key=id_).repeated
        assert log.forget(id_).events == 1
        assert log.is_forgotten([id_, "7"]) == {id_}


def test_what_cannot_be_stored_is_refused_and_nothing_of_it_kept(log: Log) -> None:
    hide = NewEvent(kind=Kind.HIDE, user_id="7", movie_id="1", timestamp=0)
    for event, message in [
        (rating("a\0b"), "cannot be stored"),
        (rating("7", movie="a\0b"), "cannot be stored"),
        (rating("\ud800"), "cannot be stored"),
        (rating(""), "is empty"),
        (rating("x" * 257), "at most 256"),
        (rating("7", movie="x" * 10**6), "at most 256"),
        (rating("7", stars=float("nan")), "is no number"),
        (rating("7", stars=float("inf")), "is no number"),
        (rating("7", at=2**63), "out of range"),
        (hide, "is no event"),
    ]:
        with pytest.raises(RequestError, match=message):
            log.append([rating("7"), event])
    assert log.head() == 0


def test_other_hostile_words_are_refused(log: Log) -> None:
    for ask in (
        lambda: log.append([]),
        lambda: log.append([rating("7")], key="a\0b"),
        lambda: log.append([rating("7")], key=""),
        lambda: log.set_movie("\0", {}),
        lambda: log.set_movie("1", {"year": float("nan")}),
        lambda: log.set_movie("1", {"year": object()}),
        lambda: log.set_movie("1", {"title": "x" * 10**5}),
        lambda: log.hide("x" * 300),
        lambda: log.forget("a\0b"),
    ):
        with pytest.raises(RequestError):
            ask()
    assert log.head() == 0


# Keys


def test_events_sent_again_with_their_key_count_once(
    url: str, log: Log, opened: Callable[[str], Log]
) -> None:
    events = [rating("7"), rating("8")]
    first = log.append(events, key="k")
    log.append([rating("9")])
    again = opened(url).append(events, key="k")
    assert (again.first, again.last, again.repeated) == (first.first, first.last, True)
    assert users(log) == ["7", "8", "9"]


def test_a_key_of_other_events_is_refused(log: Log) -> None:
    log.append([rating("7")], key="k")
    with pytest.raises(KeyConflictError, match="other events"):
        log.append([rating("7", stars=3.0)], key="k")
    assert log.head() == 1
    assert log.append([rating("7", stars=3)], key="l").last == 2
    assert log.append([rating("7", stars=3.0)], key="l").repeated


def test_the_same_key_sent_at_once_by_many_counts_once(log: Log) -> None:
    start = threading.Barrier(8)

    def sending(_: int) -> Appended:
        start.wait()
        return log.append([rating("7")], key="k")

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(sending, range(8)))
    assert [answer.last for answer in answers] == [1] * 8
    assert sum(answer.repeated for answer in answers) == 7
    assert log.head() == 1


def test_a_key_is_kept_for_some_days(url: str, opened: Callable[[str], Log]) -> None:
    now = [1_000_000.0]
    opened(url)
    log = Log(find_database(url), clock=lambda: now[0])
    log.append([rating("7")], key="k")
    now[0] += KEEP_KEYS
    log.append([rating("8")], key="l")
    assert log.append([rating("7")], key="k").repeated
    now[0] += 1
    log.append([rating("9")], key="m")
    assert not log.append([rating("7")], key="k").repeated
    log.close()


# Forgetting


def test_who_is_forgotten_leaves_no_event_but_an_entry_without_the_name(log: Log) -> None:
    log.append([rating("7"), rating("8"), rating("7", movie="2")])
    forgotten = log.forget("7")
    assert (forgotten.sequence, forgotten.events) == (4, 2)
    kept, forget = log.entries(0)
    assert kept.user_id == "8"
    assert (forget.kind, forget.user_id, forget.movie_id) == (Kind.FORGET, None, None)
    assert log.is_forgotten(["7", "8", "9"]) == {"7"}
    assert log.is_forgotten(["7"], after=forgotten.sequence) == set()
    log.append([rating("7")])
    assert users(log) == ["8", None, "7"]
    assert log.forget("9").events == 0
    assert log.is_forgotten(["\ud800"]) == set()


def test_two_logs_have_no_hash_in_common(tmp_path: Path, opened: Callable[[str], Log]) -> None:
    bodies = []
    for name in ("one", "two"):
        log = opened(str(tmp_path / name))
        log.forget("7")
        bodies.append(log.entries(0)[0].body)
    assert bodies[0] != bodies[1]


def test_no_byte_of_a_forgotten_user_is_left_in_the_files(
    tmp_path: Path, opened: Callable[[str], Log]
) -> None:
    log, rng = opened(str(tmp_path / "log.db")), np.random.default_rng(1)
    names = [f"person-{place}-{rng.integers(2**40):x}" for place in range(200)]
    for place in range(40):
        events = [rating(name) for name in rng.choice(names, rng.choice([1, 5, 200])).tolist()]
        log.append(events, key=f"{events[0].user_id}-{place}")
    gone = names[::8]
    before = bytes_of(tmp_path)
    assert all(name.encode() in before for name in gone)
    for name in gone:
        log.forget(name)
        log.append([rating(str(rng.choice(names[1::8])))])
    left = bytes_of(tmp_path)
    assert [name for name in gone if name.encode() in left] == []
    assert names[1].encode() in left


def test_bytes_that_a_reader_holds_go_with_the_next_event(
    tmp_path: Path,
    opened: Callable[[str], Log],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(sqlite, "ERASE_PATIENCE", 0.05)
    log = opened(str(tmp_path / "log.db"))
    log.append([rating("person-of-old")])
    reader = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM rec_entries").fetchall()
    with caplog.at_level(logging.WARNING):
        log.forget("person-of-old")
    assert "until it is written again" in caplog.text
    assert b"person-of-old" in bytes_of(tmp_path)
    reader.close()
    log.append([rating("another")])
    assert b"person-of-old" not in bytes_of(tmp_path)


# Many at once


def test_a_reader_beside_four_processes_never_sees_a_gap(log: Log) -> None:
    def writing(name: int) -> None:
        for place in range(40):
            log.append([rating(f"{name}-{place}-{row}") for row in range(1 + place % 5)])

    writers = [FORK.Process(target=writing, args=[name]) for name in range(4)]
    for writer in writers:
        writer.start()
    seen: list[Entry] = []
    working = True
    while working or len(seen) < log.head():
        working = any(writer.is_alive() for writer in writers)
        head = log.head()
        while len(seen) < head:
            seen += log.entries(len(seen), limit=7)
        assert [entry.sequence for entry in seen] == list(range(1, len(seen) + 1))
    for writer in writers:
        ended(writer)
    assert len({entry.user_id for entry in seen}) == len(seen) == 4 * 40 * 3
    for name in range(4):  # each writer's events are in its own order, and those of a call together
        own = [str(e.user_id) for e in seen if str(e.user_id).startswith(f"{name}-")]
        assert own == [
            f"{name}-{place}-{row}" for place in range(40) for row in range(1 + place % 5)
        ]
    places = {str(entry.user_id).rsplit("-", 1)[0]: entry.sequence for entry in seen}
    assert all(
        seen[last - 1 - back].user_id == f"{call}-{int(call.split('-')[1]) % 5 - back}"
        for call, last in places.items()
        for back in range(1 + int(call.split("-")[1]) % 5)
    )


def test_threads_write_and_read_one_log(log: Log) -> None:
    def writing(name: int) -> None:
        for place in range(10):
            last = log.append([rating(f"{name}-{place}")], key=f"{name}-{place}").last
            assert log.head() >= last
            assert log.entries(last - 1, 1)[0].user_id == f"{name}-{place}"

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(writing, range(8)))
    assert [entry.sequence for entry in log.entries(0)] == list(range(1, 81))


def test_a_fork_and_its_parent_both_go_on(log: Log) -> None:
    log.append([rating("before")])

    def child() -> None:
        assert log.head() >= 1
        log.append([rating("child")])

    processes = [FORK.Process(target=child) for _ in range(2)]
    for process in processes:
        process.start()
        log.append([rating("parent")])
    for process in processes:
        ended(process)
    log.append([rating("after")])
    there = users(log)
    assert (there[0], there[-1]) == ("before", "after")
    assert sorted(map(str, there[1:-1])) == ["child", "child", "parent", "parent"]


def test_of_a_killed_writer_no_acknowledged_event_is_lost_or_doubled(
    url: str, log: Log, tmp_path: Path, opened: Callable[[str], Log]
) -> None:
    rng = np.random.default_rng(1)
    acknowledged = tmp_path / "acknowledged.txt"
    sent = 0

    def writing(first: int) -> None:
        with acknowledged.open("ab", buffering=0) as file:
            for place in count(first):
                log.append([rating(f"{place}-{row}") for row in range(3)], key=str(place))
                file.write(f"{place}\n".encode())

    for _ in range(6):
        process = FORK.Process(target=writing, args=[sent])
        process.start()
        before = log.head()
        while log.head() < before + 9:
            time.sleep(0.002)
        time.sleep(rng.random() * 0.02)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        told = [int(line) for line in acknowledged.read_text().split()]
        there = [str(user) for user in users(log)]
        assert {f"{place}-{row}" for place in told for row in range(3)} <= set(there)
        assert len(there) % 3 == 0
        sent = told[-1] + 1
        log.append([rating(f"{sent}-{row}") for row in range(3)], key=str(sent))
        sent += 1
        with acknowledged.open("a") as file:
            file.write(f"{sent - 1}\n")
    assert users(opened(url)) == [f"{place}-{row}" for place in range(sent) for row in range(3)]


# Schema


def add_a_column(connection: Connection) -> None:
    connection.execute(text("ALTER TABLE rec_entries ADD COLUMN device TEXT"))


def test_an_older_schema_is_brought_up_and_a_newer_one_refused(
    url: str, opened: Callable[[str], Log], monkeypatch: pytest.MonkeyPatch
) -> None:
    older = opened(url)
    older.append([rating("7")], key="k")
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, add_a_column))
        newer = opened(url)
        assert newer.identity == older.identity
        assert newer.append([rating("7")], key="k").repeated
        assert opened(url).append([rating("8")]).last == 2  # not migrated twice
        assert users(newer) == ["7", "8"]
    with pytest.raises(LogError, match="schema of version 2, and this program knows those up to 1"):
        open_log(url)


def test_a_migration_that_fails_changes_nothing(
    url: str, opened: Callable[[str], Log], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(connection: Connection) -> None:
        add_a_column(connection)
        connection.execute(text("DELETE FROM rec_entries"))
        raise LogError("half done")

    opened(url).append([rating("7")])
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, failing))
        with pytest.raises(LogError, match="half done"):
            open_log(url)
    log = opened(url)
    assert users(log) == ["7"]
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, add_a_column))
        opened(url)


# What goes wrong


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://user:secret@host/log", r"no log can be kept in 'mysql://user:\*\*\*@host/log'"),
        ("sqlite://", "give the path of a file"),
        ("sqlite:///:memory:", "give the path of a file"),
        ("sqlite:///log.db?mode=ro", "give the path of a file"),
        ("://", "no URL"),
        ("/nowhere/at/all/log.db", "the folder of the log /nowhere/at/all/log.db is not there"),
        ("/", "cannot be opened"),
        ("postgresql://rec:secret@/db?host=/nowhere", r"rec:\*\*\*@.* cannot be reached; start it"),
        ("postgres://rec@127.0.0.1:1/db", "cannot be reached; start it"),
        ("postgresql://rec@/db?no_such_setting=1", "cannot be reached"),
    ],
)
def test_what_cannot_be_opened_says_why_and_keeps_passwords(url: str, message: str) -> None:
    with pytest.raises(LogError, match=message) as caught:
        open_log(url)
    assert "secret" not in str(caught.value)


def test_a_closed_log_says_so(log: Log) -> None:
    log.close()
    for ask in (log.head, lambda: log.entries(0), lambda: log.append([rating("7")])):
        with pytest.raises(LogError, match="is closed"):
            ask()


def test_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "log.db").write_text("a letter, of some length" * 100)
    with pytest.raises(LogError, match="is no SQLite database"):
        open_log(str(tmp_path / "log.db"))
    assert (tmp_path / "log.db").read_text() == "a letter, of some length" * 100


def test_a_damaged_file_says_so(tmp_path: Path, opened: Callable[[str], Log]) -> None:
    log = opened(str(tmp_path / "log.db"))
    log.append([rating(str(user)) for user in range(5000)])
    log.close()
    with (tmp_path / "log.db").open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(4096)
        file.write(secrets.token_bytes(size - 4096))
    with pytest.raises(LogError, match="is damaged; put back a copy"):
        open_log(str(tmp_path / "log.db")).entries(0)


def test_a_locked_file_says_so_and_can_still_be_read(
    tmp_path: Path, opened: Callable[[str], Log], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "PATIENCE", 0.05)
    log = opened(str(tmp_path / "log.db"))
    log.append([rating("7")])
    other = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LogError, match="is locked by another process"):
        log.append([rating("8")])
    assert log.head() == 1
    assert users(log) == ["7"]
    other.close()
    assert log.append([rating("8")]).last == 2


def test_a_file_that_is_gone_takes_no_events(tmp_path: Path, opened: Callable[[str], Log]) -> None:
    path = tmp_path / "log.db"
    log = opened(str(path))
    log.append([rating("7")])
    for name in ("log.db", "log.db-wal", "log.db-shm"):
        (tmp_path / name).rename(tmp_path / f"moved-{name}")
    with pytest.raises(LogError, match="was moved, deleted or replaced"):
        log.append([rating("8")])
    for name in ("log.db", "log.db-wal", "log.db-shm"):
        (tmp_path / f"moved-{name}").rename(tmp_path / name)
    assert log.append([rating("8")]).last == 2


def test_a_full_disk_loses_nothing(tmp_path: Path, opened: Callable[[str], Log]) -> None:
    log = opened(str(tmp_path / "log.db"))
    log.append([rating("7")])

    def filling() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, unlimited[1]))
        events = [rating(str(user)) for user in range(500)]
        with pytest.raises(LogError, match="disk is full"):
            all(log.append(events) for _ in range(100))
        taken = log.head()
        assert taken % 500 == 1
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
        assert log.append([rating("8")]).last == taken + 1
        assert len(log.entries(0, 10**6)) == taken + 1

    process = FORK.Process(target=filling)
    process.start()
    ended(process)
    assert users(log)[0] == "7"


def test_a_read_only_file_says_so() -> None:
    with tempfile.TemporaryDirectory() as name:  # where another account may look
        folder, path = Path(name), Path(name) / "log.db"
        log = open_log(str(path))
        log.append([rating("7")])
        log.close()
        path.chmod(0o444)
        folder.chmod(0o555)

        def reading() -> None:
            if os.getuid() == 0:
                os.setuid(65_534)
            with pytest.raises(LogError, match="is read-only; give this process the right"):
                open_log(str(path))

        process = FORK.Process(target=reading)
        process.start()
        ended(process)
        folder.chmod(0o755)


def test_a_server_that_comes_back_is_found_again(server: PostgresServer, postgres: str) -> None:
    log = open_log(postgres)
    log.append([rating("7")], key="k")
    for _ in range(2):
        server.stop()
        for ask in (log.head, lambda: log.entries(0), lambda: log.append([rating("8")], key="l")):
            with pytest.raises(LogError, match="cannot be reached; start it, or mend its address"):
                ask()
        with pytest.raises(LogError, match="cannot be reached"):
            open_log(postgres)
        server.start()
        assert log.append([rating("7")], key="k").repeated
    log.append([rating("8")], key="l")
    server.stop()
    server.start()  # between two questions: nobody is told
    assert log.head() == 2
    server.stop()
    server.start()
    assert log.append([rating("9")]).last == 3
    assert users(log) == ["7", "8", "9"]
    log.close()


def test_a_server_restarted_while_all_write_loses_nothing(
    server: PostgresServer, postgres: str
) -> None:
    log = open_log(postgres)
    stop, refused, told = threading.Event(), [], [0] * 4

    def writing(name: int) -> None:
        place = 0
        while not stop.is_set():
            try:
                log.append([rating(f"{name}-{place}")], key=f"{name}-{place}")
                place += 1
                told[name] = place
            except LogError as error:
                refused.append(str(error))
                time.sleep(0.02)

    threads = [threading.Thread(target=writing, args=[name]) for name in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(2):
        time.sleep(0.2)
        server.stop()
        time.sleep(0.1)
        server.start()
    time.sleep(0.2)
    stop.set()
    for thread in threads:
        thread.join()
    assert refused
    there = log.entries(0, 10**6)
    assert [entry.sequence for entry in there] == list(range(1, len(there) + 1))
    for name in range(4):
        own = [str(e.user_id) for e in there if str(e.user_id).startswith(f"{name}-")]
        assert own == [f"{name}-{place}" for place in range(told[name])]
    log.close()


def test_a_read_only_server_can_be_read_and_says_so(
    postgres: str, opened: Callable[[str], Log]
) -> None:
    opened(postgres).append([rating("7")])
    log = opened(f"{postgres}%20-cdefault_transaction_read_only%3Don")
    assert users(log) == ["7"]
    assert log.head() == 1
    with pytest.raises(LogError, match="is read-only; name the server that may be written"):
        log.append([rating("8")])


def test_a_lock_that_another_holds_says_so(
    postgres: str, opened: Callable[[str], Log], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(postgresql.TIMES, "lock_timeout", 100)
    log = opened(postgres)
    log.append([rating("7")])
    with psycopg.connect(postgres) as other:
        other.execute("UPDATE rec_head SET sequence = sequence")
        with pytest.raises(LogError, match="is locked by another; end what holds it"):
            log.append([rating("8")])
        assert log.head() == 1
        other.rollback()
    assert log.append([rating("8")]).last == 2


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("runs/events.db", "runs/events.db"),
        ("sqlite-events.db", "sqlite-events.db"),
        ("sqlite:///runs/events.db", "runs/events.db"),
        ("sqlite:////srv/events.db", "/srv/events.db"),
        ("sqlite:///:memory:", None),
        ("postgresql://localhost/rec", None),
    ],
)
def test_an_address_says_which_file_it_names(address: str, path: str | None) -> None:
    assert sqlite_path(address) == (None if path is None else Path(path))


def test_all_entries_are_gone_through_up_to_one_however_many_are_read_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retrieval.service.log.log.TOGETHER", 2)
    log = open_log(str(tmp_path / "log.db"))
    log.append([rating(str(user)) for user in range(5)])
    log.hide("7")
    for after, until, kinds, wanted in (
        (0, None, None, [1, 2, 3, 4, 5, 6]),
        (1, 4, None, [2, 3, 4]),
        (0, 5, {Kind.HIDE}, []),
        (0, None, {Kind.HIDE}, [6]),
        (6, None, None, []),
        (3, 3, None, []),
    ):
        parts = list(log.through(after, until, kinds))
        assert all(0 < len(part) <= 2 for part in parts)
        assert [entry.sequence for part in parts for entry in part] == wanted
    log.close()
