"""A cache in memory for what was worked out and may be needed again."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class LruCache(Generic[K, V]):
    """Values by key, for any number of threads; the least recently used goes first.

    Args:
        size: Gives the bytes of a value.
        most: Bytes of values that are kept.
        fewest: Values that are kept however large they are.
    """

    def __init__(self, size: Callable[[V], int], most: int, fewest: int = 0) -> None:
        self._size, self._most, self._fewest, self._bytes = size, most, fewest, 0
        self._values: OrderedDict[K, V] = OrderedDict()
        self._lock = Lock()

    def get(self, key: K) -> V | None:
        """Return what is kept under a key."""
        with self._lock:
            found = self._values.get(key)
            if found is not None:
                self._values.move_to_end(key)
            return found

    def put(self, key: K, value: V) -> None:
        """Keep a value under a key."""
        with self._lock:
            before = self._values.pop(key, None)
            self._bytes += self._size(value) - (0 if before is None else self._size(before))
            self._values[key] = value
            while self._bytes > self._most and len(self._values) > self._fewest:
                _, oldest = self._values.popitem(last=False)
                self._bytes -= self._size(oldest)

    def __len__(self) -> int:
        """Return how many values are kept."""
        return len(self._values)
