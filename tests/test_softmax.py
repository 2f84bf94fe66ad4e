import math

import torch
from torch.nn import functional as F  # noqa: N812 (torch's own name for it)

from retrieval.training import softmax
from retrieval.training.softmax import full_softmax, sampled_softmax


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


def test_corrected_sums_over_samples_are_those_over_the_catalogue() -> None:
    # The sum inside the logarithm: sampled anew often, its mean is the full one.
    queries, movies, targets = (x.detach() for x in world(6, 40))
    queries = queries / 6
    generator = torch.Generator().manual_seed(1)
    chances = torch.rand(40, generator=generator) ** 3 + 0.01
    chances /= chances.sum()
    scores = queries @ movies.T
    right = scores.gather(1, targets[:, None])
    full = (scores - right).exp().sum(dim=1)

    def mean_sum(correction: torch.Tensor) -> torch.Tensor:
        sums = torch.zeros(6)
        for _ in range(4000):
            drawn = torch.multinomial(chances, 10, replacement=True, generator=generator)
            for row in range(6):
                asked = slice(row, row + 1)
                loss = sampled_softmax(
                    queries[asked], movies, targets[asked], drawn, correction[drawn]
                )
                sums[row] += math.exp(loss.item())
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
