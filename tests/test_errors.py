import pickle

import pytest

from retrieval.data.report import Report
from retrieval.errors import (
    LONGEST_LINE,
    LONGEST_VALUE,
    MOST_LINES,
    DataError,
    Problem,
    RecError,
    RequestError,
    shown,
    unknown,
)


def problem(value: str) -> Problem:
    return Problem(file="r.csv", line=3, value=value, what="wrong", remedy="mend it")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("Amélie", "Amélie"),
        (7, "7"),
        ("a\nb\tc", r"a\nb\tc"),
        ("\x1b[31m", r"\x1b[31m"),
        ("\x9b2J\x7f\0", r"\x9b2J\x7f\x00"),
        ("\u202eabc\u2066", r"\u202eabc\u2066"),
        ("\u2028\ufeff", r"\u2028\ufeff"),
        ("\udcff", r"\udcff"),
        ("x" * LONGEST_VALUE, "x" * LONGEST_VALUE),
        ("a" * 100 + "b" * 100, "a" * 57 + "..." + "b" * 20),
    ],
)
def test_a_value_is_shown_on_one_line_with_nothing_hidden(value: object, text: str) -> None:
    assert shown(value) == text


@pytest.mark.parametrize("value", ["x" * 10_000_000, "\x1b" * 10_000_000, "\U0010ffff" * 81])
def test_what_is_shown_is_never_longer_than_it_may_be(value: str) -> None:
    assert len(shown(value)) == LONGEST_VALUE
    assert shown(value).isprintable()


def test_a_problem_names_the_place_the_value_and_the_remedy() -> None:
    assert str(problem("5")) == "r.csv:3: wrong: '5'; mend it"


def test_no_part_of_a_problem_can_break_the_line() -> None:
    odd = "\x1b[2J\n" * 10_000
    wrong = Problem(file=odd, line=None, value=odd, what=odd, remedy=odd)
    assert str(wrong).isprintable()
    assert len(str(wrong)) <= LONGEST_LINE


@pytest.mark.parametrize("kind", [RecError, RequestError])
def test_every_message_is_one_line(kind: type[RecError]) -> None:
    assert str(kind("unknown \x1b[2J\nmovie")) == r"unknown \x1b[2J\nmovie"
    assert len(str(kind("x" * 10_000_000))) == LONGEST_LINE


def test_very_many_problems_are_counted() -> None:
    lines = str(DataError([problem(str(number)) for number in range(100_000)])).split("\n")
    assert len(lines) == MOST_LINES + 1
    assert lines[-1] == "and 99,800 problems more"


def test_problems_survive_the_way_to_another_process() -> None:
    error = DataError([problem("5")])
    again = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (str(again), again.problems) == (str(error), error.problems)


def test_a_note_is_said_once_on_one_line() -> None:
    report = Report()
    for _ in range(2):
        report.note("a\nb")
    assert report.notes == (r"a\nb",)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("ivff", "unknown kind 'ivff'; did you mean ivf? There are: ivf, HNSW"),
        (" hnws ", "unknown kind ' hnws '; did you mean HNSW? There are: ivf, HNSW"),
        ("tree", "unknown kind 'tree'; there are: ivf, HNSW"),
        (7, "unknown kind '7'; there are: ivf, HNSW"),
        ("\x1b\n", r"unknown kind '\x1b\n'; there are: ivf, HNSW"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest_and_all_others(
    value: object, message: str
) -> None:
    assert str(unknown("kind", value, ["ivf", "HNSW"])) == message


def test_of_very_many_names_the_nearest_alone_is_said() -> None:
    names = [f"setting {number}" for number in range(100)]
    assert str(unknown("setting", "seting 7", names)).endswith("did you mean setting 7?")
    assert str(unknown("setting", "x", [])) == "unknown setting 'x'; there are: none"
