"""The training loop: mean squared error, early stopping on rows held out for validation."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from pydantic import BaseModel
from torch import Tensor, nn

from retrieval.data.metrics import root_mean_square
from retrieval.pairs.checkpoint import State, restore, state_of
from retrieval.pairs.device import CPU, ahead, mixed_precision
from retrieval.pairs.divergence import check_number, largest_weight
from retrieval.pairs.epochs import Epochs, Fit, checkpoint_of, train_epochs
from retrieval.pairs.neural.examples import Batch, Examples
from retrieval.pairs.neural.model import MovieBatch, UserBatch
from retrieval.pairs.training import ALONE, Ranks, generator_of, share_of
from retrieval.progress import SILENT, Progress
from retrieval.storage.arrays import fingerprint

EVALUATION_BATCH = 4096

# Of checkpoints; a new one where training is no longer the same.
FORMAT = 1


class Optimizer(StrEnum):
    """How weights follow gradients."""

    ADAM = "adam"
    SGD = "sgd"


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """How a module is trained."""

    optimizer: Optimizer = Optimizer.ADAM
    epochs: int
    batch_size: int
    learning_rate: float
    momentum: float = 0.9
    warm_up: float  # share of the steps before the learning rate is at its highest
    patience: int  # epochs without improvement before training stops


class RatingModule(Protocol):
    """A torch module that predicts ratings, as deviations from the average in units."""

    @property
    def settings(self) -> BaseModel:
        """Settings of the pair."""

    def __call__(self, users: UserBatch, movies: MovieBatch) -> Tensor:
        """Return deviations predicted for B pairs, `(B,)`."""

    def loss(
        self, users: UserBatch, movies: MovieBatch, targets: Tensor, new_users: UserBatch, /
    ) -> Tensor:
        """Return what training makes small: see `NeuralPair.loss`."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """Return what is trained, as a torch module does; likewise the others."""

    def state_dict(self) -> dict[str, Any]:
        """Return parameters and buffers by their names."""

    def load_state_dict(self, state_dict: dict[str, Any], /) -> object:
        """Take parameters and buffers over."""

    def to(self, device: torch.device, /) -> object:
        """Move parameters and buffers to a device."""

    def train(self) -> object:
        """Prepare for training."""

    def eval(self) -> object:
        """Prepare for answers."""


class Epoch(NamedTuple):
    """One pass over the training rows."""

    training_loss: float
    validation_error: float  # root mean square, in units of the scale


def fit(
    module: RatingModule,
    training: Examples,
    validation: Examples,
    length: int,
    settings: LoopSettings,
    seed: int,
    name: str,
    progress: Progress = SILENT,
    unit: float = 1.0,
    ranks: Ranks = ALONE,
    device: torch.device = CPU,
    path: Path | None = None,
) -> Fit[Epoch]:
    """Train a module in place, on a CPU the same way for the same seed and number of threads.

    Interrupted, the same call goes on from the last epoch that was finished, where one process
    trains alone.

    Args:
        module: Module to train.
        training: Rows to learn from.
        validation: Rows that decide when to stop and which epoch is kept.
        length: Length of the longest history.
        settings: Settings of the loop.
        seed: Seed of the order of rows, of dropout and of hidden ids.
        name: Name of the pair, for messages.
        progress: Who shows how far it is.
        unit: Ratings in a deviation of 1, for the errors that are shown.
        ranks: Processes that train it together.
        device: Device to train on; the module is on the CPU before and after.
        path: File where interrupted training is kept, if it is; the caller removes it.

    Raises:
        RecError: A loss or a weight is no finite number.
    """
    settled = (settings, seed, length, device.type)
    kept = checkpoint_of(path, ranks, lambda: _key(module, training, validation, settled))
    module.to(device)
    state = _TrainingState(module, training, length, settings, seed, ranks, device)
    progress.stage(f"{name} pair", state.steps * settings.epochs)

    def made(number: int) -> Epoch:
        loss = state.epoch(number, name, progress)
        (error,) = ranks.first(lambda: [root_mean_square_error(module, validation, length)])
        check_number(error, "validation error", name, number, state.steps)
        return Epoch(loss, error)

    epochs = Epochs(
        steps=state.steps,
        most=settings.epochs,
        patience=settings.patience,
        made=made,
        is_better=lambda epoch, best: epoch.validation_error <= best.validation_error,
        said=lambda epoch: f"validation RMSE {unit * epoch.validation_error:.4f}",
        read=Epoch,
    )
    found = train_epochs(state, epochs, seed, ranks, device, progress, kept)
    module.to(CPU)
    module.eval()
    return found


class _TrainingState:
    """A module in training, and all that the next step depends on.

    Args:
        module: Module that is trained, on its device.
        training: Rows to learn from.
        length: Length of the longest history.
        settings: Settings of the loop.
        seed: Seed of the order of rows.
        ranks: Processes that train it together.
        device: Device to train on.
    """

    def __init__(
        self,
        module: RatingModule,
        training: Examples,
        length: int,
        settings: LoopSettings,
        seed: int,
        ranks: Ranks,
        device: torch.device,
    ) -> None:
        self.module, self._training, self._length = module, training, length
        self._batch_size, self._ranks, self._device = settings.batch_size, ranks, device
        self.steps = math.ceil(len(training) / settings.batch_size)  # of an epoch
        self._rng = np.random.default_rng(seed)
        self._own = generator_of(self._rng, ranks, seed)
        self._optimizer = _optimizer(module, settings)
        self._schedule = _schedule(self._optimizer, settings, self.steps * settings.epochs)

    def epoch(self, number: int, name: str, progress: Progress) -> float:
        """Pass over all rows once, the epoch so numbered; return the mean loss of a row."""
        self.module.train()
        total, device = 0.0, self._device
        for step, (batch, new_users) in enumerate(ahead(self._batches(), device), start=1):
            count = len(batch.targets)
            with mixed_precision(device):
                loss = self.module.loss(*batch.to(device), new_users.to(device))
            self._optimizer.zero_grad()
            torch.autograd.backward(loss)
            self._ranks.average(self.module.parameters(), count)
            self._optimizer.step()
            self._schedule.step()
            check_number(loss.item(), "loss", name, number, step)
            total += loss.item() * count
            progress.advance()
        largest = largest_weight(self.module.parameters())
        check_number(largest, "largest weight", name, number, self.steps)
        (total,) = self._ranks.total([total])
        return total / len(self._training)

    def _batches(self) -> Iterator[tuple[Batch, UserBatch]]:
        """Give all rows once, in batches, and the new users who ask some of them again."""
        order = self._rng.permutation(len(self._training))
        for whole in _batches(order, self._batch_size):
            rows = share_of(whole, self._ranks)
            batch = self._training.batch(rows, self._length)
            yield batch, self._training.new_users(rows, self._length, self._own)

    def saved(self, best: dict[str, Tensor], card: dict[str, Any]) -> State:
        """Return what `restore` needs; the best weights and more for the card go along."""
        # Of parameters the optimizer has its own names; the schedule changes what else it knows.
        groups = [
            {name: value for name, value in group.items() if name != "params"}
            for group in self._optimizer.param_groups
        ]
        card = card | {"groups": groups, "steps": self._schedule.last_epoch}
        return state_of(self.module, self._optimizer, self._rng, self._device, best, card)

    def restore(self, left: State) -> None:
        """Go back to where a state was returned; torch's generators too."""
        restore(left, self.module, self._optimizer, self._rng, self._device)
        for group, kept in zip(self._optimizer.param_groups, left.card["groups"], strict=True):
            group.update(kept)
        steps = {"last_epoch": left.card["steps"], "_step_count": left.card["steps"] + 1}
        self._schedule.load_state_dict(self._schedule.state_dict() | steps)


