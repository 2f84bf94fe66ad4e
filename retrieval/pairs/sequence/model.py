"""The sequence tower pair: what a user watches next, by a causal transformer over recent events.

It predicts a movie by the score `user vector . movie vector / temperature`, both of unit length. Of
a user who comes back, a head says what to look for instead, and how much trends of movies count.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (torch's own name for it)

from retrieval.pairs.dropout import Dropout
from retrieval.pairs.embedding import embedding
from retrieval.pairs.sequence.settings import SequenceSettings
from retrieval.pairs.sequence.tokens import RELATIVE_CODES, TIME_GAP_CODES
from retrieval.pairs.sizes import Sizes

# Added to what must not be looked at.
NEVER = -1e9


class SequencePair(nn.Module):
    """User tower and movie tower, sharing what they know of movies.

    Args:
        settings: The shape.
        sizes: Of the data.
        content: `(M, F)` features of the movies.
        rated: `(M,)` whether a movie has training rows.
        trends: `(M, J)` trends of the movies after all events; J is 0 where nobody comes back.
    """

    content: Tensor
    rated: Tensor
    trends: Tensor

    def __init__(
        self,
        settings: SequenceSettings,
        sizes: Sizes,
        content: Tensor,
        rated: Tensor,
        trends: Tensor,
    ) -> None:
        super().__init__()
        self.settings, self.sizes = settings, sizes
        self.register_buffer("content", content)
        self.register_buffer("rated", rated)
        self.register_buffer("trends", trends)
        d = settings.dimension
        self.movie_ids = embedding(sizes.movies, d)
        self.describe = nn.Linear(sizes.content, d, bias=False)
        nn.init.normal_(self.describe.weight, std=0.01)
        self.classes = embedding(sizes.classes + 1, d)  # the first is of the start
        self.time_gaps = embedding(TIME_GAP_CODES, d)
        self.places = embedding(settings.history_length + 1, d)
        self.attributes = nn.ModuleList(embedding(size, d) for size in sizes.attributes)
        self.blocks = nn.ModuleList(Block(settings) for _ in range(settings.blocks))
        self.norm = nn.LayerNorm(d)
        self.dropout = Dropout(settings.dropout)
        self.returning = Returning(d, trends.shape[1]) if trends.shape[1] else None

    def table(self) -> Tensor:
        """Return what is known of each movie, `(M, D)`: its own vector where rated, its content."""
        rated = self.rated
        if self.training:
            drawn = torch.rand(len(rated), device=rated.device)
            rated = rated & (drawn >= self.settings.unrated_share)
        table: Tensor = rated[:, None] * self.movie_ids.weight + self.describe(self.content)
        return table

    def forward(
        self,
        table: Tensor,
        movies: Tensor,
        classes: Tensor,
        codes: Tensor,
        time_gaps: Tensor,
        relative_times: Tensor,
    ) -> Tensor:
        """Return the state of the question after each token, `(B, T, D)`.

        Args:
            table: What `table` returned.
            movies: `(B, T)`, likewise the others: the columns of `Tokens`.
            classes: `(B, T)`.
            codes: `(B, C)`.
            time_gaps: `(B, T)`.
            relative_times: `(B, T, T)`.
        """
        rows = F.embedding(movies, with_nothing(table))
        x: Tensor = self.dropout(self.embed(rows, classes, codes, time_gaps))
        for block in self.layers():
            x = block(x, relative_times, block.biases())
        return x

    def answer(self, x: Tensor) -> Tensor:
        """Return the vectors `(..., D)`, of length 1, of questions in the sitting, by state."""
        return F.normalize(self.norm(x), dim=-1)

    def answers(self, x: Tensor, asked: Tensor) -> tuple[Tensor, Tensor]:
        """Return the vectors `(B, D)` of questions and weights of trends `(B, J)`.

        Args:
            x: `(B, D)` states of the questions.
            asked: `(B, 2)` codes, as in `Tokens`.
        """
        staying = self.answer(x)
        if self.returning is None:
            return staying, staying[:, :0]
        vectors, weights = self.returning(x, asked)
        returns = asked[:, :1] > 0
        return torch.where(returns, vectors, staying), weights * returns

    def embed(self, movies: Tensor, classes: Tensor, codes: Tensor, time_gaps: Tensor) -> Tensor:
        """Return what each token is, `(B, T, D)`, before it has looked at others.

        Args:
            movies: `(B, T, D)` rows of what `with_nothing` made of the table; the others as for
                `forward`.
            classes: `(B, T)`.
            codes: `(B, C)`.
            time_gaps: `(B, T)`.
        """
        x = self.embed_further(movies, classes, time_gaps, 0)
        return torch.cat([x[:, :1] + self._person(codes)[:, None], x[:, 1:]], dim=1)

    def embed_further(
        self, movies: Tensor, classes: Tensor, time_gaps: Tensor, before: int
    ) -> Tensor:
        """Return what each token after so many others is, `(B, N, D)`: as `embed` does."""
        places = self.places.weight[before : before + movies.shape[1]]
        x: Tensor = (
            movies * math.sqrt(self.settings.dimension)
            + self.classes(classes)
            + self.time_gaps(time_gaps)
            + places
        )
        return x

    def layers(self) -> "list[Block]":
        """Return the blocks, first to last."""
        return [block for block in self.blocks if isinstance(block, Block)]

    def movie_vectors(self) -> Tensor:
        """Return the vectors of the whole catalogue, `(M, D)`, without trends."""
        return F.normalize(self.table(), dim=-1)

    def _person(self, codes: Tensor) -> Tensor:
        columns = zip(self.attributes, codes.unbind(dim=1), strict=True)
        first, *others = (embedded(column) for embedded, column in columns)
        known: Tensor = sum(others, start=first)
        return known


class Returning(nn.Module):
    """What a user who comes back looks for, and how much each trend of movies counts then.

    Args:
        dimension: Components of a state, D.
        trends: Number of trends, J.
    """

    def __init__(self, dimension: int, trends: int) -> None:
        super().__init__()
        self.since = embedding(TIME_GAP_CODES, dimension)
        self.until = embedding(TIME_GAP_CODES, dimension)
        self.norm = nn.LayerNorm(dimension)
        self.wide = nn.Linear(dimension, 2 * dimension)
        self.narrowed = nn.Linear(2 * dimension, dimension)
        self.answer_norm = nn.LayerNorm(dimension)
        self.weights = nn.Linear(dimension, trends)
        for layer in (self.narrowed, self.weights):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, asked: Tensor) -> tuple[Tensor, Tensor]:
        """Return vectors `(N, D)` of length 1, and weights of trends `(N, J)`.

        Args:
            x: `(N, D)` states of questions.
            asked: `(N, 2)` codes, as in `Tokens`.
        """
        since, until = asked.unbind(dim=1)
        y = self.norm(x + self.since(since) + self.until(until))
        y = y + self.narrowed(F.silu(self.wide(y)))
        return F.normalize(self.answer_norm(y), dim=-1), self.weights(y)


class Products(NamedTuple):
    """What a block computes with that depends on no token, made once."""

    biases: Tensor  # (H, codes) of relative time codes
    queries: Tensor  # (D, H * D) from a token to what each head looks for in tokens as they are
    values: Tensor  # (H * D, D) from the tokens that the heads met to what is attended to


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
        self.gap_bias = nn.Parameter(torch.zeros(heads, RELATIVE_CODES))
        self.distance_bias = nn.Parameter(torch.zeros(heads, settings.history_length + 1))
        self.gate_norm = nn.LayerNorm(d)
        self.gated = nn.Linear(d, 2 * settings.hidden, bias=False)
        self.narrowed = nn.Linear(settings.hidden, d)
        self.dropout = Dropout(settings.dropout)

    def forward(self, x: Tensor, relative_times: Tensor, biases: Tensor) -> Tensor:
        """Return what tokens are after looking at those before, `(B, T, D)`.

        Args:
            x: `(B, T, D)`.
            relative_times: `(B, T, T)` codes.
            biases: `(H, codes)` what `biases` returned.
        """
        b, t, d = x.shape
        width = d // self.heads
        y = self.queries_keys_values(self.readable(x))  # (B, T, 3 * D)
        queries, keys, values = y.view(b, t, 3, self.heads, width).permute(2, 3, 0, 1, 4).unbind()
        # The first half looks at nothing of the second.
        half = t // 2
        met = torch.cat(
            [
                _attention(
                    queries[:, :, start:end],
                    keys[:, :, :end],
                    values[:, :, :end],
                    _biases_of(relative_times[:, start:end, :end], biases),
                )
                for start, end in ((0, half), (half, t))
            ],
            dim=2,
        )  # (H, B, T, D / H)
        return self._added(x, self.attended(met.permute(1, 2, 0, 3).reshape(b, t, d)))

    def last(
        self, x: Tensor, read: Tensor, relative_times: Tensor, products: "Products", places: Tensor
    ) -> Tensor:
        """Return what one token of each user is after looking at those before, `(B, D)`.

        Args:
            x: `(B, T, D)`.
            read: `(B, T, D)` what the block looks at of them: see `readable`.
            relative_times: `(B, T, T)` codes.
            products: What `products` returned.
            places: `(B,)` of the tokens.
        """
        own = places[:, None, None]  # (B, 1, 1)
        x = x.gather(1, own.expand(-1, -1, x.shape[2]))
        relative_times = relative_times.gather(1, own.expand(-1, -1, relative_times.shape[2]))
        return self.attend(x, read, relative_times, products).squeeze(1)

    def attend(
        self, x: Tensor, read: Tensor, relative_times: Tensor, products: "Products"
    ) -> Tensor:
        """Return what a few tokens are after looking at all before, `(B, N, D)`.

        Instead of a key and a value for each token, there are few queries that look at tokens as
        they are, and a value of what each met: the same sums in another order.

        Args:
            x: `(B, N, D)`.
            read: `(B, T, D)` what the block looks at of all tokens: see `readable`.
            relative_times: `(B, N, T)` codes.
            products: What `products` returned.
        """
        b, n, d = x.shape
        queries = (self.readable(x) @ products.queries).view(b, n * self.heads, d)
        scores = torch.bmm(queries, read.transpose(1, 2))  # (B, N * H, T)
        bias = _biases_of(relative_times, products.biases).permute(1, 2, 0, 3)  # (B, N, H, T)
        weighed = (scores + bias.flatten(1, 2)).softmax(dim=-1)
        met = torch.bmm(weighed, read).view(b, n, self.heads * d)
        return self._added(x, met @ products.values + self.attended.bias)

    def readable(self, x: Tensor) -> Tensor:
        """Return what tokens after a token look at of it, `(B, T, D)`, for tokens `(B, T, D)`."""
        y: Tensor = self.attention_norm(x)
        return y

    def products(self) -> "Products":
        """Return what does not depend on the tokens."""
        d, heads = len(self.attended.bias), self.heads
        queries, keys, values = self.queries_keys_values.weight.view(3, heads, d // heads, d)
        looking = torch.einsum("hwc,hwd->chd", queries, keys) * (d // heads) ** -0.5
        attended = self.attended.weight.view(d, heads, d // heads)
        met = torch.einsum("hwd,chw->hdc", values, attended)
        return Products(self.biases(), looking.flatten(1), met.flatten(0, 1))

    def biases(self) -> Tensor:
        """Return the bias of each relative time code, `(H, codes)`."""
        before = (
            self.distance_bias[:, :, None] + self.gap_bias[:, None]
        )  # (H, L + 1, RELATIVE_CODES)
        return F.pad(before, (0, 0, 1, 0), value=NEVER).flatten(1)

    def _added(self, x: Tensor, attended: Tensor) -> Tensor:
        """Return tokens `(..., D)` with what they attended to, and what the gated layer adds."""
        x = x + self.dropout(attended)
        y = self.gate_norm(x)
        # Halves of one product would be copied apart, here and on the way back.
        value, gate = (F.linear(y, weight) for weight in self.gated.weight.chunk(2))
        gated: Tensor = self.dropout(self.narrowed(value * F.silu(gate)))
        return x + gated


class UserLayers(nn.Module):
    """The layers of the user tower alone; what does not depend on the user is made once.

    Args:
        pair: The pair.
    """

    def __init__(self, pair: SequencePair) -> None:
        super().__init__()
        self.pair = pair
        pair.eval()
        for place, block in enumerate(pair.layers()):
            for name, value in block.products()._asdict().items():
                self.register_buffer(f"{name}_{place}", value.detach())

    def layers(self) -> list[tuple[Block, Products]]:
        """Return the blocks, first to last, with their products."""
        return [
            (block, Products(*(self.get_buffer(f"{name}_{place}") for name in Products._fields)))
            for place, block in enumerate(self.pair.layers())
        ]


class SequenceUserTower(UserLayers):
    """What answers the question after the last token: the last block computes nothing but that."""

    def forward(
        self,
        movies: Tensor,
        classes: Tensor,
        codes: Tensor,
        time_gaps: Tensor,
        relative_times: Tensor,
        last: Tensor,
        asked: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return vectors `(B, D)`, weights of trends `(B, J)`, and states: see `Tokens.columns`.

        The states `(B, T, S)` are what later tokens look at, in each block.
        """
        x = self.pair.embed(movies, classes, codes, time_gaps)
        *earlier, (final, of_final) = self.layers()
        states = []
        for block, products in earlier:
            states.append(block.readable(x))
            x = block(x, relative_times, products.biases)
        states.append(final.readable(x))
        x = final.last(x, states[-1], relative_times, of_final, last)
        return *self.pair.answers(x, asked), torch.cat(states, dim=2)


