import numpy as np
import pytest
import torch

from retrieval.data.history import build_histories, whole_windows
from retrieval.data.scale import RatingScale
from retrieval.pairs.sequence.ensemble import SequenceEnsemble, movie_table
from retrieval.pairs.sequence.model import (
    SequenceContinuation,
    SequencePair,
    SequenceUserTower,
)
from retrieval.pairs.sequence.settings import SequenceSettings
from retrieval.pairs.sequence.tokens import CONTINUED, RELATIVE_CODES, START, TIMED, Tokens, tokens
from retrieval.pairs.sizes import Sizes

SETTINGS = SequenceSettings(dimension=16, hidden=32, history_length=12)
RATED = torch.arange(30) < 25
CONTENT = torch.randn(30, 6, generator=torch.Generator().manual_seed(0))
SCALE = RatingScale(lowest=1.0, highest=5.0, step=1.0)
TRENDS = torch.randn(30, 3, generator=torch.Generator().manual_seed(1))


def untrained(trends: torch.Tensor) -> SequencePair:
    torch.manual_seed(0)
    sizes = Sizes(users=4, movies=30, content=6, attributes=(3, 8, 5), classes=5)
    return SequencePair(SETTINGS, sizes, CONTENT, RATED, trends).eval()


@pytest.fixture
def pair() -> SequencePair:
    made = untrained(TRENDS)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made


def timed(*sizes: int) -> Tokens:
    rng = np.random.default_rng(1)
    events = 12
    histories = build_histories(
        np.repeat(np.arange(len(sizes)), events),
        np.tile(rng.permutation(25)[:events], len(sizes)),
        np.tile(rng.integers(1, 6, events), len(sizes)).astype(np.float32),
        np.tile(np.cumsum(rng.integers(0, 5000, events)), len(sizes)),
        len(sizes),
    )
    users = np.arange(len(sizes))
    windows = whole_windows(histories, users)
    windows = windows._replace(ends=windows.starts + np.array(sizes))
    codes = np.zeros((len(sizes), 3), np.int64)
    return tokens(codes, histories, windows, np.ones(len(sizes), bool), SCALE, 12)


def vectors(pair: SequencePair, made: Tokens) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = pair.answer(states(pair, made).float())
    return found


def states(pair: SequencePair, made: Tokens) -> torch.Tensor:
    columns = [torch.from_numpy(column) for column in made[:-2]]
    with torch.no_grad():
        found: torch.Tensor = pair(pair.table(), *columns)
    return found


def answers(pair: SequencePair, made: Tokens) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        columns = made.columns(movie_table(SequenceEnsemble([pair]))).values()
        vectors, weights, _ = SequenceUserTower(pair)(
            *(torch.from_numpy(column) for column in columns)
        )
    return vectors, weights


def test_vectors_have_length_one(pair: SequencePair) -> None:
    found = vectors(pair, timed(5, 0))
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(2, 6))
    torch.testing.assert_close(pair.movie_vectors().norm(dim=-1), torch.ones(30))


def test_later_events_and_padding_change_no_earlier_vector(pair: SequencePair) -> None:
    both = vectors(pair, timed(12, 5))
    # The fifth event's question is asked at another time than the one the sixth event answers.
    torch.testing.assert_close(both[0, :5], both[1, :5])
    alone = vectors(pair, timed(5))
    torch.testing.assert_close(alone[0], both[1, :6])


@pytest.mark.parametrize("column", ["movies", "classes", "time_gaps", "codes"])
def test_every_column_counts(pair: SequencePair, column: str) -> None:
    made = timed(5)
    other = made._replace(**{column: (getattr(made, column) + 1) % 3})
    assert not torch.allclose(vectors(pair, made)[0, 5], vectors(pair, other)[0, 5])


def test_gaps_and_distances_count(pair: SequencePair) -> None:
    made = timed(5)
    gaps = made.relative_times % RELATIVE_CODES
    others = made.relative_times - gaps + np.where(gaps == START, START, TIMED + (gaps + 3) % 30)
    first = vectors(pair, made)[0, 5]
    assert not torch.allclose(first, vectors(pair, made._replace(relative_times=others))[0, 5])
    for block in pair.blocks:
        torch.nn.init.zeros_(block.get_parameter("distance_bias"))
    assert not torch.allclose(first, vectors(pair, made)[0, 5])


