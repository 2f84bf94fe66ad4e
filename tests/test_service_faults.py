"""What a service does when its disk, its database, its clock or its callers misbehave."""

import os
import resource
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest
from postgres_server import PostgresServer, programs
from web import Served, Service, service_of, serving

from retrieval.pipeline.hiding import hide_movies
from retrieval.service.http.reading import PATIENCE

USER = 4
YEAR = 365 * 86_400

# Bytes by which the files of a log may grow on a full disk.
ROOM = 200_000

# What makes root, whom rights of files do not bind, as everybody else is.
BOUND = ["setpriv", "--bounding-set=-dac_override"] if os.getuid() == 0 else []


def listed(client: httpx.Client) -> dict[str, Any]:
    answer = client.get(f"/v1/users/{USER}/recommendations")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def rating(movie: int, timestamp: int) -> dict[str, object]:
    return {"user_id": USER, "movie_id": movie, "rating": 4, "timestamp": timestamp}


def told(client: httpx.Client, key: str, events: list[dict[str, object]]) -> httpx.Response:
    return client.post("/v1/events", json={"events": events}, headers={"idempotency-key": key})


def unavailable(answer: httpx.Response) -> str:
    """Return the words of a refusal that another attempt may mend."""
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"]
    problem = answer.json()
    assert problem["code"] == "log_unavailable"
    return str(problem["detail"])


def times(client: httpx.Client) -> list[int]:
    """Return when the events were that came since the training, the latest first."""
    found = client.get(f"/v1/users/{USER}/history?limit=100000").json()["events"]
    return [event["timestamp"] for event in found if event["timestamp"] > 1_500_000_000]


def limited(served: Served, size: int) -> None:
    """Let no file of a service grow beyond a size, as on a disk that is full."""
    unlimited = resource.RLIM_INFINITY
    resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE, (size, unlimited))


def test_a_full_disk_refuses_events_answers_lists_and_loses_nothing(
    run: Path, tmp_path: Path
) -> None:
    now = int(time.time()) - 100_000
    with serving(run, tmp_path) as served, httpx.Client(base_url=served.address) as client:
        movie = listed(client)["movies"][0]["movie_id"]
        kept, place = [], 0
        files = tmp_path.glob("events.db*")
        limited(served, max(file.stat().st_size for file in files) + ROOM)
        while place < 1000:
            batch = [rating(movie, now + 50 * place + each) for each in range(50)]
            answer = told(client, f"k{place}", batch)
            if answer.status_code != 201:
                break
            kept += [event["timestamp"] for event in batch]
            place += 1
        assert kept
        assert "disk is full" in unavailable(answer)
        assert movie not in {row["movie_id"] for row in listed(client)["movies"]}
        assert times(client) == kept[::-1]
        limited(served, resource.RLIM_INFINITY)
        for _ in range(2):
            assert told(client, f"k{place}", batch).status_code == 201
        kept += [event["timestamp"] for event in batch]
        assert times(client) == kept[::-1]
    with serving(run, tmp_path) as served, httpx.Client(base_url=served.address) as client:
        assert times(client) == kept[::-1]


@contextmanager
def closed(folder: Path) -> Iterator[None]:
    """Let nobody write into a folder for a while."""
    folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
    for path in folders:
        path.chmod(0o555)
    try:
        yield
    finally:
        for path in folders:
            path.chmod(0o755)


def command(*options: str) -> list[str]:
    if BOUND and shutil.which(BOUND[0]) is None:
        pytest.skip("root writes into every folder here")
    return [*BOUND, sys.executable, "-m", "retrieval", "serve", "--port", "0", *options]


def test_a_run_that_can_be_read_alone_is_served(run: Path, tmp_path: Path) -> None:
    home, log = tmp_path / "runs" / "run", tmp_path / "service.log"
    shutil.copytree(run, home)
    options = ("--run", str(home), "--database", str(tmp_path / "events.db"))
    with (
        closed(home.parent),
        log.open("w") as errors,
        subprocess.Popen(command(*options), stderr=errors, text=True) as process,
    ):
        served = Served(process, log)
        try:
            served.wait()
            with httpx.Client(base_url=served.address) as client:
                movie, now = listed(client)["movies"][0]["movie_id"], int(time.time())
                assert told(client, "a", [rating(movie, now)]).status_code == 201
                assert times(client) == [now]
        finally:
            process.terminate()


