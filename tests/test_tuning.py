import numpy as np
import pytest

from index.exact import exact_search
from index.kinds import Kind, SearchParameters
from index.tuning import Questions, Trial, fastest, pareto, recalls, tune


@pytest.fixture(scope="module")
def made() -> tuple[np.ndarray, np.ndarray, Questions]:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(20, 12))[rng.integers(0, 20, 30_000)]
    vectors = (vectors + 0.5 * rng.normal(size=vectors.shape)).astype(np.float32)
    ids = np.arange(30_000) * 7
    queries = rng.normal(size=(60, 12)).astype(np.float32)
    excluded = [rng.choice(ids, 50, replace=False) for _ in queries]
    return ids, vectors, Questions(queries, 10, excluded)


def trial(kind: Kind, recall: float, milliseconds: float, doubt: float = 0.0) -> Trial:
    return Trial(kind, SearchParameters(), recall, recall - doubt, recall, milliseconds, 1.0, 1.0)


def test_what_is_chosen_reaches_the_target(
    made: tuple[np.ndarray, np.ndarray, Questions],
) -> None:
    ids, vectors, questions = made
    said: list[Trial] = []
    tuned = tune(ids, vectors, questions, 0.9, report=said.append)
    chosen = tuned.trials[0]
    assert {each.kind for each in said} == set(Kind)
    assert set(said) == set(tuned.trials)
    assert chosen.milliseconds == min(t.milliseconds for t in said if t.least >= 0.9)
    assert (tuned.chosen.kind, tuned.chosen.snapshot.parameters) == (
        chosen.kind,
        chosen.parameters,
    )
    exact = next(each for each in said if each.kind is Kind.EXACT)
    assert exact.recall == exact.least == exact.check == 1.0
    assert chosen.least < chosen.recall
    assert chosen.check >= 0.9
    found = tuned.chosen.search(questions.queries, 10, questions.excluded)
    wanted = exact_search(ids, vectors, questions.queries, 10, questions.excluded)
    assert recalls(found.ids[::2], wanted.ids[::2]).mean() == chosen.recall


def test_an_easy_half_does_not_choose_for_the_other() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(8000, 12)).astype(np.float32)
    queries = rng.normal(size=(60, 12)).astype(np.float32)
    # The half that chooses is answered by vectors all in one place, where an index looks first.
    vectors[:600] = np.repeat(1.8 * queries[::2], 20, axis=0)
    vectors[:600] += 0.1 * rng.normal(size=(600, 12)).astype(np.float32)
    asked = Questions(queries, 10, [np.zeros(0, np.int64)] * 60)
    said: list[Trial] = []
    tuned = tune(np.arange(8000), vectors, asked, 0.95, [Kind.IVF], said.append)
    assert said[0].recall > 0.99  # one half alone would have chosen this
    assert said[0].check < 0.95
    assert [each.least >= 0.95 for each in said] == [False] * (len(said) - 1) + [True]
    assert tuned.trials[0] is said[-1]
    assert said[-1].check >= 0.95


def test_where_only_one_half_reaches_the_target_it_is_not_reached() -> None:
    one, both = (
        Trial(Kind.IVF, SearchParameters(), 0.99, least, least, 1.0, 1.0, 1.0)
        for least in (0.94, 0.95)
    )
    assert fastest([one, both._replace(milliseconds=9.0)], 0.95).least == 0.95
    assert fastest([one], 0.95).least < 0.95
    assert one.as_dict()["recall_at_least"] == 0.94


def test_search_parameters_without_effect_are_not_shown() -> None:
    shown = {
        kind: [
            name
            for name in ("nprobe", "ef", "oversampling")
            if trial(kind, 1.0, 1.0).as_dict()[name] is not None
        ]
        for kind in Kind
    }
    assert shown == {
        Kind.EXACT: [],
        Kind.IVF: ["nprobe"],
        Kind.HNSW: ["ef"],
        Kind.IVFPQ: ["nprobe", "oversampling"],
        Kind.SQ8: ["oversampling"],
    }


def test_where_nothing_reaches_the_target_the_nearest_is_taken(
    made: tuple[np.ndarray, np.ndarray, Questions],
) -> None:
    ids, vectors, questions = made
    few = Questions(questions.queries[:6], 10, questions.excluded[:6])
    tuned = tune(ids[:3000], vectors[:3000], few, 1.1, [Kind.HNSW])
    assert tuned.trials[0].least == max(each.least for each in tuned.trials) < 1.1


def test_the_front_is_what_no_other_beats() -> None:
    slow = trial(Kind.EXACT, 1.0, 9.0)
    beaten = trial(Kind.SQ8, 0.8, 5.0)
    quick, good = trial(Kind.IVF, 0.8, 1.0), trial(Kind.HNSW, 0.95, 3.0)
    assert pareto([slow, beaten, good, quick]) == [quick, good, slow]


def test_what_reached_a_target_by_chance_is_not_chosen() -> None:
    lucky, sure = trial(Kind.IVF, 0.96, 1.0, doubt=0.02), trial(Kind.HNSW, 0.96, 2.0, doubt=0.005)
    assert fastest([lucky, sure], 0.95) is sure
    assert fastest([lucky, sure], 0.93) is lucky


def test_recall_is_the_share_of_what_there_is() -> None:
    truth = np.array([[1, 2, 3, 4], [5, 6, -1, -1], [-1, -1, -1, -1]])
    found = np.array([[4, 1, 9, 8], [6, 5, 7, -1], [1, 2, 3, 4]])
    np.testing.assert_array_equal(recalls(found, truth), [0.5, 1.0])
    np.testing.assert_array_equal(recalls(found[2:], truth[2:]), [1.0])
