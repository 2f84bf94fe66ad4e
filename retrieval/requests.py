"""Questions in text: histories typed on a command line, and CSV files of many questions."""

import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval import columns
from retrieval.audience import Event
from retrieval.errors import RequestError
from retrieval.files import new_file
from retrieval.report import Report


class Users(NamedTuple):
    """Q users to make lists for."""

    users: NDArray[np.int64]  # (Q,) ids
    times: NDArray[np.int64] | None  # (Q,) seconds; None is the time of each user's last event


class Pairs(NamedTuple):
    """Q pairs to rate."""

    users: NDArray[np.int64]  # (Q,) ids
    movies: NDArray[np.int64]  # (Q,) ids
    times: NDArray[np.int64] | None  # (Q,) seconds; None is the time of each user's last event


def parse_history(text: str) -> tuple[list[Event], bool]:
    """Read `1193:5,661:3` or, with times, `1193:5@978300760`; a leading + adds to what is stored.

    Returns:
        The events, and whether they add to the stored history instead of replacing it.

    Raises:
        RequestError: A part that is not movie:rating.
    """
    adds = text.strip().startswith("+")
    body = text.strip().removeprefix("+").strip()
    return [_event(part) for part in body.split(",")] if body else [], adds


def _event(part: str) -> Event:
    rated, at, time = part.strip().partition("@")
    movie, colon, rating = rated.partition(":")
    try:
        event = Event(int(movie), float(rating), int(time) if at else None)
    except ValueError:
        event = None
    if event is None or not colon:
        raise RequestError(
            f"malformed history at {part.strip()!r}; write movie:rating pairs, "
            "as in 1193:5,661:3, or with a time in seconds, 1193:5@978300760"
        )
    return event


def read_movie_ids(path: Path) -> list[int]:
    """Read a CSV file with movie_id.

    Raises:
        DataError: The file cannot be read, with every bad line.
    """
    return [int(movie) for movie in _read(path, {columns.MOVIE_ID: int}, {})[columns.MOVIE_ID]]


def read_pairs(path: Path) -> Pairs:
    """Read a CSV file with user_id, movie_id and, if wanted, timestamp.

    Raises:
        DataError: The file cannot be read, with every bad line.
    """
    table = _read(path, {columns.USER_ID: int, columns.MOVIE_ID: int}, {columns.TIMESTAMP: int})
    return Pairs(
        _integers(table[columns.USER_ID]), _integers(table[columns.MOVIE_ID]), _times(table)
    )


def read_users(path: Path) -> Users:
    """Read a CSV file with user_id and, if wanted, timestamp.

    Raises:
        DataError: The file cannot be read, with every bad line.
    """
    table = _read(path, {columns.USER_ID: int}, {columns.TIMESTAMP: int})
    return Users(_integers(table[columns.USER_ID]), _times(table))


def read_histories(path: Path) -> dict[int, list[Event]]:
    """Read a CSV file with user_id, movie_id, rating and timestamp: the histories of users.

    Raises:
        DataError: The file cannot be read, with every bad line.
    """
    kinds: dict[str, Callable[[str], float]] = dict.fromkeys(columns.RATINGS, int)
    table = _read(path, kinds | {columns.RATING: float}, {})
    histories: dict[int, list[Event]] = {}
    for user, movie, rating, time in zip(*(table[name] for name in columns.RATINGS), strict=True):
        histories.setdefault(int(user), []).append(Event(int(movie), rating, int(time)))
    return histories


def write_answers(path: Path, header: Sequence[str], rows: Iterator[Sequence[object]]) -> None:
    """Write a CSV file that is whole or not there."""
    with new_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _integers(values: list[float]) -> NDArray[np.int64]:
    return np.array(values, dtype=np.int64)


def _times(table: dict[str, list[float]]) -> NDArray[np.int64] | None:
    return _integers(table[columns.TIMESTAMP]) if columns.TIMESTAMP in table else None


def _read(
    path: Path,
    required: dict[str, Callable[[str], float]],
    optional: dict[str, Callable[[str], float]],
) -> dict[str, list[float]]:
    """Read the named columns of a CSV file with a header; other columns are left alone."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"{path} cannot be read: {error}") from error
    rows = csv.reader(text.splitlines())
    header = [name.strip() for name in next(rows, [])]
    missing = [name for name in required if name not in header]
    if missing:
        raise RequestError(
            f"{path} lacks the column {', '.join(missing)}; its first line must name "
            f"{','.join([*required, *(f'[{name}]' for name in optional)])}"
        )
    kinds = required | {name: kind for name, kind in optional.items() if name in header}
    places = [(name, header.index(name), kind) for name, kind in kinds.items()]
    table: dict[str, list[float]] = {name: [] for name in kinds}
    report = Report()
    for row in filter(None, rows):
        if len(row) != len(header):
            remedy = f"give {len(header)}"
            report.add(path.name, rows.line_num, ",".join(row), "wrong number of fields", remedy)
            continue
        for name, place, kind in places:
            try:
                table[name].append(kind(row[place]))
            except ValueError:
                remedy = "give a whole number" if kind is int else "give a number"
                report.add(path.name, rows.line_num, row[place], f"bad {name}", remedy)
    report.raise_any()
    return table
