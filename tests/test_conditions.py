import operator
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from retrieval.data.attributes import Attribute, AttributeKind, columns_of
from retrieval.data.times import NO_TIME
from retrieval.errors import RequestError
from retrieval.serving.conditions import Comparison, Condition, parse_condition
from retrieval.serving.masks import FEWEST_MASKS, Masks

IS, IS_NOT = Comparison.IS, Comparison.IS_NOT
ATTRIBUTES = (
    Attribute("Country", AttributeKind.CATEGORY),
    Attribute("studio", AttributeKind.CATEGORY),
    Attribute("genres", AttributeKind.LIST),
    Attribute("minutes", AttributeKind.NUMBER),
    Attribute("kids", AttributeKind.YES_NO),
    Attribute("added", AttributeKind.DATE),
    Attribute("plot", AttributeKind.TEXT),
    Attribute("not new", AttributeKind.YES_NO),
)


def seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


FRAME = pd.DataFrame(
    {
        "Country": ["FR", "DE", "", "fr", "AT"],
        "studio": ["20th Century, Fox", 'The "A"', "?", "", "20th Century, Fox"],
        "genres": ["Drama|Horror", "Drama", "", "War", "Horror"],
        "minutes": [90.0, 120.0, np.nan, -5.0, 100.5],
        "kids": [1.0, 0.0, np.nan, 1.0, 0.0],
        "added": [
            *map(seconds, ("2023-12-31T23:59:59", "2024-01-01", "2024-05-31T12:00:30")),
            *(NO_TIME, seconds("2025-01-01")),
        ],
        "plot": ["a", "b", "", "", ""],
        "not new": [1.0, 0.0, 0.0, 0.0, 0.0],
    }
)
MASKS = Masks(columns_of(FRAME, ATTRIBUTES))


def kept(*texts: str) -> list[int]:
    mask = MASKS.kept([parse_condition(text) for text in texts])
    return np.flatnonzero(mask).tolist()


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("country=DE", [1]),
        (" COUNTRY = fr ", [0, 3]),
        ("country=DE,AT", [1, 4]),
        ("country!=FR", [1, 4]),
        ("country != FR , DE", [4]),
        ("country=?", [2]),
        ("country!=?", [0, 1, 3, 4]),
        ("country=FR,?", [0, 2, 3]),
        ("country!=FR,?", [1, 4]),
        ('studio="20th Century, Fox"', [0, 4]),
        ('studio = "20TH century, fox" , "the ""a"""', [0, 1, 4]),
        ('studio=The "A"', [1]),
        ('studio="?"', [2]),
        ("studio=?", [3]),
        ("genres=drama", [0, 1]),
        ("genres=War,Horror", [0, 3, 4]),
        ("genres!=Horror", [1, 2, 3]),
        ("genres!=Horror,War", [1, 2]),
        ("genres!=Horror,?", [1, 3]),
        ("genres=?", [2]),
        ("genres=War,?", [2, 3]),
        ("minutes<100", [0, 3]),
        ("minutes<90", [3]),
        ("minutes<=90", [0, 3]),
        ("minutes>100.5", [1]),
        ("minutes >= 100.5", [1, 4]),
        ("minutes=90-120", [0, 1, 4]),
        ("minutes=-5--1,120", [1, 3]),
        ("minutes=-10 - 1e2", [0, 3]),
        ("minutes!=90-110", [1, 3]),
        ("minutes!=90,120", [3, 4]),
        ("minutes=?", [2]),
        ("minutes=90,?", [0, 2]),
        ("minutes!=?", [0, 1, 3, 4]),
        ("kids", [0, 3]),
        ("!kids", [1, 4]),
        ("NOT  Kids", [1, 4]),
        ("kids=yes", [0, 3]),
        ("kids=False", [1, 4]),
        ("kids!=1", [1, 4]),
        ("kids=?", [2]),
        ("kids=no,?", [1, 2, 4]),
        ('"not new"', [0]),
        ('!"not new"', [1, 2, 3, 4]),
        ("added=2024", [1, 2]),
        ("added=2024-05", [2]),
        ("added=2024-01-01", [1]),
        ("added=2024-05-31T12:00", [2]),
        ("added=2024-05-31 12:00:30", [2]),
        ("added=2024-05-31 12:00:31", []),
        ("added=2023-2024", [0, 1, 2]),
        ("added=2024-01-01 - 2024-05-31", [1, 2]),
        ("added!=2024", [0, 4]),
        ("added<2024", [0]),
        ("added<=2024", [0, 1, 2]),
        ("added>2024", [4]),
        ("added>=2024-01-01", [1, 2, 4]),
        ("added>2024-01-01", [2, 4]),
        ("added=?", [3]),
    ],
)
def test_a_condition_keeps_what_it_says(text: str, rows: list[int]) -> None:
    assert kept(text) == rows


