"""What a further column is, by looking at its values."""

import numpy as np
import pandas as pd
import pytest

from retrieval.data.attributes import AttributeKind
from retrieval.data.kinds import LeftOut, attribute_values, kind_of
from retrieval.data.report import Report
from retrieval.data.table import Table
from retrieval.data.times import NO_TIME
from retrieval.errors import DataError

MANY = 100


def table(values: list[object], name: str = "x") -> Table:
    frame = pd.DataFrame({name: pd.Series(values)})
    return Table("movies.csv", frame, range(2, len(frame) + 2))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["FR", "US", "FR", ""], AttributeKind.CATEGORY),
        (["01", "02", "01", "03"], AttributeKind.CATEGORY),
        ([90, 95, 120, 90], AttributeKind.NUMBER),
        (["1.5", "null", "7", "1e3"], AttributeKind.NUMBER),
        ([1, 0, 1, 1], AttributeKind.YES_NO),
        (["yes", "No", "", "yes"], AttributeKind.YES_NO),
        (["true", "false", "true", "true"], AttributeKind.YES_NO),
        (["A|B", "B", "C|A", "A"], AttributeKind.LIST),
        (["2016-02-10", "", "2017-01-01", "1931-01-01"], AttributeKind.DATE),
        (["A tale of two friends.", "They meet again and again."] * 2, AttributeKind.TEXT),
        ([f"Name {row} of one" for row in range(MANY)], AttributeKind.TEXT),
    ],
)
def test_kinds_are_told_by_values(values: list[object], kind: AttributeKind) -> None:
    assert kind_of(table(values), "x") == kind


def test_numbers_are_dates_in_a_column_of_that_name() -> None:
    seconds: list[object] = [1_455_105_600, 1_455_105_700, 1_455_105_601, 1_400_000_000]
    assert kind_of(table(seconds, "added_at"), "added_at") == AttributeKind.DATE
    assert kind_of(table(seconds, "budget"), "budget") == AttributeKind.NUMBER
    days: list[object] = [20_160_210, 20_160_211, 20_160_212, 20_160_210]
    assert kind_of(table(days, "release_date"), "release_date") == AttributeKind.DATE


@pytest.mark.parametrize(
    ("values", "name", "why"),
    [
        (["", "", ""], "x", "it is empty"),
        (["en", "en", "en"], "x", "it is en in every row"),
        (["http://a", "http://b"], "poster_url", "it tells rows apart"),
        ([f"tt{row}" for row in range(MANY)], "x", "it tells rows apart"),
        ([5, 6, 7], "imdb_id", "it tells rows apart"),
        (["a", "b", "a"], "\x1b[2J", "its name cannot be typed"),
    ],
)
def test_a_column_that_says_nothing_is_left_out(values: list[object], name: str, why: str) -> None:
    assert kind_of(table(values, name), name) == LeftOut(why)


@pytest.mark.parametrize(
    ("kind", "values", "found"),
    [
        (AttributeKind.CATEGORY, [" FR ", None, "a\x1bb"], ["FR", "", "a b"]),
        (AttributeKind.LIST, [" A |B||A", "", "C"], ["A|B", "", "C"]),
        (AttributeKind.NUMBER, ["1.5", "N/A", "7"], [1.5, None, 7]),
        (AttributeKind.YES_NO, ["Yes", "", "no"], [1, None, 0]),
        (AttributeKind.YES_NO, [1, 0, 1], [1, 0, 1]),
        (
            AttributeKind.DATE,
            ["2016-02-10", "", "1931-01-01"],
            [1_455_062_400, NO_TIME, -1230768000],
        ),
    ],
)
def test_values_are_as_promised(
    kind: AttributeKind, values: list[object], found: list[object]
) -> None:
    report = Report()
    column = attribute_values(table(values), "x", kind, report)
    report.raise_any()
    assert [None if pd.isna(value) else value for value in column.to_list()] == found
    texts = kind in {AttributeKind.CATEGORY, AttributeKind.LIST}
    assert column.dtype == ("str" if texts else np.int64 if kind is AttributeKind.DATE else float)


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (AttributeKind.NUMBER, "x is no number"),
        (AttributeKind.YES_NO, "x is neither yes nor no"),
        (AttributeKind.DATE, "x is no date"),
    ],
)
def test_a_value_that_is_none_is_told_with_its_line(kind: AttributeKind, what: str) -> None:
    report = Report()
    attribute_values(table(["1", "odd"]), "x", kind, report)
    with pytest.raises(DataError) as caught:
        report.raise_any()
    assert (caught.value.problems[-1].line, caught.value.problems[-1].value) == (3, "odd")
    assert caught.value.problems[-1].what == what
