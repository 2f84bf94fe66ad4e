import numpy as np

from retrieval.data.history import build_histories
from retrieval.data.scale import RatingScale
from retrieval.pairs.sequence.batches import NOTHING, Sequences, shuffled

# Users with 0, 1, 3 and 6 events.
OWNERS = np.repeat([1, 2, 3], [1, 3, 6])
MOVIES = np.arange(10) + 50
HISTORIES = build_histories(OWNERS, MOVIES, np.full(10, 4.0, np.float32), np.arange(10) * 7, 4)
SEQUENCES = Sequences(
    histories=HISTORIES,
    codes=np.zeros((4, 3), np.int64),
    scale=RatingScale(lowest=1.0, highest=5.0, step=1.0),
    length=4,
)


def test_each_event_is_the_answer_to_those_before_it() -> None:
    batch = SEQUENCES.batch(np.array([2, 1]), np.ones(2, dtype=bool), np.zeros(2, np.int64))
    assert batch.tokens.movies.tolist() == [[0, 52, 53], [0, 0, 0]]
    assert batch.targets.tolist() == [[51, 52, 53], [50, NOTHING, NOTHING]]


def test_a_long_history_is_cut_to_its_end_and_its_middle_is_not_foretold_from_nothing() -> None:
    batch = SEQUENCES.batch(np.array([3]), np.ones(1, dtype=bool), np.zeros(1, np.int64))
    assert batch.tokens.movies.tolist() == [[0, 56, 57, 58, 59]]
    assert batch.targets.tolist() == [[NOTHING, 56, 57, 58, 59]]


def test_an_answer_is_never_among_what_it_is_foretold_from() -> None:
    for batch in SEQUENCES.batches(8, 0.5, 0.5, np.random.default_rng(0)):
        for tokens, answers in zip(batch.tokens.movies, batch.targets, strict=True):
            for place, answer in enumerate(answers):
                assert answer == NOTHING or answer + 1 not in tokens[: place + 1]


def test_every_user_with_events_comes_once_in_batches_of_about_as_many_tokens() -> None:
    counts = np.random.default_rng(0).integers(0, 200, 1000)
    batches = shuffled(counts, 1000, np.random.default_rng(1))
    assert sorted(np.concatenate(batches).tolist()) == np.flatnonzero(counts).tolist()
    padded = [counts[users].max() * len(users) for users in batches]
    assert max(padded) <= 1000
    assert sum(padded) < 1.15 * counts.sum()
    again = shuffled(counts, 1000, np.random.default_rng(2))
    assert [users.tolist() for users in batches] != [users.tolist() for users in again]


def test_long_histories_end_anywhere_as_often_as_is_asked_for() -> None:
    ends, earlier = [[NOTHING, 56, 57, 58, 59], [54, 55, 56, 57, 58]], 0
    for seed in range(400):
        batches = SEQUENCES.batches(8, 0.0, 0.5, np.random.default_rng(seed))
        (long,) = (batch.targets[0].tolist() for batch in batches if batch.targets.shape[1] == 5)
        earlier += ends.index(long)
    assert 70 < earlier < 130  # half of the times, any of two ends


def test_shares_are_those_of_all_events() -> None:
    shares = SEQUENCES.shares(62)
    assert np.flatnonzero(shares).tolist() == MOVIES.tolist()
    np.testing.assert_allclose(shares[MOVIES], 0.1, rtol=1e-6)
