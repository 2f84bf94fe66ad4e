"""Exported user towers: right for any history and scale, and silent about where they come from."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import retrieval
from retrieval.blending.rating import example_users
from retrieval.data.dataset import Dataset, encode
from retrieval.data.frames import MovieData
from retrieval.data.history import whole_windows
from retrieval.errors import RequestError, RunError
from retrieval.options import Preset, Towers
from retrieval.pairs import export as module
from retrieval.pairs.content import Content, learn_to_describe
from retrieval.pairs.export import export_sequence_tower, export_user_tower
from retrieval.pairs.neural import model as neural
from retrieval.pairs.neural.examples import Known, learn
from retrieval.pairs.neural.inputs import UserInputs
from retrieval.pairs.neural.model import NeuralPair, NeuralSettings
from retrieval.pairs.onnx_tower import QueryTower
from retrieval.pairs.sequence import model as sequence
from retrieval.pairs.sequence.ensemble import EnsembleUserTower, SequenceEnsemble
from retrieval.pairs.sequence.model import SequenceSettings
from retrieval.pairs.sequence.tokens import tokens
from retrieval.pairs.sequence.watch import example_tokens
from retrieval.pipeline.pairs import encode_users, make_pair, make_sequence_pair, user_tower
from retrieval.pipeline.presets import Plan, plan
from retrieval.pipeline.rehearsal import rehearse
from retrieval.pipeline import rehearsal

LENGTH = 12
SEQUENCE = SequenceSettings(dimension=8, blocks=2, heads=2, hidden=8, history_length=LENGTH)


@pytest.fixture(scope="module")
def dataset(data: MovieData) -> Dataset:
    return encode(data)


@pytest.fixture(scope="module")
def content(dataset: Dataset) -> Content:
    return learn_to_describe(dataset.movie_frame, 0).describe(dataset.movie_frame)


@pytest.fixture(scope="module")
def known(dataset: Dataset) -> Known:
    return learn(dataset, np.ones(len(dataset.ratings), dtype=bool))


@pytest.fixture(scope="module")
def pair(dataset: Dataset, content: Content, known: Known) -> NeuralPair:
    settings = NeuralSettings(dimension=8, hidden=16, heads=2, history_length=LENGTH)
    made = make_pair(settings, dataset, content, known, 0)
    assert isinstance(made, NeuralPair)
    with torch.no_grad():
        for weight in made.parameters():
            weight.mul_(3)  # untrained weights are small; a wrong one must show
    return made


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
    dataset: Dataset, known: Known, pair: NeuralPair, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Of an example with one event a user."""
    path = tmp_path_factory.mktemp("neural") / "tower.onnx"
    few = one_event_each(dataset)
    example = example_users(few, learn(few, np.ones(len(few.users), dtype=bool)), LENGTH)
    assert example.events.shape[1] == 1
    export_user_tower(user_tower(pair, known.centre, 87.0), example, path)
    return path


@pytest.fixture(scope="module")
def ensemble(dataset: Dataset, content: Content, known: Known) -> SequenceEnsemble:
    return SequenceEnsemble(
        [make_sequence_pair(SEQUENCE, dataset, content, known.rated, seed) for seed in (0, 1)]
    )


