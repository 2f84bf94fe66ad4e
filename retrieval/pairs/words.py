"""Bags of words: texts as the leading directions of their words, weighed by how rare these are.

The weights are those of scikit-learn's `TfidfVectorizer`, which `content_training` fits; here they
are applied without it. Of a text, only words that the fit knows count.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from retrieval.data.attributes import SEPARATOR

Floats = NDArray[np.float64]

# Words of a text have two letters at least.
WORD = re.compile(r"\b\w\w+\b")


class Bag(StrEnum):
    """What texts are cut into."""

    WORDS = "words"
    NAMES = "names"  # of a list


@dataclass(frozen=True)
class Words:
    """The leading directions of a weighted bag of W words."""

    words: tuple[str, ...]
    weights: Floats  # (W,) inverse document frequencies
    directions: Floats  # (T, W)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {word: place for place, word in enumerate(self.words)}

    @cached_property
    def _rows(self) -> Floats:
        return np.ascontiguousarray(self.directions.T)  # (W, T)

    def describe(self, texts: Sequence[str], bag: Bag) -> NDArray[np.float32]:
        """Return M texts as directions, `(M, T)`; texts without a known word are zeros."""
        found = np.zeros((len(texts), len(self.directions)), np.float32)
        for row, text in enumerate(texts):
            counts = Counter(self._places[word] for word in cut(bag, text) if word in self._places)
            if counts:
                places = list(counts)
                values = self.weights[places] * [_count(bag, counts[place]) for place in places]
                found[row] = (values / math.sqrt(values @ values)) @ self._rows[places]
        return found


def cut(bag: Bag, text: str) -> list[str]:
    """Return the words or names of a text, in small letters."""
    match bag:
        case Bag.WORDS:
            return WORD.findall(text.lower())
        case Bag.NAMES:
            return [name for name in text.lower().split(SEPARATOR) if name]


def _count(bag: Bag, count: int) -> float:
    """Return what a word counts for that comes so often."""
    return 1 + math.log(count) if bag is Bag.WORDS else count
