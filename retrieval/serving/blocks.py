"""Lists for files of users: block by block, the same blocks whoever answers them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.data.vocabulary import Ids
from retrieval.options import RankBy
from retrieval.serving.events import GivenHistories
from retrieval.serving.filters import Filter
from retrieval.serving.recommender import Recommender
from retrieval.serving.results import TopK

# Users of a block. Whose questions are computed together moves the last bit of a score, so it is
# the same number on one machine and on many.
BLOCK = 1024


@dataclass(frozen=True, kw_only=True)
class ListJob:
    """What lists are to be, as `Recommender.topk_many` takes it."""

    k: int
    rank_by: RankBy | None
    filters: Filter | None
    diversity: float
    include_seen: bool
    in_sitting: bool


class ListBlock(NamedTuple):
    """At most `BLOCK` users of a file, one after the other."""

    users: Ids  # (Q,)
    times: NDArray[np.int64] | None  # (Q,) as `Recommender.topk_many` takes them
    histories: GivenHistories  # of these users


def blocks_of(
    users: Ids, times: NDArray[np.int64] | None, histories: GivenHistories
) -> Iterator[ListBlock]:
    """Give the questions of a file in blocks, of which there is at least one.

    Args:
        users: `(Q,)` ids.
        times: `(Q,)` times of asking, `NO_TIME` where a list has none; None is none at all.
        histories: Events by user id that replace the stored ones.
    """
    for start in range(0, max(1, len(users)), BLOCK):
        part = slice(start, start + BLOCK)
        own = {user: histories[user] for user in set(users[part].tolist()) & histories.keys()}
        yield ListBlock(users[part], None if times is None else times[part], own)


def count_of(users: Ids) -> int:
    """Return the number of blocks of users `(Q,)`."""
    return max(1, -(-len(users) // BLOCK))


def lists_of(recommender: Recommender, job: ListJob, block: ListBlock) -> TopK:
    """Return the lists of a block.

    Raises:
        RequestError: As `Recommender.topk_many`.
    """
    return recommender.topk_many(
        block.users,
        job.k,
        times=block.times,
        histories=block.histories,
        rank_by=job.rank_by,
        filters=job.filters,
        diversity=job.diversity,
        include_seen=job.include_seen,
        in_sitting=job.in_sitting,
    )
