"""Where interrupted training of a torch module is kept, so that the same command goes on."""

import json
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from retrieval.storage.arrays import fingerprint
from retrieval.storage.damage import DAMAGE, warn_of_damage
from retrieval.storage.files import new_file

CARD, SEAL = "card", "seal"

# Parts of a state that hold named tensors.
PARTS = ("weights", "best", "moments", "more")


class Stateful(Protocol):
    """A torch module, as far as its training is kept."""

    def state_dict(self) -> dict[str, Any]:
        """Return parameters and buffers by their names."""

    def load_state_dict(self, state_dict: dict[str, Any], /) -> object:
        """Take parameters and buffers over."""


class State(NamedTuple):
    """Training after some epochs."""

    weights: dict[str, Tensor]  # of the module
    best: dict[str, Tensor]  # those of the best epoch
    moments: dict[str, Tensor]  # what the optimizer remembers
    random: Tensor  # the states of torch's generators
    more: dict[str, Tensor]  # whatever else the pair needs, such as the state of its negatives
    card: dict[str, Any]  # what JSON can say of the rest


class EpochCheckpoint:
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
        for part in PARTS:
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
            random=tensors["random"],
            card=card,
            **{part: _part(tensors, f"{part}.") for part in PARTS},
        )


def state_of(
    module: Stateful,
    optimizer: torch.optim.Optimizer,
    rng: np.random.Generator,
    device: torch.device,
    best: dict[str, Tensor],
    card: dict[str, Any],
    more: dict[str, Tensor] | None = None,
) -> State:
    """Return the state of a training, which `restore` goes back to.

    Args:
        module: Module that is trained, on its device.
        optimizer: Of its weights.
        rng: Generator of what training draws with numpy.
        device: Device of the training.
        best: Weights of the best epoch.
        card: What JSON can say of the rest.
        more: Whatever else the pair needs.
    """
    return State(
        weights=module.state_dict(),
        best=best,
        moments=_moments_of(optimizer),
        random=_random_state(device),
        more={} if more is None else more,
        card=card | {"rng": rng.bit_generator.state},
    )


def restore(
    left: State,
    module: Stateful,
    optimizer: torch.optim.Optimizer,
    rng: np.random.Generator,
    device: torch.device,
) -> None:
    """Go back to what `state_of` returned; torch's generators too."""
    module.load_state_dict(left.weights)
    _restore_moments(optimizer, left.moments)
    rng.bit_generator.state = left.card["rng"]
    _restore_random(left.random, device)


def _moments_of(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return what an optimizer remembers of earlier gradients, by parameter and name."""
    return {
        f"{place}.{name}": value
        for place, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
        if value is not None
    }


def _restore_moments(optimizer: torch.optim.Optimizer, kept: dict[str, Tensor]) -> None:
    """Let an optimizer remember what `_moments_of` returned."""
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in kept.items():
        place, which = name.split(".")
        moments.setdefault(int(place), {})[which] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})


def _random_state(device: torch.device) -> Tensor:
    """Return the states of torch's generators, that of the CPU first."""
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    return torch.cat(states)


def _restore_random(states: Tensor, device: torch.device) -> None:
    """Go back to what `_random_state` returned."""
    on_cpu = len(torch.get_rng_state())
    torch.set_rng_state(states[:on_cpu])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[on_cpu:], device)


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
