"""The floor of benchmarks/service.py: a FastAPI application with one route that does nothing.

It listens as `rec serve` does, and prints its port.
"""

import socket

import uvicorn
from fastapi import FastAPI

app = FastAPI()

# Connections that wait to be taken in.
BACKLOG = 2048


@app.get("/")
async def empty() -> dict[str, str]:
    """Answer nothing."""
    return {}


def main() -> None:
    """Answer until somebody ends it."""
    config = uvicorn.Config(
        app,
        http="httptools",
        loop="uvloop",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=75,
    )
    with socket.create_server(("127.0.0.1", 0), backlog=BACKLOG) as listener:
        print(listener.getsockname()[1], flush=True)
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
