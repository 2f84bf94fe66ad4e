"""The training loop of the sequence pair: softmax, early stopping on what is held out."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (torch's own name for it)

from retrieval.data.history import seen, whole_windows
from retrieval.data.metrics import discounted, discounted_many
from retrieval.data.visits import Visits
from retrieval.pairs.checkpoint import State, restore, state_of
from retrieval.pairs.device import ahead, fast_products, mixed_precision
from retrieval.pairs.divergence import check_number, largest_weight
from retrieval.pairs.epochs import Epochs, Fit, checkpoint_of, train_epochs
from retrieval.pairs.sequence.batches import (
    NOTHING,
    Returns,
    SequenceBatch,
    Sequences,
    shuffled,
)
from retrieval.pairs.sequence.ensemble import EnsembleUserTower, SequenceEnsemble, movie_rows
from retrieval.pairs.sequence.model import SequencePair
from retrieval.pairs.sequence.negatives import Negatives, Sample
from retrieval.pairs.sequence.reading import recent_windows
from retrieval.pairs.sequence.settings import NegativeSource, SequenceSettings
from retrieval.pairs.sequence.softmax import full_softmax, sampled_softmax, trended_softmax
from retrieval.pairs.sequence.tokens import Tokens, tokens, when_codes
from retrieval.pairs.training import ALONE, Asked, Ranks, generator_of
from retrieval.pairs.when import When
from retrieval.progress import SILENT, Progress
from retrieval.storage.arrays import fingerprint

# Of checkpoints; a new one where training is no longer the same.
FORMAT = 14

NAME = "sequence"  # of the pair, in messages

# Users asked together in validation.
EVALUATION_BATCH = 128


class LastEvents(NamedTuple):
    """The last event of V users, held out."""

    users: NDArray[np.int64]  # (V,) numbers
    movies: NDArray[np.int64]  # (V,) numbers
    times: NDArray[np.int64]  # (V,) seconds


class HeldOut(NamedTuple):
    """What decides when to stop and which epoch is kept."""

    last: LastEvents
    visits: Visits


class Gains(NamedTuple):
    """NDCG@10 of what is held out, among all movies that users have not seen."""

    timed: float  # of every other last event, the time of asking known
    untimed: float  # of the others, in the sitting
    returning: float  # of what was liked in visits, asked at any moment before


class SequenceEpoch(NamedTuple):
    """One pass over the users."""

    training_loss: float
    timed: float  # see `Gains`
    untimed: float
    returning: float


def fit_sequences(
    pair: SequencePair,
    sequences: Sequences,
    validation: HeldOut,
    settings: SequenceSettings,
    seed: int,
    path: Path,
    device: torch.device,
    batch_tokens: int,
    progress: Progress = SILENT,
    stage: str = "sequence pair",
    ranks: Ranks = ALONE,
) -> Fit[SequenceEpoch]:
    """Train a pair in place, on a CPU the same way for the same seed and number of threads.

    Interrupted, the same call goes on from the last epoch that was finished, where one process
    trains alone.

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
        ranks: Processes that train it together.

    Raises:
        RecError: A loss or a weight is no finite number.
    """
    rng = np.random.default_rng(seed)
    steps = len(shuffled(sequences.counts, batch_tokens, rng))  # of an epoch
    whole = steps * settings.epochs
    settled = (settings, batch_tokens, seed)
    kept = checkpoint_of(path, ranks, lambda: _key(pair, sequences, validation, settled, device))
    pair.to(device)
    state = _TrainingState(
        pair, sequences, settings, rng, whole, batch_tokens, ranks, generator_of(rng, ranks, seed)
    )
    progress.stage(stage, whole)
    # With nothing to validate on, the last epoch is as good a guess as any.
    blind = not len(validation.last.users) and not len(validation.visits.users)

    def made(number: int) -> SequenceEpoch:
        loss = state.epoch(number, progress)
        gains = ranks.first(
            lambda: validation_gains(SequenceEnsemble([pair]), sequences, validation)
        )
        check_number(sum(gains), "validation NDCG", NAME, number, steps)
        return SequenceEpoch(loss, *gains)

    epochs = Epochs(
        steps=steps,
        most=settings.epochs,
        patience=settings.patience,
        made=made,
        is_better=lambda epoch, best: blind or _merit(epoch) > _merit(best),
        said=lambda epoch: f"validation NDCG@10 {epoch.timed:.4f}",
        read=SequenceEpoch,
    )
    found = train_epochs(state, epochs, seed, ranks, device, progress, kept)
    pair.to("cpu").eval()
    return found


class TrendedReturns(NamedTuple):
    """The questions of users who come back, and what counts for their answers."""

    questions: Returns
    trends: Tensor  # (G, M, J)


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
        ranks: Processes that train it together.
        own: Generator of what is drawn for this process's share of a batch.
    """

    def __init__(
        self,
        pair: SequencePair,
        sequences: Sequences,
        settings: SequenceSettings,
        rng: np.random.Generator,
        steps: int,
        batch_tokens: int,
        ranks: Ranks,
        own: np.random.Generator,
    ) -> None:
        self.module, self._sequences, self._settings = pair, sequences, settings
        self._rng, self._steps, self._step, self._batch_tokens = rng, steps, 0, batch_tokens
        self._ranks, self._own = ranks, own
        self._device = pair.rated.device
        self._trends = None
        if sequences.trends is not None:
            self._trends = torch.from_numpy(sequences.trends.features).to(self._device)
        self._negatives = _negatives(sequences, settings, self._device, len(pair.rated), rng)
        self._optimizer = torch.optim.AdamW(pair.parameters(), betas=(0.9, 0.98), weight_decay=0.0)

    def epoch(self, number: int, progress: Progress) -> float:
        """Pass over all users once, the epoch so numbered; return the mean loss of an answer."""
        self.module.train()
        total, count, settings, step = 0.0, 0.0, self._settings, 0
        for step, (batch, returning) in enumerate(ahead(self._batches(), self._device), start=1):
            loss, answers = batch_loss(self.module, batch, self._negatives, returning)
            self._optimizer.zero_grad()
            torch.autograd.backward(loss)
            self._ranks.average(self.module.parameters(), answers)
            for group in self._optimizer.param_groups:
                group["lr"] = settings.learning_rate * self._share()
            self._optimizer.step()
            self._step += 1
            check_number(loss.item(), "loss", NAME, number, step)
            total += loss.item() * answers if answers else 0.0  # a share may hold none
            count += answers
            progress.advance()
        check_number(largest_weight(self.module.parameters()), "largest weight", NAME, number, step)
        total, count = self._ranks.total([total, count])
        return total / max(1, count)

    def _batches(self) -> Iterator[tuple[SequenceBatch, TrendedReturns | None]]:
        """Give all users once, in batches, with the questions of those who come back."""
        settings = self._settings
        for batch in self._sequences.batches(
            self._batch_tokens,
            settings.unknown_time_share,
            settings.earlier_share,
            self._rng,
            self._ranks,
        ):
            yield batch, self._returning(batch)

    def _returning(self, batch: SequenceBatch) -> TrendedReturns | None:
        """Return the questions of those who come back, and the trends that count for them."""
        if self._trends is None:
            return None
        return TrendedReturns(self._sequences.returns(batch, self._own), self._trends)

    def saved(self, best: dict[str, Tensor], card: dict[str, Any]) -> State:
        """Return what `restore` needs; the best weights and more for the card go along."""
        card = card | {"step": self._step}
        more = None if self._negatives is None else self._negatives.state()
        return state_of(self.module, self._optimizer, self._rng, self._device, best, card, more)

    def restore(self, left: State) -> None:
        """Go back to where a state was returned; torch's generators too."""
        restore(left, self.module, self._optimizer, self._rng, self._device)
        if self._negatives is not None:
            self._negatives.restore(left.more)
        self._step = left.card["step"]

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
    pair: SequencePair,
    batch: SequenceBatch,
    negatives: Negatives | None,
    returning: TrendedReturns | None = None,
) -> tuple[Tensor, int]:
    """Return the mean loss of a batch, and how many answers it has.

    Args:
        pair: In training.
        batch: What is asked and answered.
        negatives: What answers are compared with; None is all movies.
        returning: Questions of users who come back; None is none.
    """
    table = pair.table()
    device = table.device
    with mixed_precision(device):
        states = pair(table, *_tensors(batch.tokens, device)[:-2]).float()  # (B, T, D)
    places = np.flatnonzero(batch.targets != NOTHING)
    wanted = torch.from_numpy(batch.targets.ravel()[places]).to(device)  # (N,)
    asked = states.flatten(0, 1)[torch.from_numpy(places).to(device)]  # (N, D)
    queries = pair.answer(asked) / pair.settings.temperature
    movies = F.normalize(table, dim=-1)
    if negatives is None:
        largest = 1 / pair.settings.temperature  # both are of unit length
        with fast_products():
            loss, sample = full_softmax(queries, movies, wanted, largest), None
    else:
        users = torch.from_numpy(places // batch.targets.shape[1]).to(device)  # (N,)
        sample = negatives.draw(wanted, users)
        own = sample.users == users[:, None]  # drawn as the asker watched it, not by popularity
        loss = sampled_softmax(queries, movies, wanted, sample.movies, sample.log_expected, own)
    if returning is not None and len(returning.questions.rows):
        loss = loss + _returning_loss(pair, states, movies, returning, sample)
    return loss, len(wanted)


def _returning_loss(
    pair: SequencePair,
    states: Tensor,
    movies: Tensor,
    returning: TrendedReturns,
    sample: Sample | None,
) -> Tensor:
    """Return the mean loss of the questions of users who come back.

    The head learns from what the towers are; they do not learn from it: it has a hundredth of the
    questions, and would make answers in the sitting worse.

    Args:
        pair: In training.
        states: `(B, T, D)` of the batch.
        movies: `(M, D)` vectors.
        returning: The questions.
        sample: What answers are compared with; None is all movies.
    """
    questions, device = returning.questions, movies.device
    rows, places, asked, moments, wanted = (
        torch.from_numpy(column).to(device) for column in questions
    )
    if pair.returning is None:
        raise AssertionError("a pair without trends has no questions of users who come back")
    vectors, weights = pair.returning(states[rows, places].detach(), asked)
    return trended_softmax(
        vectors / pair.settings.temperature,
        movies.detach(),
        wanted,
        weights,
        returning.trends,
        moments,
        None if sample is None else (sample.movies, sample.log_expected),
    )


def validation_gains(
    ensemble: SequenceEnsemble, sequences: Sequences, validation: HeldOut
) -> Gains:
    """Return what pairs find of what is held out; no numbers where their vectors are none.

    Args:
        ensemble: The pairs.
        sequences: What was learned from, without what is held out.
        validation: What is held out; the time of asking is known of every other last event.
    """
    events, visits = validation
    every_other = np.arange(len(events.users)) % 2 == 0
    gains = []
    for rows, when in ((every_other, When.AT), (~every_other, When.IN_SITTING)):
        users, movies, times = (column[rows] for column in events)
        asked = Asked(users, when, times + 1, times)  # of what is past, as runs are asked
        gains.append(_gains(ensemble, sequences, asked, movies))
    asked = Asked(visits.users, When.COMING_BACK, visits.asked, visits.back)
    gains.append(_gains(ensemble, sequences, asked, visits))
    return Gains(*gains)


def _gains(
    ensemble: SequenceEnsemble,
    sequences: Sequences,
    asked: Asked,
    right: NDArray[np.int64] | Visits,
) -> float:
    """Return the mean NDCG@10 of questions, 0 where there is none.

    Args:
        ensemble: The pairs.
        sequences: What was learned from.
        asked: V questions.
        right: `(V,)` numbers of the movies that came next, or the visits that did.
    """
    gains = [np.zeros(0)]
    for start in range(0, len(asked.users), EVALUATION_BATCH):
        part = slice(start, start + EVALUATION_BATCH)
        scores = sequence_logits(ensemble, sequences, asked.part(part))  # (B, M)
        if not np.isfinite(scores).all():
            return math.nan
        scores[seen(sequences.histories, asked.users[part], scores.shape[1])] = -np.inf
        if isinstance(right, Visits):
            gains.append(discounted_many(scores, right.liked_movies(part, scores.shape[1])))
        else:
            gains.append(discounted(scores, right[part]))
    found = np.concatenate(gains)
    found = found[~np.isnan(found)]
    return float(found.mean()) if len(found) else 0.0


def sequence_logits(
    ensemble: SequenceEnsemble, sequences: Sequences, asked: Asked
) -> NDArray[np.float64]:
    """Return the logits `(E, M)` of what comes after the histories of users.

    Args:
        ensemble: The pairs.
        sequences: Holds the histories, and the trends of movies.
        asked: The E questions.
    """
    vectors = sequence_vectors(ensemble, sequences, asked)
    with torch.no_grad():
        movies = ensemble.movie_vectors().cpu().numpy()
    width = vectors.shape[1] - ensemble.trends
    logits = (vectors[:, :width] @ movies[:, :width].T).astype(np.float64) / ensemble.temperature
    if sequences.trends is not None:
        weights = vectors[:, width:] / len(ensemble.pairs)
        places = sequences.trends.places(asked.moments)
        for place in np.unique(places):
            rows = places == place
            logits[rows] += weights[rows] @ sequences.trends.features[place].T
    return np.asarray(logits, dtype=np.float64)


def sequence_vectors(
    ensemble: SequenceEnsemble, sequences: Sequences, asked: Asked
) -> NDArray[np.float32]:
    """Return the vectors `(E, W)` of users asked what comes after their histories.

    Args:
        ensemble: The pairs.
        sequences: Holds the histories.
        asked: The E questions.
    """
    tower, rows = EnsembleUserTower(ensemble), movie_rows(ensemble)
    vectors = np.zeros((len(asked.users), ensemble.dimension), np.float32)
    windows = whole_windows(sequences.histories, asked.users)
    codes = when_codes(
        asked.when, windows._replace(times=asked.times), windows.times, asked.moments
    )
    order = np.argsort(windows.counts, kind="stable")  # so that little is padded
    with torch.no_grad():
        for start in range(0, len(order), EVALUATION_BATCH):
            part = order[start : start + EVALUATION_BATCH]
            made = tokens(
                sequences.codes[asked.users[part]],
                sequences.histories,
                recent_windows(windows.part(part), sequences.length)._replace(
                    times=asked.times[part]
                ),
                np.full(len(part), asked.when is When.AT),
                sequences.scale,
                sequences.length,
                codes[part],
            )
            movies, *others = _tensors(made, rows.device)
            vectors[part] = tower(F.embedding(movies, rows), *others)[0].cpu().numpy()
    return vectors


def _key(
    pair: SequencePair,
    sequences: Sequences,
    validation: HeldOut,
    settled: tuple[SequenceSettings, int, int],
    device: torch.device,
) -> str:
    """Return a hash of all that training follows from."""
    shapes = [tuple(value.shape) for value in pair.state_dict().values()]
    facts = (FORMAT, *settled, device.type, shapes, sequences.scale, sequences.length)
    known = (pair.content.numpy(), pair.rated.numpy(), sequences.codes)
    return fingerprint(facts, (*known, *sequences.histories, *validation.last, *validation.visits))


def _merit(epoch: SequenceEpoch) -> float:
    return epoch.timed + epoch.untimed + epoch.returning


def _tensors(made: Tokens, device: torch.device) -> list[Tensor]:
    return [torch.from_numpy(column).to(device) for column in made]
