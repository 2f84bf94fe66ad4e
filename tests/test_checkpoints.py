"""Checkpoints: what is damaged is never gone on from, and never a traceback."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from interrupted import Interrupted, Recorded

from retrieval.data.dataset import encode
from retrieval.data.frames import MovieData
from retrieval.pairs.bayesian.checkpoint import CARD, BurnIn, Checkpoint, sealed, unsealed
from retrieval.pairs.bayesian.inference import WINDOW, infer
from retrieval.pairs.bayesian.sampler import Draw
from retrieval.pairs.bayesian.sampler import State as ChainState
from retrieval.pairs.bayesian.settings import BayesianSettings
from retrieval.pairs.checkpoint import PARTS, EpochCheckpoint, State
from retrieval.pairs.content_training import fit_content
from retrieval.progress import SILENT, Progress

KEY = "key"


def flip(path: Path) -> None:
    """Flip one bit in the last tenth, where a file of arrays has numbers."""
    content = bytearray(path.read_bytes())
    content[len(content) * 9 // 10] ^= 4
    path.write_bytes(content)


def flip_first(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def remove(path: Path) -> None:
    path.unlink()


DAMAGES = [flip, flip_first, cut, empty, remove]


def draw(seed: int) -> Draw:
    rng = np.random.default_rng(seed)

    def floats(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape)

    def vectors(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    return Draw(
        users=vectors(3, 2),
        movies=vectors(4, 2),
        user_coefficients=vectors(1, 2),
        movie_coefficients=vectors(1, 2),
        user_precision=floats(2, 2),
        thresholds=floats(4),
        noise_precision=vectors(4),
        session_law=floats(3),
    )


def chain() -> tuple[ChainState, BurnIn]:
    rng = np.random.default_rng(0)
    state = ChainState({"scores": rng.standard_normal(50)}, rng.bit_generator.state, 20)
    return state, BurnIn([0.9, 0.8], rng.standard_normal((2, 7)))


def chain_left(folder: Path) -> None:
    """A chain interrupted after a state with two draws, and a third draw that is no part of it."""
    kept = Checkpoint(folder, KEY)
    kept.keep(draw(0))
    kept.keep(draw(1))
    kept.save(*chain())
    kept.keep(draw(2))


def test_a_chain_is_gone_on_from_with_the_draws_of_its_state(tmp_path: Path) -> None:
    chain_left(tmp_path / "kept")
    kept = Checkpoint(tmp_path / "kept", KEY)
    left, (state, burn_in) = kept.load(), chain()
    assert left is not None
    np.testing.assert_array_equal(left[0].arrays["scores"], state.arrays["scores"])
    assert (left[0].rng, left[0].sweeps) == (state.rng, state.sweeps)
    assert left[1].errors == burn_in.errors
    np.testing.assert_array_equal(left[1].scores, burn_in.scores)
    kept.keep(draw(3))  # in place of the draw that came after the state
    for found, seed in zip(kept.draws(0, 3), (0, 1, 3), strict=True):
        np.testing.assert_array_equal(found.users, draw(seed).users)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", [CARD, "state-20.safetensors", "draw-00001.safetensors"])
def test_a_chain_of_which_anything_was_changed_begins_anew_and_says_so(
    tmp_path: Path, name: str, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    chain_left(tmp_path / "kept")
    damage(tmp_path / "kept" / name)
    with caplog.at_level(logging.WARNING):
        assert Checkpoint(tmp_path / "kept", KEY).load() is None
    assert list((tmp_path / "kept").iterdir()) == []
    if (name, damage) != (CARD, remove):  # without a card, nothing was begun
        assert [record.getMessage().count("begins anew") for record in caplog.records] == [1]


def test_a_chain_of_another_key_begins_anew_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chain_left(tmp_path / "kept")
    with caplog.at_level(logging.WARNING):
        assert Checkpoint(tmp_path / "kept", "other").load() is None
    assert caplog.records == []


@pytest.mark.parametrize("text", ["[]", "null", "{}", '{"card": 1, "seal": 2}', "[" * 20_000])
def test_a_card_of_another_form_is_no_traceback(tmp_path: Path, text: str) -> None:
    (tmp_path / CARD).write_text(text)
    assert Checkpoint(tmp_path, KEY).load() is None


def test_every_number_on_a_card_is_under_its_seal() -> None:
    card = {"rng": {"state": 2**127 + 1}, "sweeps": 20, "errors": [0.1 + 0.2, 1e-300], "draws": []}
    whole = json.loads(json.dumps(sealed(card)))
    assert unsealed(whole) == card
    whole["card"]["sweeps"] = 21
    with pytest.raises(ValueError, match="changed"):
        unsealed(whole)


def some_state() -> State:
    generator = torch.Generator().manual_seed(0)
    weights = {"a": torch.randn(20, 3, generator=generator), "b": torch.zeros(4)}
    return State(
        weights=weights,
        best={"a": weights["a"] + 1, "b": weights["b"]},
        moments={"0.step": torch.tensor(7.0), "0.exp_avg": torch.randn(20, 3, generator=generator)},
        random=generator.get_state(),
        more={"seen": torch.arange(3)},
        card={"epochs": [[1.5, 0.2, 0.1]], "best": 0, "rng": {"state": 2**100}, "step": 7},
    )


def test_an_epoch_checkpoint_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    kept = EpochCheckpoint(tmp_path / "kept", KEY)
    assert kept.load() is None
    kept.save(some_state())
    left, state = kept.load(), some_state()
    assert left is not None
    assert left.card == state.card
    for part in PARTS:
        assert getattr(left, part).keys() == getattr(state, part).keys()
        for name, tensor in getattr(state, part).items():
            assert torch.equal(getattr(left, part)[name], tensor)
    assert EpochCheckpoint(tmp_path / "kept", "other").load() is None


@pytest.mark.parametrize("place", np.linspace(0, 0.999, 40))
def test_no_bit_of_an_epoch_checkpoint_can_be_flipped(
    tmp_path: Path, place: float, caplog: pytest.LogCaptureFixture
) -> None:
    kept = EpochCheckpoint(tmp_path / "kept", KEY)
    kept.save(some_state())
    content = bytearray((tmp_path / "kept").read_bytes())
    content[int(place * len(content))] ^= 1
    (tmp_path / "kept").write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert kept.load() is None
    assert [record.getMessage().count("begins anew") for record in caplog.records] == [1]


@pytest.mark.parametrize("damage", [cut, empty])
def test_an_epoch_checkpoint_that_is_cut_is_none(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    kept = EpochCheckpoint(tmp_path / "kept", KEY)
    kept.save(some_state())
    damage(tmp_path / "kept")
    assert kept.load() is None


def test_inference_over_a_damaged_checkpoint_comes_to_the_same_as_without(
    data: MovieData, tmp_path: Path
) -> None:
    dataset = encode(data)
    content = fit_content(dataset.movie_frame, 0).describe(dataset.movie_frame).matrix()
    held_out = np.random.default_rng(0).random(len(dataset.ratings)) < 0.1
    settings = BayesianSettings(dimension=2, compressed=4, burn_in_windows=1, draws=10, spacing=1)

    def run(folder: Path, progress: Progress) -> np.ndarray:
        asked = (dataset, content, held_out, held_out, settings, 0, folder)
        return infer(*asked, progress).pair.movies

    expected = run(tmp_path / "whole", SILENT)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "kept", Interrupted(WINDOW + 8))
    flip(tmp_path / "kept" / "draw-00002.safetensors")
    resumed = Recorded()
    np.testing.assert_array_equal(run(tmp_path / "kept", resumed), expected)
    assert (resumed.first, resumed.steps) == (0, WINDOW + 5 + 10)
