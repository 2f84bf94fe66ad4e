"""Where interrupted training of the sequence pair is kept, so that the same command goes on."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from retrieval.storage.arrays import fingerprint
from retrieval.storage.damage import DAMAGE, warn_of_damage
from retrieval.storage.files import new_file

CARD, SEAL = "card", "seal"


class State(NamedTuple):
    """Training after some epochs."""

    weights: dict[str, Tensor]  # of the pair
    best: dict[str, Tensor]  # those of the best epoch
    moments: dict[str, Tensor]  # of the optimizer
    random: Tensor  # the states of torch's generators
    negatives: dict[str, Tensor]  # what draws them knows of their stream
    card: dict[str, Any]  # what JSON can say of the rest


class SequenceCheckpoint:
    """One file, of the last epoch that was finished, with a sum over all that it holds.

    A file in which anything was changed counts for nothing, and a warning says so.

    Args:
        path: Of the file.
        key: Of everything that training follows from; a file of another key counts for nothing.
    """

    def __init__(self, path: Path, key: str) -> None:
        self._path, self._key = path, key

    def load(self) -> State | None:
        """Return where training was left; None if it was not begun."""
        if not self._path.exists():
            return None
        try:
            return self._read()
        except DAMAGE as error:
            warn_of_damage(self._path, error)
            return None

    def save(self, state: State) -> None:
        """Keep a state in place of the last one."""
        tensors = {"random": state.random}
        for part in ("weights", "best", "moments", "negatives"):
            # Copied: the best weights may be the last ones, and a file names nothing twice.
            named = getattr(state, part).items()
            tensors |= {f"{part}.{name}": tensor.clone() for name, tensor in named}
        card = json.dumps(state.card | {"key": self._key})
        with new_file(self._path) as partial:
            save_file(tensors, partial, metadata={CARD: card, SEAL: _seal(card, tensors)})

    def _read(self) -> State | None:
        """Return the state, None if of another key; raise one of `DAMAGE` if it was changed."""
        with safe_open(self._path, framework="pt") as file:
            texts = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if _seal(texts[CARD], tensors) != texts[SEAL]:
            raise ValueError("its sum is another one")
        card: dict[str, Any] = json.loads(texts[CARD])
        if card.pop("key") != self._key:
            return None
        return State(
            _part(tensors, "weights."),
            _part(tensors, "best."),
            _part(tensors, "moments."),
            tensors["random"],
            _part(tensors, "negatives."),
            card,
        )


def _seal(card: str, tensors: dict[str, Tensor]) -> str:
    """Return a sum over a card and named tensors."""
    names = sorted(tensors)
    facts = [(name, tensors[name].dtype, tuple(tensors[name].shape)) for name in names]
    return fingerprint((card, facts), (tensors[name].cpu().numpy() for name in names))


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
