"""Sequence pairs that were trained apart, as one: vectors are joined, so that scores add up."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from retrieval.pairs.lookup import EmbeddingTable, table_of
from retrieval.pairs.sequence.model import (
    SequenceContinuation,
    SequencePair,
    SequenceUserTower,
    with_nothing,
)


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
    def trends(self) -> int:
        """Components at the end of a joined vector that are trends, J."""
        return self.members()[0].trends.shape[1]

    @property
    def dimension(self) -> int:
        """Components of a joined vector, W."""
        return len(self.pairs) * self.settings.dimension + self.trends

    @property
    def temperature(self) -> float:
        """What dot products of joined vectors are divided by, to give the pairs' mean logit."""
        return len(self.pairs) * self.settings.temperature

    def members(self) -> list[SequencePair]:
        """Return the pairs."""
        return [pair for pair in self.pairs if isinstance(pair, SequencePair)]

    def movie_vectors(self) -> Tensor:
        """Return the vectors of the whole catalogue, `(M, W)`."""
        members = self.members()
        # So that a weight of 1 adds the trend itself to a logit.
        trends = members[0].trends * self.settings.temperature
        return torch.cat([*(pair.movie_vectors() for pair in members), trends], dim=1)


def movie_rows(ensemble: SequenceEnsemble) -> Tensor:
    """Return the movie embeddings of the user tower, `(M + 1, P * D)`; the first is no movie."""
    ensemble.eval()
    with torch.no_grad():
        return torch.cat([with_nothing(pair.table()) for pair in ensemble.members()], dim=1)


def movie_table(ensemble: SequenceEnsemble) -> EmbeddingTable:
    """Return the movie embeddings of the user tower as a table, `(M + 1, P * D)`."""
    return table_of(movie_rows(ensemble).numpy())


class EnsembleUserTower(nn.Module):
    """The layers of the user tower alone: see `SequenceUserTower`."""

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
        asked: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return vectors `(B, W)` and states `(B, T, P * S)`: see `Tokens.columns`."""
        columns = (classes, codes, time_gaps, relative_times, last, asked)
        of_towers = movies.chunk(len(self.towers), dim=2)
        return _joined(
            [tower(rows, *columns) for tower, rows in zip(self.towers, of_towers, strict=True)]
        )


class EnsembleContinuation(nn.Module):
    """The layers of the user tower for a few tokens more: see `SequenceContinuation`."""

    def __init__(self, ensemble: SequenceEnsemble) -> None:
        super().__init__()
        self.towers = nn.ModuleList(SequenceContinuation(pair) for pair in ensemble.members())

    def forward(
        self,
        movies: Tensor,
        classes: Tensor,
        time_gaps: Tensor,
        relative_times: Tensor,
        asked: Tensor,
        read: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return vectors `(B, W)`, and states of the N tokens `(B, N, P * S)`."""
        columns = (classes, time_gaps, relative_times, asked)
        count = len(self.towers)
        parts = zip(self.towers, movies.chunk(count, dim=2), read.chunk(count, dim=2), strict=True)
        return _joined([tower(rows, *columns, states) for tower, rows, states in parts])


def _joined(answers: Sequence[tuple[Tensor, Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Return the joined vectors `(B, W)` and states of what each tower says."""
    vectors, weights, states = zip(*answers, strict=True)
    joined = torch.cat([*vectors, torch.stack(weights).sum(dim=0)], dim=1)
    return joined, torch.cat(states, dim=2)
