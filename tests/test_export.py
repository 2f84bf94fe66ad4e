"""Exported user towers: right for any history and scale, and silent about where they come from."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from small_worlds import tiny_settings, without_visits
from torch import nn

import retrieval
from retrieval.data.dataset import Dataset, encode
from retrieval.data.frames import MovieData
from retrieval.data.history import whole_windows
from retrieval.errors import RequestError, RunError
from retrieval.pairs import export as module
from retrieval.pairs.content_training import fit_content
from retrieval.pairs.neural import pair as neural_pair
from retrieval.pairs.neural.examples import TrainingStatistics, training_statistics
from retrieval.pairs.neural.fitted import HistoryReader
from retrieval.pairs.neural.inputs import UserInputs
from retrieval.pairs.neural.model import NeuralPair, NeuralUserTower
from retrieval.pairs.neural.model import exported_bytes as neural_bytes
from retrieval.pairs.neural.settings import NeuralSettings
from retrieval.pairs.onnx_tower import OnnxTower
from retrieval.pairs.protocol import UserVectors
from retrieval.pairs.sequence import pair as sequence_pair
from retrieval.pairs.sequence.ensemble import EnsembleUserTower, SequenceEnsemble
from retrieval.pairs.sequence.model import exported_bytes as sequence_bytes
from retrieval.pairs.sequence.pair import example_tokens, export_tower
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
    dataset: Dataset, statistics: TrainingStatistics, tower: nn.Module, length: int = LENGTH
) -> HistoryReader:
    return HistoryReader(dataset=dataset, statistics=statistics, tower=tower, length=length)


def encoded(tower: nn.Module, inputs: UserInputs) -> UserVectors:
    """What a user tower gives in torch."""
    tower.eval()
    with torch.no_grad():
        vectors, offsets = tower(*(torch.from_numpy(column) for column in inputs))
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
    small = reader(few, training_statistics(few, rows), tower)
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
    path = tmp_path_factory.mktemp("sequence") / "tower.onnx"
    few = one_event_each(dataset)
    histories = few.histories(np.ones(len(few.users), dtype=bool))
    example = example_tokens(few, histories, LENGTH)
    assert example.movies.shape[1] == 2
    export_tower(EnsembleUserTower(ensemble), example, path)
    return path


def test_a_tower_exported_from_short_histories_encodes_long_ones(
    dataset: Dataset, statistics: TrainingStatistics, pair: NeuralPair, neural_file: Path
) -> None:
    tower = NeuralUserTower(pair, statistics.centre, 87.0)
    inputs = reader(dataset, statistics, tower).example()
    assert inputs.events.shape[1] == LENGTH
    expected = encoded(tower, inputs)
    for part in (inputs, inputs.part(slice(1))):
        vectors, offsets = OnnxTower(neural_file, UserInputs._fields).run(part)
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
    tower = EnsembleUserTower(ensemble).eval()
    with torch.no_grad():
        expected = tower(*(torch.from_numpy(column) for column in made)).numpy()
    (found,) = OnnxTower(sequence_file, Tokens._fields).run_in_chunks(made, len(users), 8)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_padding_changes_no_vector(
    dataset: Dataset, statistics: TrainingStatistics, pair: NeuralPair, ensemble: SequenceEnsemble
) -> None:
    tower = NeuralUserTower(pair, statistics.centre, 1.0)
    inputs = reader(dataset, statistics, tower, 5).example()
    once, padded = (encoded(tower, each) for each in (inputs, inputs.padded(9)))
    np.testing.assert_allclose(padded.vectors, once.vectors, atol=1e-6)
    made = example_tokens(dataset, statistics.histories, 6)
    of = EnsembleUserTower(ensemble).eval()
    with torch.no_grad():
        vectors = [of(*map(torch.from_numpy, each)).numpy() for each in (made, made.padded(10))]
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
    tower = Scaled(NeuralUserTower(pair, statistics.centre, 87.0), share)
    inputs = reader(dataset, statistics, tower).example()
    largest = np.abs(encoded(tower, inputs).vectors).max()
    assert 3e-5 * largest > module.TOLERANCE
    exported = OnnxTower(neural_file, UserInputs._fields)
    if right:
        module.check(exported, tower, inputs)
        return
    with pytest.raises(RunError, match="differs from torch"):
        module.check(exported, tower, inputs)


def test_what_cannot_be_exported_is_said_in_one_line(
    dataset: Dataset, statistics: TrainingStatistics, tmp_path: Path
) -> None:
    class Wayward(nn.Module):
        def forward(self, *columns: torch.Tensor) -> torch.Tensor:
            if float(columns[2].sum()) > 0:
                return columns[2]
            return columns[2] + 1

    wayward = reader(dataset, statistics, Wayward())
    with pytest.raises(RunError, match="cannot export the user tower") as raised:
        wayward.export(tmp_path / "tower.onnx")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["neural", "notebook", "sequence"])
def test_a_tower_too_large_for_a_file_is_refused_before_training(
    all_rows: TrainingData, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tiny_settings([name]).of[name]
    TOWER_PAIRS[name].rehearse(all_rows, settings, 0)
    monkeypatch.setattr(module, "MOST_BYTES", 500)
    message = rf"user tower of the {name} pair would have .* GiB for .*200 movies.*--towers"
    with pytest.raises(RequestError, match=message):
        TOWER_PAIRS[name].rehearse(all_rows, settings, 0)


def test_the_size_of_a_file_is_known_before_it_is_written(
    pair: NeuralPair, ensemble: SequenceEnsemble, neural_file: Path, sequence_file: Path
) -> None:
    expected = neural_bytes(pair.settings, pair.sizes)
    assert 0 < neural_file.stat().st_size - expected < 120_000
    expected = sequence_bytes(SEQUENCE, ensemble.sizes)
    assert 0 < sequence_file.stat().st_size - expected < 500_000
    larger = pair.sizes._replace(movies=10**6, classes=10)
    assert neural_bytes(NeuralSettings(), larger) > module.MOST_BYTES


def test_long_trainings_are_rehearsed_whole(
    all_rows: TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported: list[str] = []
    monkeypatch.setattr(HistoryReader, "export", lambda *_: exported.append("history"))
    monkeypatch.setattr(sequence_pair, "export_tower", lambda *_: exported.append("sequence"))
    for name in ("neural", "sequence"):
        rehearse = TOWER_PAIRS[name].rehearse
        rehearse(all_rows, tiny_settings([name]).of[name], 0)
        assert not exported
    monkeypatch.setattr("retrieval.pairs.training.WORTH_REHEARSING", 1)
    for name in ("neural", "sequence"):
        TOWER_PAIRS[name].rehearse(all_rows, tiny_settings([name]).of[name], 0)
    assert exported == ["history", "sequence"]
