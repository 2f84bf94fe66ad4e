"""Diverse lists: a movie counts less where the list already holds one like it."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def diversify(
    scores: Floats, directions: Floats, count: int, diversity: float
) -> NDArray[np.int64]:
    """Return which candidates make the list, best first, `(min(count, C),)`.

    Each place goes to the candidate with the most of `(1 - diversity) * score - diversity *
    likeness`: scores scaled from 0 to 1 over the candidates, the likeness a cosine to the nearest
    of those already chosen.

    Args:
        scores: `(C,)` of candidates, highest first.
        directions: `(C, D)` of the candidates, of any length.
        count: How long the list is.
        diversity: From 0, the order of the scores, to 1, only unlikeness.

    Source:
        Carbonell and Goldstein, *The use of MMR, diversity-based reranking*, SIGIR 1998.
    """
    if not len(scores):
        return np.zeros(0, dtype=np.int64)
    spread = scores.max() - scores.min()
    worth = (scores - scores.min()) / spread if spread > 0 else np.ones(len(scores))
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    units = directions / np.maximum(lengths, 1e-12)  # (C, D)
    nearest = np.full(len(scores), -1.0)  # cosine to the nearest of those chosen
    left = np.ones(len(scores), dtype=bool)
    chosen: list[int] = []
    for _ in range(min(count, len(scores))):
        gains = (1 - diversity) * worth - diversity * nearest
        best = int(np.argmax(np.where(left, gains, -np.inf)))
        chosen.append(best)
        left[best] = False
        nearest = np.maximum(nearest, units @ units[best])
    return np.array(chosen, dtype=np.int64)
