"""The watch part: sequence pairs trained, and what lists are ranked by."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import Progress

from retrieval.blending.ranking import WEIGHTS, Choice, choose_ranking, gains_by_weight
from retrieval.blending.rating import Answers, Neural, encode_known
from retrieval.data.dataset import Dataset
from retrieval.data.history import Histories, seen, whole_windows
from retrieval.data.split import last_of_each
from retrieval.options import Towers
from retrieval.pairs.bayesian.inference import Inferred
from retrieval.pairs.content import Content
from retrieval.pairs.sequence.batches import Sequences
from retrieval.pairs.sequence.ensemble import SequenceEnsemble
from retrieval.pairs.sequence.model import SequenceSettings
from retrieval.pairs.sequence.tokens import Tokens, tokens
from retrieval.pairs.sequence.training import (
    Gains,
    LastEvents,
    SequenceFit,
    fit_sequences,
    sequence_vectors,
    validation_gains,
)
from retrieval.pipeline.pairs import make_sequence_pair, movie_vectors
from retrieval.pipeline.presets import Plan

# Users whose last event is held out to choose the epoch and the ranking.
VALIDATION_USERS = 2000
VALIDATION_SHARE = 0.25

# Users on whom an exported tower is compared with its original.
EXAMPLES = 8

# Users whose lists are compared together.
CHUNK = 256

# Of each pair, where interrupted training is kept.
CHECKPOINT = "pair-{}.safetensors"

# A rating this far up the scale says that the movie was liked: 4 of 1 to 5.
LIKED = 0.75


class Watching(NamedTuple):
    """Sequence pairs, trained."""

    ensemble: SequenceEnsemble
    sequences: Sequences
    last: NDArray[np.bool_]  # (N,) mask of the last events held out
    fits: list[SequenceFit]  # one a pair
    gains: Gains  # of them all together
    device: str  # that they were trained on
    example: Tokens  # a few real users


def choose_last(dataset: Dataset, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return a mask `(N,)` of the last events of random users who have others before."""
    users = np.flatnonzero(np.bincount(dataset.users, minlength=len(dataset.user_vocabulary)) > 1)
    count = min(VALIDATION_USERS, int(len(users) * VALIDATION_SHARE))
    chosen = rng.choice(users, count, replace=False)
    return last_of_each(dataset.users, dataset.timestamps) & np.isin(dataset.users, chosen)


def train_sequence(
    dataset: Dataset,
    content: Content,
    last: NDArray[np.bool_],
    planned: Plan,
    seed: int,
    checkpoints: Path,
    device: torch.device,
    progress: Progress,
) -> Watching:
    """Train as many sequence pairs as are planned, one after the other.

    Args:
        dataset: All rows.
        content: Of the movies.
        last: `(N,)` mask of the last events of some users, which choose the epoch.
        planned: How.
        seed: Of everything random in the first pair; the others have the next ones.
        checkpoints: Folder where interrupted training is kept; the caller removes it.
        device: Where to train.
        progress: Where to show how far it is.
    """
    settings = planned.sequence
    sequences = Sequences(
        histories=dataset.histories(~last),
        people=dataset.user_codes,
        scale=dataset.scale,
        length=settings.history_length,
    )
    rated = sequences.shares(len(dataset.movie_vocabulary)) > 0
    events = _events(dataset, last)
    pairs, fits = [], []
    for place in range(planned.sequence_pairs):
        pair = make_sequence_pair(settings, dataset, content, rated, seed + place)
        loop, path = planned.sequence_loop, checkpoints / CHECKPOINT.format(place)
        fits.append(
            fit_sequences(pair, sequences, events, loop, seed + place, path, device, progress)
        )
        pairs.append(pair)
    ensemble = SequenceEnsemble(pairs)
    gains = validation_gains(ensemble, sequences, events)
    example = example_tokens(dataset, sequences.histories, settings)
    return Watching(ensemble, sequences, last, fits, gains, device.type, example)


