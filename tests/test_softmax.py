from functools import partial

import pytest
import torch
from torch.nn import functional as F  # noqa: N812 (torch's own name for it)

from retrieval.pairs.sequence import softmax
from retrieval.pairs.sequence.softmax import (
    full_softmax,
    sampled_softmax,
    trended_apart,
    trended_softmax,
    trended_together,
)


def world(questions: int, movies: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    queries = 3 * torch.randn(questions, 8, generator=generator)
    vectors = torch.randn(movies, 8, generator=generator)
    targets = torch.randint(movies, (questions,), generator=generator)
    return queries.requires_grad_(), vectors.requires_grad_(), targets


def test_full_softmax_is_the_cross_entropy_with_its_gradients() -> None:
    queries, movies, targets = world(2 * softmax.CHUNK + 7, 50)
    expected = F.cross_entropy(queries @ movies.T, targets)
    found = full_softmax(queries, movies, targets)
    torch.testing.assert_close(found, expected)
    wanted = torch.autograd.grad(2 * expected, (queries, movies))
    for made, right in zip(torch.autograd.grad(2 * found, (queries, movies)), wanted, strict=True):
        torch.testing.assert_close(made, right, atol=1e-6, rtol=1e-4)


def test_full_softmax_of_large_scores_does_not_overflow() -> None:
    queries, movies, targets = world(5, 20)
    scale = 30 / (queries @ movies.T).abs().max().item()
    found = full_softmax(10 * scale * queries, movies, targets)
    expected = F.cross_entropy(10 * scale * queries @ movies.T, targets)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-4)


def test_full_softmax_is_the_same_told_how_large_scores_are() -> None:
    queries, movies, _ = world(6, 20)
    queries, movies = F.normalize(queries, dim=1) * softmax.LARGE, F.normalize(movies, dim=1)
    queries = torch.cat([queries, -movies[:2] * softmax.LARGE])  # as far apart as scores can be
    targets = torch.arange(8) - 6  # the last ones of the lowest score there is
    expected = F.cross_entropy(queries @ movies.T, targets % 20)
    found = full_softmax(queries, movies, targets % 20, softmax.LARGE)
    torch.testing.assert_close(found, expected)
    wanted = torch.autograd.grad(expected, (queries, movies), retain_graph=True)
    made = torch.autograd.grad(found, (queries, movies))
    torch.testing.assert_close(made, wanted, atol=1e-5, rtol=1e-4)


def test_sampled_softmax_of_every_movie_once_is_the_full_one() -> None:
    queries, movies, targets = world(40, 30)
    found = sampled_softmax(queries, movies, targets, torch.arange(30), torch.zeros(30))
    torch.testing.assert_close(found, F.cross_entropy(queries @ movies.T, targets))


def test_accidental_hits_of_the_target_count_for_nothing() -> None:
    queries, movies, _ = world(1, 30)
    targets = (queries @ movies.T).argmax(dim=1)  # so that each hit would count for much
    others = torch.tensor([m for m in range(30) if m != targets.item()])
    hits = torch.cat([others, targets.expand(9)])
    found = sampled_softmax(queries, movies, targets, hits, torch.zeros(len(hits)))
    torch.testing.assert_close(found, F.cross_entropy(queries @ movies.T, targets))


def test_corrected_sums_over_samples_are_those_over_the_catalogue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The sum inside the logarithm: sampled anew often, its mean is the full one.
    queries, movies, targets = (x.detach() for x in world(6, 40))
    queries = queries / 6
    generator = torch.Generator().manual_seed(1)
    chances = torch.rand(40, generator=generator) ** 3 + 0.01
    chances /= chances.sum()
    scores = queries @ movies.T
    right = scores.gather(1, targets[:, None])
    full = (scores - right).exp().sum(dim=1)

    # The loss of each question by itself, as its exponential is what is averaged.
    alone = partial(F.cross_entropy, reduction="none")
    monkeypatch.setattr(F, "cross_entropy", alone)

    def mean_sum(correction: torch.Tensor) -> torch.Tensor:
        sums = torch.zeros(6)
        for _ in range(4000):
            drawn = torch.multinomial(chances, 10, replacement=True, generator=generator)
            sums += sampled_softmax(queries, movies, targets, drawn, correction[drawn]).exp()
        return sums / 4000

    corrected = mean_sum((10 * chances).log())
    torch.testing.assert_close(corrected, full, rtol=0.05, atol=0)
    uncorrected = mean_sum(torch.full((40,), 10 / 40).log())
    assert ((uncorrected - full).abs() / full).max() > 0.2


def test_negatives_hidden_from_a_question_count_for_nothing() -> None:
    queries, movies, targets = world(4, 30)
    hidden = torch.rand(4, 30, generator=torch.Generator().manual_seed(2)) < 0.5
    found = sampled_softmax(queries, movies, targets, torch.arange(30), torch.zeros(30), hidden)
    kept = ~hidden | (torch.arange(30) == targets[:, None])
    scores = (queries @ movies.T).masked_fill(~kept, -torch.inf)
    torch.testing.assert_close(found, F.cross_entropy(scores, targets))


