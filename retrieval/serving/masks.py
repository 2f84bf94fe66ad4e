"""Masks: which rows of attributes meet conditions, made once and kept."""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from retrieval.data.attributes import (
    DATE,
    MISSING,
    AttributeColumn,
    AttributeColumns,
    AttributeKind,
    date_span,
)
from retrieval.data.catalogue import COMPARED, SIMILAR, rapidfuzz
from retrieval.data.times import NO_TIME
from retrieval.errors import MOST_NAMES, RequestError, shown
from retrieval.serving.conditions import NOTHING, Comparison, Condition, written

# Masks kept for conditions, and as many for sets of them: so many bytes, but never fewer masks.
MASK_BYTES = 2**26
FEWEST_MASKS = 32

YES, NO = 1, 0
ANSWERS = {"yes": YES, "true": YES, "y": YES, "1": YES, "no": NO, "false": NO, "n": NO, "0": NO}

NUMBER = r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?"

# One number or date, or the first and last of a range.
RANGES = {
    kind: re.compile(rf"({one})(?:\s*-\s*({one}))?")
    for kind, one in ((AttributeKind.NUMBER, NUMBER), (AttributeKind.DATE, DATE))
}

CALLED = {
    AttributeKind.CATEGORY: "a category",
    AttributeKind.NUMBER: "a number",
    AttributeKind.LIST: "a list",
    AttributeKind.TEXT: "a text",
    AttributeKind.YES_NO: "yes or no",
    AttributeKind.DATE: "a date",
}

EQUALITIES = frozenset({Comparison.IS, Comparison.IS_NOT})


