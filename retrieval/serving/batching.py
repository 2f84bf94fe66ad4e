"""Many questions at once: in parts of bounded size, which threads share."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from retrieval.data.times import NO_TIME
from retrieval.serving.encoder import Encoded, Encoder, questions_of
from retrieval.serving.threads import search_alone
from retrieval.serving.users import QueryUsers, selected

Result = TypeVar("Result")

# Users whose ratings are encoded together: bounds the memory for their histories.
ENCODED = 4096


def parts_of(
    rows: NDArray[np.int64], times: NDArray[np.int64] | None, size: int
) -> list[NDArray[np.int64]]:
    """Return questions in parts, each wholly with or wholly without times of asking.

    Args:
        rows: Questions, `(Q,)` places in `times`, in the order in which they belong together.
        times: Times of asking, `NO_TIME` where a question has none; None is none at all.
        size: Number of questions in a part, at most.
    """
    timed = np.zeros(len(rows), dtype=bool) if times is None else times[rows] != NO_TIME
    groups = (rows[~timed], rows[timed])
    return [group[start : start + size] for group in groups for start in range(0, len(group), size)]


def times_of(part: NDArray[np.int64], times: NDArray[np.int64] | None) -> NDArray[np.int64] | None:
    """Return the times of asking of one of the `parts_of` questions; None is none at all."""
    if times is None or times[part[0]] == NO_TIME:
        return None
    return times[part]


def shared(
    work: Callable[[NDArray[np.int64]], Result], parts: Sequence[NDArray[np.int64]], threads: int
) -> list[Result]:
    """Return what becomes of each part, in their order.

    Args:
        work: Function of one part; it may be called on several threads at once.
        parts: The parts.
        threads: Number of threads that share them. They are made for this call, and each of them
            searches alone; nothing is set for other threads.
    """
    if len(parts) == 1:  # which a thread of its own would only delay
        return [work(parts[0])]
    with ThreadPoolExecutor(threads, "rec", search_alone) as pool:
        return list(pool.map(work, parts))


def encode_once(
    encoder: Encoder,
    users: QueryUsers,
    rows: NDArray[np.int64],
    times: NDArray[np.int64] | None,
    threads: int,
) -> tuple[Encoded, NDArray[np.int64]]:
    """Encode each distinct pair of a user and a time once.

    Args:
        encoder: The user towers.
        users: The users.
        rows: `(Q,)` which of them each question is about.
        times: `(Q,)` times of asking, in seconds, `NO_TIME` where a question has none; None is none
            at all.
        threads: Number of threads that share the work.

    Returns:
        What was encoded, and `(Q,)` which of it each question needs.
    """
    if len(rows) == 1:
        return encoder.encode(questions_of(users, rows, times)), np.zeros(1, np.int64)
    moments = np.full(len(rows), NO_TIME) if times is None else times
    questions = np.stack([moments != NO_TIME, rows, moments], axis=1)
    distinct, which = np.unique(questions, axis=0, return_inverse=True)
    moments = distinct[:, 2]

    def encode(part: NDArray[np.int64]) -> Encoded:
        some, each = selected(users, distinct[part, 1])
        return encoder.encode(questions_of(some, each, times_of(part, moments)))

    parts = parts_of(np.arange(len(distinct)), moments, ENCODED)
    made = shared(encode, parts, threads)
    # Questions without a time come first in `distinct`, and so in the parts.
    encoded = Encoded(*(np.concatenate(column) for column in zip(*made, strict=True)))
    return encoded, which.reshape(-1)
