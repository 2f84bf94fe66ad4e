from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.progress import Progress
from torch import nn

from retrieval.data.dataset import Dataset, encode
from retrieval.data.frames import MovieData
from retrieval.data.split import random_rows
from retrieval.data.statistics import running_sums
from retrieval.errors import RecError
from retrieval.options import Preset
from retrieval.pairs.content import Content, fit_content
from retrieval.pairs.export import export_user_tower
from retrieval.pairs.neural.examples import (
    Examples,
    Known,
    held_out_examples,
    learn,
    training_examples,
)
from retrieval.pairs.neural.inputs import UserInputs
from retrieval.pairs.neural.model import NeuralPair, NeuralSettings, pool
from retrieval.pairs.neural.training import fit, predict
from retrieval.pairs.notebook.model import Activation, NotebookPair, NotebookSettings
from retrieval.pairs.onnx_tower import QueryTower
from retrieval.pairs.time_codes import AGE_BUCKETS, doublings
from retrieval.pipeline.indexing import build_index
from retrieval.pipeline.pairs import make_pair, movie_vectors, user_tower
from retrieval.pipeline.presets import LoopSettings, plan
from retrieval.pipeline.training import train
from retrieval.serving.recommender import Recommender


@pytest.fixture(scope="module")
def dataset(data: MovieData) -> Dataset:
    return encode(data)


@pytest.fixture(scope="module")
def rows(dataset: Dataset) -> np.ndarray:
    return random_rows(len(dataset.ratings), 500, np.random.default_rng(0))


@pytest.fixture(scope="module")
def known(dataset: Dataset, rows: np.ndarray) -> Known:
    return learn(dataset, ~rows)


@pytest.fixture(scope="module")
def examples(dataset: Dataset, known: Known, rows: np.ndarray) -> Examples:
    return training_examples(dataset, known, ~rows)


def content(dataset: Dataset) -> Content:
    return fit_content(dataset.movie_frame, 0).describe(dataset.movie_frame)


def neural(dataset: Dataset, known: Known) -> NeuralPair:
    settings = NeuralSettings(dimension=16, hidden=32)
    pair = make_pair(settings, dataset, content(dataset), known, 0)
    assert isinstance(pair, NeuralPair)
    return pair


def test_each_head_pools_its_own_part() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(30, 8, generator=generator)
    weights = torch.rand(5, 7, 4, generator=generator)
    events = torch.randint(30, (5, 7), generator=generator)
    parts = [
        torch.stack([weights[row, :, head] @ values[events[row], part] for row in range(5)])
        for head, part in enumerate((slice(0, 2), slice(2, 4), slice(4, 6), slice(6, 8)))
    ]
    torch.testing.assert_close(pool(values, events, weights), torch.cat(parts, 1))


def test_the_event_table_has_a_row_for_every_movie_at_every_level(
    dataset: Dataset, known: Known
) -> None:
    pair = neural(dataset, known)
    described = pair.describe(pair.content)
    table = pair.event_table(described)
    for movie, level in ((3, 0), (5, 4)):
        number = torch.tensor(movie + 1 if pair.rated[movie] else 0)
        told = torch.cat(
            [
                pair.event_movies(number) + described[movie],
                pair.statistics[movie],
                pair.event_classes.weight[level],
            ]
        )
        row = movie * pair.sizes.classes + level
        expected = pair.event_value(torch.nn.functional.gelu(pair.event_hidden(told)))
        torch.testing.assert_close(table.values[row], expected)


def test_an_empty_history_has_no_weight_and_a_long_one_nearly_all(
    dataset: Dataset, known: Known, examples: Examples
) -> None:
    pair = neural(dataset, known)
    batch = examples.batch(np.arange(len(examples)), 20)
    keys = pair.event_table(pair.describe(pair.content)).keys
    total = pair.attention(batch.users, keys).sum(1)  # (B, H)
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
    centre = examples.known.centre
    moved = learn(other, ~rows)
    deviations = other.scale.deviations(moved.histories.ratings, centre)
    moved = replace(moved, centre=centre, deviations=deviations, running=running_sums(deviations))
    changed = training_examples(other, moved, ~rows)
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
    dataset: Dataset, known: Known, examples: Examples, rows: np.ndarray
) -> None:
    pair = neural(dataset, known)
    validation = held_out_examples(dataset, known, rows)
    settings = LoopSettings(epochs=6, batch_size=256, learning_rate=1e-2)
    with Progress(disable=True) as progress:
        done = fit(pair, examples, validation, 20, settings, 0, progress)
    errors = predict(pair, validation, 20) - validation.targets
    error = float(np.sqrt(np.mean(errors.astype(np.float64) ** 2)))
    assert error == pytest.approx(min(epoch.validation_error for epoch in done.epochs))
    assert error < 0.9 * validation.targets.std()


