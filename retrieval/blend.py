"""The blend: how much the score of each tower pair counts, for whom."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Blend:
    """Weights of P pairs, in the order of the run's towers."""

    weights: tuple[float, ...]  # for users that training knew
    newcomer_weights: tuple[float, ...]  # for someone who has told nothing
    halfway: float  # ratings told when a newcomer's weights are halfway to those of the known
    origin: float  # the rating at which the neural pair's score is 0

    def of(self, known: NDArray[np.bool_], told: NDArray[np.int64]) -> Floats:
        """Return the weights `(Q, P)` of people.

        Args:
            known: `(Q,)` whether training knew them as they are.
            told: `(Q,)` how many ratings they have told.
        """
        share = np.where(known, 1.0, told / (told + self.halfway))[:, None]
        settled, fresh = np.array(self.weights), np.array(self.newcomer_weights)
        return np.asarray(share * settled + (1 - share) * fresh, dtype=np.float64)
