"""Libraries that run in an environment of their own: events in a file, lists in another."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.data.dataset import Dataset
from retrieval.data.history import time_order


class Events(NamedTuple):
    """N events in the order in which they happened."""

    users: NDArray[np.int64]  # (N,)
    movies: NDArray[np.int64]  # (N,)
    times: NDArray[np.int64]  # (N,) seconds


def events_of(data: Dataset, rows: NDArray[np.bool_]) -> Events:
    """Return the events of a mask `(N,)`, each user's in the order in which they happened."""
    places = np.flatnonzero(rows)
    places = places[time_order(data.users[places], data.timestamps[places])]
    return Events(data.users[places], data.movies[places], data.timestamps[places])


def lists_of_peer(
    python: Path,
    peer: Path,
    scratch: Path,
    known: Events,
    asked: NDArray[np.int64],
    seed: int,
    k: int,
    *,
    histories: Events | None = None,
    moments: NDArray[np.int64] | None = None,
    models: Sequence[str] = (),
) -> Iterator[dict[str, Any]]:
    """Give what each model of a library says: its name, its lists, and how long it took.

    Args:
        python: Python of the environment.
        peer: Script that it runs.
        scratch: Folder for files.
        known: Events to learn from.
        asked: `(Q,)` numbers of users who are asked about.
        seed: Seed of everything random.
        k: Length of the lists.
        histories: Events of those who are asked, if they are others than those learned from; then
            each question is a user of its own.
        moments: `(Q,)` when they are asked, in seconds, if a model may know.
        models: Which of its models are tried; none is all of them.
    """
    events = scratch / "known.npz"
    tables = {"known": known, "histories": known if histories is None else histories}
    np.savez(
        events,
        asked=asked,
        moments=np.zeros(0, np.int64) if moments is None else moments,
        **{
            f"{name}_{field}": column
            for name, table in tables.items()
            for field, column in table._asdict().items()
        },
    )
    command = [str(python), str(peer), str(events), str(scratch), str(seed), str(k), *models]
    errors = scratch / "peer.log"
    with (
        errors.open("w") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as done,  # noqa: S603 (ours)
    ):
        for line in done.stdout or ():  # each model as soon as it is there
            if line.startswith("{"):
                said = json.loads(line)
                yield said | {"lists": np.load(said["lists"])}
    if done.returncode:
        print(f"{python} {peer.name} failed:\n{errors.read_text()[-2000:]}", file=sys.stderr)