def test_the_errors_of_epochs_are_shown_in_ratings(
    dataset: Dataset, known: Known, examples: Examples, rows: np.ndarray
) -> None:
    validation = held_out_examples(dataset, known, rows)
    settings = LoopSettings(epochs=1, batch_size=256, learning_rate=1e-2)
    with Progress(disable=True) as progress:
        done = fit(neural(dataset, known), examples, validation, 20, settings, 0, progress, 25.0)
        shown = progress.tasks[0].description
    assert shown == f"epoch 1 of 1: validation RMSE {25 * done.epochs[0].validation_error:.4f}"


def test_training_that_diverges_names_the_epoch_and_the_step(
    dataset: Dataset, known: Known, examples: Examples, rows: np.ndarray
) -> None:
    pair = neural(dataset, known)
    validation = held_out_examples(dataset, known, rows)
    settings = LoopSettings(epochs=2, batch_size=2000, learning_rate=1e30)
    message = r"the neural pair has diverged: .* step [123] of epoch [12]; .*--towers"
    with Progress(disable=True) as progress, pytest.raises(RecError, match=message):
        fit(pair, examples, validation, 20, settings, 0, progress)


def test_the_exported_user_tower_and_the_index_give_what_the_pair_gives(
    dataset: Dataset, known: Known, examples: Examples, tmp_path: Path
) -> None:
    pair = neural(dataset, known).eval()
    # Untrained weights are small; enlarge them so that a wrong one shows.
    with torch.no_grad():
        for weight in pair.parameters():
            weight.mul_(3)
    batch = examples.batch(np.arange(50, 250), 20)
    inputs = UserInputs(*(column.numpy() for column in batch.users))
    unit = dataset.scale.unit
    export_user_tower(user_tower(pair, known.centre, unit), inputs, tmp_path / "tower.onnx")
    vectors, offsets = QueryTower(tmp_path / "tower.onnx").encode(inputs)
    movies = batch.movies.numbers.numpy()
    served = offsets + (vectors * movie_vectors(pair)[movies]).sum(1)
    full = batch.movies._replace(statistics=pair.statistics[batch.movies.numbers])
    with torch.no_grad():
        wanted = known.centre + unit * pair(batch.users, full)
    np.testing.assert_allclose(served, wanted.numpy(), atol=1e-4)


def test_unrated_movies_and_strangers_share_the_unknown_row(
    known: Known, examples: Examples
) -> None:
    rated = known.rated.copy()
    rated[examples.movies[0]] = False
    batch = replace(examples, known=replace(known, rated=rated)).batch(np.array([0]), 5)
    assert batch.movies.ids.tolist() == [0]
    seen = known.seen_users & False
    batch = replace(examples, known=replace(known, seen_users=seen)).batch(np.array([0]), 5)
    assert batch.users.users.tolist() == [0]


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("activation", list(Activation))
def test_the_notebook_has_the_published_shape(
    dataset: Dataset, known: Known, layers: int, activation: Activation
) -> None:
    settings = NotebookSettings(layers=layers, activation=activation)
    pair = make_pair(settings, dataset, content(dataset), known, 0)
    assert isinstance(pair, NotebookPair)
    user, movie = (
        [(layer.in_features, layer.out_features) for layer in dense if isinstance(layer, nn.Linear)]
        for dense in (pair.user_dense, pair.movie_dense)
    )
    assert user == ([(207, 64), (64, 32)] if layers == 2 else [(207, 32)])
    assert movie == ([(105, 64), (64, 32)] if layers == 2 else [(105, 32)])
    assert plan(Preset.NOTEBOOK, 1_000_000).loop.batch_size == 64


def test_the_notebook_is_trained_indexed_and_served(data: MovieData, tmp_path: Path) -> None:
    with Progress(disable=True) as progress:
        train(data, "world", tmp_path / "run", Preset.NOTEBOOK, 0, progress)
    assert build_index(tmp_path / "run").card.dimension == 33
    rows = Recommender.load(tmp_path / "run").topk(1, 5)
    assert len({row.rating for row in rows}) > 1 or rows[0].rating in {1.0, 5.0}


def test_ages_double_from_bucket_to_bucket() -> None:
    seconds = np.array([-5, 0, 1, 2, 3, 4, 1023, 1024, 86_400, 2**62])
    assert doublings(seconds).tolist() == [0, 0, 1, 2, 2, 3, 10, 11, 17, AGE_BUCKETS - 1]


def test_strangers_have_told_a_part_of_what_the_user_had(examples: Examples) -> None:
    rows = np.arange(len(examples))
    strangers = examples.strangers(rows, 1000, np.random.default_rng(0))
    whole = examples.batch(rows, 1000).users
    count = len(strangers.users)
    assert count == len(rows) // 2
    assert (strangers.users == 0).all()
    told, known = strangers.present.sum(1), whole.present[:count].sum(1)
    assert (told <= known).all()
    assert 0.3 < (told == known).float().mean() < 0.5
    assert (told[known > 5] == 0).any()
    np.testing.assert_allclose(torch.expm1(strangers.statistics[:, 2]), told, rtol=1e-4)
    for row in ((told > 0) & (told < known)).nonzero().flatten()[:50].tolist():
        own = whole.events[row, : known[row]].expand_to_catalogue(
            0, int(told[row]), 1
        )  # every part
        assert (own == strangers.events[row, : told[row]]).all(1).any()
