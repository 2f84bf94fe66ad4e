"""The neural tower pair: ids, people and content through dense layers, history through attention.

It predicts `rating = centre + unit * (offset of the user + user vector . movie vector)`.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (torch's own name for it)

from retrieval.data.statistics import MOVIE_STATISTICS, USER_STATISTICS
from retrieval.pairs.dropout import Dropout
from retrieval.pairs.embedding import embedding
from retrieval.pairs.lookup import table_of
from retrieval.pairs.neural.inputs import Tables
from retrieval.pairs.neural.settings import NeuralSettings
from retrieval.pairs.sizes import Sizes
from retrieval.pairs.time_codes import AGE_BUCKETS

UNKNOWN = 0  # the row of an id embedding for whatever was not trained on

# In a batch an event comes about so often: with fewer in it than that, not everything is looked at.
REPEATED = 4

# Events whose rows of a whole table are made together.
TOGETHER = 2**16
# Components that say what an attribute of a user is.
EACH = 8


class UserBatch(NamedTuple):
    """`inputs.UserInputs` as tensors."""

    users: Tensor  # (B,)
    attributes: Tensor  # (B, C) codes
    statistics: Tensor  # (B, 3)
    events: Tensor  # (B, L)
    present: Tensor  # (B, L)
    ages: Tensor  # (B, L)

    def to(self, device: torch.device) -> "UserBatch":
        """Return the users on a device."""
        return UserBatch(*(column.to(device) for column in self))


class MovieBatch(NamedTuple):
    """B movies as they were when they were rated."""

    ids: Tensor  # (B,) number + 1, or UNKNOWN
    numbers: Tensor  # (B,)
    statistics: Tensor  # (B, 2)

    def to(self, device: torch.device) -> "MovieBatch":
        """Return the movies on a device."""
        return MovieBatch(*(column.to(device) for column in self))


class EventTable(NamedTuple):
    """What each of C = M * classes possible events, a movie at a rating, says of a user."""

    values: Tensor  # (C, D)
    keys: Tensor  # (C, H)


class NeuralPair(nn.Module):
    """User tower and movie tower, sharing what they know of movies.

    Args:
        settings: The shape.
        sizes: Of the data.
        content: `(M, F)` features of the movies.
        statistics: `(M, 2)` of the movies over all training rows.
        rated: `(M,)` whether a movie has training rows.
    """

    content: Tensor
    statistics: Tensor
    rated: Tensor

    def __init__(
        self,
        settings: NeuralSettings,
        sizes: Sizes,
        content: Tensor,
        statistics: Tensor,
        rated: Tensor,
    ) -> None:
        super().__init__()
        self.settings, self.sizes = settings, sizes
        self.register_buffer("content", content)
        self.register_buffer("statistics", statistics)
        self.register_buffer("rated", rated)
        d, h = settings.dimension, settings.hidden

        self.movie_ids = embedding(sizes.movies + 1, d + 1)
        self.describe = _dense(sizes.content, h, d, settings.dropout)
        self.movie_dense = _dense(d + d + MOVIE_STATISTICS, h, d + 1, settings.dropout)
        self.movie_skip = nn.Linear(d, d + 1)

        self.event_movies = embedding(sizes.movies + 1, d)
        self.event_classes = embedding(sizes.classes, d)
        self.event_hidden = nn.Linear(d + MOVIE_STATISTICS + d, h)
        self.event_value = nn.Linear(h, d)
        self.event_key = nn.Linear(h, settings.heads)
        self.age_key = nn.Parameter(torch.zeros(AGE_BUCKETS, settings.heads))
        self.rank_key = nn.Parameter(torch.zeros(settings.history_length, settings.heads))
        # At first a history counts for n / (n + 7): trust grows with what is told.
        self.nothing_key = nn.Parameter(torch.full((settings.heads,), math.log(7)))

        self.user_ids = embedding(sizes.users + 1, d + 1)
        self.attributes = nn.ModuleList(embedding(size, EACH) for size in sizes.attributes)
        self.user_dense = _dense(
            d + EACH * len(sizes.attributes) + USER_STATISTICS + d, h, d + 1, settings.dropout
        )
        self.user_skip = nn.Linear(d, d + 1)
        for layer in (self.movie_skip, self.user_skip):
            _start_small(layer)

    def forward(self, users: UserBatch, movies: MovieBatch) -> Tensor:
        """Return deviations predicted for B pairs, `(B,)`."""
        described = self.describe(self.content)  # (M, D)
        movie = self.movie_vectors_of(movies, described)
        table, (users,) = self.event_table_of(described, users)
        user, offset = self.user_vectors_of(users, table)
        return offset + (user * movie).sum(1)

    def loss(
        self, users: UserBatch, movies: MovieBatch, targets: Tensor, new_users: UserBatch
    ) -> Tensor:
        """Return what training makes small.

        A share of the movies is as if nobody had rated them, and S of the B rows are asked a second
        time by a new user with fewer ratings, so that the pair has learned to answer both.

        Args:
            users: B of them.
            movies: B of them.
            targets: Deviations `(B,)`.
            new_users: S of them, who rate the first S of the movies.
        """
        described = self.describe(self.content)  # (M, D)
        table, (users, new_users) = self.event_table_of(described, users, new_users)
        movie = self.movie_vectors_of(self._hide(movies), described)  # (B, D + 1)
        known = self._error(users, table, movie, targets)
        count = len(new_users.users)
        unknown = self._error(new_users, table, movie[:count], targets[:count])
        return torch.lerp(known, unknown, self.settings.cold_start_weight)

    def _error(self, users: UserBatch, table: EventTable, movie: Tensor, targets: Tensor) -> Tensor:
        user, offset = self.user_vectors_of(users, table)
        lengths = user[:, :-1].square().sum(1) + movie[:, :-1].square().sum(1)  # (B,)
        error = F.mse_loss(offset + (user * movie).sum(1), targets)
        return error + self.settings.norm_penalty * lengths.mean()

    def user_vectors_of(self, users: UserBatch, table: EventTable) -> tuple[Tensor, Tensor]:
        """Return user vectors `(B, D + 1)` and offsets `(B,)`, with the rows of a table."""
        own = self.user_ids(users.users)
        values, keys = (F.embedding(users.events, each) for each in table)
        return self.user_vectors(
            own, users.attributes, users.statistics, values, keys, users.present, users.ages
        )

    def event_table_of(
        self, described: Tensor, *batches: UserBatch
    ) -> tuple[EventTable, list[UserBatch]]:
        """Return what the events of batches say, and the batches with rows of the table as events.

        Where the batches are large beside what there is, the table is that of everything.

        Args:
            described: `(M, D)` descriptions of the movies.
            batches: Users with events.
        """
        events = [batch.events for batch in batches]
        sizes = [each.numel() for each in events]
        if self.sizes.movies * self.sizes.classes <= sum(sizes) / REPEATED:
            return self.event_table(described), list(batches)
        codes, rows = torch.unique(
            torch.cat([each.flatten() for each in events]), return_inverse=True
        )
        codes = padded(codes)
        parts = zip(batches, events, rows.split(sizes), strict=True)
        return self.event_table(described, codes), [
            batch._replace(events=part.view(each.shape)) for batch, each, part in parts
        ]

    def event_table(self, described: Tensor, codes: Tensor | None = None) -> EventTable:
        """Return what every movie at every rating says, or some of them.

        Args:
            described: `(M, D)` descriptions of the movies.
            codes: `(C,)` movie number * classes + rating class; None is all, in their order.
        """
        ids = torch.arange(self.sizes.movies, device=described.device) + 1
        known = self.event_movies(torch.where(self.rated, ids, UNKNOWN)) + described  # (M, D)
        movie = torch.cat([known, self.statistics], 1)  # (M, D + 2)
        # The layer is linear: its parts for movies and for classes are made once, then added.
        of_movies, of_classes = self.event_hidden.weight.tensor_split([movie.shape[1]], dim=1)
        movies = F.linear(movie, of_movies, self.event_hidden.bias)  # (M, hidden)
        classes = F.linear(self.event_classes.weight, of_classes)  # (classes, hidden)
        if codes is None:
            hidden = (movies[:, None] + classes).flatten(0, 1)  # (C, hidden)
        else:
            hidden = movies[codes // len(classes)] + classes[codes % len(classes)]
        hidden = F.gelu(hidden)
        return EventTable(self.event_value(hidden), self.event_key(hidden))

    def attention(self, keys: Tensor, present: Tensor, ages: Tensor) -> Tensor:
        """Return the weight of each event in each head, `(B, L, H)`.

        The weights of a user sum to less than one: the rest is for nothing at all, so that a short
        history counts for little and an empty one for nothing.

        Args:
            keys: `(B, L, H)` of the events.
            present: `(B, L)`.
            ages: `(B, L)`.
        """
        # Gathered along rows: an embedding of so few numbers a row is ten times slower.
        by_age = self.age_key[None].expand(ages.shape[0], -1, -1)  # (B, ages, H)
        of_ages = by_age.gather(1, ages[:, :, None].expand(-1, -1, by_age.shape[2]))
        scores = keys + of_ages + self.rank_key[: keys.shape[1]]  # (B, L, H)
        scores = scores.masked_fill(~present.unsqueeze(2), -1e9)
        nothing = self.nothing_key.expand(scores.shape[0], 1, -1)  # (B, 1, H)
        return torch.softmax(torch.cat([nothing, scores], 1), 1)[:, 1:]

    def user_vectors(
        self,
        own: Tensor,
        attributes: Tensor,
        statistics: Tensor,
        values: Tensor,
        keys: Tensor,
        present: Tensor,
        ages: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return user vectors `(B, D + 1)`, their last component 1, and offsets `(B,)`.

        Args:
            own: `(B, D + 1)` rows of the id embedding; the others as in `UserBatch`, with what the
                events say.
            attributes: `(B, C)`.
            statistics: `(B, 3)`.
            values: `(B, L, D)`.
            keys: `(B, L, H)`.
            present: `(B, L)`.
            ages: `(B, L)`.
        """
        pooled = pool(values, self.attention(keys, present, ages))  # (B, D)
        columns = zip(self.attributes, attributes.unbind(1), strict=True)
        person = [embedded(column) for embedded, column in columns]
        known = torch.cat([own[:, :-1], *person, statistics, pooled], 1)
        out = self.user_dense(known) + self.user_skip(pooled) + own  # (B, D + 1)
        return torch.cat([out[:, :-1], torch.ones_like(out[:, :1])], 1), out[:, -1]

    def movie_vectors_of(self, movies: MovieBatch, described: Tensor) -> Tensor:
        """Return movie vectors `(B, D + 1)`, ending in the movie's bias."""
        own = self.movie_ids(movies.ids)  # (B, D + 1)
        described = described[movies.numbers]  # (B, D)
        known = torch.cat([own[:, :-1], described, movies.statistics], 1)
        out: Tensor = self.movie_dense(known) + self.movie_skip(described) + own
        return out

    def movie_vectors(self) -> Tensor:
        """Return the vectors of the whole catalogue, `(M, D + 1)`."""
        numbers = torch.arange(self.sizes.movies, device=self.content.device)
        ids = torch.where(self.rated, numbers + 1, UNKNOWN)
        movies = MovieBatch(ids, numbers, self.statistics)
        return self.movie_vectors_of(movies, self.describe(self.content))

    def _hide(self, movies: MovieBatch) -> MovieBatch:
        hidden = torch.rand(len(movies.ids), device=movies.ids.device)
        hidden = hidden < self.settings.unrated_share  # (B,)
        return movies._replace(
            ids=movies.ids.masked_fill(hidden, UNKNOWN),
            statistics=movies.statistics.masked_fill(hidden.unsqueeze(1), 0.0),
        )


