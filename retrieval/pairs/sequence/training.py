"""The training loop of the sequence pair: softmax, early stopping on last events held out."""

import copy
import math
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (torch's own name for it)

from retrieval.data.history import seen, whole_windows
from retrieval.data.metrics import discounted
from retrieval.pairs.divergence import check_number, largest_weight
from retrieval.pairs.sequence.batches import NOTHING, SequenceBatch, Sequences, shuffled
from retrieval.pairs.sequence.checkpoint import SequenceCheckpoint, State
from retrieval.pairs.sequence.ensemble import EnsembleUserTower, SequenceEnsemble
from retrieval.pairs.sequence.model import SequencePair
from retrieval.pairs.sequence.negatives import Negatives
from retrieval.pairs.sequence.settings import NegativeSource, SequenceSettings
from retrieval.pairs.sequence.softmax import full_softmax, sampled_softmax
from retrieval.pairs.sequence.tokens import Tokens, tokens
from retrieval.progress import SILENT, Progress
from retrieval.storage.arrays import fingerprint

# Of checkpoints; a new one where training is no longer the same.
FORMAT = 10

NAME = "sequence"  # of the pair, in messages

# Users asked together in validation.
EVALUATION_BATCH = 128


class LastEvents(NamedTuple):
    """The last event of V users, held out."""

    users: NDArray[np.int64]  # (V,) numbers
    movies: NDArray[np.int64]  # (V,) numbers
    times: NDArray[np.int64]  # (V,) seconds


class Gains(NamedTuple):
    """NDCG@10 of last events held out, among all movies that users have not seen."""

    timed: float  # of every other one, the time of asking known
    untimed: float  # of the others, the time of asking not known


class SequenceEpoch(NamedTuple):
    """One pass over the users."""

    training_loss: float
    timed: float  # see `Gains`
    untimed: float


class SequenceFit(NamedTuple):
    """What training did; the pair is left with the weights of the best epoch."""

    epochs: list[SequenceEpoch]
    best: int  # which of the epochs, from 0


def fit_sequences(
    pair: SequencePair,
    sequences: Sequences,
    validation: LastEvents,
    settings: SequenceSettings,
    seed: int,
    path: Path,
    device: torch.device,
    batch_tokens: int,
    progress: Progress = SILENT,
    stage: str = "sequence pair",
) -> SequenceFit:
    """Train a pair in place, on a CPU the same way for the same seed and number of threads.

    Interrupted, the same call goes on from the last epoch that was finished.

    Args:
        pair: Pair to train.
        sequences: Histories to learn from.
        validation: Events that decide when to stop and which epoch is kept.
        settings: Settings of the loop.
        seed: Seed of the order of users, of whose time of asking is known, of where long histories
            end, of dropout and of samples.
        path: File where interrupted training is kept; the caller removes it.
        device: Device to train on; the pair is on the CPU before and after.
        batch_tokens: Events in a step.
        progress: Who shows how far it is.
        stage: Words for this training.

    Raises:
        RecError: A loss or a weight is no finite number.
    """
    rng = np.random.default_rng(seed)
    steps = len(shuffled(sequences.counts, batch_tokens, rng)) * settings.epochs
    kept = SequenceCheckpoint(
        path, _key(pair, sequences, validation, (settings, batch_tokens, seed), device)
    )
    pair.to(device)
    state = _TrainingState(pair, sequences, settings, rng, steps, batch_tokens)
    progress.stage(stage, steps)
    epochs: list[SequenceEpoch] = []
    best, best_weights = 0, pair.state_dict()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        left = kept.load()
        if left is not None:
            state.restore(left)
            epochs = [SequenceEpoch(*epoch) for epoch in left.card["epochs"]]
            best, best_weights = left.card["best"], left.best
            progress.advance(len(epochs) * steps // settings.epochs)
        while len(epochs) < settings.epochs and len(epochs) - best <= settings.patience:
            loss = state.epoch(len(epochs) + 1, progress)
            gains = validation_gains(SequenceEnsemble([pair]), sequences, validation)
            done = len(epochs) + 1, steps // settings.epochs
            check_number(sum(gains), "validation NDCG", NAME, *done)
            epochs.append(SequenceEpoch(loss, *gains))
            blind = not len(validation.users)  # then the last epoch is as good a guess as any
            if blind or len(epochs) == 1 or _merit(epochs[-1]) > _merit(epochs[best]):
                best, best_weights = len(epochs) - 1, copy.deepcopy(pair.state_dict())
            kept.save(state.saved(best_weights, {"epochs": epochs, "best": best}))
            progress.say(
                f"epoch {len(epochs)} of {settings.epochs}, validation NDCG@10 {gains.timed:.4f}"
            )
    pair.load_state_dict(best_weights)
    pair.to("cpu").eval()
    return SequenceFit(epochs, best)


class _TrainingState:
    """A pair in training, and all that the next step depends on.

    Args:
        pair: Pair that is trained.
        sequences: Histories that it learns from.
        settings: Settings of the loop.
        rng: Generator of the order of users, of whose time of asking is known, and of where long
            histories end.
        steps: Number of steps that there will be.
        batch_tokens: Events in a step.
    """

    def __init__(
        self,
        pair: SequencePair,
        sequences: Sequences,
        settings: SequenceSettings,
        rng: np.random.Generator,
        steps: int,
        batch_tokens: int,
    ) -> None:
        self._pair, self._sequences, self._settings = pair, sequences, settings
        self._rng, self._steps, self._step, self._batch_tokens = rng, steps, 0, batch_tokens
        self._device = pair.rated.device
        self._negatives = _negatives(sequences, settings, self._device, len(pair.rated), rng)
        self._optimizer = torch.optim.AdamW(pair.parameters(), betas=(0.9, 0.98), weight_decay=0.0)

    def epoch(self, number: int, progress: Progress) -> float:
        """Pass over all users once, the epoch so numbered; return the mean loss of an answer."""
        self._pair.train()
        total, count, settings, step = 0.0, 0, self._settings, 0
        batches = self._sequences.batches(
            self._batch_tokens,
            settings.unknown_time_share,
            settings.earlier_share,
            self._rng,
        )
        for step, batch in enumerate(batches, start=1):
            loss, answers = batch_loss(self._pair, batch, self._negatives)
            self._optimizer.zero_grad()
            torch.autograd.backward(loss)
            for group in self._optimizer.param_groups:
                group["lr"] = settings.learning_rate * self._share()
            self._optimizer.step()
            self._step += 1
            check_number(loss.item(), "loss", NAME, number, step)
            total += loss.item() * answers
            count += answers
            progress.advance()
        check_number(largest_weight(self._pair.parameters()), "largest weight", NAME, number, step)
        return total / max(1, count)

    def saved(self, best: dict[str, Tensor], card: dict[str, Any]) -> State:
        """Return what `restore` needs; the best weights and more for the card go along."""
        moments = {
            f"{place}.{name}": value
            for place, values in self._optimizer.state_dict()["state"].items()
            for name, value in values.items()
        }
        card = card | {"rng": self._rng.bit_generator.state, "step": self._step}
        return State(self._pair.state_dict(), best, moments, self._random(), self._stream(), card)

    def restore(self, left: State) -> None:
        """Go back to where a state was returned; torch's generators too."""
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in left.moments.items():
            place, which = name.split(".")
            moments.setdefault(int(place), {})[which] = value
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": moments, "param_groups": groups})
        self._pair.load_state_dict(left.weights)
        if self._negatives is not None:
            self._negatives.restore(left.negatives)
        self._rng.bit_generator.state = left.card["rng"]
        self._step = left.card["step"]
        on_cpu = len(torch.get_rng_state())
        torch.set_rng_state(left.random[:on_cpu])
        if self._device.type == "cuda":
            torch.cuda.set_rng_state(left.random[on_cpu:], self._device)

    def _stream(self) -> dict[str, Tensor]:
        """Return what the negatives know of theirs."""
        return {} if self._negatives is None else self._negatives.state()

    def _random(self) -> Tensor:
        """Return the states of torch's generators, that of the CPU first."""
        states = [torch.get_rng_state()]
        if self._device.type == "cuda":
            states.append(torch.cuda.get_rng_state(self._device))
        return torch.cat(states)

    def _share(self) -> float:
        """Return the learning rate, of the highest: up in a line, then down along a cosine."""
        up = min(1.0, (self._step + 1) / self._settings.warm_up)
        done = min(1.0, self._step / self._steps)
        return up * (0.05 + 0.475 * (1 + math.cos(math.pi * done)))


def _negatives(
    sequences: Sequences,
    settings: SequenceSettings,
    device: torch.device,
    movies: int,
    rng: np.random.Generator,
) -> Negatives | None:
    """Return what draws the movies that answers are compared with; None is all movies."""
    match settings.negatives:
        case NegativeSource.ALL:
            return None
        case NegativeSource.AUTO if movies <= settings.full_softmax_movies:
            return None
        case NegativeSource.AUTO | NegativeSource.POPULAR:
            hashing = None
        case NegativeSource.IN_BATCH:
            hashing = rng
    shares = torch.from_numpy(sequences.shares(movies)).to(device)
    return Negatives(shares, settings.sampled_negatives, hashing)


def batch_loss(
    pair: SequencePair, batch: SequenceBatch, negatives: Negatives | None
) -> tuple[Tensor, int]:
    """Return the mean loss of a batch, and how many answers it has.

    Args:
        pair: In training.
        batch: What is asked and answered.
        negatives: What answers are compared with; None is all movies.
    """
    table = pair.table()
    device = table.device
    with _precision(device):
        vectors = pair(table, *_tensors(batch.tokens, device)[:-1]).float()  # (B, T, D)
    places = np.flatnonzero(batch.targets != NOTHING)
    wanted = torch.from_numpy(batch.targets.ravel()[places]).to(device)  # (N,)
    asked = vectors.flatten(0, 1)[torch.from_numpy(places).to(device)]  # (N, D)
    queries = asked / pair.settings.temperature
    movies = F.normalize(table, dim=-1)
    if negatives is None:
        largest = 1 / pair.settings.temperature  # both are of unit length
        return full_softmax(queries, movies, wanted, largest), len(wanted)
    users = torch.from_numpy(places // batch.targets.shape[1]).to(device)  # (N,)
    sample = negatives.draw(wanted, users)
    own = sample.users == users[:, None]  # drawn because the asker watched it, not by popularity
    loss = sampled_softmax(queries, movies, wanted, sample.movies, sample.log_expected, own)
    return loss, len(wanted)


def _precision(device: torch.device) -> AbstractContextManager[object]:
    """Return how to compute what comes before the loss: a GPU is fastest with half as many bits."""
    if device.type == "cuda":
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()


def validation_gains(ensemble: SequenceEnsemble, sequences: Sequences, events: LastEvents) -> Gains:
    """Return what pairs find of last events held out; no numbers where their vectors are none.

    Args:
        ensemble: The pairs.
        sequences: What was learned from, without the events.
        events: Next events, one a user; the time of asking is known of every other one.
    """
    timed = np.arange(len(events.users)) % 2 == 0
    vectors = sequence_vectors(ensemble, sequences, events.users, events.times, timed)
    with torch.no_grad():
        movies = ensemble.movie_vectors().cpu().numpy()
    if not (np.isfinite(vectors).all() and np.isfinite(movies).all()):
        return Gains(math.nan, math.nan)
    gains = [np.zeros(0)]
    for start in range(0, len(events.users), EVALUATION_BATCH):
        part = slice(start, start + EVALUATION_BATCH)
        scores = (vectors[part] @ movies.T).astype(np.float64)  # (B, M)
        scores[seen(sequences.histories, events.users[part], len(movies))] = -np.inf
        gains.append(discounted(scores, events.movies[part]))
    of_all = np.concatenate(gains)
    return Gains(
        *(float(some.mean()) if len(some) else 0.0 for some in (of_all[timed], of_all[~timed]))
    )


def sequence_vectors(
    ensemble: SequenceEnsemble,
    sequences: Sequences,
    users: NDArray[np.int64],
    times: NDArray[np.int64],
    timed: NDArray[np.bool_],
) -> NDArray[np.float32]:
    """Return the vectors `(V, D)` of users asked what comes after their histories.

    Args:
        ensemble: The pairs.
        sequences: Holds the histories.
        users: `(V,)` numbers.
        times: `(V,)` seconds of asking.
        timed: `(V,)` whether these are known.
    """
    ensemble.eval()
    tower, device = EnsembleUserTower(ensemble), ensemble.members()[0].rated.device
    vectors = np.zeros((len(users), ensemble.dimension), np.float32)
    order = np.argsort(sequences.counts[users], kind="stable")  # so that little is padded
    with torch.no_grad():
        for start in range(0, len(order), EVALUATION_BATCH):
            asked = order[start : start + EVALUATION_BATCH]
            made = tokens(
                sequences.codes[users[asked]],
                sequences.histories,
                whole_windows(sequences.histories, users[asked])._replace(times=times[asked]),
                timed[asked],
                sequences.scale,
                sequences.length,
            )
            vectors[asked] = tower(*_tensors(made, device)).cpu().numpy()
    return vectors


def _key(
    pair: SequencePair,
    sequences: Sequences,
    validation: LastEvents,
    settled: tuple[SequenceSettings, int, int],
    device: torch.device,
) -> str:
    """Return a hash of all that training follows from."""
    shapes = [tuple(value.shape) for value in pair.state_dict().values()]
    facts = (FORMAT, *settled, device.type, shapes, sequences.scale, sequences.length)
    known = (pair.content.numpy(), pair.rated.numpy(), sequences.codes)
    return fingerprint(facts, (*known, *sequences.histories, *validation))


def _merit(epoch: SequenceEpoch) -> float:
    return epoch.timed + epoch.untimed


def _tensors(made: Tokens, device: torch.device) -> list[Tensor]:
    return [torch.from_numpy(column).to(device) for column in made]
