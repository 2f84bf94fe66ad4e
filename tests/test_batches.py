import numpy as np
import pytest

from retrieval.data.history import build_histories
from retrieval.data.scale import RatingScale
from retrieval.pairs.sequence.batches import (
    EARLY_EVENTS,
    MOST_RETURNS,
    NOTHING,
    Returns,
    SequenceBatch,
    Sequences,
    shuffled,
)
from retrieval.pairs.sequence.tokens import TIME_GAP_CODES, return_codes
from retrieval.pairs.sequence.trends import TREND_WIDTH, Trends

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


def test_a_question_knows_after_which_event_it_is_asked() -> None:
    batch = SEQUENCES.batch(np.array([2, 1, 3]), np.ones(3, dtype=bool), np.zeros(3, np.int64))
    # The start is asked as if before the first event; where only an answer is there, nothing is.
    assert batch.positions.tolist() == [
        [1, 1, 2, NOTHING, NOTHING],
        [NOTHING] * 5,
        [5, 5, 6, 7, 8],
    ]


# Sittings of users who come back: so many events each, the longest one longer than what counts as
# its beginning. The last user does not come back.
SITTINGS = [[3, 2, 1], [1, 1], [2, EARLY_EVENTS + 5], [4]]
START, DAY = 10**9, 86_400


def coming_back(length: int = 40, *, by_order: bool = False) -> Sequences:
    """Users with sittings, some days apart, and a moment every tenth of a day.

    The event at a position is of the movie with its number.
    """
    users, times = [], []
    for user, sizes in enumerate(SITTINGS):
        for sitting, size in enumerate(sizes):
            users += [user] * size
            times += [START + (2 * sitting + user) * DAY + 60 * place for place in range(size)]
    if by_order:
        times = list(range(len(times)))
    moments = START + np.arange(100) * DAY // 10
    return Sequences(
        histories=build_histories(
            np.array(users),
            np.arange(len(users)),
            np.full(len(users), 4.0, np.float32),
            np.array(times),
            len(SITTINGS),
        ),
        codes=np.zeros((len(SITTINGS), 3), np.int64),
        scale=RatingScale(lowest=1.0, highest=5.0, step=1.0),
        length=length,
        trends=Trends(
            moments,
            np.zeros((len(moments), len(users), TREND_WIDTH), np.float32),
            np.zeros(TREND_WIDTH, np.float32),
        ),
    )


def questions(
    sequences: Sequences, *, timed: bool, times: int = 300
) -> tuple[SequenceBatch, Returns]:
    """Questions of all users who come back, drawn many times."""
    rng, count = np.random.default_rng(0), len(SITTINGS)
    batch = sequences.batch(
        np.arange(count), np.full(count, timed), np.zeros(count, dtype=np.int64)
    )
    drawn = [sequences.returns(batch, rng) for _ in range(times)]
    return batch, Returns(*(np.concatenate(column) for column in zip(*drawn, strict=True)))


@pytest.mark.parametrize("timed", [True, False])
def test_what_users_come_back_to_is_among_the_first_events_of_the_next_sitting(
    *, timed: bool
) -> None:
    sequences = coming_back()
    batch, found = questions(sequences, timed=timed)
    parts = sequences.sittings
    asking = batch.positions[found.rows, found.places]
    opening = parts.of(asking).following
    assert (found.targets >= opening).all()  # movies have the numbers of positions
    assert (found.targets < np.minimum(parts.of(opening).ends, opening + EARLY_EVENTS)).all()
    fifth_last = np.array([len(sequences.histories.movies) - 5])
    long = opening == parts.of(fifth_last).starts  # of the third user, longer than its beginning
    assert set(found.targets[long] - opening[long]) == set(range(EARLY_EVENTS))
    first = (found.targets == opening)[long].mean()
    assert 0.5 < first < 0.65  # half of them, and by chance


