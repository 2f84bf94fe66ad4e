"""Conditions on attributes: `country=FR`, `minutes<100`, `kids`; parsed, never evaluated.

A condition is an attribute, a comparison and values:

| condition | what it keeps |
|---|---|
| `country=FR` | a category: that one |
| `country=FR,DE` | one of several |
| `country!=FR,DE` | none of them |
| `genres=Drama` | a list: has the entry, or one of several |
| `genres!=Horror` | a list: has not the entry, nor any of several |
| `minutes<100`, `<=`, `>`, `>=` | a number on that side |
| `minutes=90`, `minutes=90-120` | that number, or from one to another with both ends |
| `kids`, `!kids`, `not kids` | yes, and no; `kids=yes` and `kids=no` say the same |
| `added>=2024-05` | a date: in that month or later |
| `added=2024`, `added=2020-2023` | a date: in that year, or in those years |
| `country=?`, `country!=?` | those whose country is missing, and those whose country is not |
| `country=FR,?` | France, or missing |

A date is a year, a month, a day, a minute or a second, in UTC. It stands for all of its time:
`added<2024` ends before 2024 begins, `added>2024` begins when 2024 is over.

As in SQL, a missing value meets no condition that does not name `?`, not even `!=`. A list without
entries is an empty list, which has not got any entry: `genres!=Horror` keeps it.

Names of attributes and of categories are found however their letters are written. A name or value
with a comma or one of `=!<>` in it stands in double quotes, `studio="20th Century, Fox"`; a double
quote in it is written twice. Of several conditions, all have to be met.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from retrieval.errors import RequestError, shown

# What stands for a missing value.
NOTHING = "?"

# Values of one condition; each of them costs time.
MOST_VALUES = 100

QUOTED = re.compile(r'"([^"]*(?:""[^"]*)*)"')
BARE = re.compile(r'[^=!<>"]+')
COMPARED_BY = re.compile(r"!=|<=|>=|=|<|>")
NEGATED = re.compile(r"!|not\s+", re.IGNORECASE)

# What can be written without quotes, as a name and as a value.
PLAIN = re.compile(r'(?!not\s|\?$)[^\s=!<>",](?:[^=!<>",]*[^\s=!<>",])?', re.IGNORECASE)


class Comparison(StrEnum):
    """How an attribute is compared with values."""

    IS = "="
    IS_NOT = "!="
    BELOW = "<"
    AT_MOST = "<="
    ABOVE = ">"
    AT_LEAST = ">="


@dataclass(frozen=True)
class Condition:
    """One condition, whose attribute and values need not be there.

    Args:
        name: Name of the attribute, as it was written.
        comparison: How it is compared.
        values: What it is compared with; None is a missing value. Without any, the attribute has
            to be yes, or no for `IS_NOT`.
    """

    name: str
    comparison: Comparison
    values: tuple[str | None, ...] = ()

    def __str__(self) -> str:
        """Return the condition as it can be written."""
        if not self.values:
            return ("!" if self.comparison is Comparison.IS_NOT else "") + written(self.name)
        values = ",".join(NOTHING if each is None else written(each) for each in self.values)
        return f"{written(self.name)}{self.comparison}{values}"


def parse_condition(text: str) -> Condition:
    """Read one condition.

    Raises:
        RequestError: It is malformed. Whether there are such an attribute and such values is seen
            when it is applied.
    """
    if not isinstance(text, str):
        raise RequestError(f"condition '{shown(text)}' is no text; write country=FR")
    rest = text.strip()
    negated = NEGATED.match(rest)
    if negated:
        rest = rest[negated.end() :].lstrip()
    found = QUOTED.match(rest) or BARE.match(rest)
    if found is None:
        raise _malformed(text, "it names no attribute")
    name = _unquoted(found[1]) if found.re is QUOTED else found[0].strip()
    rest = rest[found.end() :].lstrip()
    if not rest:
        return Condition(name, Comparison.IS_NOT if negated else Comparison.IS)
    comparison = COMPARED_BY.match(rest)
    if comparison is None:
        raise _malformed(text, f"no comparison follows {shown(name)}")
    if negated:
        raise _malformed(text, "only yes or no is turned round so; write != for the others")
    values = _values(text, rest[comparison.end() :].strip())
    return Condition(name, Comparison(comparison[0]), values)


def _values(text: str, rest: str) -> tuple[str | None, ...]:
    """Read values with commas between.

    Args:
        text: The whole condition.
        rest: What follows its comparison.
    """
    values: list[str | None] = []
    while True:
        quoted = QUOTED.match(rest)
        if quoted:
            values.append(_unquoted(quoted[1]))
            rest = rest[quoted.end() :].lstrip()
            if rest and not rest.startswith(","):
                raise _malformed(text, "a comma belongs between values")
            more, rest = bool(rest), rest[1:]
        else:
            value, comma, rest = rest.partition(",")
            value, more = value.strip(), bool(comma)
            if not value:
                raise _malformed(text, "a value is missing")
            if value.startswith('"'):
                raise _malformed(text, "a double quote is not closed")
            values.append(None if value == NOTHING else value)
        if len(values) > MOST_VALUES:
            raise _malformed(text, f"it has more than {MOST_VALUES} values")
        if not more:
            return tuple(values)
        rest = rest.lstrip()


def _unquoted(text: str) -> str:
    return text.replace('""', '"')


def written(text: str) -> str:
    """Return a name or value as a condition can hold it."""
    if PLAIN.fullmatch(text):
        return text
    doubled = text.replace('"', '""')
    return f'"{doubled}"'


def _malformed(text: str, why: str) -> RequestError:
    return RequestError(
        f"malformed condition '{shown(text)}': {why}; write country=FR, minutes<100, "
        'minutes=90-120, kids, !kids or studio="20th Century, Fox"'
    )
