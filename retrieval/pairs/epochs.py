"""Epochs of training, until further ones are no better than the best before them."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from retrieval.pairs.checkpoint import EpochCheckpoint, State, Stateful
from retrieval.pairs.device import forked
from retrieval.pairs.training import Ranks, torch_seed
from retrieval.progress import Progress

E = TypeVar("E", bound=tuple[float, ...])


class Resumable(Protocol):
    """A module in training, and all that its next step depends on."""

    @property
    def module(self) -> Stateful:
        """The module, on its device."""

    def saved(self, best: dict[str, Tensor], card: dict[str, Any]) -> State:
        """Return what `restore` needs; the best weights and more for the card go along."""

    def restore(self, left: State) -> None:
        """Go back to where a state was returned; torch's generators too."""


class Epochs(NamedTuple, Generic[E]):
    """What a pair's epochs are."""

    steps: int  # of each
    most: int
    patience: int  # epochs that are no better, before training stops
    made: Callable[[int], E]  # passes over all rows, in the epoch so numbered, and validates
    is_better: Callable[[E, E], bool]  # the first than the second
    said: Callable[[E], str]  # words for people
    read: Callable[..., E]  # makes one of its numbers


class Fit(NamedTuple, Generic[E]):
    """What training did; the module is left with the weights of the best epoch."""

    epochs: list[E]
    best: int  # which of the epochs, from 0


def checkpoint_of(
    path: Path | None, ranks: Ranks, key: Callable[[], str]
) -> EpochCheckpoint | None:
    """Return where interrupted training is kept; None where it is not.

    Args:
        path: File for it, if there is one.
        ranks: Processes that train together; of several, nobody knows where the others were.
        key: Gives a hash of all that training follows from.
    """
    return EpochCheckpoint(path, key()) if path is not None and ranks.size == 1 else None


def train_epochs(
    state: Resumable,
    epochs: Epochs[E],
    seed: int,
    ranks: Ranks,
    device: torch.device,
    progress: Progress,
    kept: EpochCheckpoint | None,
) -> Fit[E]:
    """Train a module in place.

    Interrupted, the same call goes on from the last epoch that was finished, where it is kept.

    Args:
        state: The module in training.
        epochs: What its epochs are.
        seed: Seed of torch's generators.
        ranks: Processes that train it together.
        device: Device that it is on.
        progress: Who shows how far it is.
        kept: Where interrupted training is kept, if it is.
    """
    done: list[E] = []
    best, best_weights = 0, state.module.state_dict()
    with forked(device):
        torch.manual_seed(torch_seed(seed, ranks))
        left = None if kept is None else kept.load()
        if left is not None:
            state.restore(left)
            done = [epochs.read(*numbers) for numbers in left.card["epochs"]]
            best, best_weights = left.card["best"], left.best
            progress.advance(epochs.steps * len(done))
        while len(done) < epochs.most and len(done) - best <= epochs.patience:
            done.append(epochs.made(len(done) + 1))
            if len(done) == 1 or epochs.is_better(done[-1], done[best]):
                best, best_weights = len(done) - 1, copy.deepcopy(state.module.state_dict())
            if kept is not None:
                kept.save(state.saved(best_weights, {"epochs": done, "best": best}))
            progress.say(f"epoch {len(done)} of {epochs.most}, {epochs.said(done[-1])}")
    state.module.load_state_dict(best_weights)
    return Fit(done, best)