def test_users_whose_time_of_asking_is_known_are_asked_at_the_end_of_sittings() -> None:
    sequences = coming_back()
    batch, found = questions(sequences, timed=True)
    asking = batch.positions[found.rows, found.places]
    assert sorted({*asking.tolist()}) == [2, 4, 6, 9]
    assert (found.places > 0).all()
    times = sequences.histories.timestamps
    until = times[sequences.sittings.of(asking).following] - times[asking]
    expected = return_codes(np.zeros_like(until), until)[:, 1]
    np.testing.assert_array_equal(found.asked[:, 1], expected)
    assert (expected > 0).all()


def test_the_others_are_asked_in_the_middle_of_sittings_and_as_strangers_too() -> None:
    sequences = coming_back()
    batch, found = questions(sequences, timed=False)
    asking = batch.positions[found.rows, found.places]
    # Everywhere but in last sittings: at the ends 2, 4, 6 and 9, and in the middle.
    assert {*asking.tolist()} == {0, 1, 2, 3, 4, 6, 8, 9}
    assert not found.asked[:, 1].any()
    start = found.places == 0
    assert start.any()
    assert (found.asked[start, 0] == 1).all()  # nothing has happened yet
    assert found.asked[~start, 0].max() > 10
    end = np.isin(asking, [2, 4, 6, 9]) & ~start
    assert 1.5 < (~end).sum() / end.sum() <= 2.1


@pytest.mark.parametrize("timed", [True, False])
def test_moments_of_asking_lie_between_the_question_and_the_answer(*, timed: bool) -> None:
    sequences = coming_back()
    assert sequences.trends is not None
    batch, found = questions(sequences, timed=timed)
    times = sequences.histories.timestamps
    asking = batch.positions[found.rows, found.places]
    left, back = times[asking], times[sequences.sittings.of(asking).following]
    moments = sequences.trends.times[found.moments]
    # The latest moment that there is up to a time between.
    assert (moments > left - DAY // 10).all()
    assert (moments < back).all()
    shares = (moments - left) / (back - left)
    assert shares.min() < 0.05
    assert shares.max() > 0.9
    # The code says as much: seconds since the last event, up to half as many more.
    since = 2.0 ** (found.asked[:, 0] - 2)
    known = found.places > 0
    assert (since[known] <= (moments - left + DAY // 10)[known]).all()
    assert (2 * since[known] + 1 > (moments - left)[known]).all()
    assert found.asked.max() < TIME_GAP_CODES


@pytest.mark.parametrize("timed", [True, False])
def test_where_nobody_comes_back_nothing_is_asked(*, timed: bool) -> None:
    _, found = questions(coming_back(by_order=True), timed=timed)
    assert [len(column) for column in found] == [0] * 5
    _, found = questions(coming_back(), timed=timed)
    assert 3 not in found.rows  # who has a single sitting


def test_what_lies_before_a_cut_history_is_not_asked_about() -> None:
    sequences = coming_back(length=3)
    batch, found = questions(sequences, timed=False)
    asking = batch.positions[found.rows, found.places]
    assert {*asking[found.rows == 0].tolist()} == {2, 3, 4}
    assert 2 not in found.rows  # whose last events are one sitting


def test_a_batch_has_no_more_questions_than_the_most() -> None:
    users = np.repeat(np.arange(4), 2 * MOST_RETURNS)
    sequences = Sequences(
        histories=build_histories(
            users,
            np.arange(len(users)),
            np.full(len(users), 4.0, np.float32),
            START + np.arange(len(users)) * DAY,
            4,
        ),
        codes=np.zeros((4, 3), np.int64),
        scale=RatingScale(lowest=1.0, highest=5.0, step=1.0),
        length=2 * MOST_RETURNS,
    )
    batch = sequences.batch(np.arange(4), np.ones(4, dtype=bool), np.zeros(4, np.int64))
    found = sequences.returns(batch, np.random.default_rng(0))
    assert len(found.rows) == MOST_RETURNS
    assert len({*zip(found.rows.tolist(), found.places.tolist(), strict=True)}) == MOST_RETURNS
