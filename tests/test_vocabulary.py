import numpy as np

from retrieval.vocabulary import UNKNOWN, Vocabulary


def test_numbers_are_places_among_ascending_ids() -> None:
    vocabulary = Vocabulary([30, 10, 20, 10])
    assert vocabulary.ids.tolist() == [10, 20, 30]
    assert vocabulary.numbers([[20, 30], [10, 20]]).tolist() == [[1, 2], [0, 1]]


def test_unknown_ids_have_no_number() -> None:
    assert Vocabulary([10, 20]).numbers([5, 15, 25]).tolist() == [UNKNOWN] * 3
    assert Vocabulary(np.zeros(0, int)).numbers([1]).tolist() == [UNKNOWN]
