import numpy as np
import pytest

from index.kinds import Kind, SearchParameters
from index.tuning import Trial
from retrieval.errors import RequestError
from retrieval.evaluation.latency import Sized, by_size, larger, of_each, one_by_one
from retrieval.pipeline.indexing import questions
from retrieval.serving.recommender import Recommender


def test_every_stage_of_an_answer_is_measured(
    recommender: Recommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retrieval.evaluation.latency.USERS", 50)
    latency = one_by_one(recommender, 20)
    stages = {
        "history", "windows", "neural tower", "bayesian tower", "sequence tower",
        "search", "ratings", "titles",
    }  # fmt: skip
    for each in (latency.stored, latency.added, latency.again):
        assert set(each.stages) == stages
    assert min(latency.stored.stages.values()) > 0
    assert 10 < latency.events < 60
    assert latency.bare > 0


def test_a_recall_that_cannot_be_is_refused(recommender: Recommender) -> None:
    with pytest.raises(RequestError, match="target recall is 5"):
        list(by_size(recommender, [100], 5, [Kind.IVF], 0))


def test_kinds_are_measured_in_catalogues_of_the_sizes_asked_for(
    recommender: Recommender,
) -> None:
    rows = list(by_size(recommender, [100, 3000], 0.9, [Kind.EXACT, Kind.IVF], 0))
    assert {(row.movies, row.trial.kind) for row in rows} == {
        (size, kind) for size in (100, 3000) for kind in (Kind.EXACT, Kind.IVF)
    }
    for row in rows:
        component = 4 if row.trial.kind is Kind.EXACT else 2  # bytes
        held = row.movies * component * recommender.index.dimension / 1e6
        assert held <= row.trial.megabytes < 2 * held
        if row.trial.kind is Kind.EXACT:
            assert row.trial.recall == 1.0


def test_the_fastest_that_finds_enough_stands_for_its_kind() -> None:
    def row(kind: Kind, recall: float, milliseconds: float) -> Sized:
        return Sized(
            10, Trial(kind, SearchParameters(), recall, recall, recall, milliseconds, 1.0, 1.0)
        )

    slow, quick, poor = (
        row(Kind.IVF, 1.0, 3.0),
        row(Kind.IVF, 0.98, 2.0),
        row(Kind.IVF, 0.5, 1.0),
    )
    nearest, worse = row(Kind.HNSW, 0.9, 5.0), row(Kind.HNSW, 0.8, 1.0)
    assert of_each([slow, quick, poor, nearest, worse], 0.97) == [quick, nearest]


def test_what_was_seen_is_as_much_in_the_way_in_a_larger_catalogue(
    recommender: Recommender,
) -> None:
    sample = questions(recommender.run)
    index = recommender.index
    vectors, made = larger(index, sample, 5000, 0)

    def ranks(scores: np.ndarray, ids: np.ndarray, seen: np.ndarray) -> list[int]:
        return np.flatnonzero(np.isin(ids[np.argsort(-scores)], seen)).tolist()

    for place in range(0, len(sample.queries), 7):
        query, seen = sample.queries[place], sample.excluded[place]
        wanted = ranks(index.vectors @ query, index.ids, seen)
        assert len(wanted) == len(seen) > 0
        assert ranks(vectors @ query, np.arange(5000), made.excluded[place]) == wanted


def test_of_a_smaller_catalogue_half_is_left(recommender: Recommender) -> None:
    _, made = larger(recommender.index, questions(recommender.run), 4, 0)
    assert max(len(seen) for seen in made.excluded) == 2
    assert all(len(np.unique(seen)) == len(seen) for seen in made.excluded)
