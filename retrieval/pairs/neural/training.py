"""The training loop: mean squared error, early stopping on rows held out for validation."""

import copy
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from rich.progress import Progress

from retrieval.data.metrics import root_mean_square
from retrieval.pairs.divergence import check_number, largest_weight
from retrieval.pairs.neural.examples import Examples
from retrieval.pipeline.pairs import Pair
from retrieval.pipeline.presets import LoopSettings, Optimizer

EVALUATION_BATCH = 16_384

NAME = "neural"  # of the pair, in messages


class Epoch(NamedTuple):
    """One pass over the training rows."""

    training_loss: float
    validation_error: float  # root mean square, in units of the scale


class Fit(NamedTuple):
    """What training did; the pair is left with the weights of the best epoch."""

    epochs: list[Epoch]
    best: int  # which of the epochs, from 0


def fit(
    pair: Pair,
    training: Examples,
    validation: Examples,
    length: int,
    settings: LoopSettings,
    seed: int,
    progress: Progress,
    unit: float = 1.0,
) -> Fit:
    """Train a tower pair in place, the same way for the same seed and number of threads.

    Args:
        pair: What to train.
        training: Rows to learn from.
        validation: Rows that decide when to stop and which epoch is kept.
        length: The longest history.
        settings: How.
        seed: Of the order of rows, of dropout and of hidden ids.
        progress: Where to show how far it is.
        unit: What a deviation of 1 is in ratings, for the errors that are shown.

    Raises:
        RecError: A loss or a weight is no finite number.
    """
    rng = np.random.default_rng(seed)
    steps = math.ceil(len(training) / settings.batch_size)
    optimizer = _optimizer(pair, settings)
    schedule = _schedule(optimizer, settings, steps * settings.epochs)
    task = progress.add_task("training", total=steps * settings.epochs)
    epochs: list[Epoch] = []
    best, best_weights = 0, copy.deepcopy(pair.state_dict())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for epoch in range(settings.epochs):
            pair.train()
            total = 0.0
            batches = _batches(rng.permutation(len(training)), settings.batch_size)
            for step, rows in enumerate(batches, start=1):
                batch = training.batch(rows, length)
                loss = pair.loss(*batch, training.strangers(rows, length, rng))
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                optimizer.step()
                schedule.step()
                check_number(loss.item(), "loss", NAME, epoch + 1, step)
                total += loss.item() * len(rows)
                progress.advance(task)
            error = root_mean_square_error(pair, validation, length)
            check_number(error, "validation error", NAME, epoch + 1, steps)
            check_number(largest_weight(pair), "largest weight", NAME, epoch + 1, steps)
            epochs.append(Epoch(total / len(training), error))
            if epochs[-1].validation_error <= epochs[best].validation_error:
                best, best_weights = epoch, copy.deepcopy(pair.state_dict())
            progress.update(
                task,
                description=f"epoch {epoch + 1} of {settings.epochs}: validation RMSE "
                f"{unit * epochs[-1].validation_error:.4f}",
            )
            if epoch - best >= settings.patience:
                break
    progress.update(task, completed=steps * settings.epochs)
    pair.load_state_dict(best_weights)
    pair.eval()
    return Fit(epochs, best)


def predict(pair: Pair, examples: Examples, length: int) -> np.ndarray:
    """Return deviations predicted for all examples `(N,)`."""
    pair.eval()
    with torch.no_grad():
        parts = [
            pair(batch.users, batch.movies).numpy()
            for rows in _batches(np.arange(len(examples)), EVALUATION_BATCH)
            for batch in [examples.batch(rows, length)]
        ]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def root_mean_square_error(pair: Pair, examples: Examples, length: int) -> float:
    """Return the error over examples, in units; 0 where there are none."""
    return root_mean_square(predict(pair, examples, length).astype(np.float64) - examples.targets)


def _batches(order: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _optimizer(pair: Pair, settings: LoopSettings) -> torch.optim.Optimizer:
    match settings.optimizer:
        case Optimizer.ADAM:
            return torch.optim.Adam(pair.parameters(), lr=settings.learning_rate, betas=(0.9, 0.99))
        case Optimizer.SGD:
            return torch.optim.SGD(
                pair.parameters(), lr=settings.learning_rate, momentum=settings.momentum
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