@pytest.fixture(scope="module")
def sequence_file(
    dataset: Dataset, ensemble: SequenceEnsemble, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Of an example with one event a user."""
    path = tmp_path_factory.mktemp("sequence") / "tower.onnx"
    few = one_event_each(dataset)
    histories = few.histories(np.ones(len(few.users), dtype=bool))
    example = example_tokens(few, histories, SEQUENCE)
    assert example.movies.shape[1] == 2
    export_sequence_tower(EnsembleUserTower(ensemble), example, path)
    return path


def test_a_tower_exported_from_short_histories_encodes_long_ones(
    dataset: Dataset, known: Known, pair: NeuralPair, neural_file: Path
) -> None:
    inputs = example_users(dataset, known, LENGTH)
    assert inputs.events.shape[1] == LENGTH
    expected = encode_users(user_tower(pair, known.centre, 87.0), inputs)
    for part in (inputs, inputs.part(slice(1))):
        found = QueryTower(neural_file).encode(part)
        count = len(part.users)
        np.testing.assert_allclose(found.vectors, expected.vectors[:count], rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(found.offsets, expected.offsets[:count], rtol=1e-3, atol=1e-3)


def test_a_sequence_tower_exported_from_short_histories_encodes_long_ones(
    dataset: Dataset, known: Known, ensemble: SequenceEnsemble, sequence_file: Path
) -> None:
    users = np.arange(20)
    made = tokens(
        dataset.user_codes[users],
        known.histories,
        whole_windows(known.histories, users),
        users % 2 == 0,
        dataset.scale,
        LENGTH,
    )
    assert made.movies.shape[1] == LENGTH + 1
    tower = EnsembleUserTower(ensemble).eval()
    with torch.no_grad():
        expected = tower(*(torch.from_numpy(column) for column in made)).numpy()
    found = QueryTower(sequence_file).encode_tokens(made)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_padding_changes_no_vector(
    dataset: Dataset, known: Known, pair: NeuralPair, ensemble: SequenceEnsemble
) -> None:
    inputs = example_users(dataset, known, 5)
    tower = user_tower(pair, known.centre, 1.0)
    once, padded = (encode_users(tower, each) for each in (inputs, inputs.padded(9)))
    np.testing.assert_allclose(padded.vectors, once.vectors, atol=1e-6)
    made = example_tokens(dataset, known.histories, replace(SEQUENCE, history_length=6))
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


@pytest.mark.parametrize(("share", "right"), [(1 + 3e-6, True), (1 + 1e-4, False)])
def test_differences_are_measured_by_the_largest_component(
    dataset: Dataset,
    known: Known,
    pair: NeuralPair,
    neural_file: Path,
    share: float,
    *,
    right: bool,
) -> None:
    # Numbers of plays are rated in the hundreds: single precision leaves more than 1e-5 of them.
    inputs = example_users(dataset, known, LENGTH)
    tower = Scaled(user_tower(pair, known.centre, 87.0), share)
    largest = np.abs(encode_users(tower, inputs).vectors).max()
    assert 1e-6 * largest > module.TOLERANCE
    exported = QueryTower(neural_file)
    if right:
        module._check(exported, tower, inputs)  # noqa: SLF001 (the check)
        return
    with pytest.raises(RunError, match="differs from torch"):
        module._check(exported, tower, inputs)  # noqa: SLF001 (the check)


def test_what_cannot_be_exported_is_told_in_one_line(
    dataset: Dataset, known: Known, tmp_path: Path
) -> None:
    class Wayward(nn.Module):
        def forward(self, *columns: torch.Tensor) -> torch.Tensor:
            if float(columns[2].sum()) > 0:
                return columns[2]
            return columns[2] + 1

    inputs: UserInputs = example_users(dataset, known, LENGTH)
    with pytest.raises(RunError, match="cannot export the user tower") as raised:
        export_user_tower(Wayward(), inputs, tmp_path / "tower.onnx")
    assert "\n" not in str(raised.value)


def tiny(preset: Preset, count: int) -> Plan:
    return replace(
        plan(preset, count),
        towers=NeuralSettings(dimension=8, hidden=16, heads=2, history_length=LENGTH),
        sequence=SEQUENCE,
    )


@pytest.mark.parametrize("pairs", [(Towers.NEURAL,), (Towers.SEQUENCE,)])
def test_a_tower_too_large_for_a_file_is_refused_before_training(
    dataset: Dataset,
    content: Content,
    pairs: tuple[Towers, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    planned = tiny(Preset.QUICK, len(dataset.ratings))
    rehearse(dataset, content, pairs, planned, 0)
    monkeypatch.setattr(module, "MOST_BYTES", 5000)
    message = rf"user tower of the {pairs[0]} pair would have .* GiB for .*200 movies.*--towers"
    with pytest.raises(RequestError, match=message):
        rehearse(dataset, content, pairs, planned, 0)
    rehearse(dataset, content, [Towers.BAYESIAN], planned, 0)


def test_bytes_are_foretold(
    pair: NeuralPair, ensemble: SequenceEnsemble, neural_file: Path, sequence_file: Path
) -> None:
    foretold = neural.exported_bytes(pair.settings, pair.sizes)
    assert 0 < neural_file.stat().st_size - foretold < 120_000
    foretold = 2 * sequence.exported_bytes(SEQUENCE, ensemble.sizes)
    assert 0 < sequence_file.stat().st_size - foretold < 500_000
    larger = pair.sizes._replace(movies=10**6, levels=10)
    assert neural.exported_bytes(NeuralSettings(), larger) > module.MOST_BYTES


def test_long_trainings_are_rehearsed_whole(
    dataset: Dataset, content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported: list[str] = []
    monkeypatch.setattr(rehearsal, "WORTH_WHILE", 1)
    for name in ("export_user_tower", "export_sequence_tower"):
        monkeypatch.setattr(rehearsal, name, lambda *_, name=name: exported.append(name))
    planned = tiny(Preset.QUICK, len(dataset.ratings))
    rehearse(dataset, content, tuple(Towers), planned, 0)
    assert exported == ["export_user_tower", "export_sequence_tower"]
