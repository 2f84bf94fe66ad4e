from pathlib import Path

import numpy as np
import pytest

from retrieval.errors import RunError
from retrieval.pairs.lookup import mapped_table, table_of


def test_rows_are_found_on_both_sides_of_the_border() -> None:
    every = np.arange(24, dtype=np.float32).reshape(8, 3)
    table = table_of(every[:5]).with_rows(every[5:7]).with_rows(every[7:])
    numbers = np.array([[0, 4, 5], [6, 7, 0]])
    np.testing.assert_array_equal(table.rows(numbers), every[numbers])
    np.testing.assert_array_equal(table.rows(np.zeros((2, 0), np.int64)), np.zeros((2, 0, 3)))
    np.testing.assert_array_equal(table_of(every).rows(numbers), every[numbers])


def test_a_table_of_another_shape_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "table.npy", np.ones((4, 3), np.float32))
    assert mapped_table(tmp_path / "table.npy", 4, 3).rows(np.array([3])).shape == (1, 3)
    for rows, width in ((5, 3), (4, 2)):
        with pytest.raises(RunError, match="rows of a table are not of it"):
            mapped_table(tmp_path / "table.npy", rows, width)
