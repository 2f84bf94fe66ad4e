import math
from pathlib import Path

import numpy as np
import pytest
import torch
from interrupted import Interrupted, Recorded
from small_worlds import NO_VISITS

from retrieval.data.history import build_histories, seen
from retrieval.data.scale import RatingScale
from retrieval.data.sittings import sittings
from retrieval.data.visits import Visits
from retrieval.errors import RecError
from retrieval.pairs.epochs import Fit
from retrieval.pairs.sequence import training as module
from retrieval.pairs.sequence.batches import SequenceBatch, Sequences, shuffled
from retrieval.pairs.sequence.ensemble import SequenceEnsemble
from retrieval.pairs.sequence.model import SequencePair
from retrieval.pairs.sequence.negatives import Negatives, Sample
from retrieval.pairs.sequence.settings import NegativeSource, SequenceSettings
from retrieval.pairs.sequence.training import (
    HeldOut,
    LastEvents,
    SequenceEpoch,
    TrendedReturns,
    batch_loss,
    fit_sequences,
    sequence_logits,
    validation_gains,
)
from retrieval.pairs.sequence.trends import TREND_WIDTH, movie_trends
from retrieval.pairs.sizes import Sizes
from retrieval.pairs.training import Asked
from retrieval.pairs.when import When

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
def walks() -> tuple[Sequences, HeldOut]:
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
    return sequences, HeldOut(last, NO_VISITS)


def untrained(seed: int, trends: int = 0) -> SequencePair:
    torch.manual_seed(seed)
    sizes = Sizes(users=USERS, movies=MOVIES, content=1, attributes=(1, 1, 1), classes=5)
    return SequencePair(
        SETTINGS,
        sizes,
        torch.zeros(MOVIES, 1),
        torch.ones(MOVIES, dtype=torch.bool),
        torch.zeros(MOVIES, trends),
    )


def fitted(
    walks: tuple[Sequences, HeldOut],
    settings: SequenceSettings,
    folder: Path,
    seed: int = 0,
    size: int = TOKENS,
) -> tuple[SequencePair, Fit[SequenceEpoch]]:
    pair = untrained(seed)
    return pair, fit_sequences(pair, *walks, settings, seed, folder / "kept", CPU, size)


@pytest.mark.parametrize(
    "settings",
    [SETTINGS, changed(full_softmax_movies=MOVIES - 1), changed(negatives=NegativeSource.IN_BATCH)],
    ids=["all", "by popularity", "in batch"],
)
def test_what_always_comes_next_is_learned(
    walks: tuple[Sequences, HeldOut], settings: SequenceSettings, tmp_path: Path
) -> None:
    pair, fit = fitted(walks, settings, tmp_path)
    best = fit.epochs[fit.best]
    assert min(best.timed, best.untimed) > 0.9
    assert validation_gains(SequenceEnsemble([pair]), *walks) == best[1:]
    assert fit.epochs[0].training_loss > fit.epochs[-1].training_loss + 1


