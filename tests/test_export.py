"""Exported user towers: right for any history and scale, and silent about where they come from."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from small_worlds import small_world, tiny_settings, without_visits
from torch import nn

import retrieval
from retrieval.data.dataset import Dataset, encode
from retrieval.data.frames import MovieData
from retrieval.data.history import whole_windows
from retrieval.errors import RunError
from retrieval.pairs import export as module
from retrieval.pairs.content_training import fit_content
from retrieval.pairs.neural import pair as neural_pair
from retrieval.pairs.neural.examples import TrainingStatistics, training_statistics
from retrieval.pairs.neural.fitted import HistoryReader
from retrieval.pairs.neural.inputs import Tables, UserInputs
from retrieval.pairs.neural.model import NeuralPair, NeuralUserTower, tables_of
from retrieval.pairs.neural.settings import NeuralSettings
from retrieval.pairs.onnx_tower import Columns, OnnxTower
from retrieval.pairs.protocol import UserVectors
from retrieval.pairs.sequence import pair as sequence_pair
from retrieval.pairs.sequence.ensemble import EnsembleUserTower, SequenceEnsemble, movie_table
from retrieval.pairs.sequence.files import TOWER_FILE
from retrieval.pairs.sequence.pair import example_tokens, write_layers
from retrieval.pairs.sequence.settings import SequenceSettings
from retrieval.pairs.sequence.tokens import Tokens, tokens
from retrieval.pairs.table import TOWER_PAIRS
from retrieval.pairs.training import TrainingData

LENGTH = 12
NEURAL = NeuralSettings(dimension=8, hidden=16, heads=2, history_length=LENGTH)
SEQUENCE = SequenceSettings(dimension=8, blocks=2, heads=2, hidden=8, history_length=LENGTH)


@pytest.fixture(scope="module")
def dataset(data: MovieData) -> Dataset:
    return encode(data)


def training_data(dataset: Dataset) -> TrainingData:
    """All rows to train on, none held out."""
    none = np.zeros(len(dataset.ratings), dtype=bool)
    content = fit_content(dataset.movie_frame, 0).describe(dataset.movie_frame)
    return without_visits(dataset, content, none, none)


@pytest.fixture(scope="module")
def all_rows(dataset: Dataset) -> TrainingData:
    return training_data(dataset)


@pytest.fixture(scope="module")
def statistics(dataset: Dataset) -> TrainingStatistics:
    return training_statistics(dataset, np.ones(len(dataset.ratings), dtype=bool))


@pytest.fixture(scope="module")
def pair(all_rows: TrainingData, statistics: TrainingStatistics) -> NeuralPair:
    made = neural_pair.make_module(all_rows, NEURAL, statistics, 0)
    with torch.no_grad():
        for weight in made.parameters():
            weight.mul_(3)  # untrained weights are small; a wrong one must show
    return made


def reader(
    dataset: Dataset,
    statistics: TrainingStatistics,
    tower: nn.Module,
    tables: Tables,
    length: int = LENGTH,
) -> HistoryReader:
    return HistoryReader(
        dataset=dataset, statistics=statistics, tower=tower, tables=tables, length=length
    )


def encoded(tower: nn.Module, columns: Columns) -> UserVectors:
    """What a user tower gives in torch."""
    tower.eval()
    with torch.no_grad():
        vectors, offsets = tower(*(torch.from_numpy(column) for column in columns.values()))
    return UserVectors(vectors.numpy(), offsets.numpy(), np.zeros(len(vectors), np.float32))


def one_event_each(dataset: Dataset) -> Dataset:
    """The first event of each user alone: histories in which every size is 1."""
    _, first = np.unique(dataset.users, return_index=True)
    return replace(
        dataset,
        users=dataset.users[first],
        movies=dataset.movies[first],
        ratings=dataset.ratings[first],
        timestamps=dataset.timestamps[first],
    )


@pytest.fixture(scope="module")
def neural_file(
    dataset: Dataset,
    statistics: TrainingStatistics,
    pair: NeuralPair,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Of an example with one event a user."""
    path = tmp_path_factory.mktemp("neural") / "tower.onnx"
    few = one_event_each(dataset)
    rows = np.ones(len(few.users), dtype=bool)
    tower = NeuralUserTower(pair, statistics.centre, 87.0)
    small = reader(few, training_statistics(few, rows), tower, tables_of(pair))
    assert small.example().events.shape[1] == 1
    small.export(path)
    return path


