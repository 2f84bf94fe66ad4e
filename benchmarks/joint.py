"""A joint multi-task baseline: two embeddings, a rating head, and a softmax within the batch.

As in the tutorial on multi-task recommenders of TensorFlow Recommenders: embeddings of 32
components, a head of 256 and 128 units over both, the sum of squared error and softmax, Adagrad at
a rate of 0.1. Better than there, the softmax is corrected for how often a movie is in a batch: else
popular movies are found last. The epoch is the one with the least loss on training rows held out.
"""

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (torch's own name for it)

from retrieval.data.dataset import Dataset

DIMENSION, BATCH, EPOCHS, PATIENCE = 32, 1024, 60, 3
HELD_OUT = 0.03


class Joint(nn.Module):
    """The baseline for U users and M movies.

    Args:
        users: U.
        movies: M.
        centre: The average rating.
        probabilities: `(M,)` that a row is of each movie.
    """

    probabilities: Tensor

    def __init__(self, users: int, movies: int, centre: float, probabilities: Tensor) -> None:
        super().__init__()
        self.register_buffer("probabilities", probabilities)
        self.users, self.movies = nn.Embedding(users, DIMENSION), nn.Embedding(movies, DIMENSION)
        for table in (self.users, self.movies):
            nn.init.uniform_(table.weight, -0.05, 0.05)  # as Keras does
        self.head = nn.Sequential(
            nn.Linear(2 * DIMENSION, 256),
            nn.ReLU(),
            nn.Linear(256, 128),
            nn.ReLU(),
            nn.Linear(128, 1),
        )
        self.centre = centre

    def ratings(self, users: Tensor, movies: Tensor) -> Tensor:
        """Return ratings of pairs `(B,)`."""
        both = torch.cat([self.users(users), self.movies(movies)], 1)
        rated: Tensor = self.centre + self.head(both).squeeze(1)
        return rated

    def loss(self, users: Tensor, movies: Tensor, ratings: Tensor) -> Tensor:
        """Return the sum of both losses over rows `(B,)`."""
        scores = self.users(users) @ self.movies(movies).T  # (B, B)
        scores = scores - self.probabilities[movies].log()
        retrieval = F.cross_entropy(scores, torch.arange(len(users)))
        return F.mse_loss(self.ratings(users, movies), ratings) + retrieval


def fit_joint(data: Dataset, trained: NDArray[np.bool_], seed: int) -> Joint:
    """Return the baseline trained on rows, a mask `(N,)`."""
    users, movies, ratings = (column[trained] for column in (data.users, data.movies, data.ratings))
    user_count, movie_count = len(data.user_vocabulary), len(data.movie_vocabulary)
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    rows = [torch.from_numpy(column) for column in (users, movies, ratings)]
    order = rng.permutation(len(users))
    held_out, kept = np.split(order, [int(HELD_OUT * len(order))])
    counts = np.bincount(movies, minlength=movie_count)
    probabilities = torch.from_numpy(counts / len(movies)).float()
    model = Joint(user_count, movie_count, float(ratings[kept].mean()), probabilities)
    optimizer = torch.optim.Adagrad(model.parameters(), lr=0.1, initial_accumulator_value=0.1)
    losses: list[float] = []
    best = copy.deepcopy(model.state_dict())
    while len(losses) < EPOCHS and len(losses) - 1 - np.argmin(losses or [0]) < PATIENCE:
        for part in _batches(rng.permutation(kept)):
            loss = model.loss(*(column[part] for column in rows))
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
        with torch.no_grad():
            parts = [model.loss(*(column[part] for column in rows)) for part in _batches(held_out)]
        losses.append(float(torch.stack(parts).mean()))
        if losses[-1] == min(losses):
            best = copy.deepcopy(model.state_dict())
    model.load_state_dict(best)
    return model


def _batches(order: NDArray[np.int64]) -> list[Tensor]:
    return [torch.from_numpy(order[start : start + BATCH]) for start in range(0, len(order), BATCH)]
