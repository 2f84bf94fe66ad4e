import tracemalloc

import numpy as np
import pytest

from retrieval.data.vocabulary import UNKNOWN, Vocabulary


def test_numbers_are_places_among_ascending_ids() -> None:
    vocabulary = Vocabulary([30, 10, 20, 10])
    assert vocabulary.ids.tolist() == [10, 20, 30]
    assert vocabulary.numbers([[20, 30], [10, 20]]).tolist() == [[1, 2], [0, 1]]


def test_unknown_ids_have_no_number() -> None:
    assert Vocabulary([10, 20]).numbers([5, 15, 25]).tolist() == [UNKNOWN] * 3
    assert Vocabulary(np.zeros(0, int)).numbers([1]).tolist() == [UNKNOWN]


def test_ids_are_texts_where_the_data_has_texts() -> None:
    vocabulary = Vocabulary(np.array(["tt2", "007", "tt10"], dtype=object), later=["a much longer"])
    assert vocabulary.texts
    assert vocabulary.ids.tolist() == ["007", "tt10", "tt2", "a much longer"]
    assert vocabulary.numbers(["tt2", "7", "a much longer"]).tolist() == [2, UNKNOWN, 3]
    assert vocabulary.described() == "ids are texts such as '007'"
    assert not Vocabulary([3, 1]).texts
    with pytest.raises(ValueError, match="some ids are whole numbers and others are texts"):
        Vocabulary([1, 2], later=["3"])


def test_later_ids_keep_the_numbers_of_the_others() -> None:
    vocabulary = Vocabulary([30, 10], later=[5, 40, 20])
    assert vocabulary.ids.tolist() == [10, 30, 5, 40, 20]
    assert vocabulary.numbers([5, 10, 20, 25, 30, 40]).tolist() == [2, 0, 4, UNKNOWN, 1, 3]
    assert vocabulary.described() == "ids run from 5 to 40 with gaps"
    with pytest.raises(ValueError, match="already"):
        Vocabulary([30, 10], later=[10])


def test_an_id_longer_than_any_is_looked_for_in_no_more_memory() -> None:
    vocabulary = Vocabulary([f"tt{number:08d}" for number in range(20_000)])
    tracemalloc.start()
    try:
        found = vocabulary.numbers(["x" * 1_000, "tt00000007", "tt00000007x"])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.tolist() == [UNKNOWN, 7, UNKNOWN]
    assert peak < 1_000_000  # it took 80 MB
