"""Tests of sequence pairs joined into one."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from retrieval.pairs.sequence.ensemble import EnsembleUserTower, SequenceEnsemble, movie_table
from retrieval.pairs.sequence.files import SIZES_FILE
from retrieval.pairs.sequence.model import SequencePair, SequenceUserTower
from retrieval.pairs.sequence.pair import load, save
from retrieval.pairs.sequence.settings import SequenceSettings
from retrieval.pairs.sequence.tokens import RELATIVE_CODES, TIME_GAP_CODES, Tokens
from retrieval.pairs.sizes import Sizes

MOVIES, USERS, PLACES = 30, 5, 7


@pytest.fixture
def pairs() -> list[SequencePair]:
    sizes = Sizes(users=3, movies=MOVIES, content=2, attributes=(3, 3, 3), classes=5)
    torch.manual_seed(0)
    content, rated = torch.randn(MOVIES, 2), torch.arange(MOVIES) < 25
    settings = SequenceSettings(dimension=8, hidden=16, history_length=10)
    trends = torch.randn(MOVIES, 4)
    made = [SequencePair(settings, sizes, content, rated, trends) for _ in range(3)]
    for pair in made:
        assert pair.returning is not None
        torch.nn.init.normal_(pair.returning.weights.weight)  # so that trends count
    return made


@pytest.fixture
def asked() -> Tokens:
    rng = np.random.default_rng(0)
    places = np.arange(PLACES)
    ahead = places > places[:, None]
    before = rng.integers(RELATIVE_CODES, 5 * RELATIVE_CODES, (USERS, PLACES, PLACES))
    relative_times = np.where(ahead, 0, before)
    return Tokens(
        movies=rng.integers(0, MOVIES + 1, (USERS, PLACES)),
        classes=rng.integers(0, 6, (USERS, PLACES)),
        codes=rng.integers(0, 3, (USERS, 3)),
        time_gaps=rng.integers(0, TIME_GAP_CODES, (USERS, PLACES)),
        relative_times=relative_times,
        last=rng.integers(0, PLACES, USERS),
        asked=np.array([[0, 0], [3, 0], [3, 5], [0, 0], [1, 1]]),  # three of them come back
    )


def test_a_score_is_the_mean_of_what_the_pairs_say(
    pairs: list[SequencePair], asked: Tokens
) -> None:
    ensemble = SequenceEnsemble(pairs)
    whole, *single = (
        [torch.from_numpy(column) for column in asked.columns(movie_table(of)).values()]
        for of in (ensemble, *(SequenceEnsemble([pair]) for pair in pairs))
    )
    with torch.no_grad():
        (users, _), movies = EnsembleUserTower(ensemble)(*whole), ensemble.movie_vectors()
        answers = [
            SequenceUserTower(pair)(*columns) for pair, columns in zip(pairs, single, strict=True)
        ]
        logits = [
            vectors @ pair.movie_vectors().T / pair.settings.temperature + weights @ pair.trends.T
            for pair, (vectors, weights, _) in zip(pairs, answers, strict=True)
        ]
    assert users.shape == (USERS, ensemble.dimension)
    joined = users @ movies.T / ensemble.temperature
    torch.testing.assert_close(joined, torch.stack(logits).mean(dim=0), atol=1e-4, rtol=1e-4)
    assert (logits[0] - joined).abs().max() > 0.1
    assert (joined - users[:, :-4] @ movies[:, :-4].T / ensemble.temperature).abs().max() > 0.1


def test_movies_nobody_has_rated_are_what_their_content_says(pairs: list[SequencePair]) -> None:
    ensemble = SequenceEnsemble(pairs).eval()
    with torch.no_grad():
        vectors = ensemble.movie_vectors()[25:]
        said = [normalize(pair.describe(pair.content[25:]), dim=-1) for pair in pairs]
        trends = pairs[0].trends[25:] * pairs[0].settings.temperature
        torch.testing.assert_close(torch.cat([*said, trends], dim=1), vectors)


def test_what_is_saved_comes_back(pairs: list[SequencePair], tmp_path: Path) -> None:
    ensemble = SequenceEnsemble(pairs)
    save(tmp_path, ensemble, {"present": 7})
    again = load(tmp_path, ensemble.settings)
    assert len(again.members()) == 3
    assert json.loads((tmp_path / SIZES_FILE).read_text())["present"] == 7
    assert torch.equal(again.movie_vectors(), ensemble.eval().movie_vectors())
