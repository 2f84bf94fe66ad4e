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
            drawn = torch.rand(len(rated), device=rated.device)
            rated = rated & (drawn >= self.settings.unknown_movies)
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
        x = self.dropout(self.embed(with_nothing(table), movies, levels, people, waits))
        between = distances(movies.shape[1], x.device)
        for block in self.layers():
            x = block(x, gaps, block.distance_bias[:, None, between])
        return F.normalize(self.norm(x), dim=-1)

    def embed(
        self, known: Tensor, movies: Tensor, levels: Tensor, people: Tensor, waits: Tensor
    ) -> Tensor:
        """Return what each token is, `(B, T, D)`, before it has looked at others.

        Args:
            known: What `with_nothing` made of the table; the others as for `forward`.
            movies: `(B, T)`.
            levels: `(B, T)`.
            people: `(B, 3)`.
            waits: `(B, T)`.
        """
        x = F.embedding(movies, known) * math.sqrt(self.settings.dimension)  # (B, T, D)
        x = x + self.levels(levels) + self.waits(waits) + self.places.weight[: movies.shape[1]]
        return torch.cat([x[:, :1] + self._person(people)[:, None], x[:, 1:]], dim=1)

    def layers(self) -> "list[Block]":
        """Return the blocks, first to last."""
        return [block for block in self.blocks if isinstance(block, Block)]

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

    def forward(
        self, x: Tensor, gaps: Tensor, distances: Tensor, asked: Tensor | None = None
    ) -> Tensor:
        """Return what tokens are after looking at those before, `(B, Q, D)`.

        Args:
            x: `(B, T, D)`.
            gaps: `(B, Q, T)` codes.
            distances: `(H, B, Q, T)` biases, or with sizes of 1.
            asked: `(B, Q)` places of the tokens that look; None is all of them, Q = T.
        """
        y = self.attention_norm(x)
        if asked is None:
            looking = y
        else:
            places = asked[:, :, None].expand(-1, -1, x.shape[-1])
            x, looking = x.gather(1, places), y.gather(1, places)
        x = x + self.dropout(self.attended(self._attend(looking, y, gaps, distances)))
        value, gate = self.gated(self.gate_norm(x)).chunk(2, dim=-1)
        gated: Tensor = self.dropout(self.narrowed(value * F.silu(gate)))
        return x + gated

    def _attend(self, looking: Tensor, x: Tensor, gaps: Tensor, distances: Tensor) -> Tensor:
        b, t, d = x.shape
        width = d // self.heads
        weights = self.queries_keys_values.weight  # (3 * D, D)
        queries = F.linear(looking, weights[:d]).view(b, -1, self.heads, width)
        queries = queries.permute(2, 0, 1, 3).flatten(0, 1)  # (H * B, Q, D / H)
        rest = F.linear(x, weights[d:]).view(b, t, 2, self.heads, width)
        keys, values = rest.permute(2, 3, 0, 1, 4).flatten(1, 2)  # (H * B, T, D / H)
        biases = self._of_gaps(gaps).add_(distances).flatten(0, 1)  # (H * B, Q, T)
        scores = torch.baddbmm(biases, queries, keys.transpose(1, 2), alpha=width**-0.5)
        met = torch.bmm(scores.softmax(dim=-1), values)  # (H * B, Q, D / H)
        return met.view(self.heads, b, -1, width).permute(1, 2, 0, 3).reshape(b, -1, d)

    def _of_gaps(self, gaps: Tensor) -> Tensor:
        """Return biases `(H, B, Q, T)` for codes `(B, Q, T)`."""
        b, q, _ = gaps.shape
        never = self.gap_bias.new_full((self.heads, 1), NEVER)
        table = torch.cat([never, self.gap_bias], dim=1)[:, None, None]  # (H, 1, 1, codes)
        # Gathered along rows: an embedding of so few numbers a row is ten times slower.
        codes = gaps.expand(self.heads, -1, -1, -1)
        return table.expand(-1, b, q, -1).gather(3, codes)


class SequenceUserTower(nn.Module):
    """The user tower alone: the vector for the question after the last token.

    What does not depend on the user is made once, and in the last block nothing but that question.
    """

    known: Tensor

    def __init__(self, pair: SequencePair) -> None:
        super().__init__()
        self.pair = pair
        pair.eval()
        self.register_buffer("known", with_nothing(pair.table()).detach())
        between = distances(pair.settings.history_length + 1, pair.rated.device)
        for place, block in enumerate(pair.layers()[:-1]):
            biases = block.distance_bias[:, None, between].detach()
            self.register_buffer(f"distances_{place}", biases)

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
        t = movies.shape[1]
        x = self.pair.embed(self.known, movies, levels, people, waits)
        *earlier, final = self.pair.layers()
        for place, block in enumerate(earlier):
            x = block(x, gaps, self.get_buffer(f"distances_{place}")[:, :, :t, :t])
        asked = last[:, None]  # (B, 1)
        away = (asked - torch.arange(t, device=asked.device)).clamp(min=0)[:, None]  # (B, 1, T)
        gaps = gaps.gather(1, asked[:, :, None].expand(-1, -1, t))  # (B, 1, T)
        x = final(x, gaps, final.distance_bias[:, away], asked)  # (B, 1, D)
        return F.normalize(self.pair.norm(x), dim=-1).squeeze(1)


def with_nothing(table: Tensor) -> Tensor:
    """Return a table `(M, D)` with a row of zeros before it, for tokens that are no movie."""
    return torch.cat([table.new_zeros(1, table.shape[1]), table])


def distances(count: int, device: torch.device) -> Tensor:
    """Return how many tokens lie from each place to each before it, `(T, T)`; 0 to those after."""
    places = torch.arange(count, device=device)
    return (places[:, None] - places).clamp(min=0)
