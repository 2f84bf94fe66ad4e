"""Libraries that run in an environment of their own: events in a file, lists in another."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.data.dataset import Dataset
from retrieval.data.history import time_order


def lists_of_peer(
    python: Path,
    peer: Path,
    scratch: Path,
    data: Dataset,
    known: NDArray[np.bool_],
    asked: NDArray[np.int64],
    seed: int,
    k: int,
) -> Iterator[dict[str, Any]]:
    """Give what each model of a library says: its name, its lists, and how long it took.

    Args:
        python: Python of the environment.
        peer: Script that it runs.
        scratch: Folder for files.
        data: All events.
        known: `(N,)` events to learn from.
        asked: `(Q,)` numbers of users who are asked about.
        seed: Seed of everything random.
        k: Length of the lists.
    """
    rows = np.flatnonzero(known)
    rows = rows[time_order(data.users[rows], data.timestamps[rows])]
    events = scratch / "known.npz"
    np.savez(events, user_id=data.users[rows], movie_id=data.movies[rows], asked=asked)
    command = [str(python), str(peer), str(events), str(scratch), str(seed), str(k)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (ours)
    if done.returncode:
        raise SystemExit(f"{python} {peer.name} failed:\n{done.stderr[-2000:]}")
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            said = json.loads(line)
            yield said | {"lists": np.load(said["lists"])}
