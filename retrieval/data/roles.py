"""Roles: which table is which, and which of their columns are ours."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from retrieval.data import columns
from retrieval.data.ids import distinct_texts
from retrieval.data.names import COLUMNS, EVENTS, MOVIES, OWN_ID, USERS, folded
from retrieval.data.report import Report
from retrieval.data.table import Table
from retrieval.data.tables import form_of
from retrieval.errors import RequestError, shown, unknown


class Role(StrEnum):
    """What a table is of."""

    EVENTS = "events"
    MOVIES = "movies"
    USERS = "users"


# What is looked for in a table of each role.
OURS = {Role.EVENTS: columns.RATINGS, Role.MOVIES: columns.MOVIES, Role.USERS: columns.USERS}

# What tells rows apart in a table of each role.
IDS = {
    Role.EVENTS: (columns.USER_ID, columns.MOVIE_ID),
    Role.MOVIES: (columns.MOVIE_ID,),
    Role.USERS: (columns.USER_ID,),
}

FILE_NAMES = {Role.EVENTS: EVENTS, Role.MOVIES: MOVIES, Role.USERS: USERS}

# What a column is called that is said not to be there.
NONE = "-"


class Columns:
    """Which columns were said to be what: by our name, or by role and name, as in users.user_id.

    Raises:
        RequestError: A name is none of ours.
    """

    def __init__(self, given: Mapping[str, str]) -> None:
        names = {name for ours in OURS.values() for name in ours}
        for key in given:
            role, dot, name = key.rpartition(".")
            if dot and role not in list(Role):
                raise unknown("table", role, Role)
            if name not in (OURS[Role(role)] if dot else names):
                raise unknown("column", name, OURS[Role(role)] if dot else sorted(names))
        self._given = dict(given)

    def named(self) -> frozenset[str]:
        """Return all columns of files that are named."""
        return frozenset(self._given.values()) - {NONE}

    def of(self, role: Role, table: Table) -> dict[str, str]:
        """Return what was said of the columns of a table.

        Raises:
            RequestError: A column of it is not there.
        """
        said = {}
        for name in OURS[role]:
            there = self._given.get(name)
            if there is not None and (there == NONE or table.has(there)):
                said[name] = there
            if (own := self._given.get(f"{role}.{name}")) is not None:
                if own != NONE and not table.has(own):
                    names = [*map(str, table.frame), *table.unread]
                    raise unknown(f"column of {table.file}", own, names)
                said[name] = own
        return said

    def check(self, tables: Sequence[Table]) -> None:
        """Check that each column that is named is in one of the tables.

        Raises:
            RequestError: It is in none.
        """
        there = {str(name) for table in tables for name in (*table.frame, *table.unread)}
        for name, column in self._given.items():
            if column != NONE and column not in there:
                raise unknown(f"column for {name}", column, sorted(there))


class Candidates(NamedTuple):
    """Columns that an id may be, by their names."""

    said: str | None  # outright, as by our own name
    strong: list[str]
    weak: list[str]


def role_of(table: Table, said: Columns) -> Role | None:
    """Return what a table is of, by the names of its columns and its own; None if of nothing."""
    called_so = [role for role in Role if called(table, role)]
    has = {
        name: any(_candidates(table, name, said.of(role, table).get(name)))
        for role, name in ((Role.MOVIES, columns.MOVIE_ID), (Role.USERS, columns.USER_ID))
    }
    strong_movie = _strong(table, columns.MOVIE_ID, said.of(Role.MOVIES, table))
    if _strong(table, columns.USER_ID, said.of(Role.USERS, table)):
        alone = Role.USERS in called_so and not strong_movie
        return Role.USERS if alone or not has[columns.MOVIE_ID] else Role.EVENTS
    if strong_movie:
        return Role.MOVIES
    if not any(folded(str(name)) in OWN_ID for name in table.frame):
        return Role.MOVIES if has[columns.MOVIE_ID] and Role.MOVIES in called_so else None
    about = {role: _known_of(table, role) for role in (Role.MOVIES, Role.USERS)}
    best = max(about, key=lambda role: (about[role], role in called_so))
    return best if about[best] or best in called_so else None


def called(table: Table, role: Role) -> bool:
    """Return whether a file is called as those of a role usually are."""
    return folded(form_of(Path(table.file)).stem) in FILE_NAMES[role]


def _known_of(table: Table, role: Role) -> int:
    """Return how many columns of a table are those of a role, ids aside."""
    names = [name for name in OURS[role] if name not in IDS[role]]
    return sum(_strong(table, name, {}) for name in names)


def _strong(table: Table, name: str, said: Mapping[str, str]) -> bool:
    found = _candidates(table, name, said.get(name))
    return bool(found.said or found.strong)


def _candidates(table: Table, name: str, said: str | None, *, own: bool = False) -> Candidates:
    """Return the columns of a table that may be one of ours, the likeliest first.

    Args:
        table: The table.
        name: Our name of the column.
        said: What was said it is.
        own: Whether it is the id of the table's own rows.
    """
    there = [str(column) for column in (*table.frame, *table.unread)]
    if said is not None:
        return Candidates(said, [], [])
    outright = [column for column in there if columns.MOVIELENS.get(column, column) == name]
    if outright:
        return Candidates(outright[0], [], [])
    usual = COLUMNS[name]
    strong = (*usual.strong, *(OWN_ID if own else ()))
    by_name = {folded(column): column for column in reversed(there)}
    return Candidates(
        None,
        [by_name[each] for each in strong if each in by_name],
        [by_name[each] for each in usual.weak if each in by_name],
    )


class Found(NamedTuple):
    """What the columns of a table were taken for."""

    role: Role
    table: Table
    taken: dict[str, str]  # by our name: the column of the file

    @property
    def ours(self) -> dict[str, str]:
        """By column of the file: our name."""
        return {column: name for name, column in self.taken.items() if column != NONE}

    @property
    def others(self) -> list[str]:
        """The other columns of the file."""
        there = (*self.table.frame, *self.table.unread)
        return [str(column) for column in there if column not in self.ours]

    def renamed(self, attributes: Sequence[str]) -> Table:
        """Return the table with our names, and those of the others that are attributes."""
        kept = [column for column in self.table.frame if column in {*self.ours, *attributes}]
        frame = self.table.frame[kept].rename(columns=self.ours)
        return self.table._replace(frame=frame, names=self.taken)


def found_columns(tables: Mapping[Role, Table], said: Columns, report: Report) -> dict[Role, Found]:
    """Return what the columns of tables are; ids that several columns may be are told by joining.

    Raises:
        DataError: Several columns may be an id, or one that is needed is of no use.
    """
    found = {}
    for role, table in tables.items():
        given, taken = said.of(role, table), {}
        for name in OURS[role]:
            if name in IDS[role]:
                continue
            options = _candidates(table, name, given.get(name))
            if column := options.said or next(iter((*options.strong, *options.weak)), None):
                taken[name] = column
        found[role] = Found(role, table, taken)
    for name in (columns.USER_ID, columns.MOVIE_ID):
        _find_id(name, found, said, report)
    for role, each in found.items():
        _check_use(each, report)
        found[role] = each._replace(
            taken={name: each.taken[name] for name in OURS[role] if name in each.taken}
        )
    report.raise_any()
    return found


def _check_use(found: Found, report: Report) -> None:
    """Report columns that are of no use for what they are taken for.

    Raises:
        RequestError: One column was said to be two things.
    """
    table, taken = found.table, found.taken
    for name, column in taken.items():
        kind = table.unread.get(column)
        if column in table.lists and name not in columns.LISTS:
            kind = "of type list"
        if kind is not None:
            remedy = f"give numbers or text, or say that {name} is another column, or - for none"
            report.add(table.file, None, column, f"column {column} is {kind}", remedy)
    named = [column for column in taken.values() if column != NONE]
    if twice := [column for column in named if named.count(column) > 1]:
        raise RequestError(f"column '{shown(twice[0])}' is said to be two things; name another")


def _find_id(name: str, found: dict[Role, Found], said: Columns, report: Report) -> None:
    """Find the column of an id in all tables that have it."""
    options: dict[Role, list[str]] = {}
    for role, (_, table, taken) in found.items():
        if name not in IDS[role]:
            continue
        given = said.of(role, table).get(name)
        there = _candidates(table, name, given, own=role is not Role.EVENTS)
        free = [each for each in there.strong if each not in taken.values()]
        weak = [each for each in there.weak if each not in taken.values()]
        options[role] = [there.said] if there.said else (free or weak[:1])
    other = Role.MOVIES if name == columns.MOVIE_ID else Role.USERS
    if max(map(len, options.values()), default=0) > 1 and other in options:
        options |= _joining(options, found, other)
    for role, listed in options.items():
        table = found[role].table
        own = [each for each in listed if folded(each) in OWN_ID]
        names = own[:1] if len(listed) > 1 and own and role is not Role.EVENTS else listed
        if len(names) > 1:
            what = f"{len(names)} columns may be the {name}"
            remedy = f"say which: --columns {name}={names[0]}"
            report.add(table.file, 1, ", ".join(names), what, remedy)
        elif names and names[0] != NONE:
            found[role].taken[name] = names[0]


def _joining(
    options: Mapping[Role, list[str]], found: Mapping[Role, Found], other: Role
) -> dict[Role, list[str]]:
    """Return the pair of columns of which the most values are the same, if one pair is alone."""
    sides = [(Role.EVENTS, options[Role.EVENTS]), (other, options[other])]
    texts = {
        (role, column): pd.Index(distinct_texts(found[role].table.frame[column]))
        for role, names in sides
        for column in names
        if column in found[role].table.frame
    }
    shares = {
        (one, two): float(texts[Role.EVENTS, one].isin(texts[other, two]).mean())
        for one in options[Role.EVENTS]
        for two in options[other]
        if (Role.EVENTS, one) in texts and (other, two) in texts
    }
    if not shares:
        return {}
    best = max(shares.values())
    pairs = [pair for pair, share in shares.items() if share == best]
    if best == 0 or len(pairs) > 1 or np.isnan(best):
        return {}
    return {Role.EVENTS: [pairs[0][0]], other: [pairs[0][1]]}