def tables_of(pair: NeuralPair) -> Tables:
    """Return the embeddings of users, and values and then keys of events, `(C, D + H)`."""
    pair.eval()  # no dropout in the table
    codes = torch.arange(pair.sizes.movies * pair.sizes.classes)
    with torch.no_grad():
        described = pair.describe(pair.content)
        parts = [
            torch.cat(pair.event_table(described, part), 1) for part in torch.split(codes, TOGETHER)
        ]
    return Tables(
        user_ids=table_of(pair.user_ids.weight.detach().numpy()),
        events=table_of(torch.cat(parts).numpy()),
        codes_per_row=1,
    )


class NeuralUserTower(nn.Module):
    """The layers of the user tower alone: what is exported."""

    def __init__(self, pair: NeuralPair, centre: float, unit: float) -> None:
        super().__init__()
        self.pair, self.centre, self.unit = pair, centre, unit

    def forward(  # one argument for each named input of the exported graph
        self,
        users: Tensor,
        attributes: Tensor,
        statistics: Tensor,
        events: Tensor,
        present: Tensor,
        ages: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return user vectors `(B, D + 1)` and offsets `(B,)`, in ratings: see `Tables.columns`."""
        values, keys = events.tensor_split([self.pair.settings.dimension], dim=2)
        vectors, offsets = self.pair.user_vectors(
            users, attributes, statistics, values, keys, present, ages
        )
        return vectors * self.unit, self.centre + offsets * self.unit


def pool(values: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted sum of event values, each head over its own part: `(B, D)`.

    Args:
        values: `(B, L, D)`.
        weights: `(B, L, H)`.
    """
    weights = weights.repeat_interleave(values.shape[2] // weights.shape[2], 2)  # (B, L, D)
    return (values * weights).sum(1)


def padded(codes: Tensor) -> Tensor:
    """Return codes `(C,)` with at most an eighth more behind them, so that C takes few values.

    What is as long as something before takes its place in memory. Of ten million events, tables of
    any length left gaps of gigabytes.
    """
    step = 1 << max(0, len(codes).bit_length() - 4)
    return F.pad(codes, (0, -len(codes) % step))


def _dense(inputs: int, hidden: int, outputs: int, dropout: float) -> nn.Sequential:
    last = nn.Linear(hidden, outputs)
    _start_small(last)
    return nn.Sequential(nn.Linear(inputs, hidden), nn.GELU(), Dropout(dropout), last)


def _start_small(layer: nn.Linear) -> None:
    nn.init.normal_(layer.weight, std=0.02)
    nn.init.zeros_(layer.bias)