def test_the_same_seed_gives_the_same_pair(
    walks: tuple[Sequences, HeldOut], tmp_path: Path
) -> None:
    short = changed(epochs=2)
    (one, _), (same, _), (other, _) = (
        fitted(walks, short, tmp_path / name, seed) for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    for name, value in one.state_dict().items():
        assert torch.equal(value, same.state_dict()[name]), name
    assert not torch.equal(one.movie_vectors(), other.movie_vectors())


def test_training_stops_when_nothing_gets_better_and_keeps_the_best(
    walks: tuple[Sequences, HeldOut], tmp_path: Path
) -> None:
    settings = changed(epochs=30, patience=2, learning_rate=2e-2)
    pair, fit = fitted(walks, settings, tmp_path)
    assert len(fit.epochs) < 30
    assert fit.best == len(fit.epochs) - 3
    best = fit.epochs[fit.best]
    assert validation_gains(SequenceEnsemble([pair]), *walks) == best[1:]


@pytest.mark.parametrize(
    ("source", "interruptions"),
    [
        (NegativeSource.ALL, (3, 8)),
        (NegativeSource.POPULAR, (13,)),
        (NegativeSource.IN_BATCH, (8, 13)),
    ],
)
def test_interrupted_training_goes_on_to_the_same_pair(
    walks: tuple[Sequences, HeldOut],
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
    walks: tuple[Sequences, HeldOut], tmp_path: Path
) -> None:
    settings = changed(epochs=2)
    expected, _ = fitted(walks, settings, tmp_path / "alone", seed=1)
    fitted(walks, settings, tmp_path / "shared", seed=0)
    found, _ = fitted(walks, settings, tmp_path / "shared", seed=1)
    assert torch.equal(found.movie_vectors(), expected.movie_vectors())


def test_with_nothing_held_out_every_epoch_is_trained(
    walks: tuple[Sequences, HeldOut], tmp_path: Path
) -> None:
    nothing = LastEvents(*(column[:0] for column in walks[1].last))
    _, fit = fitted(
        (walks[0], HeldOut(nothing, NO_VISITS)), changed(epochs=3, patience=1), tmp_path
    )
    assert (len(fit.epochs), fit.best) == (3, 2)


def test_training_that_diverges_names_the_step_and_keeps_nothing(
    walks: tuple[Sequences, HeldOut], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, steps = changed(epochs=3), []

    def batch_loss_that_fails(
        pair: SequencePair,
        batch: SequenceBatch,
        negatives: Negatives | None,
        returning: TrendedReturns | None,
    ) -> tuple[torch.Tensor, int]:
        steps.append(1)
        loss, answers = batch_loss(pair, batch, negatives, returning)
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
    walks: tuple[Sequences, HeldOut], tmp_path: Path
) -> None:
    settings = changed(epochs=3, learning_rate=1e30, warm_up=1)
    with pytest.raises(RecError, match=r"sequence pair has diverged: .* of epoch [12]"):
        fitted(walks, settings, tmp_path, size=10**6)


@pytest.mark.parametrize("count", [0, 20])
def test_a_step_makes_every_tensor_on_the_device_of_the_pair(
    walks: tuple[Sequences, HeldOut], count: int
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
    walks: tuple[Sequences, HeldOut],
) -> None:
    batch = next(walks[0].batches(10, 0.3, 0.5, np.random.default_rng(0)))
    assert len(batch.targets) == 1

    class Own(Negatives):
        def draw(self, answers: torch.Tensor, users: torch.Tensor) -> Sample:
            return Sample(answers, torch.zeros(len(answers)), users)

    negatives = Own(torch.ones(MOVIES), 1, np.random.default_rng(0))
    loss, _ = batch_loss(untrained(0).train(), batch, negatives)
    assert loss.item() == 0


# The last movies are new, one every ten days; the others are those of walks.
NEW, DAY, START = 20, 86_400, 10**9
WALK = MOVIES - NEW
# Users who come back, the events of each of their visits, and for each new movie some users who
# watch it at once, and nothing else.
BACK, VISIT, FIRST = 400, 5, 20


@pytest.fixture(scope="module")
def visits() -> tuple[Sequences, HeldOut]:
    """Everyone watches a walk, comes back days later to what is new then, and walks on elsewhere.

    The second visit of some users is held out, and the last event of others.
    """
    rng = np.random.default_rng(0)
    period = np.arange(BACK) % NEW
    movies = (rng.integers(WALK, size=(BACK, 1)) + 7 * np.arange(2 * VISIT)) % WALK
    movies[:, VISIT] = WALK + period
    days = 10 * period[:, None] + [1, 5] + 3 * rng.random((BACK, 2))
    begun = START + (DAY * days).astype(np.int64)
    times = (begun[:, :, None] + 60 * np.arange(VISIT)).reshape(BACK, 2 * VISIT)
    gone, stayed = np.arange(0, BACK, 5), np.arange(1, BACK, 5)
    kept = np.ones(movies.shape, dtype=bool)
    kept[gone, VISIT:] = False
    kept[stayed, -1] = False
    users = np.broadcast_to(np.arange(BACK)[:, None], movies.shape)
    first = np.arange(NEW * FIRST)
    owners = np.concatenate([users[kept], BACK + first])
    histories = build_histories(
        owners,
        np.concatenate([movies[kept], WALK + first // FIRST]),
        np.full(len(owners), 5.0, np.float32),
        np.concatenate([times[kept], START + first // FIRST * 10 * DAY]),
        BACK + len(first),
    )
    sequences = Sequences(
        histories=histories,
        codes=np.zeros((BACK + len(first), 3), np.int64),
        scale=RatingScale(lowest=1.0, highest=5.0, step=1.0),
        length=10,
        trends=movie_trends(histories, sittings(histories), np.full(MOVIES, np.nan, np.float32)),
    )
    away = times[gone, VISIT] - times[gone, VISIT - 1]
    held_out = Visits(
        users=gone,
        asked=times[gone, VISIT - 1] + (rng.random(len(gone)) * away).astype(np.int64),
        back=times[gone, VISIT],
        owners=np.arange(len(gone)),
        movies=movies[gone, VISIT],
        liked=np.ones(len(gone), dtype=bool),
    )
    last = LastEvents(stayed, movies[stayed, -1], times[stayed, -1])
    return sequences, HeldOut(last, held_out)


@pytest.mark.parametrize(
    "settings",
    [changed(epochs=10), changed(epochs=13, full_softmax_movies=WALK, sampled_negatives=60)],
    ids=["all", "by popularity"],
)
def test_users_come_back_to_what_is_new_and_go_on_with_what_comes_next(
    visits: tuple[Sequences, HeldOut], settings: SequenceSettings, tmp_path: Path
) -> None:
    sequences, (stayed, back) = visits
    pair = untrained(0, TREND_WIDTH)
    fit = fit_sequences(pair, *visits, settings, 0, tmp_path / "kept", CPU, TOKENS)
    assert min(fit.epochs[fit.best][1:]) > 0.9  # in the sitting, and of those who come back

    def best(users: np.ndarray, when: When, moments: np.ndarray, times: np.ndarray) -> np.ndarray:
        asked = Asked(users, when, moments, times)
        logits = sequence_logits(SequenceEnsemble([pair]), sequences, asked)
        logits[seen(sequences.histories, users, MOVIES)] = -np.inf
        return np.asarray(logits.argmax(axis=1))

    # Those who left are asked while they are away, and when they are back.
    for when in (When.COMING_BACK, When.AT):
        found = best(back.users, when, back.asked, back.back)
        assert (found == back.movies).mean() > 0.9
    # What is new is a matter of the moment: ten days later it is the next movie.
    later = back.asked + 10 * DAY
    found = best(back.users, When.COMING_BACK, later, later)
    next_one = np.minimum(back.movies + 1, MOVIES - 1)
    assert (found == next_one).mean() > 0.9
    # Those who are in the sitting go on, whatever is new.
    for when in (When.IN_SITTING, When.AT):
        found = best(stayed.users, when, stayed.times + 1, stayed.times)
        assert (found == stayed.movies).mean() > 0.9


def test_interrupted_training_draws_the_same_questions_of_those_who_come_back(
    visits: tuple[Sequences, HeldOut], tmp_path: Path
) -> None:
    settings, path = changed(epochs=2), tmp_path / "kept"
    whole, pair = untrained(0, TREND_WIDTH), untrained(0, TREND_WIDTH)
    fit = fit_sequences(whole, *visits, settings, 0, tmp_path / "whole", CPU, TOKENS)
    per_epoch = len(shuffled(visits[0].counts, TOKENS, np.random.default_rng(0)))
    with pytest.raises(KeyboardInterrupt):
        fit_sequences(pair, *visits, settings, 0, path, CPU, TOKENS, Interrupted(per_epoch + 3))
    pair = untrained(0, TREND_WIDTH)
    assert fit_sequences(pair, *visits, settings, 0, path, CPU, TOKENS) == fit
    for name, value in whole.state_dict().items():
        assert torch.equal(value, pair.state_dict()[name]), name
