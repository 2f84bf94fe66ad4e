"""Questions after a cut in time: who is asked, with what, and for what."""

import numpy as np
import pytest

from retrieval.data.history import Histories, build_histories
from retrieval.data.times import DAY
from retrieval.evaluation.questions import LaterProtocol, questions_after
from retrieval.options import Target

CUT = 2_000_000_000
HOUR = 3600

# Of each user the times beside the cut; user 3 has no events, user 4 a single one after the cut.
TIMES = [
    [-10, 5, 10, 3 * HOUR],  # goes on at the cut
    [-DAY, 5, 10, 2 * HOUR + 10],  # away for a day, then a sitting of two
    [100, 200],  # appears after the cut
    [],
    [50],
    [-20, -10, 0],  # never comes back: an event at the cut is before it
]


@pytest.fixture(scope="module")
def histories() -> Histories:
    users = np.repeat(np.arange(len(TIMES)), [len(times) for times in TIMES])
    times = CUT + np.concatenate([np.array(times, np.int64) for times in TIMES])
    movies = np.arange(len(users))
    ratings = np.full(len(users), 3, np.float32)
    return build_histories(users, movies, ratings, times, len(TIMES))


# Users with their events before the question, and those that are right, as times beside the cut.
ASKED = {
    Target.FIRST: [(0, [-10], [5]), (1, [-DAY], [5]), (2, [100], [200])],
    Target.LAST: [
        (0, [-10, 5, 10], [3 * HOUR]),
        (1, [-DAY, 5, 10], [2 * HOUR + 10]),
        (2, [100], [200]),
    ],
    Target.SUCCESSIVE: [
        (0, [-10], [5]),
        (0, [-10, 5], [10]),
        (0, [-10, 5, 10], [3 * HOUR]),
        (1, [-DAY], [5]),
        (1, [-DAY, 5], [10]),
        (1, [-DAY, 5, 10], [2 * HOUR + 10]),
        (2, [100], [200]),
    ],
    Target.VISIT: [(1, [-DAY], [5, 10])],
    Target.WINDOW: [(0, [-10], [5, 10, 3 * HOUR]), (1, [-DAY], [5, 10, 2 * HOUR + 10])],
}


@pytest.mark.parametrize("target", Target)
def test_each_target_asks_whom_it_says_with_what_had_happened(
    histories: Histories, target: Target
) -> None:
    found = questions_after(histories, LaterProtocol(CUT, target))
    times = histories.timestamps - CUT
    asked = [
        (user, times[start:end].tolist(), times[end:stop].tolist())
        for user, start, end, stop in zip(*(column.tolist() for column in found), strict=True)
    ]
    assert asked == ASKED[target]


def test_nothing_is_asked_after_everything(histories: Histories) -> None:
    for target in Target:
        assert not len(questions_after(histories, LaterProtocol(CUT + DAY, target)).users)


def test_a_gap_says_where_sittings_end(histories: Histories) -> None:
    visit = LaterProtocol(CUT, Target.VISIT, 2 * HOUR)
    assert (questions_after(histories, visit).stops - questions_after(histories, visit).ends) == 3
    opening = questions_after(histories, LaterProtocol(CUT, Target.SUCCESSIVE, HOUR))
    times = (histories.timestamps - CUT)[opening.ends]
    # User 2's second event follows the first by less than that.
    assert [(user, time) for user, time in zip(opening.users, times, strict=True)] == [
        (0, 3 * HOUR),
        (1, 5),
        (1, 2 * HOUR + 10),
    ]


def test_who_was_away_for_less_than_a_gap_has_not_come_back(histories: Histories) -> None:
    assert len(questions_after(histories, LaterProtocol(CUT, Target.VISIT, DAY)).users)
    assert not len(questions_after(histories, LaterProtocol(CUT, Target.VISIT, 2 * DAY)).users)
