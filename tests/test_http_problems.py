"""Whatever is sent, the answer is an answer or a problem with a code, and nothing is lost."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
from web import Service, service_of

from retrieval.errors import RunError
from retrieval.service.http import context as context_module
from retrieval.service.http import reading
from retrieval.service.http.context import MOST_WAITING, THREADS, Context
from retrieval.service.http.problems import STATUS, Code
from retrieval.service.http.shapes import RunShape
from retrieval.service.log import LogError
from retrieval.service.logs import JsonLines

LARGEST = 64 * 1024
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def service(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with service_of(run, tmp_path_factory.mktemp("log"), most_body=LARGEST) as service:
        yield service


def context_of(service: Service) -> Context:
    context: Context = service.app.state.context
    return context


def test_every_code_has_a_status() -> None:
    assert set(STATUS) == set(Code)


def test_a_path_that_is_not_there(service: Service) -> None:
    assert service.refused("GET", "/v1/nothing") == (404, "no_such_path")
    assert service.refused("GET", "/v1/movies/") == (404, "no_such_path")
    assert service.refused("GET", "/page/../app.py") == (404, "no_such_path")
    assert service.refused("GET", "/page/%2e%2e/settings.py") == (404, "no_such_path")


def test_a_method_that_a_path_does_not_take(service: Service) -> None:
    assert service.refused("POST", "/v1/movies/1", json={}) == (405, "method_not_allowed")
    answer = service.ask("POST", "/v1/movies/1")
    assert answer.headers["allow"] == "DELETE, GET, PATCH, PUT"
    assert service.refused("BREW", "/v1/service") == (405, "method_not_allowed")


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_a_body_that_does_not_say_it_is_json(service: Service, kind: str | None) -> None:
    headers = {} if kind is None else {"content-type": kind}
    refused = service.refused("POST", "/v1/events", content=b"{}", headers=headers)
    assert refused == (415, "not_json")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"user_id": \x00}',
        b'{"user_id": "\x1b[31m"}',
        b'{"user_id": "\\ud800"}',
        b'{"user_id": "\xed\xa0\x80"}',
        b"[" * 50_000,
        b'{"events":' * 5_000,
        b'{"user_id":1,"movie_id":1,"rating":1e',
        b'{"user_id":1,"movie_id":1,"rating":5}garbage',
        b"\xef\xbb\xbf{}",
    ],
)
def test_a_body_that_is_no_json(service: Service, content: bytes) -> None:
    refused = service.refused("POST", "/v1/events", content=content, headers=JSON)
    assert refused == (400, "malformed_json")


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"9" * 5000])
def test_a_number_that_is_none(service: Service, number: bytes) -> None:
    content = b'{"user_id":1,"movie_id":1,"rating":' + number + b"}"
    status, code = service.refused("POST", "/v1/events", content=content, headers=JSON)
    assert (status, code) in {(422, "invalid_request"), (400, "malformed_json")}


def test_a_body_that_says_it_is_too_large(service: Service) -> None:
    content = b" " * (LARGEST + 1)
    refused = service.refused("POST", "/v1/events", content=content, headers=JSON)
    assert refused == (413, "body_too_large")


def test_a_body_without_a_length_is_read_no_further_than_it_may_be(service: Service) -> None:
    sent = 0

    async def parts() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1000):
            sent += 1024
            yield b" " * 1024

    refused = service.refused("POST", "/v1/events", content=parts(), headers=JSON)
    assert refused == (413, "body_too_large")
    assert sent <= LARGEST + 2048


def test_a_body_that_does_not_come(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PATIENCE", 0.05)

    async def parts() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(5)

    refused = service.refused("POST", "/v1/events", content=parts(), headers=JSON)
    assert refused == (408, "body_too_slow")


@pytest.mark.parametrize("path", ["/v1/users/%ff/history", "/v1/users/%00/history"])
def test_an_id_that_is_no_text(service: Service, path: str) -> None:
    assert service.refused("GET", path) == (422, "invalid_request")


def test_an_error_of_ours_says_nothing_but_its_name(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise ValueError("a secret")

    monkeypatch.setattr(context_of(service).engine, "view", broken)
    with caplog.at_level(logging.ERROR):
        answer = service.ask("GET", "/v1/users/1/history")
    assert answer.json()["code"] == "internal_error"
    assert "secret" not in answer.text
    assert "a secret" in caplog.text
    names = [getattr(record, "request_id", None) for record in caplog.records]
    assert answer.json()["request_id"] in names


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (LogError("the disk is full"), (503, "log_unavailable")),
        (RunError("the run is gone"), (503, "run_unavailable")),
        (MemoryError(), (503, "out_of_memory")),
    ],
)
def test_what_another_attempt_may_mend_says_so(
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    wanted: tuple[int, str],
) -> None:
    def broken() -> None:
        raise error

    monkeypatch.setattr(context_of(service).engine, "view", broken)
    assert service.refused("GET", "/v1/users/1/history") == wanted
    assert service.ask("GET", "/v1/users/1/history").headers["retry-after"] == "1"


def test_a_service_that_ends_is_not_ready(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert service.get("/health/ready")["status"] == "ready"
    monkeypatch.setattr(type(context_of(service).engine), "ready", property(lambda _: False))
    assert service.refused("GET", "/health/ready") == (503, "not_ready")
    assert service.get("/health/live") == {"status": "live"}


def test_too_many_questions_are_not_kept_waiting(service: Service) -> None:
    context = context_of(service)
    context.waiting = THREADS + MOST_WAITING
    try:
        assert service.refused("GET", "/v1/movies?q=a") == (429, "too_many_questions")
        service.get("/v1/users/1/recommendations")  # which takes no thread
        for options in ("explain=true", "diversity=0.5", "k=101"):  # which do
            path = f"/v1/users/1/recommendations?{options}"
            assert service.refused("GET", path) == (429, "too_many_questions")
    finally:
        context.waiting = 0


def test_metrics_that_fail_once_are_logged_and_go_on(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    context, looks = context_of(service), 0

    def look() -> None:
        nonlocal looks
        looks += 1
        if looks == 1:
            raise ValueError("out of order")
        raise asyncio.CancelledError

    monkeypatch.setattr(context_module, "REFRESH", 0)
    monkeypatch.setattr(context, "refresh_metrics", look)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(context.refresh())
    assert "ValueError: out of order" in caplog.text


def test_who_is_gone_is_answered_nothing(service: Service) -> None:
    async def leave() -> list[Any]:
        sent: list[Any] = []
        scope: dict[str, Any] = {
            "type": "http",
            "method": "POST",
            "path": "/v1/events",
            "raw_path": b"/v1/events",
            "query_string": b"",
            "headers": [(b"content-type", b"application/json")],
            "root_path": "",
            "scheme": "http",
            "http_version": "1.1",
        }

        async def receive() -> dict[str, str]:
            return {"type": "http.disconnect"}

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        await service.app(scope, receive, send)
        return sent

    assert asyncio.run(leave()) == []


def test_runs_are_told_of(service: Service) -> None:
    found = service.get("/v1/runs")
    (only,) = found["runs"]
    assert only["name"] == found["answering"]
    assert only.keys() == RunShape.model_fields.keys()
    assert service.refused("POST", "/v1/runs/rollback") == (409, "not_promoted")
    assert service.refused("POST", "/v1/runs/v1/promote") == (404, "unknown_run")


def test_a_log_line_is_one_line_of_json() -> None:
    record = logging.LogRecord("retrieval", logging.ERROR, "", 0, "two\nlines \x1b[31m", (), None)
    record.request_id = "mine"
    line = JsonLines().format(record)
    assert "\n" not in line
    assert "\x1b" not in line
    assert json.loads(line)["request_id"] == "mine"
