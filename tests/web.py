"""Services that tests ask, in this process and as processes of their own."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from retrieval.service.engine import Engine
from retrieval.service.http.app import create_app
from retrieval.service.settings import ServiceSettings

Answer = dict[str, Any]
Value = str | int | float | bool | None
Parameters = dict[str, Value | Sequence[Value]] | list[tuple[str, Value]]
Headers = Mapping[str, str] | Mapping[bytes, bytes]

WAIT = 60.0  # seconds for a service to come up: its machine may be busy


class Service:
    """An application in this process."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app

    def ask(
        self,
        method: str,
        path: str,
        *,
        params: Parameters | None = None,
        json: object = None,
        content: bytes | AsyncIterable[bytes] | None = None,
        headers: Headers | None = None,
    ) -> httpx.Response:
        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return await client.request(
                    method, path, params=params, json=json, content=content, headers=headers
                )

        return asyncio.run(asked())

    def get(self, path: str, *, params: Parameters | None = None) -> Answer:
        answer = self.ask("GET", path, params=params)
        assert answer.status_code == 200, answer.text
        found: Answer = answer.json()
        return found

    def post(self, path: str, content: object, status: int = 201, **headers: str) -> Answer:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self.ask("POST", path, json=content, headers=sent)
        assert answer.status_code == status, answer.text
        found: Answer = answer.json()
        return found

    def refused(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        content: bytes | AsyncIterable[bytes] | None = None,
        headers: Headers | None = None,
    ) -> tuple[int, str]:
        """Return the status and the code of a problem, of which everything is there."""
        answer = self.ask(method, path, json=json, content=content, headers=headers)
        assert answer.headers["content-type"] == "application/problem+json", answer.text
        problem = answer.json()
        assert problem["type"] == "about:blank"
        assert problem["status"] == answer.status_code
        assert problem["title"]
        assert problem["detail"]
        assert problem["request_id"] == answer.headers["x-request-id"]
        return answer.status_code, problem["code"]


def settings_of(run: Path, folder: Path, **further: object) -> ServiceSettings:
    """Return settings of a service whose log is in a folder."""
    return ServiceSettings.model_validate(
        {"run": run, "database": str(folder / "events.db"), "prepared_users": 0, **further}
    )


@contextlib.contextmanager
def service_of(
    run: Path, folder: Path, hosts: Sequence[str] = (), **further: object
) -> Iterator[Service]:
    """Give a service of a run, whose log is in a folder."""
    settings = settings_of(run, folder, **further)
    engine = Engine.open(settings)
    app = create_app(engine, hosts=hosts)
    yield Service(app)
    app.state.context.close()
    engine.close()


class Served:
    """`rec serve` as a process of its own."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process, self.log = process, log
        self.address = ""

    def lines(self) -> list[dict[str, Any]]:
        """Return what it logged; what is no JSON comes as a message."""
        found = []
        for line in self.log.read_text().splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                found.append({"message": line})
        return found

    def wait(self) -> None:
        """Wait until it answers."""
        until = time.monotonic() + WAIT
        while time.monotonic() < until:
            assert self.process.poll() is None, self.log.read_text()
            said = [line["address"] for line in self.lines() if "address" in line]
            if said:
                self.address = said[0]
                with contextlib.suppress(httpx.TransportError):
                    if httpx.get(f"{self.address}health/ready", timeout=5).status_code == 200:
                        return
            time.sleep(0.05)
        raise AssertionError(self.log.read_text())

    def end(self) -> int:
        """Send SIGTERM and return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@contextlib.contextmanager
def serving(run: Path, folder: Path, *options: str, **environ: str) -> Iterator[Served]:
    """Give `rec serve` on a free port, as soon as it answers."""
    log = folder / "service.log"
    words = [sys.executable, "-m", "retrieval", "serve", "--run", str(run), "--port", "0"]
    if "--database" not in options:
        words += ["--database", str(folder / "events.db")]
    environment: Mapping[str, str] = {**os.environ, "OMP_NUM_THREADS": "1", **environ}
    with (
        log.open("w") as errors,
        subprocess.Popen([*words, *options], stderr=errors, env=environment, text=True) as process,
    ):
        served = Served(process, log)
        try:
            served.wait()
            yield served
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
