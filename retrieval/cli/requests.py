"""Questions in text: histories typed on a command line, and files of many questions."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.cli.tables import read_number, read_table
from retrieval.data import columns
from retrieval.data.report import Report
from retrieval.data.times import COUNTERS, NO_TIME
from retrieval.data.vocabulary import UNKNOWN, Id, Ids
from retrieval.errors import Problem, RequestError, shown
from retrieval.options import Unknown
from retrieval.run.folder import Run
from retrieval.serving.arguments import parse_time
from retrieval.serving.events import Event, check_history

# Problems that are named where the other questions are answered; of more, the number is said.
NAMED = 5


class Users(NamedTuple):
    """Q users to make lists for."""

    users: Ids  # (Q,)
    times: NDArray[np.int64] | None  # (Q,) seconds or `NO_TIME`; None is no time for any
    lines: NDArray[np.int64]  # (Q,) of the file


class Pairs(NamedTuple):
    """Q pairs to rate."""

    users: Ids  # (Q,)
    movies: Ids  # (Q,)
    times: NDArray[np.int64] | None  # (Q,) seconds or `NO_TIME`; None is no time for any
    lines: NDArray[np.int64]  # (Q,) of the file


class HistoryFile(NamedTuple):
    """A file of histories, by user."""

    path: Path
    events: dict[Any, list[Event]]
    lines: dict[Any, list[int]]  # of the file, one for each event


class Sifted(NamedTuple):
    """Which of Q questions can be answered."""

    kept: NDArray[np.bool_]  # (Q,)
    histories: dict[Any, list[Event]]  # those that replace what is stored, new users' too
    problems: list[Problem]  # why not the others, each user and movie once


def parse_history(text: str) -> tuple[list[Event], bool]:
    """Read `1193:5,661:3` or, with times, `1193:5@2000-12-31`; a leading + adds to what is stored.

    Where movies have no ratings, `1193,661` or `1193@2000-12-31`.

    Returns:
        The events, and whether they add to the stored history instead of replacing it.

    Raises:
        RequestError: A part that is no movie, with a rating or without.
    """
    adds = text.strip().startswith("+")
    body = text.strip().removeprefix("+").strip()
    return [_event(part.strip()) for part in body.split(",")] if body else [], adds


def _event(part: str) -> Event:
    rated, at, moment = part.partition("@")
    movie, colon, rating = rated.rpartition(":") if ":" in rated else (rated, "", "")
    movie, value = movie.strip(), read_number(rating)
    if not movie or (colon and value is None):
        raise RequestError(
            f"malformed history at '{shown(part)}'; write movie:rating pairs, "
            "as in 1193:5,661:3, or with a time, 1193:5@2000-12-31"
        )
    try:
        return Event(movie, value, parse_time(moment, order=True) if at else None)
    except RequestError as error:
        raise RequestError(
            f"malformed history at '{shown(part)}'; write movie:rating pairs, with a time or "
            f"without: {error}"
        ) from error


def text_ids(run: Run) -> list[str]:
    """Return the columns of ids that are texts in a run."""
    kinds = {columns.USER_ID: run.users, columns.MOVIE_ID: run.catalogue.vocabulary}
    return [name for name, vocabulary in kinds.items() if vocabulary.texts]


def read_movie_ids(path: Path, texts: Collection[str] = ()) -> list[Id]:
    """Read a file with movie_id.

    Args:
        path: The file.
        texts: Columns of ids that are texts, as `text_ids` returns them; so in what follows.

    Raises:
        RequestError: The file cannot be read.
        DataError: It has bad lines.
    """
    table = read_table(path, [columns.MOVIE_ID], texts=texts)
    ids: list[Id] = table.values[columns.MOVIE_ID].tolist()
    return ids


def read_pairs(path: Path, texts: Collection[str] = ()) -> Pairs:
    """Read a file with user_id, movie_id and, if wanted, timestamp.

    Raises:
        RequestError: The file cannot be read.
        DataError: It has bad lines.
    """
    table, lines = read_table(path, [columns.USER_ID, columns.MOVIE_ID], [columns.TIMESTAMP], texts)
    times = table.get(columns.TIMESTAMP)
    return Pairs(table[columns.USER_ID], table[columns.MOVIE_ID], times, lines)


def read_users(path: Path, texts: Collection[str] = ()) -> Users:
    """Read a file with user_id and, if wanted, timestamp.

    Raises:
        RequestError: The file cannot be read.
        DataError: It has bad lines.
    """
    table, lines = read_table(path, [columns.USER_ID], [columns.TIMESTAMP], texts)
    return Users(table[columns.USER_ID], table.get(columns.TIMESTAMP), lines)


def read_history_file(path: Path, run: Run) -> HistoryFile:
    """Read a file with user_id, movie_id, timestamp if known, and rating if the run has any.

    Raises:
        RequestError: The file cannot be read.
        DataError: It has bad lines.
    """
    needed, optional = [columns.USER_ID, columns.MOVIE_ID], [columns.TIMESTAMP]
    scale = run.config.scale
    (needed if scale.tells_taste else optional).append(columns.RATING)
    table, lines = read_table(path, needed, optional, text_ids(run))
    times = table.get(columns.TIMESTAMP, np.full(len(lines), NO_TIME))
    ratings = table.get(columns.RATING, np.full(len(lines), scale.highest))
    found = HistoryFile(path, {}, {})
    rows = (table[columns.USER_ID], table[columns.MOVIE_ID], ratings, times, lines)
    for user, movie, rating, time, line in zip(*(column.tolist() for column in rows), strict=True):
        event = Event(movie, rating, None if time == NO_TIME else time)
        found.events.setdefault(user, []).append(event)
        found.lines.setdefault(user, []).append(line)
    return found


# What can be done about a user whom a run does not know.
ANSWER_ANEW = "give a history with --histories, or answer as a new user by --unknown new"


def sift(
    run: Run,
    path: Path,
    questions: Users | Pairs,
    given: HistoryFile | None,
    unknown: Unknown,
    remedy: str = ANSWER_ANEW,
) -> Sifted:
    """Return which questions of a file can be answered, and what is wrong with the others.

    Args:
        run: Run that is to answer them.
        path: File of the questions.
        questions: Questions in the file.
        given: Histories that replace those of users, known or not.
        unknown: What becomes of questions about what the run does not know.
        remedy: What can be done about a user whom it does not know.

    Raises:
        DataError: Something is wrong, and that is an error.
    """
    histories: dict[Any, list[Event]] = {}
    problems, left_out = [], []
    users, first = np.unique(questions.users, return_index=True)
    known = (run.users.numbers(users) != UNKNOWN).tolist()
    lines = questions.lines[first].tolist()
    for user, line, there in zip(users.tolist(), lines, known, strict=True):
        problem = None
        if given is not None and user in given.events:
            problem = _bad_history(run, given, user)
            histories[user] = given.events[user]
        elif unknown is Unknown.NEW and not there:
            histories[user] = []
        elif not there:
            problem = _problem(path, line, user, "unknown user", remedy)
        if problem is not None:
            problems.append(problem)
            left_out.append(user)
    kept = ~np.isin(questions.users, np.array(left_out, dtype=questions.users.dtype))
    if isinstance(questions, Pairs):
        missing = run.catalogue.vocabulary.numbers(questions.movies) == UNKNOWN
        kept &= ~missing
        movies, first = np.unique(questions.movies[missing], return_index=True)
        lines = questions.lines[missing][first].tolist()
        problems += [
            _problem(path, line, movie, "unknown movie", 'try rec movies "toy story"')
            for movie, line in zip(movies.tolist(), lines, strict=True)
        ]
    if unknown is Unknown.ERROR:
        report = Report()
        for each in problems:
            report.add(each.file, each.line, each.value, each.what, each.remedy)
        report.raise_any()
    answered = set(questions.users[kept].tolist())
    histories = {user: history for user, history in histories.items() if user in answered}
    return Sifted(kept, histories, problems)


def counts_events(run: Run) -> bool:
    """Return whether the times of a run only say what came before what."""
    return int(run.histories.timestamps.max(initial=0)) < COUNTERS


def early_times(run: Run, questions: Users | Pairs, given: HistoryFile | None) -> list[str]:
    """Return what to say of times that are seconds of 1970, as a year that is meant is: a line."""
    events = (
        [] if given is None else [event for history in given.events.values() for event in history]
    )
    times = [*([] if questions.times is None else questions.times.tolist())]
    times += [event.timestamp for event in events if event.timestamp is not None]
    early = [time for time in times if 0 <= time < COUNTERS]
    if not early or counts_events(run):
        return []
    said = f"{len(early):,} timestamps, {early[0]} the first, are taken for seconds since 1970"
    return [f"{said}; write a year as 2000-01-01"]


def in_words(problems: Sequence[Problem]) -> list[str]:
    """Return why the first questions are left out, and how many more are, a line each."""
    lines = [f"left out: {problem}" for problem in problems[:NAMED]]
    more = len(problems) - len(lines)
    return [*lines, *([f"left out: {more:,} more users or movies"] if more else [])]


def _bad_history(run: Run, given: HistoryFile, user: Id) -> Problem | None:
    """Return what is wrong with a user's history, and where, if anything is."""
    try:
        check_history(run, given.events[user])
    except RequestError:
        pass
    else:
        return None
    for event, line in zip(given.events[user], given.lines[user], strict=True):
        try:
            check_history(run, [event])
        except RequestError as error:
            return _problem(given.path, line, user, "bad history of user", str(error))
    raise AssertionError("a history is as good as its events")


def _problem(path: Path, line: int, value: Id, what: str, remedy: str) -> Problem:
    return Problem(file=path.name, line=line, value=str(value), what=what, remedy=remedy)
