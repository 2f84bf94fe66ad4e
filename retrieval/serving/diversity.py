"""Diverse lists: a movie counts less if the list already holds one like it."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def diversify(
    scores: Floats, directions: Floats, count: int, diversity: float
) -> NDArray[np.int64]:
    """Return which candidates make the list, best first, `(min(count, C),)`.

    Each place goes to the candidate with the largest value of `(1 - diversity) * score - diversity
    * similarity`. Scores are scaled from 0 to 1 over the candidates. The similarity is the cosine
    to the nearest of the movies that are chosen already.

    Args:
        scores: `(C,)` scores of candidates, highest first.
        directions: `(C, D)` vectors of the candidates, of any norm.
        count: Length of the list.
        diversity: Weight of unlikeness, from 0, the order of the scores, to 1.

    Source:
        Carbonell and Goldstein, *The use of MMR, diversity-based reranking*, SIGIR 1998.
    """
    if not len(scores):
        return np.zeros(0, dtype=np.int64)
    span = scores.max() - scores.min()
    scaled = (scores - scores.min()) / span if span > 0 else np.ones(len(scores))
    norms = np.linalg.norm(directions, axis=1, keepdims=True)  # (C, 1)
    units = directions / np.maximum(norms, 1e-12)  # (C, D)
    nearest = np.full(len(scores), -1.0)  # cosine to the nearest of those chosen
    left = np.ones(len(scores), dtype=bool)
    chosen: list[int] = []
    for _ in range(min(count, len(scores))):
        gains = (1 - diversity) * scaled - diversity * nearest
        best = int(np.argmax(np.where(left, gains, -np.inf)))
        chosen.append(best)
        left[best] = False
        nearest = np.maximum(nearest, units @ units[best])
    return np.array(chosen, dtype=np.int64)
