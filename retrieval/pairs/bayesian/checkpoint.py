"""Where an interrupted chain is kept, so that the same command goes on from there."""

import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from retrieval.pairs.bayesian.sampler import Draw, State
from retrieval.storage.arrays import fingerprint, save_arrays
from retrieval.storage.damage import DAMAGE, warn_of_damage
from retrieval.storage.files import new_file, sha256

STATE, CARD, DRAW = "state-{}.safetensors", "checkpoint.json", "draw-{:05d}.safetensors"

_log = logging.getLogger(__name__)


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

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._paths)


class Checkpoint:
    """A folder with the last state of a chain and the draws kept up to it.

    The card names them with their sha256 sums, and holds a sum of itself. A folder in which
    anything is missing or changed counts for nothing: it is emptied, and a warning says so.

    Args:
        folder: Made if missing.
        key: Of everything that the chain follows from; a folder of another key is emptied.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self._folder, self._key = folder, key
        self._card: dict[str, Any] = {}
        self._left: tuple[State, BurnIn] | None = None
        if (folder / CARD).exists():
            try:
                self._card = unsealed(json.loads((folder / CARD).read_text()))
                if self._card["key"] == key:
                    self._left = self._read()
            except DAMAGE as error:
                warn_of_damage(folder, error)
        if self._left is None:
            remove_checkpoint(folder)
            folder.mkdir(parents=True, exist_ok=True)
            self._card = {}
        self._sums: list[str] = self._card.get("draws", [])  # of the draws kept

    def load(self) -> tuple[State, BurnIn] | None:
        """Return where the chain was left; None if it was not begun, and at any second call."""
        left, self._left = self._left, None  # or the arrays would stay in memory
        return left

    def save(self, state: State, burn_in: BurnIn) -> None:
        """Keep a state in place of the last one; the draws kept so far belong to it."""
        name, last = STATE.format(state.sweeps), self._card.get("state")
        total = self._write(name, state.arrays | {"validation_scores": burn_in.scores})
        self._card = {
            "key": self._key,
            "state": name,
            "sum": total,
            "rng": state.rng,
            "sweeps": state.sweeps,
            "draws": self._sums,
            "errors": burn_in.errors,
        }
        with new_file(self._folder / CARD) as partial:
            partial.write_text(json.dumps(sealed(self._card)))
        if last is not None and last != name:
            (self._folder / last).unlink(missing_ok=True)

    def keep(self, draw: Draw) -> None:
        """Keep a draw beside the others."""
        name = DRAW.format(len(self._sums))
        self._sums = [*self._sums, self._write(name, draw._asdict())]

    def draws(self, first: int, end: int) -> "Draws":
        """Return draws from `first` to before `end`, in the order they were kept."""
        return Draws([self._folder / DRAW.format(place) for place in range(first, end)])

    def _read(self) -> tuple[State, BurnIn]:
        """Return what the card names, all sums compared; raise one of `DAMAGE` otherwise."""
        card = self._card
        named = {card["state"]: card["sum"]}
        named |= {DRAW.format(place): total for place, total in enumerate(card["draws"])}
        for name, total in named.items():
            if sha256(self._folder / name) != total:
                raise ValueError(f"{name} was changed")
        arrays = load_file(self._folder / card["state"])
        scores = arrays.pop("validation_scores")
        return State(arrays, card["rng"], card["sweeps"]), BurnIn(card["errors"], scores)

    def _write(self, name: str, arrays: dict[str, NDArray[Any]]) -> str:
        """Write arrays into a file of the folder; return its sha256."""
        with new_file(self._folder / name) as partial:
            save_arrays(partial, arrays)
            return sha256(partial)


def sealed(card: dict[str, Any]) -> dict[str, Any]:
    """Return a card of JSON values with a sum over it."""
    return {"card": card, "seal": fingerprint(json.dumps(card), ())}


def unsealed(whole: dict[str, Any]) -> dict[str, Any]:
    """Return the card that `sealed` was given.

    Raises:
        ValueError: Its sum is another one.
    """
    card: dict[str, Any] = whole["card"]
    if fingerprint(json.dumps(card), ()) != whole["seal"]:
        raise ValueError("its card was changed")
    return card


def remove_checkpoint(folder: Path) -> None:
    """Remove a checkpoint, what makes it one first, so that a half removed one is none."""
    (folder / CARD).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
