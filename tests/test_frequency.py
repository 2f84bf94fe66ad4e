"""Tests of frequencies estimated from a stream."""

import numpy as np
import pytest

from retrieval.pairs.sequence import frequency
from retrieval.pairs.sequence.frequency import StreamingFrequency

MOVIES = 50


def stream(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    shares = 1 / np.arange(1, MOVIES + 1)
    shares /= shares.sum()
    return rng.choice(MOVIES, count, p=shares), shares


def fed(answers: np.ndarray, batch: int, slots: int, hashes: int) -> StreamingFrequency:
    estimate = StreamingFrequency(slots, hashes, np.random.default_rng(0))
    for start in range(0, len(answers), batch):
        estimate.meet(answers[start : start + batch])
    return estimate


def test_shares_of_a_stream_are_found() -> None:
    answers, shares = stream(200_000, seed=0)
    found = fed(answers, 512, 1000, 3).shares(np.arange(MOVIES))
    np.testing.assert_allclose(found, shares, rtol=0.3)
    assert abs(np.log(found / shares).mean()) < 0.05


def test_it_is_the_moving_mean_of_gaps_one_answer_after_another() -> None:
    answers, _ = stream(3000, seed=1)
    last, mean, met = np.zeros(MOVIES), np.zeros(MOVIES), np.zeros(MOVIES)
    for step, movie in enumerate(answers, start=1):
        mean[movie] += frequency.RATE * (step - last[movie] - mean[movie])
        last[movie] = step
        met[movie] += 1
    longer = mean + frequency.RATE * (3001 - last - mean)
    closed, opened = (
        gaps / (1 - (1 - frequency.RATE) ** count)
        for gaps, count in ((mean, met), (longer, met + 1))
    )
    assert (closed > opened).any()
    assert (closed < opened).any()
    found = fed(answers, 700, 10_007, 1).shares(np.arange(MOVIES))
    np.testing.assert_allclose(found, 1 / np.maximum(closed, opened))


def test_batches_change_nothing() -> None:
    answers, _ = stream(1000, seed=2)
    one, other = (fed(answers, batch, 1000, 2) for batch in (1, 1000))
    other.meet(answers[:0])
    np.testing.assert_allclose(one.shares(np.arange(MOVIES)), other.shares(np.arange(MOVIES)))


def test_several_hashes_see_through_movies_that_share_a_slot() -> None:
    answers, shares = stream(100_000, seed=3)
    errors = [
        np.abs(np.log(fed(answers, 512, 100, hashes).shares(np.arange(MOVIES)) / shares)).mean()
        for hashes in (1, 4)
    ]
    assert errors[0] > 2 * errors[1]


def test_it_follows_a_stream_that_changes() -> None:
    answers, shares = stream(100_000, seed=4)
    estimate = fed(answers, 512, 1000, 2)
    estimate.meet(MOVIES - 1 - answers)  # rare ones are popular by now
    found = estimate.shares(np.arange(MOVIES))
    np.testing.assert_allclose(found[-5:], shares[:5][::-1], rtol=0.4)


def test_a_movie_never_met_is_rarer_than_all() -> None:
    answers, _ = stream(5000, seed=5)
    found = fed(answers, 512, 10_007, 2).shares(np.array([MOVIES + 5, MOVIES - 1]))
    assert found[0] == pytest.approx(1 / 5001)
    assert found[0] < found[1]


def test_a_movie_that_stays_away_becomes_rare() -> None:
    answers, _ = stream(5000, seed=6)
    early = np.concatenate([np.full(3, MOVIES), answers])
    found = fed(early, 512, 10_007, 2).shares(np.array([MOVIES]))
    assert found[0] < 1 / 1000