class Masks:
    """Which rows meet conditions; the masks of recent conditions are kept.

    Any number of threads may ask at once. Masks are shared, and cannot be written to.

    Args:
        columns: The attributes of R rows.
    """

    def __init__(self, columns: AttributeColumns) -> None:
        self.columns = columns
        most = max(FEWEST_MASKS, MASK_BYTES // max(1, len(columns)))
        self._mask = lru_cache(most)(partial(_mask, columns))
        self._all = lru_cache(most)(partial(_all, columns, self._mask))

    def kept(self, conditions: Sequence[Condition]) -> NDArray[np.bool_]:
        """Return the mask `(R,)` of the rows that meet all conditions.

        Raises:
            RequestError: There is no such attribute or value, or the attribute is of another kind.
        """
        return self._all(tuple(conditions))


def _all(
    columns: AttributeColumns,
    mask: Callable[[Condition], NDArray[np.bool_]],
    conditions: tuple[Condition, ...],
) -> NDArray[np.bool_]:
    if len(conditions) == 1:
        return mask(conditions[0])
    kept = np.ones(len(columns), dtype=bool)
    for condition in conditions:
        kept &= mask(condition)
    kept.setflags(write=False)
    return kept


def _mask(columns: AttributeColumns, condition: Condition) -> NDArray[np.bool_]:
    """Return the mask `(R,)` of the rows that meet one condition."""
    name, kind = columns.named(condition.name)
    column = columns.columns[name]
    if kind is AttributeKind.TEXT:
        others = [each.name for each in columns.attributes if each.kind is not kind]
        raise RequestError(
            f"{shown(name)} is a text, which cannot be filtered; what can be: {_listed(others)}"
        )
    if not condition.values and kind is not AttributeKind.YES_NO:
        raise _unfit(name, column, "not yes or no")
    match kind:
        case AttributeKind.NUMBER | AttributeKind.DATE:
            mask = _of_amounts(name, column, condition)
        case AttributeKind.LIST:
            mask = _of_lists(column, condition, _codes(name, column, condition))
        case _:
            mask = _of_codes(column, condition, _codes(name, column, condition))
    mask.setflags(write=False)
    return mask


def _codes(name: str, column: AttributeColumn, condition: Condition) -> list[int]:
    """Return the codes that the values of a condition stand for, without missing ones."""
    if condition.comparison not in EQUALITIES:
        raise _unfit(name, column, "which has no order")
    codes: list[int] = []
    for value in condition.values:
        if value is None:
            continue
        if column.kind is AttributeKind.YES_NO:
            answer = ANSWERS.get(value.strip().casefold())
            if answer is None:
                raise _unfit(name, column, f"not '{shown(value)}'")
            codes.append(answer)
        else:
            found = column.codes_of(value)
            if not found:
                raise _unknown(name, value, column.names)
            codes.extend(found)
    return codes if condition.values else [YES]


def _of_codes(column: AttributeColumn, condition: Condition, codes: list[int]) -> NDArray[np.bool_]:
    """Return the mask of rows whose code is among some, or is there and not among them."""
    if condition.comparison is Comparison.IS_NOT:
        return ~_among(column, [*codes, MISSING])
    return _among(column, [*codes, MISSING] if None in condition.values else codes)


def _of_lists(column: AttributeColumn, condition: Condition, codes: list[int]) -> NDArray[np.bool_]:
    """Return the mask of rows of which an entry is among codes, or of which none is."""
    offsets = column.offsets
    entries = np.flatnonzero(_among(column, codes))
    mask = np.zeros(len(offsets) - 1, dtype=bool)
    mask[np.searchsorted(offsets, entries, side="right") - 1] = True
    if None in condition.values:
        mask |= offsets[1:] == offsets[:-1]
    return ~mask if condition.comparison is Comparison.IS_NOT else mask


def _among(column: AttributeColumn, codes: list[int]) -> NDArray[np.bool_]:
    """Return whether each of the column's codes is among some."""
    among: NDArray[np.bool_]
    if len(codes) == 1:
        among = column.data == codes[0]  # a tenth of the time
    else:
        table = np.zeros(1 + max(len(column.names), len({YES, NO})), dtype=bool)
        table[codes] = True  # the last place is that of `MISSING`, as no other code has it
        among = table[column.data]
    return among


def _of_amounts(name: str, column: AttributeColumn, condition: Condition) -> NDArray[np.bool_]:
    """Return the mask of rows whose numbers or dates compare so."""
    data, comparison = column.data, condition.comparison
    missing = np.isnan(data) if column.kind is AttributeKind.NUMBER else data == NO_TIME
    if comparison in EQUALITIES:
        mask = missing if None in condition.values else np.zeros(len(data), dtype=bool)
        for value in condition.values:
            if value is not None:
                low, high = _span(name, column, value)
                mask |= (data >= low) & (data <= high)
        return ~(mask | missing) if comparison is Comparison.IS_NOT else mask
    [value, *more] = condition.values
    if more or value is None:
        raise _unfit(name, column, f"and {comparison} takes one value")
    low, high = _span(name, column, value, ranges=False)
    match comparison:
        case Comparison.BELOW:
            mask = data < low
        case Comparison.AT_MOST:
            mask = data <= high
        case Comparison.ABOVE:
            mask = data > high
        case _:
            mask = data >= low
    mask &= ~missing
    return mask


def _span(
    name: str, column: AttributeColumn, value: str, *, ranges: bool = True
) -> tuple[float, float]:
    """Return the first and last number or second that a value stands for."""
    found = RANGES[column.kind].fullmatch(value.strip())
    if found is None:
        raise _unfit(name, column, f"not '{shown(value)}'")
    if found[2] is not None and not ranges:
        raise _unfit(name, column, "and only = and != take a range")
    ends = [_ends(column.kind, text) for text in (found[1], found[2] or found[1])]
    if ends[0] is None or ends[1] is None:
        raise _unfit(name, column, f"not '{shown(value)}'")
    low, high = ends[0][0], ends[1][1]
    if low > high:
        raise RequestError(
            f"{shown(name)}={shown(value)} ends before it begins; write the lower end first"
        )
    return low, high


def _ends(kind: AttributeKind, text: str) -> tuple[float, float] | None:
    if kind is AttributeKind.DATE:
        return date_span(text)
    number = float(text)
    return (number, number) if np.isfinite(number) else None


def _unfit(name: str, column: AttributeColumn, why: str) -> RequestError:
    """Return the error of a condition that does not fit the kind of its attribute."""
    said = shown(written(name))
    match column.kind:
        case AttributeKind.CATEGORY | AttributeKind.LIST:
            example = shown(written(column.names[0])) if column.names else NOTHING
            ways = f"{said}={example} or {said}!={example}"
        case AttributeKind.YES_NO:
            ways = f"{said}, !{said} or {said}=?"
        case AttributeKind.DATE:
            ways = f"{said}=2024, {said}>=2024-05 or {said}<2024-05-31"
        case _:
            numbers = column.data[np.isfinite(column.data)]
            low, high = (numbers.min(), numbers.max()) if len(numbers) else (90, 120)
            ways = f"{said}={low:g}, {said}<{high:g} or {said}={low:g}-{high:g}"
    return RequestError(f"{shown(name)} is {CALLED[column.kind]}, {why}; write {ways}")


def _unknown(name: str, value: str, names: Sequence[str]) -> RequestError:
    """Return the error of a value that no row has: it says which are nearest, or what there is."""
    fuzzy = rapidfuzz()
    near = fuzzy.process.extractOne(
        value[:COMPARED], names, processor=fuzzy.utils.default_process, score_cutoff=SIMILAR
    )
    said = f"unknown {shown(name)} '{shown(value)}'; "
    said += f"did you mean {shown(near[0])}? " if near else ""
    return RequestError(f"{said}{'T' if near else 't'}here are: {_listed(names)}")


def _listed(names: Sequence[str]) -> str:
    listed = ", ".join(map(shown, names[:MOST_NAMES])) or "none"
    return listed + (f" and {len(names) - MOST_NAMES:,} more" if len(names) > MOST_NAMES else "")