def test_a_folder_in_which_no_log_can_be_made_is_said(run: Path, tmp_path: Path) -> None:
    home = tmp_path / "runs" / "run"
    shutil.copytree(run, home)
    with closed(home.parent):
        done = subprocess.run(
            command("--run", str(home)), capture_output=True, text=True, timeout=60, check=False
        )
    assert done.returncode == 1
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith("error: ")
    assert "run-events.db cannot be opened; see that its folder is there and may be written" in line


def test_a_log_that_was_moved_takes_nothing_until_it_is_back(run: Path, tmp_path: Path) -> None:
    with serving(run, tmp_path) as served, httpx.Client(base_url=served.address) as client:
        movie = listed(client)["movies"][0]["movie_id"]
        now = int(time.time()) - 1000
        assert told(client, "a", [rating(movie, now)]).status_code == 201
        (tmp_path / "events.db").rename(tmp_path / "elsewhere.db")
        assert "moved, deleted or replaced" in unavailable(told(client, "b", [rating(movie, now)]))
        assert times(client) == [now]
        (tmp_path / "elsewhere.db").rename(tmp_path / "events.db")
        assert told(client, "b", [rating(movie, now + 1)]).status_code == 201
        assert times(client) == [now + 1, now]


def test_without_its_database_a_service_answers_and_says_that_it_is_stale(
    run: Path, tmp_path: Path
) -> None:
    found = programs()
    if found is None:
        pytest.skip("there is no PostgreSQL here")
    server = PostgresServer(found)
    try:
        with (
            serving(run, tmp_path, "--database", server.url()) as served,
            httpx.Client(base_url=served.address, timeout=30) as client,
        ):
            first, second = (row["movie_id"] for row in listed(client)["movies"][:2])
            now = int(time.time()) - 1000
            assert told(client, "a", [rating(first, now)]).status_code == 201
            assert listed(client)["stale"] is False
            server.stop()
            assert "cannot be reached" in unavailable(told(client, "b", [rating(second, now + 1)]))
            found_then = listed(client)
            assert found_then["stale"] is True
            assert first not in {row["movie_id"] for row in found_then["movies"]}
            assert client.get("/health/live").status_code == 200
            server.start()
            assert told(client, "b", [rating(second, now + 1)]).json()["repeated"] is False
            assert told(client, "b", [rating(second, now + 1)]).json()["repeated"] is True
            time.sleep(1.1)  # for which nobody asks a server that was away
            found_now = listed(client)
            assert found_now["stale"] is False
            assert not {first, second} & {row["movie_id"] for row in found_now["movies"]}
            assert times(client) == [now + 1, now]
    finally:
        server.remove()


@pytest.fixture
def service(run: Path, tmp_path: Path) -> Iterator[Service]:
    with service_of(run, tmp_path) as service:
        yield service


@pytest.mark.parametrize(
    "jump",
    [10 * YEAR, -10 * YEAR, -50 * YEAR, 3600, -3600],
    ids=["years", "years back", "before all events", "hour", "hour back"],
)
def test_a_clock_that_jumps_loses_no_event(
    service: Service, monkeypatch: pytest.MonkeyPatch, jump: int
) -> None:
    real = time.time
    path = f"/v1/users/{USER}/recommendations"
    seen = []
    for ahead in (0, jump, 0):
        monkeypatch.setattr(time, "time", lambda ahead=ahead: real() + ahead)
        movie = service.get(path)["movies"][0]["movie_id"]
        service.post("/v1/events", {"user_id": USER, "movie_id": movie, "rating": 4})
        seen.append(movie)
        after = service.get(path)
        assert not {*seen} & {row["movie_id"] for row in after["movies"]}
    history = service.get(f"/v1/users/{USER}/history")["events"]
    assert {*seen} <= {event["movie_id"] for event in history}
    assert [event["timestamp"] for event in history] == sorted(
        (event["timestamp"] for event in history), reverse=True
    )


