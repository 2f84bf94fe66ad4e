import math
from pathlib import Path

import numpy as np
import pytest
import torch
from interrupted import Interrupted, Recorded

from retrieval.data.history import build_histories
from retrieval.data.scale import RatingScale
from retrieval.errors import RecError
from retrieval.pairs.sequence import training as module
from retrieval.pairs.sequence.batches import SequenceBatch, Sequences, shuffled
from retrieval.pairs.sequence.ensemble import SequenceEnsemble
from retrieval.pairs.sequence.model import SequencePair
from retrieval.pairs.sequence.negatives import Negatives, Sample
from retrieval.pairs.sequence.settings import NegativeSource, SequenceSettings
from retrieval.pairs.sequence.training import (
    LastEvents,
    SequenceFit,
    batch_loss,
    fit_sequences,
    validation_gains,
)
from retrieval.pairs.sizes import Sizes

USERS, MOVIES, EVENTS = 200, 60, 20
CPU = torch.device("cpu")
TOKENS = 512  # in a step
SETTINGS = SequenceSettings(
    dimension=16,
    hidden=32,
    history_length=10,
    dropout=0.1,
    epochs=11,
    warm_up=10,
    learning_rate=1e-2,
    sampled_negatives=20,
)


def changed(**values: object) -> SequenceSettings:
    return SETTINGS.model_copy(update=values)


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
        codes=np.zeros((USERS, 3), np.int64),
        scale=RatingScale(lowest=1.0, highest=5.0, step=1.0),
        length=10,
    )
    last = LastEvents(np.arange(USERS), movies[:, -1], np.full(USERS, EVENTS * 60))
    return sequences, last


def untrained(seed: int) -> SequencePair:
    torch.manual_seed(seed)
    sizes = Sizes(
        users=USERS, movies=MOVIES, content=1, genders=1, ages=1, occupations=1, classes=5
    )
    return SequencePair(
        SETTINGS,
        sizes,
        torch.zeros(MOVIES, 1),
        torch.ones(MOVIES, dtype=torch.bool),
    )


def fitted(
    walks: tuple[Sequences, LastEvents],
    settings: SequenceSettings,
    folder: Path,
    seed: int = 0,
    size: int = TOKENS,
) -> tuple[SequencePair, SequenceFit]:
    pair = untrained(seed)
    return pair, fit_sequences(pair, *walks, settings, seed, folder / "kept", CPU, size)


@pytest.mark.parametrize(
    "settings",
    [SETTINGS, changed(full_softmax_movies=MOVIES - 1), changed(negatives=NegativeSource.IN_BATCH)],
    ids=["all", "by popularity", "in batch"],
)
def test_what_always_comes_next_is_learned(
    walks: tuple[Sequences, LastEvents], settings: SequenceSettings, tmp_path: Path
) -> None:
    pair, fit = fitted(walks, settings, tmp_path)
    best = fit.epochs[fit.best]
    assert min(best.timed, best.untimed) > 0.9
    assert validation_gains(SequenceEnsemble([pair]), *walks) == (best.timed, best.untimed)
    assert fit.epochs[0].training_loss > fit.epochs[-1].training_loss + 1