def predict(module: RatingModule, examples: Examples, length: int) -> np.ndarray:
    """Return deviations predicted for all examples `(N,)`."""
    module.eval()
    device = next(module.parameters()).device
    batches = (
        examples.batch(rows, length)
        for rows in _batches(np.arange(len(examples)), EVALUATION_BATCH)
    )
    with torch.no_grad():
        parts = [
            module(batch.users, batch.movies).cpu().numpy()
            for batch in (each.to(device) for each in ahead(batches, device))
        ]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def root_mean_square_error(module: RatingModule, examples: Examples, length: int) -> float:
    """Return the error over examples, in units; 0 where there are none."""
    return root_mean_square(predict(module, examples, length).astype(np.float64) - examples.targets)


def _batches(order: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _key(
    module: RatingModule,
    training: Examples,
    validation: Examples,
    settled: tuple[LoopSettings, int, int, str],
) -> str:
    """Return a hash of all that training follows from."""
    weights = {name: value.numpy() for name, value in module.state_dict().items()}
    shapes = [(name, value.shape) for name, value in weights.items()]
    facts = (FORMAT, module.settings, *settled, shapes)
    return fingerprint(facts, (*weights.values(), *training.arrays, *validation.arrays))


def _optimizer(module: RatingModule, settings: LoopSettings) -> torch.optim.Optimizer:
    match settings.optimizer:
        case Optimizer.ADAM:
            return torch.optim.Adam(
                module.parameters(), lr=settings.learning_rate, betas=(0.9, 0.99)
            )
        case Optimizer.SGD:
            return torch.optim.SGD(
                module.parameters(), lr=settings.learning_rate, momentum=settings.momentum
            )


def _schedule(
    optimizer: torch.optim.Optimizer, settings: LoopSettings, steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    match settings.optimizer:
        case Optimizer.ADAM:
            return torch.optim.lr_scheduler.OneCycleLR(
                optimizer, settings.learning_rate, total_steps=steps, pct_start=settings.warm_up
            )
        case Optimizer.SGD:
            return torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
