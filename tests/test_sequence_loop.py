from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.progress import Progress

from retrieval.data.history import build_histories
from retrieval.scale import RatingScale
from retrieval.towers.neural import Sizes
from retrieval.towers.sequence import SequencePair, SequenceSettings
from retrieval.training.sequence_loop import (
    LastEvents,
    SequenceFit,
    SequenceLoopSettings,
    fit_sequences,
    validation_gain,
)
from retrieval.training.sequences import Sequences

USERS, MOVIES, EVENTS = 200, 60, 20
LOOP = SequenceLoopSettings(epochs=12, tokens=512, warm_up=10, learning_rate=5e-3)


@pytest.fixture(scope="module")
def walks() -> tuple[Sequences, LastEvents]:
    """Everyone watches movie m + 7 after movie m: what comes next is known from what came last."""
    rng = np.random.default_rng(0)
    movies = (rng.integers(MOVIES, size=(USERS, 1)) + 7 * np.arange(EVENTS + 1)) % MOVIES
    users = np.repeat(np.arange(USERS), EVENTS)
    histories = build_histories(
        users,
        movies[:, :-1].ravel(),
        np.full(len(users), 3.0, np.float32),
        np.tile(np.arange(EVENTS) * 60, USERS),
        USERS,
    )
    sequences = Sequences(
        histories=histories,
        people=np.zeros((USERS, 3), np.int64),
        scale=RatingScale(lowest=1.0, highest=5.0, step=1.0),
        length=10,
    )
    last = LastEvents(np.arange(USERS), movies[:, -1], np.full(USERS, EVENTS * 60))
    return sequences, last


def fitted(
    walks: tuple[Sequences, LastEvents], settings: SequenceLoopSettings, seed: int = 0
) -> tuple[SequencePair, SequenceFit]:
    torch.manual_seed(seed)
    sizes = Sizes(users=USERS, movies=MOVIES, content=1, genders=1, ages=1, occupations=1, levels=5)
    pair = SequencePair(
        SequenceSettings(dimension=16, hidden=32, history_length=10, dropout=0.0),
        sizes,
        torch.zeros(MOVIES, 1),
        torch.ones(MOVIES, dtype=torch.bool),
    )
    with Progress(disable=True) as progress:
        return pair, fit_sequences(pair, *walks, settings, seed, progress)


@pytest.mark.parametrize("negatives", [0, 40])
def test_what_always_comes_next_is_learned(
    walks: tuple[Sequences, LastEvents], negatives: int
) -> None:
    pair, fit = fitted(walks, replace(LOOP, negatives=negatives))
    assert fit.epochs[fit.best].told > 0.9
    assert validation_gain(pair, *walks, told=False) == fit.epochs[fit.best].untold > 0.9
    assert fit.epochs[0].training_loss > fit.epochs[-1].training_loss + 1


def test_the_same_seed_gives_the_same_pair(walks: tuple[Sequences, LastEvents]) -> None:
    short = replace(LOOP, epochs=2)
    (one, _), (same, _), (other, _) = (fitted(walks, short, seed) for seed in (0, 0, 1))
    for name, value in one.state_dict().items():
        assert torch.equal(value, same.state_dict()[name]), name
    assert not torch.equal(one.movie_vectors(), other.movie_vectors())


def test_training_stops_when_nothing_gets_better_and_keeps_the_best(
    walks: tuple[Sequences, LastEvents],
) -> None:
    pair, fit = fitted(walks, replace(LOOP, epochs=30, patience=2, learning_rate=2e-2))
    assert len(fit.epochs) < 30
    assert fit.best == len(fit.epochs) - 3
    assert validation_gain(pair, *walks, told=True) == fit.epochs[fit.best].told