@pytest.mark.slow
def test_who_sends_a_byte_a_second_is_let_go_and_holds_up_nobody(run: Path, tmp_path: Path) -> None:
    head = b"POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    whole = head + b"content-length: 1000\r\n\r\n"
    with serving(run, tmp_path) as served, httpx.Client(base_url=served.address) as client:
        parts = urlsplit(served.address)
        slow = {
            name: socket.create_connection((str(parts.hostname), parts.port or 0))
            for name in ("head", "body")
        }
        slow["head"].sendall(head[:10])
        slow["body"].sendall(whole)
        said = dict.fromkeys(slow, b"")
        ended: set[str] = set()
        until = time.monotonic() + 2 * PATIENCE
        while len(ended) < len(slow) and time.monotonic() < until:
            for name in slow.keys() - ended:
                try:
                    slow[name].sendall(b"x")
                    slow[name].settimeout(0.01)
                    received = slow[name].recv(10_000)
                    said[name] += received
                    if not received or b"body_too_slow" in said[name]:
                        ended.add(name)
                except TimeoutError:
                    continue
                except ConnectionError:
                    ended.add(name)
            began = time.monotonic()
            listed(client)
            assert time.monotonic() - began < 10
            time.sleep(0.5)
        for connection in slow.values():
            connection.close()
        assert ended == {*slow}
        assert said["body"].startswith(b"HTTP/1.1 408 ")


HOSTILE = [
    "../../etc/passwd",
    "..%2f..%2f",
    "<script>alert(1)</script>",
    "' OR 1=1; --",
    "{{7*7}}",
    "${jndi:ldap://x}",
    "-1",
    "1e9",
    "NaN",
    "99999999999999999999999",
    "\u202egnp.exe",
    "a\x1b[2J",
    "line\r\nX-Evil: 1",
    "\x00",
    "x" * 5000,
    "\U0001f600",
]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_hostile_id_is_a_problem_or_nobody(service: Service, hostile: str) -> None:
    name = quote(hostile, safe="")
    for path in (f"/v1/users/{name}/recommendations", f"/v1/users/{name}/history"):
        answer = service.ask("GET", path)
        if answer.status_code == 200:
            assert answer.json()["known"] is False
        else:
            assert service.refused("GET", path)[0] in {404, 414, 422, 431}
        assert "x-evil" not in answer.headers
    for path in (f"/v1/movies/{name}", f"/v1/users/{USER}/movies/{name}"):
        assert service.refused("GET", path)[0] in {404, 422}
    event = {"user_id": USER, "movie_id": hostile, "rating": 4}
    assert service.refused("POST", "/v1/events", json=event)[0] in {404, 422}
    assert service.refused("POST", f"/v1/runs/{name}/promote")[0] in {404, 422}
    detail = service.ask("GET", f"/v1/movies/{name}").json()["detail"]
    assert not {"\x1b", "\u202e", "\r", "\x00"} & {*detail}
    assert len(detail) < 1000


@pytest.mark.parametrize(
    "path",
    [
        f"/v1/users/{USER}/recommendations?genre=Drama&year=1900-2100&explain=true",
        f"/v1/users/{USER}/history",
        f"/v1/users/{USER}/movies/1?explain=true",
        "/v1/movies/1",
        "/v1/movies/1/similar",
        "/v1/movies?q=a",
        "/v1/movies/map",
        "/v1/service",
    ],
)
def test_a_version_that_is_gone_answers_until_the_next_takes_over(
    run: Path, tmp_path: Path, path: str
) -> None:
    home = tmp_path / "run"
    shutil.copytree(run, home)
    with service_of(home, tmp_path, poll_seconds=1000) as service:
        hide_movies(home, [2])  # which leaves nothing of the version before
        service.get(path)
