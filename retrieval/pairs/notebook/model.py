"""The published two-tower notebook, to the letter: what this project grew from."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (torch's own name for it)

from retrieval.pairs.lookup import table_of
from retrieval.pairs.neural.inputs import Tables
from retrieval.pairs.neural.model import MovieBatch, UserBatch
from retrieval.pairs.notebook.settings import Activation, NotebookSettings
from retrieval.pairs.sizes import Sizes

DIMENSION = 32
IDS = 100  # components of an id embedding


class NotebookPair(nn.Module):
    """Ids 100, gender 2, occupation 4, genre bag 4, linear age and year, mean of the last movies.

    Its rating is `relu(user vector . movie vector)`: no bias, no centre. Clipping into a scale that
    starts above 0 makes the relu disappear, so the dot product alone serves it.

    Args:
        settings: What the notebook left open.
        sizes: Of the data.
        genres: `(M, G)` 1 where the movie has the genre.
        years: `(M,)` scaled to about -1 to 1, 0 where unknown.
        ages: One value for each age code, scaled likewise.
        centre: The average rating, which training targets are deviations from.
        unit: What deviations are measured in.
    """

    genres: Tensor
    years: Tensor
    ages: Tensor

    def __init__(
        self,
        settings: NotebookSettings,
        sizes: Sizes,
        genres: Tensor,
        years: Tensor,
        ages: Tensor,
        centre: float,
        unit: float,
    ) -> None:
        super().__init__()
        self.settings, self.sizes, self.centre, self.unit = settings, sizes, centre, unit
        self.register_buffer("genres", genres / genres.sum(1, keepdim=True).clamp(min=1))
        self.register_buffer("years", years)
        self.register_buffer("ages", ages)
        self.user_ids = nn.Embedding(sizes.users + 1, IDS)
        self.movie_ids = nn.Embedding(sizes.movies, IDS)
        self.gender = nn.Embedding(sizes.attributes[0], 2)
        self.occupation = nn.Embedding(sizes.attributes[2], 4)
        self.genre = nn.Linear(genres.shape[1], 4, bias=False)
        self.user_dense = _dense(207, settings)
        self.movie_dense = _dense(105, settings)

    def forward(self, users: UserBatch, movies: MovieBatch) -> Tensor:
        """Return deviations predicted for B pairs, `(B,)`."""
        own = self.user_ids(users.users)
        watched = self.movie_ids(users.events // self.sizes.classes)
        user = self.user_vectors(own, users.attributes, watched, users.present)
        dots = (user * self.movie_vectors_of(movies.numbers)).sum(1)
        return (torch.relu(dots) - self.centre) / self.unit

    def loss(
        self, users: UserBatch, movies: MovieBatch, targets: Tensor, _new_users: UserBatch
    ) -> Tensor:
        """Return the mean squared error for deviations `(B,)`; the notebook knows no new users.

        In 32 bits on every device, as the notebook computes.
        """
        with torch.autocast(targets.device.type, enabled=False):
            return F.mse_loss(self(users, movies), targets)

    def user_vectors(
        self, own: Tensor, attributes: Tensor, watched: Tensor, present: Tensor
    ) -> Tensor:
        """Return `(B, 32)`.

        Args:
            own: `(B, 100)` embeddings of the users.
            attributes: `(B, C)` codes.
            watched: `(B, L, 100)` embeddings of the movies of events.
            present: `(B, L)` whether there is an event.
        """
        there = present.unsqueeze(2)  # (B, L, 1)
        mean = (watched * there).sum(1) / there.sum(1).clamp(min=1)  # (B, 100)
        gender, age, occupation = attributes.unbind(1)[:3]
        parts = [
            own,
            self.gender(gender),
            self.occupation(occupation),
            self.ages[age].unsqueeze(1),
            mean,
        ]
        vectors: Tensor = self.user_dense(torch.cat(parts, 1))
        return vectors

    def movie_vectors(self) -> Tensor:
        """Return the vectors of the whole catalogue, `(M, 32)`."""
        return self.movie_vectors_of(torch.arange(self.sizes.movies))

    def movie_vectors_of(self, numbers: Tensor) -> Tensor:
        """Return the vectors of movies `(B,)`: `(B, 32)`."""
        parts = [
            self.movie_ids(numbers),
            self.genre(self.genres[numbers]),
            self.years[numbers].unsqueeze(1),
        ]
        vectors: Tensor = self.movie_dense(torch.cat(parts, 1))
        return vectors


def tables_of(pair: NotebookPair) -> Tables:
    """Return the embeddings of users, and those of the movies of events."""
    users, movies = (
        table_of(each.weight.detach().numpy()) for each in (pair.user_ids, pair.movie_ids)
    )
    return Tables(users, movies, pair.sizes.classes)


class NotebookUserTower(nn.Module):
    """The layers of the user tower alone: what is exported."""

    def __init__(self, pair: NotebookPair) -> None:
        super().__init__()
        self.pair = pair

    def forward(  # one argument for each named input of the exported graph
        self,
        users: Tensor,
        attributes: Tensor,
        _statistics: Tensor,
        events: Tensor,
        present: Tensor,
        _ages: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return user vectors `(B, 32)` and offsets of 0 `(B,)`, in ratings: see `Tables`."""
        vectors = self.pair.user_vectors(users, attributes, events, present)
        return vectors, vectors[:, 0] * 0.0


def _dense(inputs: int, settings: NotebookSettings) -> nn.Sequential:
    if settings.layers == 1:
        return nn.Sequential(nn.Linear(inputs, DIMENSION))
    return nn.Sequential(nn.Linear(inputs, 64), _activation(settings)(), nn.Linear(64, DIMENSION))


def _activation(settings: NotebookSettings) -> Callable[[], nn.Module]:
    match settings.activation:
        case Activation.RELU:
            return nn.ReLU
        case Activation.TANH:
            return nn.Tanh
        case Activation.SIGMOID:
            return nn.Sigmoid