def test_all_conditions_have_to_be_met() -> None:
    assert kept() == [0, 1, 2, 3, 4]
    assert kept("country=FR", "kids") == [0, 3]
    assert kept("country=FR", "kids", "minutes>0") == [0]
    assert kept("kids", "!kids") == []


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("kids", Condition("kids", IS)),
        ("! kids", Condition("kids", IS_NOT)),
        ("not kids", Condition("kids", IS_NOT)),
        ("notes=5", Condition("notes", IS, ("5",))),
        ("release year<=1990", Condition("release year", Comparison.AT_MOST, ("1990",))),
        ('"a<b"="c=d",e=f', Condition("a<b", IS, ("c=d", "e=f"))),
        ('a="",?,"?"', Condition("a", IS, ("", None, "?"))),
        ("a>-1", Condition("a", Comparison.ABOVE, ("-1",))),
    ],
)
def test_conditions_are_read(text: str, condition: Condition) -> None:
    assert parse_condition(text) == condition
    assert parse_condition(str(condition)) == condition


@given(
    st.builds(
        Condition,
        st.text(max_size=8),
        st.sampled_from(Comparison),
        st.lists(st.one_of(st.none(), st.text(max_size=8)), min_size=1, max_size=3).map(tuple),
    )
)
@settings(max_examples=150, derandomize=True, deadline=None)
def test_every_condition_can_be_written(condition: Condition) -> None:
    assert parse_condition(str(condition)) == condition


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "malformed condition '': it names no attribute; write country=FR"),
        ("=FR", "it names no attribute"),
        ("!", "it names no attribute"),
        ('"country=FR', "it names no attribute"),
        ('"country"FR', "no comparison follows country"),
        ('country"=FR', "no comparison follows country"),
        ("country!", "no comparison follows country"),
        ("country=", "a value is missing"),
        ("country=FR,", "a value is missing"),
        ("country=,FR", "a value is missing"),
        ('country="FR', "a double quote is not closed"),
        ('country="FR" DE', "a comma belongs between values"),
        ("country=" + "FR," * 100 + "FR", "it has more than 100 values"),
        ("!country=FR", "only yes or no is turned round so; write != for the others"),
        ("not country=FR", "only yes or no is turned round so"),
        ("contry=FR", "unknown attribute 'contry'; did you mean Country"),
        ("country", "Country is a category, not yes or no; write Country=AT or Country!=AT"),
        ("!genres", "genres is a list, not yes or no; write genres=Drama or genres!=Drama"),
        ("minutes", "minutes is a number, not yes or no; write minutes=-5, minutes<120 or"),
        ("country<5", "Country is a category, which has no order; write Country=AT"),
        ("genres>=Drama", "genres is a list, which has no order"),
        ("kids<1", "kids is yes or no, which has no order; write kids, !kids or kids=?"),
        ('"NOT new"=maybe', 'not new is yes or no, not \'maybe\'; write "not new", !"not new" or'),
        (
            "country=Austria",
            "unknown Country 'Austria'; did you mean AT? There are: AT, DE, FR, fr",
        ),
        ("country=xyz", "unknown Country 'xyz'; there are: AT, DE, FR, fr"),
        ("genres=Horor", "unknown genres 'Horor'; did you mean Horror? There are: Drama, Horror,"),
        ('genres=""', "unknown genres ''; there are: Drama"),
        ("minutes=abc", "minutes is a number, not 'abc'; write minutes=-5, minutes<120 or minutes"),
        ("minutes<1,000", "minutes is a number, and < takes one value"),
        ("minutes<?", "minutes is a number, and < takes one value"),
        ("minutes<90-120", "minutes is a number, and only = and != take a range"),
        ("minutes=120-90", "minutes=120-90 ends before it begins; write the lower end first"),
        ("minutes=1e999", "minutes is a number, not '1e999'"),
        ("minutes=nan", "minutes is a number, not 'nan'"),
        ("minutes=1_0", "minutes is a number, not '1_0'"),
        ("minutes=\N{FULLWIDTH DIGIT ONE}", "minutes is a number, not"),
        ("added=soon", "added is a date, not 'soon'; write added=2024, added>=2024-05 or added<"),
        ("added=2024-13", "added is a date, not '2024-13'"),
        ("added=2024-2023", "ends before it begins"),
        ("added<2023-2024", "added is a date, and only = and != take a range"),
        ("plot=a", "plot is a text, which cannot be filtered; what can be: Country, studio, gen"),
        ("plot", "plot is a text, which cannot be filtered"),
    ],
)
def test_what_cannot_be_met_is_named_with_the_remedy(text: str, message: str) -> None:
    with pytest.raises(RequestError) as caught:
        kept(text)
    assert message in str(caught.value)


