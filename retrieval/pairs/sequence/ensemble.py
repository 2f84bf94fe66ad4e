"""Sequence pairs that were trained apart, as one: vectors are joined, so that scores add up."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from retrieval.pairs.sequence.model import SequencePair, SequenceUserTower


class SequenceEnsemble(nn.Module):
    """P sequence pairs of one shape, for the same movies.

    Args:
        pairs: At least one.
    """

    def __init__(self, pairs: Sequence[SequencePair]) -> None:
        super().__init__()
        self.pairs = nn.ModuleList(pairs)
        self.settings, self.sizes = pairs[0].settings, pairs[0].sizes

    @property
    def dimension(self) -> int:
        """Components of a joined vector."""
        return len(self.pairs) * self.settings.dimension

    @property
    def temperature(self) -> float:
        """What dot products of joined vectors are divided by, to give the pairs' mean logit."""
        return len(self.pairs) * self.settings.temperature

    def members(self) -> list[SequencePair]:
        """Return the pairs."""
        return [pair for pair in self.pairs if isinstance(pair, SequencePair)]

    def movie_vectors(self) -> Tensor:
        """Return the vectors of the whole catalogue, `(M, P * D)`."""
        return torch.cat([pair.movie_vectors() for pair in self.members()], dim=1)

    def new_movie_vectors(self, content: Tensor) -> Tensor:
        """Return the vectors `(A, P * D)` of movies nobody has rated, from content `(A, F)`."""
        return torch.cat([pair.new_movie_vectors(content) for pair in self.members()], dim=1)


class EnsembleUserTower(nn.Module):
    """The user tower alone: see `SequenceUserTower`."""

    def __init__(self, ensemble: SequenceEnsemble) -> None:
        super().__init__()
        self.towers = nn.ModuleList(SequenceUserTower(pair) for pair in ensemble.members())

    def forward(
        self,
        movies: Tensor,
        classes: Tensor,
        codes: Tensor,
        time_gaps: Tensor,
        relative_times: Tensor,
        last: Tensor,
    ) -> Tensor:
        """Return `(B, P * D)` from the columns of `Tokens`."""
        asked = (movies, classes, codes, time_gaps, relative_times, last)
        return torch.cat([tower(*asked) for tower in self.towers], dim=1)
