"""The training loop: mean squared error, early stopping on rows held out for validation."""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from retrieval.data.metrics import root_mean_square
from retrieval.pairs.device import CPU, ahead, forked, mixed_precision
from retrieval.pairs.divergence import check_number, largest_weight
from retrieval.pairs.neural.examples import Examples
from retrieval.pairs.neural.model import MovieBatch, UserBatch
from retrieval.pairs.training import ALONE, Ranks, generator_of, share_of, torch_seed
from retrieval.progress import SILENT, Progress

EVALUATION_BATCH = 4096


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


class Fit(NamedTuple):
    """What training did; the module is left with the weights of the best epoch."""

    epochs: list[Epoch]
    best: int  # which of the epochs, from 0


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
) -> Fit:
    """Train a module in place, on a CPU the same way for the same seed and number of threads.

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

    Raises:
        RecError: A loss or a weight is no finite number.
    """
    module.to(device)
    rng = np.random.default_rng(seed)
    own = generator_of(rng, ranks, seed)
    steps = math.ceil(len(training) / settings.batch_size)
    optimizer = _optimizer(module, settings)
    schedule = _schedule(optimizer, settings, steps * settings.epochs)
    progress.stage(f"{name} pair", steps * settings.epochs)
    epochs: list[Epoch] = []
    best, best_weights = 0, copy.deepcopy(module.state_dict())
    with forked(device):
        torch.manual_seed(torch_seed(seed, ranks))
        for epoch in range(settings.epochs):
            module.train()
            total = 0.0
            order = rng.permutation(len(training))
            questions = (
                (training.batch(rows, length), training.new_users(rows, length, own))
                for whole in _batches(order, settings.batch_size)
                for rows in [share_of(whole, ranks)]
            )
            for step, (batch, new_users) in enumerate(ahead(questions, device), start=1):
                count = len(batch.targets)
                with mixed_precision(device):
                    loss = module.loss(*batch.to(device), new_users.to(device))
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                ranks.average(module.parameters(), count)
                optimizer.step()
                schedule.step()
                check_number(loss.item(), "loss", name, epoch + 1, step)
                total += loss.item() * count
                progress.advance()
            (error,) = ranks.first(lambda: [root_mean_square_error(module, validation, length)])
            check_number(error, "validation error", name, epoch + 1, steps)
            check_number(
                largest_weight(module.parameters()), "largest weight", name, epoch + 1, steps
            )
            (total,) = ranks.total([total])
            epochs.append(Epoch(total / len(training), error))
            if epochs[-1].validation_error <= epochs[best].validation_error:
                best, best_weights = epoch, copy.deepcopy(module.state_dict())
            found = unit * epochs[-1].validation_error
            progress.say(f"epoch {epoch + 1} of {settings.epochs}, validation RMSE {found:.4f}")
            if epoch - best >= settings.patience:
                break
    module.load_state_dict(best_weights)
    module.to(CPU)
    module.eval()
    return Fit(epochs, best)


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
