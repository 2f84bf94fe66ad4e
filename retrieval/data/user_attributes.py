"""What is known of a person, as codes: one column of them an attribute. Code 0 is unknown."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from retrieval.data import columns
from retrieval.data.attributes import Attribute, AttributeKind
from retrieval.errors import RequestError, shown, unknown

if TYPE_CHECKING:  # what answers does without pandas
    import pandas as pd

# Lower edges of the brackets of MovieLens-1M, which writes an age as the edge of its bracket.
AGE_EDGES = (18, 25, 35, 45, 50, 56)

# Those that every run has, known or not; towers expect them first.
USUAL = (
    Attribute(columns.GENDER, AttributeKind.CATEGORY),
    Attribute(columns.AGE, AttributeKind.NUMBER),
    Attribute(columns.OCCUPATION, AttributeKind.CATEGORY),
)

# Of a further attribute: names that have codes of their own, the most frequent ones, and brackets
# of numbers and dates, with as many people in each.
MOST_NAMES, BRACKETS = 200, 8

ANSWERS = ("no", "yes")

# Dates that are missing lie below it.
UNDATED = -(2.0**62)


@dataclass(frozen=True, kw_only=True)
class CodedAttribute:
    """One attribute of people.

    Args:
        name: Its name.
        kind: What its values are.
        names: Names that have codes, from 1 on, of a category or an answer.
        edges: Lower edges of brackets of a number or date, ascending; below the first is one more.
    """

    name: str
    kind: AttributeKind
    names: tuple[str, ...] = ()
    edges: tuple[float, ...] = ()

    @property
    def size(self) -> int:
        """Number of codes, that of the unknown included."""
        return 1 + len(self.names) if self._is_named else 2 + len(self.edges)

    @property
    def _is_named(self) -> bool:
        return self.kind in {AttributeKind.CATEGORY, AttributeKind.YES_NO}

    def codes_of(self, values: "pd.Series") -> NDArray[np.int64]:
        """Return the codes of a column of a frame, `(P,)`; what has none of its own is unknown."""
        if self.kind is AttributeKind.CATEGORY:
            places = {name: place for place, name in enumerate(self.names, start=1)}
            return np.asarray(values.map(places).fillna(0), dtype=np.int64)
        numbers = values.to_numpy(dtype=np.float64)
        known = np.isfinite(numbers) & (numbers > UNDATED)
        if self.kind is AttributeKind.YES_NO:
            return np.where(known, 1 + (numbers > 0), 0).astype(np.int64)
        brackets = 1 + np.searchsorted(self.edges, numbers, side="right").astype(np.int64)
        return np.where(known, brackets, 0)

    def code(self, value: object) -> int:
        """Return the code of a value as people give it; None and an empty text are unknown.

        Raises:
            RequestError: It is none that the attribute can have.
        """
        if value is None or (isinstance(value, str) and not value):
            return 0
        if self.kind is AttributeKind.YES_NO and isinstance(value, (bool, np.bool_)):
            value = ANSWERS[int(value)]
        if self._is_named:
            return self._named(value)
        number = self._number(value)
        if self.name == columns.AGE and not 0 <= number <= 130:
            raise RequestError(
                f"age {shown(value)} is not between 0 and 130 years; leave it out if unknown"
            )
        return 1 + int(np.searchsorted(self.edges, number, side="right"))

    def _named(self, value: object) -> int:
        if not isinstance(value, str):
            raise RequestError(f"{self.name} '{shown(value)}' is no text")
        if value not in self.names:
            allowed = ", ".join(self.names) or "none, as the data has no such column"
            raise RequestError(
                f"unknown {self.name} '{shown(value)}'; known from training: {allowed}"
            )
        return 1 + self.names.index(value)

    def _number(self, value: object) -> float:
        if self.kind is AttributeKind.DATE and isinstance(value, str):
            try:
                return float(np.datetime64(value, "s").astype(np.int64))
            except ValueError as error:
                raise RequestError(
                    f"{self.name} '{shown(value)}' is no date; write it as in 2024-12-31"
                ) from error
        try:
            number = math.nan if isinstance(value, bool) else float(str(value))
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise RequestError(
                f"{self.name} '{shown(value)}' is no number; leave it out if unknown"
            )
        return number


@dataclass(frozen=True, kw_only=True)
class UserAttributes:
    """The attributes of people that the training data has, gender, age and occupation first."""

    coded: tuple[CodedAttribute, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of codes in each column."""
        return tuple(column.size for column in self.coded)

    def codes(self, values: Mapping[str, object]) -> NDArray[np.int64]:
        """Return the codes of one person, `(C,)`.

        Args:
            values: What is known, by the names of attributes.

        Raises:
            RequestError: There is no such attribute, or a value is none that it can have.
        """
        by_name = {column.name: place for place, column in enumerate(self.coded)}
        codes = np.zeros(len(self.coded), dtype=np.int64)
        for name, value in values.items():
            if name not in by_name:
                raise unknown("attribute of users", name, by_name)
            codes[by_name[name]] = self.coded[by_name[name]].code(value)
        return codes

    def codes_of(self, people: "pd.DataFrame") -> NDArray[np.int64]:
        """Return the codes of people in a frame, `(P, C)`."""
        return np.stack([each.codes_of(people[each.name]) for each in self.coded], axis=1)


def coded_attributes(people: "pd.DataFrame", further: tuple[Attribute, ...] = ()) -> UserAttributes:
    """Return how the attributes of people are coded.

    Args:
        people: With the columns `columns.USERS`, and those of further attributes.
        further: Attributes beside the usual ones; lists and texts are passed over.
    """
    coded = [_coded(attribute, people[attribute.name], MOST_NAMES) for attribute in further]
    usual = [_coded(attribute, people[attribute.name]) for attribute in USUAL]
    return UserAttributes(coded=tuple(each for each in (*usual, *coded) if each is not None))


def _coded(
    attribute: Attribute, values: "pd.Series", most: int | None = None
) -> CodedAttribute | None:
    """Return how one attribute is coded; None for one of which no code can be made."""
    name, kind = attribute
    match kind:
        case AttributeKind.CATEGORY:
            found = values[values != ""].value_counts().index[:most]
            return CodedAttribute(name=name, kind=kind, names=_in_order(map(str, found)))
        case AttributeKind.YES_NO:
            return CodedAttribute(name=name, kind=kind, names=ANSWERS)
        case AttributeKind.NUMBER | AttributeKind.DATE:
            return CodedAttribute(name=name, kind=kind, edges=_edges(name, values))
        case AttributeKind.LIST | AttributeKind.TEXT:
            return None


def _edges(name: str, values: "pd.Series") -> tuple[float, ...]:
    """Return the lower edges of brackets with as many people in each, but for the first."""
    if name == columns.AGE:
        return AGE_EDGES
    numbers = values.to_numpy(dtype=np.float64)
    known = np.sort(numbers[np.isfinite(numbers) & (numbers > UNDATED)])
    if not len(known):
        return ()
    places = (np.arange(1, BRACKETS) * len(known)) // BRACKETS
    return tuple(np.unique(known[places]).tolist())


def _in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Return names in the order of their numbers if they are such, else of their letters."""
    return tuple(
        sorted(set(names), key=lambda name: (len(name), name) if name.isdigit() else (99, name))
    )
