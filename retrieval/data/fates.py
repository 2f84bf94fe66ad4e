"""Fates: what became of every column of every file, and how it is said."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from retrieval.data import columns
from retrieval.data.attributes import AttributeKind
from retrieval.data.kinds import LeftOut, kind_of
from retrieval.data.roles import NONE, OURS, Found, Role
from retrieval.errors import shown, unknown


class Fate(NamedTuple):
    """What became of one column of a file."""

    file: str
    role: Role
    column: str
    meaning: str  # our name of it, or the kind of attribute; empty where it is left out
    why: str = ""


def column_fates(
    found: Mapping[Role, Found], said: Mapping[str, str]
) -> tuple[dict[Role, dict[str, AttributeKind]], list[Fate]]:
    """Return the attributes of each table, and what became of every column."""
    left = dict(said)
    kinds: dict[Role, dict[str, AttributeKind]] = {role: {} for role in Role}
    fates = []
    for role, each in found.items():
        file = each.table.file
        fates += [Fate(file, role, column, name) for column, name in each.ours.items()]
        for column in each.others:
            named = left.pop(f"{role}.{column}", None)
            fate = _fate(each, column, named)
            match fate:
                case AttributeKind():
                    kinds[role][column] = fate
                    fates.append(Fate(file, role, column, fate))
                case LeftOut():
                    fates.append(Fate(file, role, column, "", fate.why))
    for key in left:
        there = [f"{role}.{column}" for role, each in found.items() for column in each.others]
        raise unknown("attribute", key, there)
    return kinds, fates


def _fate(found: Found, column: str, said: str | None) -> AttributeKind | LeftOut:
    """Return what becomes of a column that is none of ours."""
    if said == NONE:
        return LeftOut("as you say")
    if said is not None and said not in list(AttributeKind):
        raise unknown("kind of attribute", said, AttributeKind)
    if found.role is Role.EVENTS:
        return LeftOut("columns of events are no attributes")
    if column in OURS[found.role]:
        return LeftOut("its name is taken")
    if said is None or column in found.table.unread:
        return kind_of(found.table, column)
    return AttributeKind(said)


def fate_lines(fates: Iterable[Fate]) -> list[str]:
    """Return one line a file that says what became of its columns, if that goes without saying."""
    lines = []
    by_file: dict[str, list[Fate]] = {}
    for fate in fates:
        by_file.setdefault(fate.file, []).append(fate)
    for file, own in by_file.items():
        ours = [fate for fate in own if fate.meaning in OURS[fate.role]]
        renamed = [
            f"{shown(fate.column)} is {fate.meaning}"
            for fate in ours
            if columns.MOVIELENS.get(fate.column, fate.column) != fate.meaning
        ]
        kept = [
            f"{shown(each.column)} ({each.meaning})"
            for each in own
            if each.meaning and each not in ours
        ]
        out = [f"{shown(fate.column)} ({fate.why})" for fate in own if not fate.meaning]
        parts = [
            ", ".join(renamed),
            *[f"attributes: {', '.join(kept)}"] * bool(kept),
            *[f"left out: {', '.join(out)}"] * bool(out),
        ]
        if said := "; ".join(part for part in parts if part):
            lines.append(f"{file}: {said}")
    return lines