@pytest.fixture(scope="module")
def ensemble(all_rows: TrainingData, statistics: TrainingStatistics) -> SequenceEnsemble:
    trends = sequence_pair.trends_of(statistics.histories, all_rows.content.years)
    assert trends is not None
    made = sequence_pair.make_pair(all_rows, SEQUENCE, statistics.rated, trends, seed=0)
    assert made.returning is not None
    torch.nn.init.normal_(made.returning.weights.weight)  # so that trends count before training
    return SequenceEnsemble([made])


@pytest.fixture(scope="module")
def sequence_file(
    dataset: Dataset, ensemble: SequenceEnsemble, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Of an example with one event a user."""
    folder = tmp_path_factory.mktemp("sequence")
    few = one_event_each(dataset)
    histories = few.histories(np.ones(len(few.users), dtype=bool))
    example = example_tokens(few.user_codes, few.scale, histories, LENGTH)
    assert example.movies.shape[1] == 2
    write_layers(folder, ensemble, movie_table(ensemble), example)
    return folder / TOWER_FILE


def test_a_tower_exported_from_short_histories_encodes_long_ones(
    dataset: Dataset, statistics: TrainingStatistics, pair: NeuralPair, neural_file: Path
) -> None:
    tower, tables = NeuralUserTower(pair, statistics.centre, 87.0), tables_of(pair)
    inputs = reader(dataset, statistics, tower, tables).example()
    assert inputs.events.shape[1] == LENGTH
    expected = encoded(tower, tables.columns(inputs))
    for part in (inputs, inputs.part(slice(1))):
        exported = OnnxTower(neural_file, UserInputs._fields)
        vectors, offsets = exported.run(tables.columns(part))
        count = len(part.users)
        np.testing.assert_allclose(vectors, expected.vectors[:count], rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(offsets, expected.offsets[:count], rtol=1e-3, atol=1e-3)


def test_a_sequence_tower_exported_from_short_histories_encodes_long_ones(
    dataset: Dataset,
    statistics: TrainingStatistics,
    ensemble: SequenceEnsemble,
    sequence_file: Path,
) -> None:
    users = np.arange(20)
    made = tokens(
        dataset.user_codes[users],
        statistics.histories,
        whole_windows(statistics.histories, users),
        users % 2 == 0,
        dataset.scale,
        LENGTH,
        np.stack([users % 3, users // 3], axis=1) * (users % 2)[:, None],  # half of them come back
    )
    assert made.movies.shape[1] == LENGTH + 1
    tower, table = EnsembleUserTower(ensemble).eval(), movie_table(ensemble)
    with torch.no_grad():
        columns = made.columns(table).values()
        expected = tower(*(torch.from_numpy(column) for column in columns))[0].numpy()
    found, _ = OnnxTower(sequence_file, Tokens._fields).run_in_chunks(
        lambda rows: made.part(rows).columns(table), len(users), 8
    )
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_padding_changes_no_vector(
    dataset: Dataset, statistics: TrainingStatistics, pair: NeuralPair, ensemble: SequenceEnsemble
) -> None:
    tower, tables = NeuralUserTower(pair, statistics.centre, 1.0), tables_of(pair)
    inputs = reader(dataset, statistics, tower, tables, 5).example()
    once, padded = (encoded(tower, tables.columns(each)) for each in (inputs, inputs.padded(9)))
    np.testing.assert_allclose(padded.vectors, once.vectors, atol=1e-6)
    made = example_tokens(dataset.user_codes, dataset.scale, statistics.histories, 6)
    of, table = EnsembleUserTower(ensemble).eval(), movie_table(ensemble)
    with torch.no_grad():
        vectors = [
            of(*map(torch.from_numpy, each.columns(table).values()))[0].numpy()
            for each in (made, made.padded(10))
        ]
    np.testing.assert_allclose(vectors[1], vectors[0], atol=1e-6)


@pytest.mark.parametrize("file", ["neural_file", "sequence_file"])
def test_a_file_holds_nothing_of_the_machine_it_was_made_on(
    file: str, request: pytest.FixtureRequest
) -> None:
    path: Path = request.getfixturevalue(file)
    content = path.read_bytes()
    for origin in (Path(retrieval.__file__).parent, Path.home(), Path(torch.__file__).parent):
        assert str(origin).encode() not in content
    for word in (b"stack_trace", b".py", b"File ", b"site-packages", b"metadata"):
        assert word not in content, word
    onnx.checker.check_model(onnx.load(path))


class Scaled(nn.Module):
    """A tower whose export computes what another scale says."""

    def __init__(self, tower: nn.Module, scale: float) -> None:
        super().__init__()
        self.tower, self.scale = tower, scale

    def forward(self, *columns: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(output * self.scale for output in self.tower(*columns))


@pytest.mark.parametrize(("share", "right"), [(1 + 3e-5, True), (1 + 1e-3, False)])
def test_differences_are_measured_by_the_largest_component(
    dataset: Dataset,
    statistics: TrainingStatistics,
    pair: NeuralPair,
    neural_file: Path,
    share: float,
    *,
    right: bool,
) -> None:
    # Numbers of plays are rated in the hundreds: single precision leaves more of them.
    tower, tables = Scaled(NeuralUserTower(pair, statistics.centre, 87.0), share), tables_of(pair)
    inputs = tables.columns(reader(dataset, statistics, tower, tables).example())
    largest = np.abs(encoded(tower, inputs).vectors).max()
    assert 3e-5 * largest > module.TOLERANCE
    exported = OnnxTower(neural_file, UserInputs._fields)
    if right:
        module.check(exported, tower, inputs)
        return
    with pytest.raises(RunError, match="differs from torch"):
        module.check(exported, tower, inputs)


def test_what_cannot_be_exported_is_said_in_one_line(
    dataset: Dataset, statistics: TrainingStatistics, pair: NeuralPair, tmp_path: Path
) -> None:
    class Wayward(nn.Module):
        def forward(self, *columns: torch.Tensor) -> torch.Tensor:
            if float(columns[2].sum()) > 0:
                return columns[2]
            return columns[2] + 1

    wayward = reader(dataset, statistics, Wayward(), tables_of(pair))
    with pytest.raises(RunError, match="cannot export the user tower") as raised:
        wayward.export(tmp_path / "tower.onnx")
    assert "\n" not in str(raised.value)


def test_a_file_of_layers_is_as_large_for_any_number_of_users_and_movies(
    all_rows: TrainingData, neural_file: Path, sequence_file: Path, tmp_path: Path
) -> None:
    """Nothing that grows with the data is in it, and no tower outgrows what a file can hold."""
    for path in (neural_file, sequence_file):
        rows = {tuple(each.dims)[:1] for each in onnx.load(path).graph.initializer}
        assert not rows & {(200,), (201,), (200 * all_rows.dataset.scale.classes,)}
        assert (1 + len(all_rows.dataset.user_vocabulary),) not in rows
    many = small_world([(user, 1 + user % 900) for user in range(1, 2701)])
    for name, world in (("few", all_rows), ("many", training_data(encode(many)))):
        statistics = training_statistics(world.dataset, ~world.held_out)
        module = neural_pair.make_module(world, NEURAL, statistics, 0)
        tower = NeuralUserTower(module, statistics.centre, 1.0)
        reader(world.dataset, statistics, tower, tables_of(module)).export(tmp_path / name)
    few, larger = ((tmp_path / name).stat().st_size for name in ("few", "many"))
    assert abs(larger - few) < 1000


def test_long_trainings_are_rehearsed_whole(
    all_rows: TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported: list[str] = []
    monkeypatch.setattr(HistoryReader, "export", lambda *_: exported.append("history"))
    monkeypatch.setattr(sequence_pair, "write_layers", lambda *_: exported.append("sequence"))
    for name in ("neural", "sequence"):
        rehearse = TOWER_PAIRS[name].rehearse
        rehearse(all_rows, tiny_settings([name]).of[name], 0)
        assert not exported
    monkeypatch.setattr("retrieval.pairs.training.WORTH_REHEARSING", 1)
    for name in ("neural", "sequence"):
        TOWER_PAIRS[name].rehearse(all_rows, tiny_settings([name]).of[name], 0)
    assert exported == ["history", "sequence"]
