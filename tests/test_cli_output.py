"""Tables and JSON as they are printed, to a pipe and to terminals of any width."""

import json
import re
import sys

import pytest
from terminals import shown_on_terminal

from retrieval.cli.output import print_json, print_table

STRANGE = "Crash [/b] [red]Again[/red] :smile: \x1b[31m\x9b2J\x07\r\u202e\udcff"
SHOWN = r"Crash [/b] [red]Again[/red] :smile: \x1b[31m\x9b2J\x07\r\u202e\udcff"

MOVIES = [
    (1, 318, "The Shawshank Redemption and Other Stories of Hope", 1994, "Drama, Crime", 4.5),
    (20, 3591, "Am\N{LATIN SMALL LETTER E WITH ACUTE}lie", None, "", 3.25),
]
HEADER = ("rank", "id", "title", "year", "genres", "rating")


def drawn(width: int, program: str, **env: str) -> list[str]:
    """Return the lines that a program prints to a terminal of so many columns."""
    program = f"from retrieval.cli.output import print_table\n{program}"
    command = [sys.executable, "-c", program]
    said, _ = shown_on_terminal(command, width, **{"NO_COLOR": "1"} | env)
    return re.sub(r"\x1b\[[0-9;]*m", "", said).splitlines()


def test_a_pipe_gets_plain_text_aligned_and_whole(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [(1, 318, "Heat", 1995, "Drama, Crime", 4.5), (20, 3591, "Am\xe9lie", None, "", 3.25)]
    print_table("Movies", HEADER, rows, spare=("genres",))
    assert capsys.readouterr().out.splitlines() == [
        "Movies",
        "rank    id  title   year  genres        rating",
        "   1   318  Heat    1995  Drama, Crime    4.50",
        "  20  3591  Am\xe9lie                        3.25",
    ]
    print_table("None", HEADER, [])
    assert capsys.readouterr().out == "None\nrank  id  title  year  genres  rating\n"


def test_text_is_shown_as_it_is_and_nothing_in_it_is_obeyed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_table(STRANGE, ("title", "[b]"), [(STRANGE, 1.5)])
    out = capsys.readouterr().out
    assert out.count(SHOWN) == 2
    assert "[b]" in out
    assert all(letter.isprintable() or letter == "\n" for letter in out)
    lines = drawn(200, f"print_table({STRANGE!r}, ('title', '[b]'), [({STRANGE!r}, 1.5)])")
    assert sum(SHOWN in line for line in lines) == 2


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 132])
def test_a_terminal_has_whole_numbers_and_headers_whatever_its_width(width: int) -> None:
    call = f"print_table('Movies', {HEADER!r}, {MOVIES!r}, spare=('genres', 'year', 'id'))"
    lines = drawn(width, call)
    assert max(map(len, lines)) <= max(width, 36)  # what three columns need
    [header] = [line for line in lines if "rank" in line]
    names = [name.strip() for name in re.split("[┃|]", header)[1:-1]]
    assert set(names) <= set(HEADER)
    assert {"rank", "title", "rating"} <= set(names)
    assert ("genres" in names) == (width >= 60)
    cells = [line.split("│")[1:-1] for line in lines if "│" in line]
    numbers = [cell.strip() for row in cells for cell in row]
    for number in ("1", "20", "4.50", "3.25", *["1994"] * ("year" in names)):
        assert numbers.count(number) == 1
    titles = " ".join(row[names.index("title")].strip() for row in cells)
    assert "The Shawshank Redemption and Other Stories of Hope" in titles


def test_lines_are_drawn_on_a_terminal_alone(capsys: pytest.CaptureFixture[str]) -> None:
    call = f"print_table('Movies', {HEADER!r}, {MOVIES!r})"
    assert any("┏" in line for line in drawn(100, call))
    assert not any("┏" in line for line in drawn(100, call, TERM="dumb"))
    print_table("Movies", HEADER, MOVIES)
    assert not re.search("[┏│|]", capsys.readouterr().out)


def test_a_table_of_many_figures_becomes_several_that_say_what_they_are_about(
    capsys: pytest.CaptureFixture[str],
) -> None:
    header = ("system", "count", *(f"ndcg@{place}" for place in range(8)))
    rows = [(name, 1000, *["0.1234 ± 0.0056"] * 8) for name in ("two towers", "popularity")]
    print_table("Evaluation", header, rows, keys=2)
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert out.count("two towers") == out.count("Evaluation") == 2
    assert sum(line.startswith("system") for line in lines) == 2
    assert max(map(len, lines)) <= 100
    assert re.findall(r"ndcg@\d", out) == [f"ndcg@{place}" for place in range(8)]
    for width in (80, 40):
        lines = drawn(width, f"print_table('Evaluation', {header!r}, {rows!r}, keys=2)")
        assert max(map(len, lines)) <= width
        assert "\n".join(lines).count("0.1234 ± 0.0056") == 16


def test_cells_of_wide_letters_stand_below_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("Films", ("title", "year"), [("七人の侍", 1954), ("Ikiru", 1952)])
    assert capsys.readouterr().out.splitlines()[2:] == ["七人の侍  1954", "Ikiru     1952"]


def test_json_is_one_line_with_the_number_of_its_form(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"title": STRANGE})
    out = capsys.readouterr().out
    assert json.loads(out) == {"schema": 1, "title": STRANGE}
    assert all(letter.isprintable() for letter in out.removesuffix("\n"))


def test_numbers_that_json_has_no_word_for_are_null(capsys: pytest.CaptureFixture[str]) -> None:
    odd = [float("nan"), float("inf"), 1.5]
    print_json({"rows": [{"value": value} for value in odd], "odd": tuple(odd), "none": None})
    assert json.loads(capsys.readouterr().out) == {
        "schema": 1,
        "rows": [{"value": None}, {"value": None}, {"value": 1.5}],
        "odd": [None, None, 1.5],
        "none": None,
    }
