"""Softmax losses over the catalogue: full, and sampled with the correction for its bias."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (torch's own name for it)

# Questions scored together: their scores over a catalogue of some thousands stay in the cache; on a
# GPU they are many enough to keep it busy.
CHUNK, GPU_CHUNK = 256, 8192

# Questions are padded to a multiple of this many: for each number of them oneDNN makes a program of
# about a megabyte, and keeps it.
ROWS = 32

# Powers of e of up to so much, or minus as much, and their sums have room in single precision.
LARGE = 40.0


def full_softmax(
    queries: Tensor, movies: Tensor, targets: Tensor, largest: float = math.inf
) -> Tensor:
    """Return the mean cross-entropy of targets among all movies.

    Scores of all questions are never in memory at once: gradients are made along with the loss.

    Args:
        queries: `(N, D)`, divided by the temperature.
        movies: `(M, D)`.
        targets: `(N,)` numbers.
        largest: No score is larger than this, nor smaller than minus this; it is relied on. Up to
            `LARGE` it saves time to know.
    """
    with torch.no_grad():
        total, of_queries, of_movies = _with_gradients(queries, movies, targets, largest)
    slope = (queries * of_queries).sum() + (movies * of_movies).sum()  # has these gradients
    return total + slope - slope.detach()


def sampled_softmax(
    queries: Tensor,
    movies: Tensor,
    targets: Tensor,
    negatives: Tensor,
    log_expected: Tensor,
    hidden: Tensor | None = None,
) -> Tensor:
    """Return the mean cross-entropy of targets among themselves and sampled negatives, corrected.

    A negative stands for all the movies it was sampled from: its score is lowered by the logarithm
    of how often it is expected in the sample. A target is no sample, so its score is left as it is,
    and where it comes among the negatives it is hidden: the rest of the catalogue is what the
    sample estimates.

    Args:
        queries: `(N, D)`, divided by the temperature.
        movies: `(M, D)`.
        targets: `(N,)` numbers.
        negatives: `(S,)` numbers, of a sample that does not depend on the questions.
        log_expected: `(S,)` logarithms of how often each negative is expected in such a sample.
        hidden: `(N, S)` mask of negatives that are not for a question: those that depend on it.

    Source:
        Yi et al., *Sampling-bias-corrected neural modeling for large corpus item recommendations*,
        RecSys 2019, section 4; the target kept out of the proposal as in Khrylchenko et al.,
        *Correcting the LogQ correction*, RecSys 2025.
    """
    positive = (queries * movies[targets]).sum(dim=1, keepdim=True)  # (N, 1)
    negative = queries @ movies[negatives].T - log_expected  # (N, S)
    hits = negatives == targets[:, None]
    negative = negative.masked_fill(hits if hidden is None else hits | hidden, -torch.inf)
    scores = torch.cat([positive, negative], dim=1)  # (N, 1 + S)
    return F.cross_entropy(scores, torch.zeros_like(targets))


def trended_softmax(
    queries: Tensor,
    movies: Tensor,
    targets: Tensor,
    weights: Tensor,
    trends: Tensor,
    moments: Tensor,
    sample: tuple[Tensor, Tensor] | None,
) -> Tensor:
    """Return the mean cross-entropy of targets where trends of movies at a moment count too.

    Args:
        queries: `(N, D)`, divided by the temperature.
        movies: `(M, D)`.
        targets: `(N,)` numbers.
        weights: `(N, J)` of trends.
        trends: `(G, M, J)` of movies at G moments.
        moments: `(N,)` places among the moments.
        sample: Negatives as in `sampled_softmax`, `(S,)` numbers and logarithms; None is all
            movies.
    """
    # What is asked at one moment lies together: then no score has to be moved.
    order = moments.argsort(stable=True)
    queries, targets, weights, moments = (
        column[order] for column in (queries, targets, weights, moments)
    )
    if sample is None:
        scores = queries @ movies.T + _trended(weights, trends, moments, None)  # (N, M)
        return F.cross_entropy(scores, targets)
    negatives, log_expected = sample
    positive = (queries * movies[targets]).sum(dim=1)
    positive = positive + (weights * trends[moments, targets]).sum(dim=1)  # (N,)
    negative = queries @ movies[negatives].T + _trended(weights, trends, moments, negatives)
    negative = (negative - log_expected).masked_fill(negatives == targets[:, None], -torch.inf)
    scores = torch.cat([positive[:, None], negative], dim=1)  # (N, 1 + S)
    return F.cross_entropy(scores, torch.zeros_like(targets))


def _trended(weights: Tensor, trends: Tensor, moments: Tensor, movies: Tensor | None) -> Tensor:
    """Return what trends add to scores, `(N, M)`, or `(N, S)` of some movies; moments in order."""
    if weights.device.type == "cpu":
        return trended_apart(weights, trends, moments, movies)
    return trended_together(weights, trends, moments, movies)


def trended_apart(
    weights: Tensor, trends: Tensor, moments: Tensor, movies: Tensor | None
) -> Tensor:
    """Return it by one product for each moment: no table is copied."""
    places, counts = torch.unique_consecutive(moments, return_counts=True)
    parts = torch.split(weights, counts.tolist())
    tables = (
        trends[place] if movies is None else trends[place][movies] for place in places.tolist()
    )
    return torch.cat([part @ table.T for part, table in zip(parts, tables, strict=True)])


def trended_together(
    weights: Tensor, trends: Tensor, moments: Tensor, movies: Tensor | None
) -> Tensor:
    """Return it by one product in all: many small ones would keep a GPU waiting."""
    tables = trends[moments] if movies is None else trends[moments[:, None], movies]
    return (tables @ weights[:, :, None]).squeeze(2)


def _with_gradients(
    queries: Tensor, movies: Tensor, targets: Tensor, largest: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the loss, and its gradients `(N, D)` and `(M, D)`."""
    count, chunk = len(targets), CHUNK if queries.device.type == "cpu" else GPU_CHUNK
    # What is padded has no weight in any sum.
    own = F.pad(queries, (0, 0, 0, -count % ROWS))
    asked = own / math.log(2)  # powers of 2 take half the time of those of e
    of_queries, of_movies = torch.empty_like(own), torch.zeros_like(movies)
    right = movies[targets]  # (N, D)
    total = -(queries * right).sum().double()
    for start in range(0, len(own), chunk):
        part = slice(start, start + chunk)
        chances = movies @ asked[part].T  # (M, C), their logarithms to base 2
        highest = torch.zeros_like(chances[0])  # (C,)
        if largest > LARGE:
            highest = chances.amax(dim=0)
            chances.sub_(highest)
        sums = chances.exp2_().sum(dim=0)  # (C,)
        total += math.log(2) * (sums.log2() + highest)[: count - start].sum().double()
        torch.mm(chances.T, movies, out=of_queries[part])
        of_queries[part].div_(sums[:, None])
        of_movies.addmm_(chances, own[part] / sums[:, None])
    of_queries = of_queries[:count].sub_(right)
    of_movies.index_add_(0, targets, queries, alpha=-1)
    return (total / count).to(queries.dtype), of_queries.div_(count), of_movies.div_(count)