def test_what_is_no_text_is_no_condition() -> None:
    condition: Any = 5
    with pytest.raises(RequestError, match="condition '5' is no text"):
        parse_condition(condition)


def test_where_nothing_is_known_messages_say_so() -> None:
    nothing = pd.DataFrame({"country": [""], "minutes": [np.nan]})
    masks = Masks(
        columns_of(
            nothing,
            [
                Attribute("country", AttributeKind.CATEGORY),
                Attribute("minutes", AttributeKind.NUMBER),
            ],
        )
    )
    for text, message in [
        ("country=FR", "unknown country 'FR'; there are: none"),
        ("country", "write country=. or country!=."),
        ("minutes", "write minutes=90, minutes<120 or minutes=90-120"),
    ]:
        with pytest.raises(RequestError, match=message):
            masks.kept([parse_condition(text)])
    with pytest.raises(RequestError, match="unknown attribute 'kids'; there are: none"):
        Masks(columns_of(nothing, [])).kept([parse_condition("kids")])


def test_of_many_names_a_message_lists_the_first() -> None:
    frame = pd.DataFrame({"studio": [f"Studio {number:04}" for number in range(2000)]})
    masks = Masks(columns_of(frame, [Attribute("studio", AttributeKind.CATEGORY)]))
    with pytest.raises(RequestError, match=r"there are: Studio 0000, .*0011 and 1,988 more$"):
        masks.kept([parse_condition("studio=xyzzy")])


def test_masks_are_made_once_and_cannot_be_written_to() -> None:
    masks = Masks(columns_of(FRAME, ATTRIBUTES))
    conditions = [parse_condition("country=FR"), parse_condition("kids")]
    mask = masks.kept(conditions)
    assert masks.kept(tuple(conditions)) is mask
    assert masks.kept(conditions[:1]) is masks.kept(conditions[:1])
    for shared in (mask, masks.kept([]), masks.kept(conditions[:1])):
        with pytest.raises(ValueError, match="read-only"):
            shared[0] = True


def test_the_mask_of_a_condition_serves_all_sets_of_conditions() -> None:
    columns = columns_of(FRAME, ATTRIBUTES)
    masks = Masks(columns)
    short, kids = parse_condition("minutes<100"), parse_condition("kids")
    assert masks.kept([short, kids]).tolist() == [True, False, False, True, False]
    columns.columns["minutes"].data[:] = 1000  # whoever looks again sees it
    assert masks.kept([kids, short]).tolist() == [True, False, False, True, False]
    assert not Masks(columns).kept([kids, short]).any()


def test_masks_of_more_conditions_than_are_kept_are_made_again() -> None:
    frame = pd.DataFrame({"minutes": np.arange(3 * 2**20, dtype=np.float64)})
    masks = Masks(columns_of(frame, [Attribute("minutes", AttributeKind.NUMBER)]))
    first = [parse_condition("minutes<1")]
    mask = masks.kept(first)
    for limit in range(FEWEST_MASKS):
        masks.kept([parse_condition(f"minutes<{limit + 2}")])
    assert masks.kept(first) is not mask
    assert masks.kept(first).sum() == 1


def test_threads_that_ask_at_once_get_the_same_answers() -> None:
    masks = Masks(columns_of(FRAME, ATTRIBUTES))
    texts = ["country=FR", "genres!=Horror", "minutes<100", "kids", "added>=2024"] * 40
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda text: masks.kept([parse_condition(text)]), texts))
    assert [np.flatnonzero(mask).tolist() for mask in found] == [kept(text) for text in texts]


# What people, programs and enemies write.
PIECES = st.one_of(
    st.sampled_from(
        ["country", "genres", "minutes", "kids", "added", "plot", "not ", "!", "=", "!=", "<", "<=",
         ">", ">=", ",", "-", '"', '""', "?", " ", "FR", "Drama", "90", "1e999", "nan", "-inf",
         "2024", "2024-13-45", "9999", "0000", "yes", "\0", "\n", "\x1b[31m", "\udcff"]
    ),
    st.text(max_size=6),
    st.floats().map(str),
    st.dates().map(str),
)  # fmt: skip


