import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from interrupted import Interrupted, Recorded
from small_worlds import without_visits
from torch.nn.functional import embedding

from retrieval.data.dataset import Dataset, encode
from retrieval.data.frames import MovieData
from retrieval.data.split import random_rows
from retrieval.errors import RecError
from retrieval.pairs.content_training import fit_content
from retrieval.pairs.epochs import Fit
from retrieval.pairs.neural import model
from retrieval.pairs.neural.examples import (
    Examples,
    TrainingStatistics,
    events_of,
    held_out_examples,
    training_examples,
    training_statistics,
)
from retrieval.pairs.neural.inputs import UserInputs
from retrieval.pairs.neural.model import NeuralPair, NeuralUserTower, pool, tables_of
from retrieval.pairs.neural.pair import make_module
from retrieval.pairs.neural.settings import NeuralSettings
from retrieval.pairs.neural.training import Epoch, LoopSettings, Optimizer, fit, predict
from retrieval.pairs.time_codes import AGE_BUCKETS, doublings
from retrieval.pairs.training import TrainingData, movie_vectors
from retrieval.progress import SILENT, Progress

LOOP = LoopSettings(epochs=6, batch_size=256, learning_rate=1e-2, warm_up=0.15, patience=2)


@pytest.fixture(scope="module")
def dataset(data: MovieData) -> Dataset:
    return encode(data)


@pytest.fixture(scope="module")
def rows(dataset: Dataset) -> np.ndarray:
    return random_rows(len(dataset.ratings), 500, np.random.default_rng(0))


@pytest.fixture(scope="module")
def known(dataset: Dataset, rows: np.ndarray) -> TrainingStatistics:
    return training_statistics(dataset, ~rows)


@pytest.fixture(scope="module")
def examples(dataset: Dataset, known: TrainingStatistics) -> Examples:
    return training_examples(dataset, known, events_of(dataset, known))


@pytest.fixture(scope="module")
def validation(dataset: Dataset, known: TrainingStatistics, rows: np.ndarray) -> Examples:
    return held_out_examples(dataset, known, events_of(dataset, known), rows)


@pytest.fixture(scope="module")
def whole(dataset: Dataset, rows: np.ndarray) -> TrainingData:
    content = fit_content(dataset.movie_frame, 0).describe(dataset.movie_frame)
    return without_visits(dataset, content, rows, np.zeros_like(rows))


@pytest.fixture
def pair(whole: TrainingData, known: TrainingStatistics) -> NeuralPair:
    """An untrained pair."""
    return make_module(whole, NeuralSettings(dimension=16, hidden=32), known, 0)


def test_each_head_pools_its_own_part() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(30, 8, generator=generator)
    weights = torch.rand(5, 7, 4, generator=generator)
    events = torch.randint(30, (5, 7), generator=generator)
    parts = [
        torch.stack([weights[row, :, head] @ values[events[row], part] for row in range(5)])
        for head, part in enumerate((slice(0, 2), slice(2, 4), slice(4, 6), slice(6, 8)))
    ]
    torch.testing.assert_close(pool(values[events], weights), torch.cat(parts, 1))


def test_the_event_table_has_a_row_for_every_movie_at_every_rating_class(pair: NeuralPair) -> None:
    described = pair.describe(pair.content)
    table = pair.event_table(described)
    for movie, rating in ((3, 0), (5, 4)):
        number = torch.tensor(movie + 1 if pair.rated[movie] else 0)
        told = torch.cat(
            [
                pair.event_movies(number) + described[movie],
                pair.statistics[movie],
                pair.event_classes.weight[rating],
            ]
        )
        row = movie * pair.sizes.classes + rating
        expected = pair.event_value(torch.nn.functional.gelu(pair.event_hidden(told)))
        torch.testing.assert_close(table.values[row], expected)


def test_a_table_of_the_events_of_batches_says_what_the_whole_one_does(
    pair: NeuralPair, examples: Examples
) -> None:
    described = pair.describe(pair.content).detach()
    whole = pair.event_table(described)
    few, more = (examples.batch(np.arange(count), 5).users for count in (20, 40))
    assert 4 * len(whole.keys) > few.events.numel() + more.events.numel()
    table, batches = pair.event_table_of(described, few, more)
    assert len(table.keys) < len(whole.keys)
    for before, after in zip((few, more), batches, strict=True):
        torch.testing.assert_close(table.values[after.events], whole.values[before.events])
        torch.testing.assert_close(table.keys[after.events], whole.keys[before.events])


