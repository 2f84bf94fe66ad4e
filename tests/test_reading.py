import numpy as np
import pytest

from retrieval.data.history import Histories, Windows
from retrieval.pairs.lru_cache import LruCache
from retrieval.pairs.sequence.reading import FIRST, ReadHistory, key_of, recent_windows, unread

LONG = 20


def history(count: int = LONG) -> ReadHistory:
    rng = np.random.default_rng(0)
    events = Histories(
        np.array([0, count]),
        rng.permutation(100)[:count].astype(np.int32),
        rng.integers(1, 6, count).astype(np.float32),
        np.cumsum(rng.integers(0, 9, count)),
    )
    return unread(events, 0, count)


def part(of: ReadHistory, start: int, end: int) -> ReadHistory:
    histories = Histories(np.array([0, LONG]), of.movies, of.ratings, of.timestamps)
    return unread(histories, start, end)


def test_a_history_that_goes_on_has_the_tokens_of_what_was_read() -> None:
    whole, short = history(), history()._replace(states=np.zeros((15, 3), np.float32))
    before = part(whole, 0, 15)
    assert before.tokens_for(whole) == 15
    assert whole.tokens_for(before) == 15
    assert whole.tokens_for(short) == LONG


@pytest.mark.parametrize("column", ["movies", "ratings", "timestamps"])
def test_after_what_changed_nothing_holds(column: str) -> None:
    whole = history()
    values = getattr(whole, column).copy()
    values[7] += 1
    assert whole.tokens_for(whole._replace(**{column: values})) == 7


def test_a_history_is_found_by_its_first_events_and_who_asks_how() -> None:
    codes, whole = np.array([1, 0, 2]), history()
    key = key_of(whole, codes, timed=True)
    assert key is not None
    assert key == key_of(part(whole, 0, FIRST), codes, timed=True)
    later = part(whole, 1, LONG)
    others = (
        key_of(whole, codes, timed=False),
        key_of(whole, codes[::-1], timed=True),
        key_of(later, codes, timed=True),
    )
    assert key not in others
    assert key_of(part(whole, 0, FIRST - 1), codes, timed=True) is None


def test_long_histories_begin_later_in_steps() -> None:
    counts = np.array([0, 5, 40, 41, 45, 46, 50, 51])
    windows = Windows(np.full(8, 100), 100 + counts, np.zeros(8, np.int64))
    found = recent_windows(windows, 40)
    assert (found.starts - 100).tolist() == [0, 0, 0, 5, 5, 10, 10, 15]
    assert (found.ends == windows.ends).all()
    assert found.counts.max() <= 40
    assert recent_windows(windows, 3).counts.tolist() == [0, 3, 3, 3, 3, 3, 3, 3]


def test_what_was_not_asked_about_for_longest_goes_first() -> None:
    kept: LruCache[str, str] = LruCache(len, most=10)
    kept.put("a", "12345")
    kept.put("b", "123")
    assert kept.get("a") == "12345"
    kept.put("c", "123")  # one more than fits
    assert (kept.get("a"), kept.get("b"), kept.get("c")) == ("12345", None, "123")
    kept.put("a", "1")  # in place of a longer one
    kept.put("d", "123456")
    assert (kept.get("a"), kept.get("c"), kept.get("d")) == ("1", "123", "123456")
    kept.put("e", "longer than all there is room for")
    assert kept.get("e") is None
    kept.put("f", "1")
    assert kept.get("f") == "1"
    assert len(kept) == 1


def test_some_values_are_kept_however_large_they_are() -> None:
    kept: LruCache[str, str] = LruCache(len, most=10, fewest=2)
    for name in "abc":
        kept.put(name, name * 20)
    assert [kept.get(name) is None for name in "abc"] == [True, False, False]
    kept.put("c", "c")
    kept.put("d", "d")
    assert [kept.get(name) for name in "bcd"] == [None, "c", "d"]
