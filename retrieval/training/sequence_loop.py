"""The training loop of the sequence pair: softmax, early stopping on last events held out."""

import copy
import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import Progress, TaskID
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (torch's own name for it)

from retrieval.data.history import seen, whole_windows
from retrieval.towers.sequence import SequencePair
from retrieval.towers.tokens import Tokens, tokens
from retrieval.training.ranking import discounted
from retrieval.training.sequences import NOTHING, Sequences, shuffled
from retrieval.training.softmax import full_softmax, sampled_softmax

# Users asked together in validation.
EVALUATION_BATCH = 128


@dataclass(frozen=True, kw_only=True)
class SequenceLoopSettings:
    """How the pair is trained."""

    epochs: int = 24
    tokens: int = 8192  # in a batch
    learning_rate: float = 2e-3
    warm_up: int = 100  # steps before the learning rate is at its highest
    untold: float = 0.3  # share of the users whose times of asking are hidden
    negatives: int = 0  # drawn from all movies, and as many from a batch's answers; 0: every movie
    patience: int = 4  # epochs without improvement before training stops


class LastEvents(NamedTuple):
    """The last event of V users, held out."""

    users: NDArray[np.int64]  # (V,) numbers
    movies: NDArray[np.int64]  # (V,) numbers
    times: NDArray[np.int64]  # (V,) seconds


class SequenceEpoch(NamedTuple):
    """One pass over the users."""

    training_loss: float
    told: float  # NDCG@10 of the last events held out, told when they happened
    untold: float  # the same, not told


class SequenceFit(NamedTuple):
    """What training did; the pair is left with the weights of the best epoch."""

    epochs: list[SequenceEpoch]
    best: int  # which of the epochs, from 0


def fit_sequences(
    pair: SequencePair,
    sequences: Sequences,
    validation: LastEvents,
    settings: SequenceLoopSettings,
    seed: int,
    progress: Progress,
) -> SequenceFit:
    """Train a pair in place, the same way for the same seed and number of threads.

    Args:
        pair: What to train.
        sequences: What to learn from.
        validation: What decides when to stop and which epoch is kept.
        settings: How.
        seed: Of the order of users, of who is told the time, of dropout and of samples.
        progress: Where to show how far it is.
    """
    rng = np.random.default_rng(seed)
    steps = len(shuffled(sequences.counts, settings.tokens, rng)) * settings.epochs
    optimizer = torch.optim.AdamW(
        pair.parameters(), lr=settings.learning_rate, betas=(0.9, 0.98), weight_decay=0.0
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: _share(step, steps, settings.warm_up)
    )
    task = progress.add_task("training on sequences", total=steps)
    epochs: list[SequenceEpoch] = []
    best, best_weights = 0, pair.state_dict()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for epoch in range(settings.epochs):
            loss = _epoch(pair, sequences, settings, optimizer, schedule, rng, progress, task)
            told = validation_gain(pair, sequences, validation, told=True)
            epochs.append(
                SequenceEpoch(loss, told, validation_gain(pair, sequences, validation, told=False))
            )
            if epoch == 0 or _merit(epochs[-1]) > _merit(epochs[best]):
                best, best_weights = epoch, copy.deepcopy(pair.state_dict())
            progress.update(
                task,
                completed=(epoch + 1) * steps // settings.epochs,
                description=f"epoch {epoch + 1} of {settings.epochs}: validation NDCG {told:.4f}",
            )
            if epoch - best >= settings.patience:
                break
    progress.update(task, completed=steps)
    pair.load_state_dict(best_weights)
    pair.eval()
    return SequenceFit(epochs, best)


def _epoch(
    pair: SequencePair,
    sequences: Sequences,
    settings: SequenceLoopSettings,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    rng: np.random.Generator,
    progress: Progress,
    task: TaskID,
) -> float:
    """Pass over all users once; return the mean loss of an answer."""
    pair.train()
    total, count = 0.0, 0
    shares = torch.from_numpy(sequences.shares(len(pair.rated)))
    for batch in sequences.batches(settings.tokens, settings.untold, rng):
        loss, answers = _loss(pair, batch.tokens, batch.targets, shares, settings.negatives)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
        total += loss.item() * answers
        count += answers
        progress.advance(task)
    return total / max(1, count)


def _loss(
    pair: SequencePair,
    made: Tokens,
    targets: NDArray[np.int64],
    shares: Tensor,
    negatives: int,
) -> tuple[Tensor, int]:
    """Return the mean loss of a batch, and how many answers it has."""
    table = pair.table()
    vectors = pair(table, *_tensors(made)[:-1])
    wanted = torch.from_numpy(targets)
    there = wanted != NOTHING
    queries, wanted = vectors[there] / pair.settings.temperature, wanted[there]  # (N, D), (N,)
    movies = F.normalize(table, dim=-1)
    if not negatives:
        return full_softmax(queries, movies, wanted), len(wanted)
    # Popular movies are what is hard to tell apart; movies that nobody watches must be met too.
    of_batch = wanted[torch.randint(len(wanted), (negatives,))]
    drawn = torch.cat([of_batch, torch.randint(len(movies), (negatives,))])
    expected = negatives * (shares[drawn] + 1 / len(movies))
    return sampled_softmax(queries, movies, wanted, drawn, expected.log()), len(wanted)


def validation_gain(
    pair: SequencePair, sequences: Sequences, events: LastEvents, *, told: bool
) -> float:
    """Return NDCG@10 of events held out, among all movies that their users have not seen.

    Args:
        pair: The pair.
        sequences: What was learned from, without the events.
        events: Each the next one of its user.
        told: Whether the pair is told when they happened.
    """
    if not len(events.users):
        return 0.0
    vectors = sequence_vectors(pair, sequences, events, told=told)
    with torch.no_grad():
        movies = pair.movie_vectors().numpy()
    gains = []
    for start in range(0, len(events.users), EVALUATION_BATCH):
        part = slice(start, start + EVALUATION_BATCH)
        scores = (vectors[part] @ movies.T).astype(np.float64)  # (B, M)
        scores[seen(sequences.histories, events.users[part], len(movies))] = -np.inf
        gains.append(discounted(scores, events.movies[part]))
    return float(np.concatenate(gains).mean())


def sequence_vectors(
    pair: SequencePair, sequences: Sequences, events: LastEvents, *, told: bool
) -> NDArray[np.float32]:
    """Return the vectors `(V, D)` of users asked what comes next; see `validation_gain`."""
    pair.eval()
    vectors = [np.zeros((0, pair.settings.dimension), np.float32)]
    with torch.no_grad():
        table = pair.table()
        for start in range(0, len(events.users), EVALUATION_BATCH):
            users, _, times = (column[start : start + EVALUATION_BATCH] for column in events)
            made = tokens(
                sequences.people[users],
                sequences.histories,
                whole_windows(sequences.histories, users)._replace(times=times),
                np.full(len(users), told),
                sequences.scale,
                sequences.length,
            )
            every = pair(table, *_tensors(made)[:-1])  # (B, T, D)
            vectors.append(every[torch.arange(len(users)), made.last].numpy())
    return np.concatenate(vectors)


def _merit(epoch: SequenceEpoch) -> float:
    return epoch.told + epoch.untold


def _share(step: int, steps: int, warm_up: int) -> float:
    """Return the learning rate of a step, of the highest: up in a line, down along a cosine."""
    return min(1.0, (step + 1) / warm_up) * (0.05 + 0.475 * (1 + math.cos(math.pi * step / steps)))


def _tensors(made: Tokens) -> list[Tensor]:
    return [torch.from_numpy(column) for column in made]