def test_tables_of_events_have_few_lengths_and_hardly_more_than_there_is() -> None:
    lengths = [len(model.padded(torch.arange(count))) for count in range(1, 4096)]
    assert all(count <= length <= 1.125 * count for count, length in enumerate(lengths, start=1))
    assert len({length for length in lengths if length > 2048}) == 8
    assert model.padded(torch.tensor([7, 8])).tolist()[:2] == [7, 8]


def test_large_batches_are_answered_from_the_table_of_everything(
    pair: NeuralPair, examples: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "REPEATED", 1e-3)
    users = examples.batch(np.arange(20), 5).users
    table, (same,) = pair.event_table_of(pair.describe(pair.content), users)
    assert len(table.keys) == pair.sizes.movies * pair.sizes.classes
    assert same is users


def test_an_empty_history_has_no_weight_and_a_long_one_nearly_all(
    pair: NeuralPair, examples: Examples
) -> None:
    batch = examples.batch(np.arange(len(examples)), 20)
    keys = pair.event_table(pair.describe(pair.content)).keys
    of_events = embedding(batch.users.events, keys)
    total = pair.attention(of_events, batch.users.present, batch.users.ages).sum(1)  # (B, H)
    empty = ~batch.users.present.any(1)
    assert empty.any()
    assert (total[empty] == 0).all()
    assert (total[~empty] > 0).all()
    assert (total < 1).all()


def test_no_example_sees_its_own_rating_or_a_later_one(
    dataset: Dataset, rows: np.ndarray, examples: Examples
) -> None:
    """Change one rating: nothing that is known before it may change."""
    place = len(examples) // 2
    user = examples.users[place]
    changed_row = np.flatnonzero(
        (dataset.users == user) & (dataset.movies == examples.movies[place])
    )[0]
    ratings = dataset.ratings.copy()
    ratings[changed_row] = 6 - ratings[changed_row] if ratings[changed_row] != 3 else 5
    other = replace(dataset, ratings=ratings)
    # The centre moves with the ratings; hold it, as it is one number for all.
    centre = examples.statistics.centre
    moved = training_statistics(other, ~rows)
    moved = replace(moved, centre=centre)
    changed = training_examples(other, moved, events_of(other, moved))
    own = np.array([place])
    for before, after in zip(
        [*examples.batch(own, 30).users, *examples.batch(own, 30).movies],
        [*changed.batch(own, 30).users, *changed.batch(own, 30).movies],
        strict=True,
    ):
        assert torch.equal(before, after)
    assert examples.targets[place] != changed.targets[place]
    later = np.flatnonzero(examples.users == user)[-1:]
    if later[0] > place:
        assert not torch.equal(
            examples.batch(later, 100).users.events, changed.batch(later, 100).users.events
        )


def test_training_beats_the_average_and_keeps_the_best_epoch(
    pair: NeuralPair, examples: Examples, validation: Examples
) -> None:
    done = fit(pair, examples, validation, 20, LOOP, 0, "neural")
    errors = predict(pair, validation, 20) - validation.targets
    error = float(np.sqrt(np.mean(errors.astype(np.float64) ** 2)))
    assert error == pytest.approx(min(epoch.validation_error for epoch in done.epochs))
    assert error < 0.9 * validation.targets.std()


def test_the_errors_of_epochs_are_shown_in_ratings(
    pair: NeuralPair, examples: Examples, validation: Examples
) -> None:
    shown = Recorded()
    done = fit(pair, examples, validation, 20, replace(LOOP, epochs=1), 0, "neural", shown, 25.0)
    steps = -(-len(examples) // LOOP.batch_size)
    assert (shown.stages, shown.steps) == ([("neural pair", steps)], steps)
    error = 25 * done.epochs[0].validation_error
    assert shown.said == [f"epoch 1 of 1, validation RMSE {error:.4f}"]


def test_training_that_diverges_names_the_epoch_and_the_step(
    pair: NeuralPair, examples: Examples, validation: Examples
) -> None:
    settings = replace(LOOP, epochs=2, batch_size=2000, learning_rate=1e30)
    message = r"the neural pair has diverged: .* step [123] of epoch [12]; .*--towers"
    with pytest.raises(RecError, match=message):
        fit(pair, examples, validation, 20, settings, 0, "neural")


@pytest.mark.parametrize("optimizer", Optimizer)
@pytest.mark.parametrize("interrupted", [3, 8, 20])
def test_interrupted_training_goes_on_to_the_same_pair(
    whole: TrainingData,
    known: TrainingStatistics,
    examples: Examples,
    validation: Examples,
    tmp_path: Path,
    optimizer: Optimizer,
    interrupted: int,
) -> None:
    settings = replace(LOOP, optimizer=optimizer, epochs=4, batch_size=math.ceil(len(examples) / 6))

    def trained(folder: Path, progress: Progress) -> tuple[NeuralPair, Fit[Epoch]]:
        made = make_module(whole, NeuralSettings(dimension=8, hidden=8), known, 0)
        path = folder / "module.safetensors"
        return made, fit(made, examples, validation, 20, settings, 0, "neural", progress, path=path)

    expected, done = trained(tmp_path / "whole", SILENT)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "kept", Interrupted(interrupted))
    resumed = Recorded()
    found, again = trained(tmp_path / "kept", resumed)
    assert again == done
    for name, value in expected.state_dict().items():
        assert torch.equal(value, found.state_dict()[name]), name
    kept = (interrupted - 1) // 6  # epochs that were finished
    assert len(resumed.said) == 4 - kept
    assert resumed.steps == 4 * 6