def example_tokens(dataset: Dataset, histories: Histories, settings: SequenceSettings) -> Tokens:
    """Return the users with the longest histories, at least two, as a user tower is given them."""
    lengths = np.diff(histories.offsets)
    users = np.argsort(-lengths, kind="stable")[:EXAMPLES]
    users = np.resize(users, max(2, len(users)))
    return tokens(
        dataset.user_codes[users],
        histories,
        whole_windows(histories, users),
        np.arange(len(users)) % 2 == 0,
        dataset.scale,
        settings.history_length,
    )


def rank(
    dataset: Dataset,
    watching: Watching,
    neural: Neural | None,
    inferred: Inferred | None,
    answers: Answers,
) -> Choice:
    """Choose what lists are ranked by, from last events that no pair was trained on.

    Gains are the mean of what is found when the time of asking is told and when it is not.

    Args:
        dataset: All rows.
        watching: The sequence pairs.
        neural: The neural pair, if trained.
        inferred: The Bayesian pair, if inferred.
        answers: How the scores of these two are weighed.
    """
    events = _events(dataset, watching.last)
    told, untold = (
        sequence_vectors(
            watching.ensemble,
            watching.sequences,
            events.users,
            events.times,
            np.full(len(events.users), told),
        )
        for told in (True, False)
    )
    movies = movie_vectors(watching.ensemble) / watching.ensemble.temperature
    rating = _rating_vectors(dataset, events, len(movies), neural, inferred, answers)
    gains = [np.zeros((len(WEIGHTS), 0))]
    for start in range(0, len(events.users), CHUNK):  # never all users by all movies
        part = LastEvents(*(column[start : start + CHUNK] for column in events))
        scores = (rating.users[start : start + CHUNK] @ rating.movies.T).astype(np.float64)
        known = seen(watching.sequences.histories, part.users, len(movies))
        both = [
            gains_by_weight(
                (vectors[start : start + CHUNK] @ movies.T).astype(np.float64),
                scores,
                known,
                part.movies,
            )
            for vectors in (told, untold)
        ]
        gains.append(np.mean(both, axis=0))
    liked = dataset.scale.lowest + LIKED * (dataset.scale.highest - dataset.scale.lowest)
    return choose_ranking(np.hstack(gains), dataset.ratings[watching.last] >= liked)


def stored_users(watching: Watching, histories: Histories) -> NDArray[np.float32]:
    """Return the vectors `(U, D)` of all users with these histories, not told when they ask."""
    whole = replace(watching.sequences, histories=histories)
    users = np.arange(len(histories.offsets) - 1)
    nobody = np.zeros(len(users), dtype=bool)
    return sequence_vectors(watching.ensemble, whole, users, np.zeros_like(users), told=nobody)


class _RatingVectors(NamedTuple):
    """Vectors whose dot products are the scores by which V users would rate all movies."""

    users: NDArray[np.float32]  # (V, D), 0 components where no pair predicts ratings
    movies: NDArray[np.float32]  # (M, D)


def _rating_vectors(
    dataset: Dataset,
    events: LastEvents,
    movie_count: int,
    neural: Neural | None,
    inferred: Inferred | None,
    answers: Answers,
) -> _RatingVectors:
    """Join the rating parts as a run does, without the users' offsets."""
    users = [np.zeros((len(events.users), 0), np.float32)]
    movies = [np.zeros((movie_count, 0), np.float32)]
    weights = dict(zip(answers.towers, answers.blend.weights, strict=True))
    if neural is not None:
        known = encode_known(neural, dataset, events.users, events.times)
        users.append(weights[Towers.NEURAL] * known.vectors)
        movies.append(movie_vectors(neural.pair))
    if inferred is not None:
        early = inferred.early.users[events.users].copy()
        early[:, -1] = 1.0  # for the movies' biases
        users.append(weights[Towers.BAYESIAN] * early)
        movies.append(inferred.early.movies)
    return _RatingVectors(np.hstack(users), np.hstack(movies))


def _events(dataset: Dataset, last: NDArray[np.bool_]) -> LastEvents:
    return LastEvents(dataset.users[last], dataset.movies[last], dataset.timestamps[last])
