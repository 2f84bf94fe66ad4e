"""A service that is asked a little in its own process, which then says what that has loaded.

A program of its own, `served.py RUN DATABASE`, that needs nothing but the standard library and
`rec`: it runs where nothing else is installed, too.
"""

import json
import os
import signal
import socket
import sys
import time
from http.client import HTTPConnection
from importlib.metadata import packages_distributions
from threading import Thread
from typing import Any
from urllib.parse import quote

from retrieval.cli.app import main

USER = 4
PATIENCE = 60.0  # seconds until it answers


def ask(port: int, path: str, body: dict[str, object] | None = None) -> dict[str, Any]:
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    if body is None:
        connection.request("GET", path)
    else:
        connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
    answer = connection.getresponse()
    found: dict[str, Any] = json.load(answer)
    connection.close()
    if answer.status >= 400:
        raise ValueError(f"{path}: {found}")
    return found


def wait_for(port: int) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            ask(port, "/health/ready")
        except ConnectionRefusedError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return


def ask_a_little(port: int) -> None:
    try:
        wait_for(port)
        path = f"/v1/users/{USER}/recommendations?k=5&explain=true"
        before = ask(port, path)["movies"]
        first = before[0]
        event = {"user_id": USER, "movie_id": first["movie_id"], "kind": "play"}
        kept = ask(port, "/v1/events", event)
        after = ask(port, path)["movies"]
        found = ask(port, f"/v1/movies?q={quote(first['title'])}")["movies"]
        names = packages_distributions()
        loaded = {name for module in sys.modules.keys() & names.keys() for name in names[module]}
        told = {"before": before, "kept": kept, "after": after, "found": found}
        sys.stdout.write(json.dumps(told | {"loaded": sorted(loaded)}))
        sys.stdout.flush()
    finally:
        os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    run, database = sys.argv[1:]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        chosen: int = free.getsockname()[1]
    Thread(target=ask_a_little, args=(chosen,), daemon=True).start()
    sys.argv = ["rec", "serve", "--run", run, "--database", database, "--port", str(chosen)]
    main()