def answer(text: str) -> NDArray[np.bool_] | RequestError:
    try:
        return MASKS.kept([parse_condition(text)])
    except RequestError as error:
        return error


@given(st.lists(PIECES, max_size=8).map("".join))
@settings(max_examples=400, derandomize=True, deadline=None)
def test_whatever_is_written_there_is_a_mask_or_an_error_of_one_line(text: str) -> None:
    found = answer(text)
    if isinstance(found, RequestError):
        assert str(found).isprintable()
        assert len(str(found)) <= 2000
    else:
        assert found.shape == (5,)


MANY = 10**6


@pytest.mark.parametrize(
    "text",
    [
        '"' * MANY,
        "country" + " " * MANY + "!",
        "country=" + '""' * MANY,
        "minutes=" + "9" * MANY,
        "minutes=" + "1-" * MANY,
        "not" + " " * MANY,
        "x" * MANY + "=1",
    ],
    ids=lambda text: text[:10],
)
def test_long_texts_are_refused_with_a_short_message(text: str) -> None:
    found = answer(text)
    assert isinstance(found, RequestError)
    assert len(str(found)) < 500


ORDERS: dict[Comparison, Callable[[Any, Any], bool]] = {
    Comparison.BELOW: operator.lt,
    Comparison.AT_MOST: operator.le,
    Comparison.ABOVE: operator.gt,
    Comparison.AT_LEAST: operator.ge,
}


def meets(value: object, comparison: Comparison, wanted: Sequence[object]) -> bool:
    """Return whether the value of a row meets a condition: the definition.

    Args:
        value: The value; of a list a tuple, which may be empty; None where it is missing.
        comparison: How it is compared.
        wanted: What with; None is a missing value.
    """
    if value is None:
        return comparison is IS and None in wanted
    if isinstance(value, tuple):
        found = any(each in value for each in wanted) or (not value and None in wanted)
    elif comparison in ORDERS:
        return ORDERS[comparison](value, wanted[0])
    elif isinstance(value, str):
        found = any(isinstance(each, str) and each.lower() == value.lower() for each in wanted)
    else:
        found = value in wanted
    return found is (comparison is IS)


def text_of(value: object) -> str:
    if value is None:
        return "?"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


# The values that each attribute of the definition's rows can have.
VALUES: dict[Attribute, list[object]] = {
    Attribute("country", AttributeKind.CATEGORY): ["FR", "fr", "DE", "AT"],
    Attribute("genres", AttributeKind.LIST): ["Drama", "Horror", "War"],
    Attribute("minutes", AttributeKind.NUMBER): [-1.5, 0, 3, 90],
    Attribute("kids", AttributeKind.YES_NO): [True, False],
    Attribute("added", AttributeKind.DATE): ["2023-12-31", "2024-01-01", "2024-02-29"],
}


def drawn_row(rng: np.random.Generator) -> dict[str, object]:
    """Return one row with every value, of which some are missing."""
    row: dict[str, object] = {}
    for (name, kind), values in VALUES.items():
        order = rng.permutation(len(values))
        if kind is AttributeKind.LIST:
            row[name] = tuple(values[place] for place in order[: rng.integers(len(values) + 1)])
        else:
            row[name] = None if rng.random() < 0.25 else values[order[0]]
    return row


@pytest.mark.parametrize("seed", range(5))
def test_masks_are_those_of_the_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = [drawn_row(rng) for _ in range(60)]
    nothing = pd.DataFrame({attribute.name: [] for attribute in VALUES})
    masks = Masks(columns_of(nothing, [*VALUES]).extended(rows))
    for (name, kind), values in VALUES.items():
        some = [*values, None]
        asked = [
            (comparison, wanted)
            for comparison in (IS, IS_NOT)
            for wanted in ([[each] for each in some] + [[*both] for both in product(some, some)])
        ]
        if kind in {AttributeKind.NUMBER, AttributeKind.DATE}:
            asked += [(order, [value]) for order in ORDERS for value in values]
        for comparison, wanted in asked:
            text = f"{name}{comparison}{','.join(map(text_of, wanted))}"
            expected = [meets(row[name], comparison, wanted) for row in rows]
            assert masks.kept([parse_condition(text)]).tolist() == expected, text