def test_training_of_other_rows_is_not_gone_on_from(
    whole: TrainingData,
    known: TrainingStatistics,
    examples: Examples,
    validation: Examples,
    tmp_path: Path,
) -> None:
    path, settings = tmp_path / "module.safetensors", replace(LOOP, epochs=1)

    def trained(rows: Examples, seed: int = 0, dropout: float = 0.1) -> Recorded:
        own, progress = NeuralSettings(dimension=8, dropout=dropout), Recorded()
        module = make_module(whole, own, known, 0)
        fit(module, rows, validation, 20, settings, seed, "neural", progress, path=path)
        return progress

    assert len(trained(examples).said) == 1
    assert not trained(examples).said
    assert len(trained(replace(examples, targets=-examples.targets)).said) == 1
    assert len(trained(examples, seed=1).said) == 1
    assert len(trained(examples, seed=1, dropout=0.2).said) == 1


def test_the_user_tower_and_the_movie_vectors_give_what_the_pair_gives(
    pair: NeuralPair, known: TrainingStatistics, examples: Examples
) -> None:
    pair.eval()
    # Untrained weights are small; enlarge them so that a wrong one shows.
    with torch.no_grad():
        for weight in pair.parameters():
            weight.mul_(3)
    batch = examples.batch(np.arange(50, 250), 20)
    full = batch.movies._replace(statistics=pair.statistics[batch.movies.numbers])
    unit = 2.0
    with torch.no_grad():
        inputs = UserInputs(*(column.numpy() for column in batch.users))
        columns = map(torch.from_numpy, tables_of(pair).columns(inputs).values())
        vectors, offsets = NeuralUserTower(pair, known.centre, unit)(*columns)
        wanted = known.centre + unit * pair(batch.users, full)
    movies = torch.from_numpy(movie_vectors(pair))[batch.movies.numbers]
    np.testing.assert_allclose(offsets + (vectors * movies).sum(1), wanted, atol=1e-4)


def test_unrated_movies_and_new_users_share_the_unknown_row(
    known: TrainingStatistics, examples: Examples
) -> None:
    rated = known.rated.copy()
    rated[examples.movies[0]] = False
    batch = replace(examples, statistics=replace(known, rated=rated)).batch(np.array([0]), 5)
    assert batch.movies.ids.tolist() == [0]
    seen = known.seen_users & False
    batch = replace(examples, statistics=replace(known, seen_users=seen)).batch(np.array([0]), 5)
    assert batch.users.users.tolist() == [0]


def test_ages_double_from_bucket_to_bucket() -> None:
    seconds = np.array([-5, 0, 1, 2, 3, 4, 1023, 1024, 86_400, 2**62])
    assert doublings(seconds).tolist() == [0, 0, 1, 2, 2, 3, 10, 11, 17, AGE_BUCKETS - 1]


def test_new_users_have_given_a_part_of_what_the_user_had(examples: Examples) -> None:
    rows = np.arange(len(examples))
    new = examples.new_users(rows, 1000, np.random.default_rng(0))
    whole = examples.batch(rows, 1000).users
    count = len(new.users)
    assert count == len(rows) // 2
    assert (new.users == 0).all()
    given, known = new.present.sum(1), whole.present[:count].sum(1)
    assert (given <= known).all()
    assert 0.3 < (given == known).float().mean() < 0.5
    assert (given[known > 5] == 0).any()
    np.testing.assert_allclose(torch.expm1(new.statistics[:, 2]), given, rtol=1e-4)
    for row in ((given > 0) & (given < known)).nonzero().flatten()[:50].tolist():
        own = whole.events[row, : known[row]].unfold(0, int(given[row]), 1)  # every part
        assert (own == new.events[row, : given[row]]).all(1).any()