def test_with_the_correction_a_batch_teaches_the_ranking_of_the_full_softmax() -> None:
    generator = torch.Generator().manual_seed(3)
    count, batch = 60, 128
    popularity = (1 / torch.arange(1, count + 1)).log()
    tastes = torch.randn(count, 4, generator=generator)
    users = torch.randn(500, 4, generator=generator)
    chances = (users @ tastes.T + popularity).softmax(dim=1)
    asked = torch.cat([users, torch.ones(500, 1)], dim=1)

    def learned(log_expected: torch.Tensor | None) -> torch.Tensor:
        movies = torch.zeros(count, 5, requires_grad=True)
        optimizer = torch.optim.Adam([movies], lr=0.08)
        for _ in range(250):
            rows = torch.randint(500, (batch,), generator=generator)
            targets = torch.multinomial(chances[rows], 1, generator=generator)[:, 0]
            if log_expected is None:
                loss = full_softmax(asked[rows], movies, targets)
            else:
                loss = sampled_softmax(asked[rows], movies, targets, targets, log_expected[targets])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
        return (asked @ movies.T).detach()

    def shared(scores: torch.Tensor) -> float:
        """Return how many of the truly likeliest ten are among the ten with the highest scores."""
        best, truly = scores.topk(10).indices, chances.topk(10).indices
        return (best[:, :, None] == truly[:, None]).any(dim=1).float().mean().item()

    full = learned(None)
    corrected = learned((batch * chances.mean(dim=0)).log())
    uncorrected = learned(torch.full((count,), batch / count).log())
    assert shared(full) > 0.85
    assert shared(corrected) > shared(full) - 0.05
    assert shared(uncorrected) < shared(full) - 0.2
    pushed = (uncorrected - full).mean(dim=0)
    assert pushed[:10].mean() < pushed[-10:].mean() - 1  # popular movies down


def trended_world(
    questions: int, movies: int
) -> tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, torch.Tensor]]:
    """Queries, movies, weights and trends, which are learned from; targets, and moments of four."""
    queries, vectors, targets = world(questions, movies)
    generator = torch.Generator().manual_seed(4)
    weights = torch.randn(questions, 3, generator=generator).requires_grad_()
    trends = torch.randn(4, movies, 3, generator=generator)
    # Of the last moment nobody asks, and the others come in no order.
    moments = torch.randint(3, (questions,), generator=generator)
    assert (moments.diff() < 0).any()
    return (queries, vectors, weights, trends), (targets, moments)


def scores_of(
    learned: tuple[torch.Tensor, ...], moments: torch.Tensor, question: int
) -> torch.Tensor:
    """The scores of one question for all movies."""
    queries, movies, weights, trends = learned
    return movies @ queries[question] + trends[moments[question]] @ weights[question]


def assert_same_loss(
    found: torch.Tensor, expected: torch.Tensor, learned: tuple[torch.Tensor, ...]
) -> None:
    torch.testing.assert_close(found, expected)
    made, wanted = (torch.autograd.grad(loss, learned[:3]) for loss in (found, expected))
    torch.testing.assert_close(made, wanted, atol=1e-6, rtol=1e-4)


def test_trended_softmax_is_the_cross_entropy_of_each_question_at_its_moment() -> None:
    learned, (targets, moments) = trended_world(50, 20)
    queries, movies, weights, trends = learned
    found = trended_softmax(queries, movies, targets, weights, trends, moments, None)
    losses = [
        F.cross_entropy(scores_of(learned, moments, question), targets[question])
        for question in range(50)
    ]
    assert_same_loss(found, torch.stack(losses).mean(), learned)


def test_sampled_trended_softmax_lowers_samples_and_hides_the_target_among_them() -> None:
    learned, (targets, moments) = trended_world(50, 20)
    queries, movies, weights, trends = learned
    generator = torch.Generator().manual_seed(5)
    negatives = torch.randint(20, (12,), generator=generator)
    assert (negatives == targets[:, None]).any()
    log_expected = torch.randn(12, generator=generator)
    found = trended_softmax(
        queries, movies, targets, weights, trends, moments, (negatives, log_expected)
    )
    losses = []
    for question, target in enumerate(targets):
        scores = scores_of(learned, moments, question)
        kept = negatives != target
        others = scores[negatives[kept]] - log_expected[kept]
        logits = torch.cat([scores[target][None], others])
        losses.append(F.cross_entropy(logits, torch.tensor(0)))
    assert_same_loss(found, torch.stack(losses).mean(), learned)


def test_trends_count_the_same_in_one_product_and_in_one_for_each_moment() -> None:
    (_, _, weights, trends), (_, moments) = trended_world(50, 20)
    moments = moments.sort().values
    some = torch.tensor([3, 19, 3, 0])
    for movies in (None, some):
        apart = trended_apart(weights, trends, moments, movies)
        torch.testing.assert_close(trended_together(weights, trends, moments, movies), apart)


def test_without_weights_trends_change_no_loss() -> None:
    (queries, movies, weights, trends), (targets, moments) = trended_world(50, 20)
    found = trended_softmax(queries, movies, targets, 0 * weights, trends, moments, None)
    torch.testing.assert_close(found, full_softmax(queries, movies, targets))
