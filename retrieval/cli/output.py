"""Answers on standard output: a table for people, JSON for programs.

On a terminal a table has lines around it and is as wide as the terminal at most: text is folded,
columns that can be spared are left out, and numbers and headers stay whole. In a pipe or a file it
is plain text, aligned, and nothing is folded or left out.

JSON is one object on one line. `schema` is the number of its form; keys are in snake_case; `run` is
the folder of the run that answered; numbers that are not finite are null.
"""

import json
import math
import re
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from retrieval.cli.display import UNSHOWN, draws, printable, writes_unicode

# Of every JSON object; it grows when a key goes or changes its meaning.
SCHEMA = 1

# Cells that a folded column has at least, and the longest word that is not broken; a column has
# fewer if all of it is narrower.
NARROWEST, LONGEST_WORD = 10, 24

# Cells of a line in a pipe, beyond which a table that can be is split into several.
PIPE = 100

# What goes to the right and is never folded: numbers, with what belongs to them, or nothing.
NUMBER = re.compile(r"(?:[-+]?[0-9][0-9,]*(?:\.[0-9]+)?(?: (?:±|\+/-) [0-9.]+|%| [MG]B)?|-)?")

# Between columns, without lines.
GAP = "  "


class _Column(NamedTuple):
    name: str
    cells: list[str]
    numeric: bool

    @property
    def width(self) -> int:
        return max(map(_width, [self.name, *self.cells]))

    @property
    def least(self) -> int:
        if self.numeric:
            return self.width
        longest = max(_width(word) for cell in [*self.cells, ""] for word in [*cell.split(), ""])
        return min(self.width, max(_width(self.name), NARROWEST, min(longest, LONGEST_WORD)))


def print_table(
    title: str,
    header: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    spare: Sequence[str] = (),
    keys: int = 0,
) -> None:
    """Print a table; numbers go to the right.

    Args:
        title: Words above the table.
        header: Names of the columns.
        rows: Values of each row; None is empty.
        spare: Names of columns that are left out one after another where there is no room.
        keys: Number of leading columns that say what a row is about. If there are any, a table
            without room for all columns becomes several that begin with these.
    """
    texts = [[_text(value) for value in row] for row in rows]
    columns = []
    for place, name in enumerate(map(printable, header)):
        cells = [row[place] for row in texts]
        columns.append(_Column(name, cells, all(map(_is_number, cells))))
    drawn = draws(sys.stdout)
    room = shutil.get_terminal_size().columns if drawn else PIPE
    print_one = _draw if drawn else _align
    title = printable(title)
    for part in _split(columns, keys, room, drawn=drawn) if keys else [columns]:
        print_one(title, _spared(part, spare, room) if drawn else part, room)


def print_json(answer: Mapping[str, object]) -> None:
    """Print an object as JSON, in UTF-8 or else in ASCII; nothing in it is obeyed by a terminal."""
    whole = _finite({"schema": SCHEMA, **answer})
    text = json.dumps(whole, ensure_ascii=not writes_unicode(), allow_nan=False)
    sys.stdout.write(UNSHOWN.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n")


def _finite(value: object) -> object:
    """Return a value with null for what JSON has no word for."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {key: _finite(each) for key, each in value.items()}
        case list() | tuple():
            return [_finite(each) for each in value]
        case _:
            return value


def _split(columns: Sequence[_Column], keys: int, room: int, *, drawn: bool) -> list[list[_Column]]:
    """Return the columns in parts that have room, each with the keys in front."""
    parts: list[list[_Column]] = []
    for column in columns[keys:]:
        if parts and _needed([*parts[-1], column], drawn=drawn) <= room:
            parts[-1].append(column)
        else:
            parts.append([*columns[:keys], column])
    return parts or [list(columns)]


def _spared(columns: Sequence[_Column], spare: Sequence[str], room: int) -> list[_Column]:
    """Return the columns that a terminal has room for."""
    kept = list(columns)
    for name in spare:
        if _needed(kept, drawn=True) <= room:
            break
        kept = [column for column in kept if column.name != name]
    return kept


def _needed(columns: Sequence[_Column], *, drawn: bool) -> int:
    """Return how many cells a table takes at least."""
    if drawn:
        return sum(column.least for column in columns) + _frame(len(columns))
    return sum(column.width for column in columns) + len(GAP) * (len(columns) - 1)


def _frame(count: int) -> int:
    """Return how many cells of a line the lines and blanks around so many columns take."""
    return 3 * count + 1


def _widths(columns: Sequence[_Column], room: int) -> list[int]:
    """Return how wide each column is drawn: what there is room for goes to the narrow ones first.

    Args:
        columns: Columns that are kept.
        room: Cells of a line.
    """
    widths = [column.least for column in columns]
    left = room - _frame(len(columns)) - sum(widths)
    while left > 0:
        folded = [place for place, column in enumerate(columns) if widths[place] < column.width]
        if not folded:
            break
        widths[min(folded, key=widths.__getitem__)] += 1
        left -= 1
    return widths


def _draw(title: str, columns: Sequence[_Column], room: int) -> None:
    """Print a table with lines around it."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", header_style="bold")
    widths = _widths(columns, room)
    for column, width in zip(columns, widths, strict=True):
        table.add_column(
            column.name,
            justify="right" if column.numeric else "left",
            overflow="fold",
            width=width,
        )
    for row in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*row)
    wide = max(room, sum(widths) + _frame(len(columns)))  # never narrower than numbers need
    console = Console(soft_wrap=True, width=wide, highlight=False, markup=False, emoji=False)
    console.print(table)


def _align(title: str, columns: Sequence[_Column], _: int) -> None:
    """Print a table as plain text."""
    lines = [title]
    for row in zip(*([column.name, *column.cells] for column in columns), strict=True):
        cells = [
            _padded(text, column.width, right=column.numeric)
            for text, column in zip(row, columns, strict=True)
        ]
        lines.append(GAP.join(cells).rstrip())
    sys.stdout.write("\n".join(lines) + "\n")


def _padded(text: str, width: int, *, right: bool) -> str:
    blanks = " " * (width - _width(text))
    return blanks + text if right else text + blanks


def _width(text: str) -> int:
    """Return how many cells of a terminal a text takes."""
    if text.isascii():
        return len(text)
    marks = sum(unicodedata.combining(letter) > 0 for letter in text)
    return len(text) - marks + sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if isinstance(value, float) else printable(str(value))


def _is_number(text: str) -> bool:
    return NUMBER.fullmatch(text) is not None
