"""Tests of negatives: how often each comes is what is said of it."""

import numpy as np
import pytest
import torch

from retrieval.pairs.sequence.negatives import NOBODY, Negatives, Sample

MOVIES, COUNT, ANSWERS = 30, 50, 400
DRAWS = 1500


def negatives_of(shares: torch.Tensor, *, in_batch: bool) -> Negatives:
    return Negatives(shares, COUNT, np.random.default_rng(0) if in_batch else None)


@pytest.fixture(scope="module", params=[False, True], ids=["by popularity", "in batch"])
def drawn(request: pytest.FixtureRequest) -> tuple[bool, list[Sample]]:
    shares = torch.arange(1, MOVIES + 1, dtype=torch.float32) ** 2
    shares /= shares.sum()
    torch.manual_seed(0)
    negatives = negatives_of(shares, in_batch=request.param)
    users = torch.arange(ANSWERS) // 20
    samples = []
    for _ in range(DRAWS):
        answers = torch.multinomial(shares, ANSWERS, replacement=True)
        samples.append(negatives.draw(answers, users))
    return request.param, samples


def test_each_movie_comes_as_often_as_is_expected(drawn: tuple[bool, list[Sample]]) -> None:
    in_batch, samples = drawn
    found = torch.bincount(torch.cat([sample.movies for sample in samples]), minlength=MOVIES)
    said, times = torch.zeros(MOVIES), torch.zeros(MOVIES)
    for sample in samples[DRAWS // 2 :]:  # where the stream has been met for long
        said.index_add_(0, sample.movies, sample.log_expected)
        times += torch.bincount(sample.movies, minlength=MOVIES)
    # An estimate follows the last hundred meetings, so it moves by a tenth.
    tolerance = 0.2 if in_batch else 0.1
    torch.testing.assert_close((said / times).exp(), found / DRAWS, rtol=tolerance, atol=0)


def test_a_negative_says_whose_answer_it_is(drawn: tuple[bool, list[Sample]]) -> None:
    in_batch, samples = drawn
    users = torch.stack([sample.users for sample in samples])
    assert (users[:, COUNT:] == NOBODY).all()
    if not in_batch:
        assert (users[:, :COUNT] == NOBODY).all()
    else:
        assert torch.unique(users[:, :COUNT]).tolist() == list(range(ANSWERS // 20))
        own = torch.arange(20)  # everyone answers with the movie of the same number
        shares = torch.full((MOVIES,), 1 / MOVIES)
        sample = negatives_of(shares, in_batch=True).draw(own, own)
        assert torch.equal(sample.movies[:COUNT], sample.users[:COUNT])


def test_only_answers_of_the_batch_come_from_the_batch() -> None:
    torch.manual_seed(0)
    shares = torch.full((MOVIES,), 1 / MOVIES)
    answers = torch.tensor([3, 5, 8])
    for in_batch in (False, True):
        negatives = negatives_of(shares, in_batch=in_batch)
        popular = set(negatives.draw(answers, torch.arange(3)).movies[:COUNT].tolist())
        assert (popular <= {3, 5, 8}) == in_batch