def test_unrated_movies_are_what_their_content_says(pair: SequencePair) -> None:
    found = torch.nn.functional.normalize(pair.describe(CONTENT), dim=-1)
    torch.testing.assert_close(pair.movie_vectors()[25:], found[25:])
    assert not torch.allclose(pair.movie_vectors()[:25], found[:25])


def test_in_training_some_movies_are_as_if_unrated(pair: SequencePair) -> None:
    pair.settings = SETTINGS.model_copy(update={"unrated_share": 0.5})
    pair.train()
    with torch.no_grad():
        table, content = pair.table(), pair.describe(CONTENT)
    hidden = (table == content).all(dim=1)
    assert 5 <= hidden[:25].sum() <= 20
    assert hidden[25:].all()


def test_the_user_tower_gives_the_vector_of_the_last_question(pair: SequencePair) -> None:
    made = timed(12, 5, 0)
    every = vectors(pair, made)
    found, weights = answers(pair, made)
    torch.testing.assert_close(found, every[torch.arange(3), torch.from_numpy(made.last)])
    assert not weights.any()  # in the sitting trends count for nothing


def test_a_user_who_comes_back_gets_what_the_head_says_and_weights_of_trends(
    pair: SequencePair,
) -> None:
    staying, asked = timed(12, 5, 0), np.array([[7, 0], [0, 0], [1, 9]])
    every, (stayed, _) = states(pair, staying), answers(pair, staying)
    found, weights = answers(pair, staying._replace(asked=asked))
    assert pair.returning is not None
    back = torch.tensor([0, 2])
    last = every[torch.arange(3), torch.from_numpy(staying.last)][back]
    with torch.no_grad():
        expected = pair.returning(last, torch.from_numpy(asked)[back])
    torch.testing.assert_close((found[back], weights[back]), expected)
    torch.testing.assert_close(found[back].norm(dim=-1), torch.ones(2))
    torch.testing.assert_close(found[1], stayed[1])
    assert not weights[1].any()
    assert not torch.allclose(found[back], stayed[back], atol=0.1)


@pytest.mark.parametrize("other", [[8, 3], [7, 4]])
def test_it_counts_when_they_ask_and_when_they_are_back(
    pair: SequencePair, other: list[int]
) -> None:
    made = timed(5)
    first, second = (answers(pair, made._replace(asked=np.array([of]))) for of in ([7, 3], other))
    for one, another in zip(first, second, strict=True):
        assert not torch.allclose(one, another)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_tokens_after_those_that_were_read_are_what_they_are_among_all(
    pair: SequencePair, count: int
) -> None:
    made = timed(9, 9)._replace(asked=np.array([[7, 3], [0, 0]]))
    columns = made.columns(movie_table(SequenceEnsemble([pair])))
    whole = {name: torch.from_numpy(column) for name, column in columns.items()}
    further = {name: column[:, -count:] for name, column in whole.items() if name in CONTINUED}
    with torch.no_grad():
        *expected, states = SequenceUserTower(pair)(*whole.values())
        further |= {"asked": whole["asked"], "read": states[:, :-count]}
        *found, more = SequenceContinuation(pair)(*(further[name] for name in CONTINUED))
        other = further | {"read": further["read"] + 0.1}
        changed, *_ = SequenceContinuation(pair)(*(other[name] for name in CONTINUED))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(more, states[:, -count:], atol=1e-5, rtol=1e-4)
    assert not torch.allclose(changed, found[0], atol=1e-2)


def test_an_untrained_head_leaves_trends_out() -> None:
    made = untrained(TRENDS)
    assert not answers(made, timed(5)._replace(asked=np.array([[7, 3]])))[1].any()


def test_where_nobody_comes_back_there_is_no_head_and_a_tower_answers_as_in_the_sitting() -> None:
    made = untrained(TRENDS[:, :0])
    assert not [name for name in made.state_dict() if name.startswith("returning")]
    asked = timed(5)
    stayed, back = answers(made, asked), answers(made, asked._replace(asked=np.array([[7, 3]])))
    torch.testing.assert_close(stayed, back)
    assert back[1].shape == (1, 0)


def test_half_as_many_bits_change_a_vector_by_little(pair: SequencePair) -> None:
    made = timed(12, 5, 0)
    with torch.autocast("cpu", torch.bfloat16):
        reached = states(pair, made)
    half = pair.answer(reached.float()).detach()
    cosines = (half * vectors(pair, made)).sum(dim=-1)
    assert cosines.min() > 0.99
    assert not torch.equal(half, vectors(pair, made))
