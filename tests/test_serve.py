"""`rec serve` as a process of its own: it comes up, answers, keeps what it is told, and ends."""

import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from web import Served, serving

from retrieval.cli.app import main
from retrieval.service.http.protocol import LARGEST_HEAD
from retrieval.service.logs import OWN_HANDLERS

USER = 4
NEW = 555_001
PATIENCE = 30  # seconds for an answer: the machine may be busy
KEY = "0123456789abcdef-0123456789abcdef"


@pytest.fixture(scope="module")
def served(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service that no test ends."""
    with serving(run, tmp_path_factory.mktemp("service")) as served:
        yield served


@pytest.fixture
def _logs_as_before() -> Iterator[None]:
    """Put back what a service in this process changes for the whole of it: where logs go."""
    loggers = [logging.getLogger(name) for name in (None, *OWN_HANDLERS)]
    before = [(each.handlers[:], each.level, each.propagate, each.disabled) for each in loggers]
    yield
    for logger, (handlers, level, propagate, disabled) in zip(loggers, before, strict=True):
        logger.handlers[:] = handlers
        logger.setLevel(level)
        logger.propagate, logger.disabled = propagate, disabled


def listed(served: Served, user: int = NEW) -> list[int]:
    path = f"{served.address}v1/users/{user}/recommendations"
    # Not as of now, which is another moment every five minutes.
    answer = httpx.get(path, params={"k": 5, "when": "coming-back"}, timeout=PATIENCE)
    return [row["movie_id"] for row in answer.json()["movies"]]


def tell(served: Served, movie: int, user: int = NEW) -> None:
    event = {"user_id": user, "movie_id": movie, "rating": 5}
    answer = httpx.post(f"{served.address}v1/events", json=event, timeout=PATIENCE)
    assert answer.status_code == 201


def eventually(found: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not found():
        assert time.monotonic() < until
        time.sleep(0.05)


def connected(served: Served) -> socket.socket:
    parts = urlsplit(served.address)
    connection = socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def said(connection: socket.socket) -> tuple[int, dict[str, Any]]:
    """Return the status and the JSON of an answer after which the connection is closed."""
    whole = b"".join(iter(lambda: connection.recv(65_536), b""))
    head, _, body = whole.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def test_a_service_answers_keeps_events_and_ends_in_order(run: Path, tmp_path: Path) -> None:
    with serving(run, tmp_path) as served:
        first = listed(served)
        tell(served, first[0])
        after = listed(served)
        assert first[0] not in after
        page = httpx.get(served.address)
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        refused = httpx.get(served.address, headers={"host": "evil.example"})
        assert refused.json()["code"] == "wrong_host"
        assert served.end() == 0
        assert all("level" in line for line in served.lines())
    with serving(run, tmp_path, "--log-level", "debug") as served:
        assert listed(served) == after

        def requests() -> list[dict[str, Any]]:
            return [line for line in served.lines() if line["message"] == "request"]

        route = "/v1/users/{user_id}/recommendations"
        eventually(lambda: any(line["route"] == route for line in requests()))
        assert str(NEW) not in json.dumps(requests())


def test_what_was_acknowledged_survives_a_kill(run: Path, tmp_path: Path) -> None:
    with serving(run, tmp_path) as served:
        movie = listed(served)[0]
        tell(served, movie)
        served.process.kill()
        served.process.wait(10)
    with serving(run, tmp_path) as served:
        assert movie not in listed(served)


def test_a_request_that_has_begun_is_answered_at_the_end(run: Path, tmp_path: Path) -> None:
    with serving(run, tmp_path) as served, connected(served) as connection:
        body = json.dumps({"user_id": NEW, "movie_id": listed(served)[0], "kind": "play"})
        head = (
            "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        connection.sendall(head.encode() + body[:10].encode())
        time.sleep(0.3)
        served.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        connection.sendall(body[10:].encode())
        assert said(connection)[0] == 201
        assert served.process.wait(20) == 0


def test_workers_agree_and_one_that_dies_is_replaced(run: Path, tmp_path: Path) -> None:
    with serving(run, tmp_path, "--workers", "2") as served:

        def pids() -> set[int]:
            path = Path(f"/proc/{served.process.pid}/task/{served.process.pid}/children")
            return {int(pid) for pid in path.read_text().split()}

        def workers() -> set[int]:
            return {
                pid for pid in pids() if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
            }

        eventually(lambda: len(workers()) == 2)
        for movie in listed(served)[:3]:
            tell(served, movie)
            for _ in range(10):  # each over a connection of its own, so that both are asked
                assert movie not in listed(served)
        dead = min(workers())
        os.kill(dead, signal.SIGKILL)
        eventually(lambda: len(workers() - {dead}) == 2)
        eventually(lambda: bool(listed(served)))
        found = httpx.get(f"{served.address}v1/stats").json()
        assert found["events"] == {"rating": 3}
        assert served.end() == 0


def test_a_swap_fails_no_request(run: Path, tmp_path: Path) -> None:
    home = tmp_path / "run"
    shutil.copytree(run, home)
    with serving(home, tmp_path) as served:
        before = httpx.get(f"{served.address}v1/service").json()["run"]
        with subprocess.Popen(
            [sys.executable, "-m", "retrieval", "hide-movies", "1", "--run", str(home)],
            stderr=subprocess.DEVNULL,
        ) as hiding:
            answers: list[str] = []
            while hiding.poll() is None or answers[-1] == before:
                answer = httpx.get(f"{served.address}v1/users/{USER}/recommendations")
                assert answer.status_code == 200
                answers.append(answer.json()["run"])
        assert hiding.returncode == 0
        assert len(set(answers)) == 2


def test_keys_let_other_machines_ask(run: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys.txt"
    keys.write_text(f"{KEY}\n")
    everywhere = ".".join("0000")
    with serving(run, tmp_path, "--host", everywhere, "--keys", str(keys)) as served:
        address = served.address.replace(everywhere, "127.0.0.1")
        assert httpx.get(f"{address}v1/service").json()["code"] == "key_needed"
        headers = {"authorization": f"Bearer {KEY}", "host": "movies.example"}
        found = httpx.get(f"{address}v1/service", headers=headers).json()
        assert found["needs_key"] is True
        assert KEY not in json.dumps(served.lines())


def test_without_keys_other_machines_are_let_in_only_loudly(run: Path, tmp_path: Path) -> None:
    everywhere = ".".join("0000")
    with serving(run, tmp_path, "--host", everywhere, "--insecure") as served:
        assert "WARNING: anybody" in served.lines()[0]["message"]


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["--host", ".".join("0000")], "give --keys FILE"),
        (["--host", "no.such.host.invalid"], "can be reached from other machines"),
        (["--host", "no.such.host.invalid", "--insecure"], "there is no address"),
        (["--keys", "/no/such/file"], "keys cannot be read"),
        (["--cors", "example.org"], "is no origin"),
        (["--database", "mysql://here"], "mysql"),
        (["--database", "/no/such/folder/log.db"], "/no/such/folder"),
        (["--log-level", "loud"], "unknown level"),
    ],
)
@pytest.mark.usefixtures("_logs_as_before")
def test_what_cannot_be_served_is_one_line(
    run: Path,
    words: list[str],
    wanted: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["rec", "serve", "--run", str(run), "--port", "0", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 1
    line = capfd.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("error: ")
    assert wanted in line


@pytest.mark.usefixtures("_logs_as_before")
def test_a_port_that_is_taken_is_said(
    run: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        monkeypatch.setattr(sys, "argv", ["rec", "serve", "--run", str(run), "--port", port])
        with pytest.raises(SystemExit):
            main()
    assert "give another --port" in capfd.readouterr().err


def test_what_is_no_http_is_a_problem_too(served: Served) -> None:
    for sent, status, code in (
        (b"hello\r\n\r\n", 400, "malformed_request"),
        (b"GET /\xff HTTP/1.1\r\nhost: localhost\r\n\r\n", 400, "malformed_request"),
        (b"GET /" + b"x" * LARGEST_HEAD, 431, "head_too_large"),
        (b"GET / HTTP/1.1\r\nx: " + b"y" * LARGEST_HEAD, 431, "head_too_large"),
    ):
        with connected(served) as connection:
            connection.sendall(sent)
            answered, problem = said(connection)
            assert (answered, problem["code"]) == (status, code)
    assert listed(served)


def test_a_head_and_a_body_that_come_together_are_told_apart(served: Served) -> None:
    question = {"history": [{"movie_id": movie, "rating": 5} for movie in listed(served, USER)]}
    body = json.dumps(question).encode() + b" " * 100_000
    head = (
        "POST /v1/recommendations HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    with connected(served) as connection:
        connection.sendall(head.encode() + body)
        status, found = said(connection)
    assert (status, len(found["movies"])) == (200, 20)


def test_a_large_body_is_refused_and_the_next_request_answered(served: Served) -> None:
    with httpx.Client(base_url=served.address) as client:
        headers = {"content-type": "application/json"}
        for content in (b" " * 10_000_000, iter([b" " * 100_000] * 100)):
            answer = client.post("/v1/events", content=content, headers=headers, timeout=30)
            assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
        assert client.get(f"/v1/users/{USER}/recommendations").status_code == 200


@pytest.mark.slow
def test_a_thousand_connections_that_say_nothing_hold_up_nobody(run: Path, tmp_path: Path) -> None:
    with serving(run, tmp_path) as served, ExitStack() as open_connections:
        for number in range(1000):
            connection = open_connections.enter_context(connected(served))
            if number % 2:  # half of them begin, and go on for ever
                connection.sendall(b"POST /v1/events HTTP/1.1\r\nhost: localhost\r\nx-slow: ")
        for _ in range(50):
            assert listed(served, USER)
        assert served.end() == 0


@pytest.mark.slow
def test_nothing_that_the_description_allows_breaks_the_service(run: Path, tmp_path: Path) -> None:
    home = tmp_path / "run"
    shutil.copytree(run, home)
    with serving(home, tmp_path) as served:
        done = subprocess.run(
            [
                *(str(Path(sys.executable).parent / "schemathesis"), "run"),
                f"{served.address}openapi.json",
                *(
                    "--checks",
                    "not_a_server_error,content_type_conformance,status_code_conformance",
                ),
                *("--max-examples", "60", "--seed", "1", "--suppress-health-check", "all"),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-8000:]
        assert served.process.poll() is None
