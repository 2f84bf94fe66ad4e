"""The sequence tower pair: what a user watches next, by a causal transformer over recent events.

It predicts a movie by the score `user vector . movie vector / temperature`, both of unit length.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (torch's own name for it)

from retrieval.towers.dropout import Dropout
from retrieval.towers.neural import Sizes, embedding
from retrieval.towers.tokens import GAP_CODES, WAIT_CODES

# Added to what must not be looked at.
NEVER = -1e9


@dataclass(frozen=True, kw_only=True)
class SequenceSettings:
    """The shape of the tower pair, and how it is held back from learning by heart."""

    dimension: int = 64
    blocks: int = 2
    heads: int = 2
    hidden: int = 256  # of the gated layer in each block
    history_length: int = 200
    dropout: float = 0.2
    temperature: float = 0.05
    unknown_movies: float = 0.02  # share of the movies that are as if unrated, anew in each batch


class SequencePair(nn.Module):
    """User tower and movie tower, sharing what they know of movies.

    Args:
        settings: The shape.
        sizes: Of the data.
        content: `(M, F)` features of the movies.
        rated: `(M,)` whether a movie has training rows.
    """

    content: Tensor
    rated: Tensor

    def __init__(
        self, settings: SequenceSettings, sizes: Sizes, content: Tensor, rated: Tensor
    ) -> None:
        super().__init__()
        self.settings, self.sizes = settings, sizes
        self.register_buffer("content", content)
        self.register_buffer("rated", rated)
        d = settings.dimension
        self.movie_ids = embedding(sizes.movies, d)
        self.describe = nn.Linear(sizes.content, d, bias=False)
        nn.init.normal_(self.describe.weight, std=0.01)
        self.levels = embedding(sizes.levels + 1, d)  # the first is of the start
        self.waits = embedding(WAIT_CODES, d)
        self.places = embedding(settings.history_length + 1, d)
        self.genders = embedding(sizes.genders, d)
        self.ages = embedding(sizes.ages, d)
        self.occupations = embedding(sizes.occupations, d)
        self.blocks = nn.ModuleList(Block(settings) for _ in range(settings.blocks))
        self.norm = nn.LayerNorm(d)
        self.dropout = Dropout(settings.dropout)

    def table(self) -> Tensor:
        """Return what is known of each movie, `(M, D)`: its own vector where rated, its content."""
        rated = self.rated
        if self.training:
            rated = rated & (torch.rand(len(rated)) >= self.settings.unknown_movies)
        table: Tensor = rated[:, None] * self.movie_ids.weight + self.describe(self.content)
        return table

    def forward(
        self,
        table: Tensor,
        movies: Tensor,
        levels: Tensor,
        people: Tensor,
        waits: Tensor,
        gaps: Tensor,
    ) -> Tensor:
        """Return a vector for the question after each token, `(B, T, D)`, of length 1.

        Args:
            table: What `table` returned.
            movies: `(B, T)`, likewise the others: the columns of `Tokens`.
            levels: `(B, T)`.
            people: `(B, 3)`.
            waits: `(B, T)`.
            gaps: `(B, T, T)`.
        """
        d = self.settings.dimension
        nothing = table.new_zeros(1, d)
        known = F.embedding(movies, torch.cat([nothing, table]))  # (B, T, D)
        x = known * math.sqrt(d) + self.levels(levels) + self.waits(waits)
        x = x + self.places.weight[: movies.shape[1]]
        x = torch.cat([x[:, :1] + self._person(people)[:, None], x[:, 1:]], dim=1)
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x, gaps)
        return F.normalize(self.norm(x), dim=-1)

    def movie_vectors(self) -> Tensor:
        """Return the vectors of the whole catalogue, `(M, D)`."""
        return F.normalize(self.table(), dim=-1)

    def new_movie_vectors(self, content: Tensor) -> Tensor:
        """Return the vectors `(A, D)` of movies that nobody has rated, from content `(A, F)`."""
        return F.normalize(self.describe(content), dim=-1)

    def _person(self, people: Tensor) -> Tensor:
        gender, age, occupation = people.unbind(dim=1)
        known: Tensor = self.genders(gender) + self.ages(age) + self.occupations(occupation)
        return known


class Block(nn.Module):
    """Attention with biases for how many tokens and how much time lie between; a gated layer."""

    def __init__(self, settings: SequenceSettings) -> None:
        super().__init__()
        d, heads = settings.dimension, settings.heads
        self.heads = heads
        self.attention_norm = nn.LayerNorm(d)
        # No biases after a norm, which has its own.
        self.queries_keys_values = nn.Linear(d, 3 * d, bias=False)
        self.attended = nn.Linear(d, d)
        self.gap_bias = nn.Parameter(torch.zeros(heads, GAP_CODES - 1))
        self.distance_bias = nn.Parameter(torch.zeros(heads, settings.history_length + 1))
        self.gate_norm = nn.LayerNorm(d)
        self.gated = nn.Linear(d, 2 * settings.hidden, bias=False)
        self.narrowed = nn.Linear(settings.hidden, d)
        self.dropout = Dropout(settings.dropout)

    def forward(self, x: Tensor, gaps: Tensor) -> Tensor:
        """Return `(B, T, D)` from the same and gap codes `(B, T, T)`."""
        x = x + self.dropout(self.attended(self._attend(self.attention_norm(x), gaps)))
        value, gate = self.gated(self.gate_norm(x)).chunk(2, dim=-1)
        gated: Tensor = self.dropout(self.narrowed(value * F.silu(gate)))
        return x + gated

    def _attend(self, x: Tensor, gaps: Tensor) -> Tensor:
        b, t, d = x.shape
        parts = self.queries_keys_values(x).view(b, t, 3, self.heads, d // self.heads)
        queries, keys, values = parts.permute(2, 3, 0, 1, 4).flatten(1, 2)  # (H * B, T, D / H)
        scores = torch.baddbmm(
            self._biases(gaps), queries, keys.transpose(1, 2), alpha=(d // self.heads) ** -0.5
        )
        met = torch.bmm(scores.softmax(dim=-1), values)  # (H * B, T, D / H)
        return met.view(self.heads, b, t, -1).permute(1, 2, 0, 3).reshape(b, t, d)

    def _biases(self, gaps: Tensor) -> Tensor:
        """Return what is added to attention, `(H * B, T, T)`."""
        b, t, _ = gaps.shape
        never = self.gap_bias.new_full((self.heads, 1), NEVER)
        table = torch.cat([never, self.gap_bias], dim=1)[:, None]  # (H, 1, codes)
        # Gathered along rows: an embedding of so few numbers a row is ten times slower.
        of_gaps = table.expand(-1, b * t, -1).gather(
            2, gaps.view(1, b * t, t).expand(self.heads, -1, -1)
        )
        places = torch.arange(t)
        distances = (places[:, None] - places).clamp(min=0)
        of_distances = self.distance_bias[:, distances]  # (H, T, T)
        return (of_gaps.view(self.heads, b, t, t) + of_distances[:, None]).view(-1, t, t)


class SequenceUserTower(nn.Module):
    """The user tower alone: the vector for the question after the last token."""

    def __init__(self, pair: SequencePair) -> None:
        super().__init__()
        self.pair = pair

    def forward(
        self,
        movies: Tensor,
        levels: Tensor,
        people: Tensor,
        waits: Tensor,
        gaps: Tensor,
        last: Tensor,
    ) -> Tensor:
        """Return `(B, D)` from the columns of `Tokens`."""
        vectors: Tensor = self.pair(self.pair.table(), movies, levels, people, waits, gaps)
        place = last[:, None, None].expand(-1, 1, vectors.shape[-1])
        return vectors.gather(1, place).squeeze(1)  # (B, 1, D) to (B, D)
