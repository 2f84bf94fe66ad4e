"""Where an interrupted chain is kept, so that the same command goes on from there."""

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from retrieval.arrays import save_arrays
from retrieval.files import new_file
from retrieval.sampling.sampler import Draw, State

STATE, CARD, DRAW = "state-{}.safetensors", "checkpoint.json", "draw-{:05d}.safetensors"


class BurnIn(NamedTuple):
    """What the validation rows have said so far."""

    errors: list[float]  # of each window
    scores: NDArray[np.float64]  # (B, V) of rows held out, means over each of B windows


class Draws:
    """Draws in files, read anew each time they are gone through, one after the other."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths

    def __iter__(self) -> Iterator[Draw]:
        """Read one draw after the other."""
        return (Draw(**load_file(path)) for path in self._paths)


class Checkpoint:
    """A folder with the last state of a chain and the draws kept so far.

    Args:
        folder: Made if missing.
        key: Of everything that the chain follows from; a folder of another key is emptied.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self._folder, self._key = folder, key
        self._card: dict[str, Any] = {}
        if (folder / CARD).is_file():
            self._card = json.loads((folder / CARD).read_text())
        if self._card.get("key") != key:
            remove_checkpoint(folder)
            folder.mkdir(parents=True, exist_ok=True)
            self._card = {}
        self._draws = int(self._card.get("draws", 0))

    def load(self) -> tuple[State, BurnIn] | None:
        """Return where the chain was left; None if it was not begun."""
        if not self._card:
            return None
        arrays = load_file(self._folder / self._card["state"])
        scores = arrays.pop("validation_scores")
        state = State(arrays, self._card["rng"], self._card["sweeps"])
        return state, BurnIn(self._card["errors"], scores)

    def save(self, state: State, burn_in: BurnIn) -> None:
        """Keep a state in place of the last one; the draws kept so far belong to it."""
        name, last = STATE.format(state.sweeps), self._card.get("state")
        self._write(name, state.arrays | {"validation_scores": burn_in.scores})
        self._card = {
            "key": self._key,
            "state": name,
            "rng": state.rng,
            "sweeps": state.sweeps,
            "draws": self._draws,
            "errors": burn_in.errors,
        }
        with new_file(self._folder / CARD) as partial:
            partial.write_text(json.dumps(self._card))
        if last is not None and last != name:
            (self._folder / last).unlink(missing_ok=True)

    def keep(self, draw: Draw) -> None:
        """Keep a draw beside the others."""
        self._write(DRAW.format(self._draws), draw._asdict())
        self._draws += 1

    def draws(self, first: int, end: int) -> "Draws":
        """Return draws from `first` to before `end`, in the order they were kept."""
        return Draws([self._folder / DRAW.format(place) for place in range(first, end)])

    def _write(self, name: str, arrays: dict[str, NDArray[Any]]) -> None:
        with new_file(self._folder / name) as partial:
            save_arrays(partial, arrays)


def remove_checkpoint(folder: Path) -> None:
    """Remove a checkpoint, what makes it one first, so that a half removed one is none."""
    (folder / CARD).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
