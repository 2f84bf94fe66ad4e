"""A log read from its beginning: how much it was told, day by day, and what came last."""

from collections import Counter, deque
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from retrieval.service.log import Entry, Kind, Log


class Summary(NamedTuple):
    """What a log holds."""

    log: str  # its identity
    head: int  # the last entry
    days: Mapping[str, Counter[Kind]]  # by the day that entries came in, UTC, as in 2026-01-31
    newest: tuple[Entry, ...]  # the last ones, the newest first


def summary(log: Log, newest: int) -> Summary:
    """Return what a log holds.

    Args:
        log: The log.
        newest: Number of the last entries that are returned.

    Raises:
        LogError: It cannot be read.
    """
    days: dict[str, Counter[Kind]] = {}
    last: deque[Entry] = deque(maxlen=newest)
    for entries in log.through(0):
        for entry in entries:
            day = f"{datetime.fromtimestamp(entry.received, UTC):%Y-%m-%d}"
            days.setdefault(day, Counter())[entry.kind] += 1
        last.extend(entries)
    return Summary(log.identity, log.head(), days, tuple(reversed(last)))
