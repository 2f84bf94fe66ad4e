"""Ids and numbers: the one place where what the data calls a thing becomes its row, and back."""

import re
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retrieval.errors import shown

UNKNOWN = -1

# What stands for no id, or no value at all, where a table was written by a program.
MISSING = frozenset(("", "nan", "none", "null", "na", "n/a", "<na>"))

# Whole numbers, or texts such as UUIDs: what the data calls a user or a movie.
Id = int | str
Ids = NDArray[Any]  # int64 or texts

WHOLE = np.dtype(np.int64)

IDS = 2**63  # whole numbers that are ids are smaller in size

# A whole number as a text: an id has one way of being written.
WHOLE_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,18})", re.ASCII)

# Bytes of one in an array of texts.
CHARACTER = np.dtype("U1").itemsize


class Vocabulary:
    """Distinct ids; the number of an id is its place. Given in any order, they come in ascending.

    The ids are int64, or all of them are texts.

    Args:
        ids: Of any number, repeated or not.
        later: Ids that were added afterwards, none of them among the others: they come last, as
            given, so that the numbers of the others stay.

    Raises:
        ValueError: An added id is among the others, or one is neither a whole number nor a text.
    """

    def __init__(self, ids: ArrayLike, later: ArrayLike = ()) -> None:
        first, added = _ids(ids), _ids(later)
        if len(first) and len(added) and _are_texts(first) != _are_texts(added):
            raise ValueError("some ids are whole numbers and others are texts")
        first = np.unique(first)
        self.ids: Ids = np.concatenate([first, added]) if len(added) else first
        self._order = np.argsort(self.ids, kind="stable")
        self._sorted = self.ids[self._order]
        if (self._sorted[1:] == self._sorted[:-1]).any():
            raise ValueError("an id that was added is there already")

    def __len__(self) -> int:
        """Return how many ids there are."""
        return len(self.ids)

    @property
    def texts(self) -> bool:
        """Whether the ids are texts rather than whole numbers."""
        return _are_texts(self.ids)

    def numbers(self, ids: ArrayLike) -> NDArray[np.int64]:
        """Return the numbers of ids of its kind, `UNKNOWN` for those that it does not have."""
        wanted = np.asarray(ids, dtype=None if self.texts else WHOLE)
        if not len(self.ids):
            return np.full(wanted.shape, UNKNOWN, dtype=np.int64)
        if self.texts:
            wanted = np.asarray(wanted, dtype=str)
            if wanted.itemsize > self._sorted.itemsize:
                return self._numbers_of_short(wanted)
        places = np.minimum(np.searchsorted(self._sorted, wanted), len(self.ids) - 1)
        return np.where(self._sorted[places] == wanted, self._order[places], UNKNOWN)

    def _numbers_of_short(self, wanted: Ids) -> NDArray[np.int64]:
        """Return the numbers of texts, some of which are longer than every id.

        To search for these, all ids would have to be made as long.
        """
        numbers = np.full(wanted.shape, UNKNOWN, dtype=np.int64)
        short = np.char.str_len(wanted) <= self._sorted.itemsize // CHARACTER
        numbers[short] = self.numbers(wanted[short].astype(self._sorted.dtype))
        return numbers

    def number(self, one: Id) -> int:
        """Return the number of one id of its kind, `UNKNOWN` where it does not have it."""
        if self.texts and len(str(one)) > self._sorted.itemsize // CHARACTER:
            return UNKNOWN  # the search would first make all ids as long
        place = int(self._sorted.searchsorted(one))
        there = place < len(self._sorted) and self._sorted[place] == one
        return int(self._order[place]) if there else UNKNOWN

    def described(self) -> str:
        """Return what its ids look like, as words of a message."""
        if not len(self.ids):
            return "there is none"
        low, high = self._sorted[0], self._sorted[-1]
        if self.texts:
            return f"ids are texts such as '{shown(low)}'"
        return f"ids run from {low} to {high} with gaps"


def id_of(text: str | None, vocabulary: Vocabulary) -> Id | None:
    """Return an id that was written as a text as a vocabulary has ids; None where it is no such."""
    if text is None or vocabulary.texts:
        return text
    # Nothing else that `int` reads.
    number = int(text) if WHOLE_NUMBER.fullmatch(text) else IDS
    return number if abs(number) < IDS else None


def _ids(ids: ArrayLike) -> Ids:
    """Return ids as int64 or, where one of them is a text, all as texts."""
    given = np.asarray(ids)
    if not given.size:
        return np.zeros(0, np.int64)
    if given.dtype.kind in "OUT":
        if given.dtype.kind == "O" and not all(isinstance(one, str) for one in given.tolist()):
            return np.asarray(given, dtype=np.int64)
        return np.asarray(given, dtype=str)
    return np.asarray(given, dtype=np.int64)


def _are_texts(ids: Ids) -> bool:
    return ids.dtype.kind == "U"
