"""Tests of sequence pairs joined into one."""

from pathlib import Path

import numpy as np
import pytest
import torch

from retrieval.pairs.export import export_sequence_tower
from retrieval.pairs.neural.model import Sizes
from retrieval.pairs.onnx_tower import QueryTower
from retrieval.pairs.sequence.ensemble import EnsembleUserTower, SequenceEnsemble
from retrieval.pairs.sequence.model import SequencePair, SequenceSettings, SequenceUserTower
from retrieval.pairs.sequence.tokens import GAP_CODES, WAIT_CODES, Tokens
from retrieval.pipeline.pairs import load_ensemble, save_ensemble

MOVIES, USERS, PLACES = 30, 5, 7


@pytest.fixture
def pairs() -> list[SequencePair]:
    sizes = Sizes(users=3, movies=MOVIES, content=2, genders=3, ages=3, occupations=3, levels=5)
    torch.manual_seed(0)
    content, rated = torch.randn(MOVIES, 2), torch.arange(MOVIES) < 25
    settings = SequenceSettings(dimension=8, hidden=16, history_length=10)
    return [SequencePair(settings, sizes, content, rated) for _ in range(3)]


@pytest.fixture
def asked() -> Tokens:
    rng = np.random.default_rng(0)
    places = np.arange(PLACES)
    ahead = places > places[:, None]
    before = rng.integers(GAP_CODES, 5 * GAP_CODES, (USERS, PLACES, PLACES))
    lags = np.where(ahead, 0, before)
    return Tokens(
        movies=rng.integers(0, MOVIES + 1, (USERS, PLACES)),
        levels=rng.integers(0, 6, (USERS, PLACES)),
        people=rng.integers(0, 3, (USERS, 3)),
        waits=rng.integers(0, WAIT_CODES, (USERS, PLACES)),
        lags=lags,
        last=rng.integers(0, PLACES, USERS),
    )


def test_a_score_is_the_mean_of_what_the_pairs_say(
    pairs: list[SequencePair], asked: Tokens
) -> None:
    ensemble = SequenceEnsemble(pairs)
    columns = [torch.from_numpy(column) for column in asked]
    with torch.no_grad():
        users, movies = EnsembleUserTower(ensemble)(*columns), ensemble.movie_vectors()
        logits = [
            SequenceUserTower(pair)(*columns) @ pair.movie_vectors().T / pair.settings.temperature
            for pair in pairs
        ]
    assert users.shape == (USERS, ensemble.dimension)
    joined = users @ movies.T / ensemble.temperature
    torch.testing.assert_close(joined, torch.stack(logits).mean(dim=0), atol=1e-4, rtol=1e-4)
    assert (logits[0] - joined).abs().max() > 0.1


def test_movies_nobody_has_rated_are_what_their_content_says(pairs: list[SequencePair]) -> None:
    ensemble = SequenceEnsemble(pairs).eval()
    with torch.no_grad():
        vectors = ensemble.movie_vectors()[25:]
        torch.testing.assert_close(ensemble.new_movie_vectors(pairs[0].content[25:]), vectors)


def test_what_is_saved_comes_back(pairs: list[SequencePair], tmp_path: Path) -> None:
    ensemble = SequenceEnsemble(pairs)
    save_ensemble(tmp_path, ensemble)
    again = load_ensemble(tmp_path)
    assert len(again.members()) == 3
    assert torch.equal(again.movie_vectors(), ensemble.eval().movie_vectors())


def test_the_exported_user_tower_gives_the_same_vectors_however_long_histories_are(
    pairs: list[SequencePair], asked: Tokens, tmp_path: Path
) -> None:
    tower = EnsembleUserTower(SequenceEnsemble(pairs))
    export_sequence_tower(tower, asked, tmp_path / "tower.onnx")
    exported = QueryTower(tmp_path / "tower.onnx")
    for places in range(2, PLACES + 1):
        some = asked.until(places)
        with torch.no_grad():
            expected = tower(*(torch.from_numpy(column) for column in some)).numpy()
        np.testing.assert_allclose(exported.encode_tokens(some), expected, atol=1e-5)