class SequenceContinuation(UserLayers):
    """What answers the question after a few tokens more, where those before were read already."""

    def forward(
        self,
        movies: Tensor,
        classes: Tensor,
        time_gaps: Tensor,
        relative_times: Tensor,
        asked: Tensor,
        read: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return what `SequenceUserTower` does, for the last of N tokens and of these alone.

        Args:
            movies: `(B, N, D)`; the others are the columns of `Tokens` too.
            classes: `(B, N)`.
            time_gaps: `(B, N)`.
            relative_times: `(B, N, P + N)`.
            asked: `(B, 2)`.
            read: `(B, P, S)` states of the P tokens before.
        """
        x = self.pair.embed_further(movies, classes, time_gaps, read.shape[1])
        before, states = read.chunk(len(self.pair.blocks), dim=2), []
        for (block, products), seen in zip(self.layers(), before, strict=True):
            states.append(block.readable(x))
            x = block.attend(x, torch.cat([seen, states[-1]], dim=1), relative_times, products)
        return *self.pair.answers(x[:, -1], asked), torch.cat(states, dim=2)


def with_nothing(table: Tensor) -> Tensor:
    """Return a table `(M, D)` with a row of zeros before it, for tokens that are no movie."""
    return torch.cat([table.new_zeros(1, table.shape[1]), table])


def _attention(queries: Tensor, keys: Tensor, values: Tensor, biases: Tensor) -> Tensor:
    """Return what Q tokens see of T others, `(H, B, Q, W)`.

    Args:
        queries: `(H, B, Q, W)`.
        keys: `(H, B, T, W)`.
        values: `(H, B, T, W)`.
        biases: `(H, B, Q, T)`.
    """
    of_queries, of_keys = queries.flatten(0, 1), keys.flatten(0, 1).transpose(1, 2)
    width = queries.shape[-1]
    scores = torch.baddbmm(biases.flatten(0, 1), of_queries, of_keys, alpha=width**-0.5)
    return torch.bmm(scores.softmax(dim=-1), values.flatten(0, 1)).view(queries.shape)


def _biases_of(relative_times: Tensor, biases: Tensor) -> Tensor:
    """Return biases `(H, B, Q, T)` for codes `(B, Q, T)`, of a table `(H, codes)`."""
    # Gathered along rows: an embedding of so few numbers a row is ten times slower.
    codes = relative_times.reshape(1, -1).expand(len(biases), -1)
    return biases.gather(1, codes).view(len(biases), *relative_times.shape)