def test_the_same_seed_gives_the_same_pair(
    walks: tuple[Sequences, LastEvents], tmp_path: Path
) -> None:
    short = changed(epochs=2)
    (one, _), (same, _), (other, _) = (
        fitted(walks, short, tmp_path / name, seed) for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    for name, value in one.state_dict().items():
        assert torch.equal(value, same.state_dict()[name]), name
    assert not torch.equal(one.movie_vectors(), other.movie_vectors())


def test_training_stops_when_nothing_gets_better_and_keeps_the_best(
    walks: tuple[Sequences, LastEvents], tmp_path: Path
) -> None:
    settings = changed(epochs=30, patience=2, learning_rate=2e-2)
    pair, fit = fitted(walks, settings, tmp_path)
    assert len(fit.epochs) < 30
    assert fit.best == len(fit.epochs) - 3
    best = fit.epochs[fit.best]
    assert validation_gains(SequenceEnsemble([pair]), *walks) == (best.timed, best.untimed)


@pytest.mark.parametrize(
    ("source", "interruptions"),
    [
        (NegativeSource.ALL, (3, 8)),
        (NegativeSource.POPULAR, (13,)),
        (NegativeSource.IN_BATCH, (8, 13)),
    ],
)
def test_interrupted_training_goes_on_to_the_same_pair(
    walks: tuple[Sequences, LastEvents],
    tmp_path: Path,
    source: NegativeSource,
    interruptions: tuple[int, ...],
) -> None:
    settings = changed(epochs=3, negatives=source)
    whole, fit = fitted(walks, settings, tmp_path / "whole")
    per_epoch = len(shuffled(walks[0].counts, TOKENS, np.random.default_rng(0)))
    for steps in interruptions:
        path = tmp_path / str(steps)
        with pytest.raises(KeyboardInterrupt):
            fit_sequences(untrained(0), *walks, settings, 0, path, CPU, TOKENS, Interrupted(steps))
        pair, resumed = untrained(0), Recorded()
        again = fit_sequences(pair, *walks, settings, 0, path, CPU, TOKENS, resumed)
        assert again == fit
        for name, value in whole.state_dict().items():
            assert torch.equal(value, pair.state_dict()[name]), name
        kept = (steps - 1) // per_epoch  # epochs that were finished
        assert resumed.stages == [("sequence pair", 3 * per_epoch)]
        assert resumed.steps == 3 * per_epoch
        assert resumed.first == (kept * per_epoch or 1)
        assert len(resumed.said) == 3 - kept


def test_a_checkpoint_of_another_seed_is_not_gone_on_from(
    walks: tuple[Sequences, LastEvents], tmp_path: Path
) -> None:
    settings = changed(epochs=2)
    expected, _ = fitted(walks, settings, tmp_path / "alone", seed=1)
    fitted(walks, settings, tmp_path / "shared", seed=0)
    found, _ = fitted(walks, settings, tmp_path / "shared", seed=1)
    assert torch.equal(found.movie_vectors(), expected.movie_vectors())


def test_with_nothing_held_out_every_epoch_is_trained(
    walks: tuple[Sequences, LastEvents], tmp_path: Path
) -> None:
    nothing = LastEvents(*(column[:0] for column in walks[1]))
    _, fit = fitted((walks[0], nothing), changed(epochs=3, patience=1), tmp_path)
    assert (len(fit.epochs), fit.best) == (3, 2)


def test_training_that_diverges_names_the_step_and_keeps_nothing(
    walks: tuple[Sequences, LastEvents], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, steps = changed(epochs=3), []

    def batch_loss_that_fails(
        pair: SequencePair, batch: SequenceBatch, negatives: Negatives | None
    ) -> tuple[torch.Tensor, int]:
        steps.append(1)
        loss, answers = batch_loss(pair, batch, negatives)
        return (loss * math.nan if len(steps) == 9 else loss), answers

    monkeypatch.setattr(module, "batch_loss", batch_loss_that_fails)
    with pytest.raises(
        RecError, match=r"sequence pair has diverged: the loss is nan in step \d of"
    ):
        fitted(walks, settings, tmp_path)
    monkeypatch.undo()
    again, fit = fitted(walks, settings, tmp_path)  # goes on from the epoch before
    assert len(fit.epochs) == 3
    assert all(bool(torch.isfinite(weight).all()) for weight in again.parameters())


def test_a_last_step_that_diverges_is_noticed_too(
    walks: tuple[Sequences, LastEvents], tmp_path: Path
) -> None:
    settings = changed(epochs=3, learning_rate=1e30, warm_up=1)
    with pytest.raises(RecError, match=r"sequence pair has diverged: .* of epoch [12]"):
        fitted(walks, settings, tmp_path, size=10**6)


@pytest.mark.parametrize("count", [0, 20])
def test_a_step_makes_every_tensor_on_the_device_of_the_pair(
    walks: tuple[Sequences, LastEvents], count: int
) -> None:
    # Tensors of this device hold no numbers, and torch refuses to mix them with others.
    device = torch.device("meta")
    pair = untrained(0).to(device).train()
    batch = next(walks[0].batches(512, 0.3, 0.5, np.random.default_rng(0)))
    shares = torch.from_numpy(walks[0].shares(MOVIES)).to(device)
    negatives = Negatives(shares, count)
    loss, answers = batch_loss(pair, batch, negatives if count else None)
    torch.autograd.backward(loss)
    assert loss.device == device
    assert answers == (batch.targets >= 0).sum()
    for name, weights in pair.named_parameters():
        assert weights.grad is not None, name
        assert weights.grad.device == device, name


def test_what_the_asker_watches_at_other_times_is_no_negative(
    walks: tuple[Sequences, LastEvents],
) -> None:
    batch = next(walks[0].batches(10, 0.3, 0.5, np.random.default_rng(0)))
    assert len(batch.targets) == 1

    class Own(Negatives):
        def draw(self, answers: torch.Tensor, users: torch.Tensor) -> Sample:
            return Sample(answers, torch.zeros(len(answers)), users)

    negatives = Own(torch.ones(MOVIES), 1, np.random.default_rng(0))
    loss, _ = batch_loss(untrained(0).train(), batch, negatives)
    assert loss.item() == 0
