"""The section [data] of a TOML file: where data comes from, as people read and write it."""

import json
import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

from retrieval.data import columns
from retrieval.data.attributes import AttributeKind
from retrieval.data.fates import Fate
from retrieval.data.roles import NONE, OURS, Role
from retrieval.data.source import PEOPLE, DataSource
from retrieval.errors import RequestError, shown, unknown
from retrieval.options import Repeats

SECTION = "data"
FOLDER, REPEATS, YEARS, COLUMNS, ATTRIBUTES = "folder", "repeats", "years", "columns", "attributes"
KEYS = (FOLDER, PEOPLE, *Role, REPEATS, YEARS, COLUMNS, ATTRIBUTES)

# The value of years that lets them lie anywhere.
ANY = "any"

MEANINGS = {
    Role.EVENTS: "one row an event: a user, a movie",
    Role.MOVIES: "one row a movie",
    Role.USERS: "one row a user",
}
OF_REPEATS = {
    Repeats.LAST: "of several events of one movie by one user, the last counts",
    Repeats.FIRST: "of several events of one movie by one user, the first counts",
    Repeats.ALL: "several events of one movie by one user all count",
}


def read_section(path: Path) -> DataSource | None:
    """Return the source that a TOML file describes; None where it has no such section.

    Raises:
        RequestError: The file cannot be read, or the section says what cannot be.
    """
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8")).get(SECTION)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RequestError(f"{path} cannot be read as TOML: {shown(error)}") from error
    if found is None:
        return None
    if not isinstance(found, dict):
        raise RequestError(f"{path}: data is '{shown(found)}'; write a section [data]")
    for key in found:
        if key not in KEYS:
            raise unknown(f"setting of [data] in {path}", key, KEYS)
    files = {
        str(key): path.parent / _text(path, key, found[key])
        for key in (FOLDER, PEOPLE, *Role)
        if key in found
    }
    repeats, years = (_text(path, key, found.get(key, "")) for key in (REPEATS, YEARS))
    if repeats and repeats not in list(Repeats):
        raise unknown(REPEATS, repeats, Repeats)
    if years and years != ANY:
        raise unknown(YEARS, years, [ANY])
    if (FOLDER in files) == (Role.EVENTS in files):
        raise RequestError(f"{path}: [data] needs either events or folder; rec init writes one")
    return DataSource(
        folder=files.get(FOLDER),
        events=files.get(Role.EVENTS),
        movies=files.get(Role.MOVIES),
        users=files.get(Role.USERS),
        people=files.get(PEOPLE),
        columns=_flat(path, COLUMNS, found.get(COLUMNS, {})),
        attributes=_flat(path, ATTRIBUTES, found.get(ATTRIBUTES, {})),
        repeats=Repeats(repeats) if repeats else None,
        any_year=years == ANY,
    )


def written(source: DataSource, fates: Iterable[Fate], path: Path) -> str:
    """Return a TOML file that says where data comes from, with a comment for each line.

    Args:
        source: The source, in which everything is said.
        fates: What became of the columns, and why.
        path: Place of the file, which the files of data are named from.
    """
    why = {f"{fate.role}.{fate.column}": fate.why for fate in fates}
    lines = [
        f"# Train with: rec train --config {path.name}",
        f"# Look at the data with: rec data check --config {path.name}",
        "",
        "# Files are named from the folder of this file.",
        f"[{SECTION}]",
    ]
    if source.folder is not None:
        lines.append(_line(FOLDER, _relative(source.folder, path), "a MovieLens data set"))
        return "\n".join(lines) + "\n"
    lines += [
        _line(role, _relative(file, path), MEANINGS[role]) for role, file in source.files.items()
    ]
    if source.people is not None:
        lines.append(_line(PEOPLE, _relative(source.people, path), "directors and casts"))
    if source.repeats is not None:
        others = " or ".join(each for each in Repeats if each is not source.repeats)
        lines.append(_line(REPEATS, source.repeats, f"{OF_REPEATS[source.repeats]}; else {others}"))
    if source.any_year:
        lines.append(_line(YEARS, ANY, "times may lie before 1990 or after 2100"))
    for role in source.files:
        lines += [
            "",
            f"# Columns of {role}: what they are to the engine = their names in the file, or",
            '# "-" if there is none.',
            f"[{SECTION}.{COLUMNS}.{role}]",
            *(
                _line(name, source.columns.get(f"{role}.{name}", NONE), _of_column(role, name))
                for name in OURS[role]
                if f"{role}.{name}" in source.columns or role is Role.EVENTS
            ),
        ]
        own = {
            key.removeprefix(f"{role}."): kind
            for key, kind in source.attributes.items()
            if key.startswith(f"{role}.")
        }
        if own:
            lines += [
                "",
                f"# Further columns of {role}: attributes, each of a kind:",
                f'# {", ".join(AttributeKind)}; "-" leaves a column out.',
                f"[{SECTION}.{ATTRIBUTES}.{role}]",
                *(_line(name, kind, why.get(f"{role}.{name}", "")) for name, kind in own.items()),
            ]
    return "\n".join(lines) + "\n"


def _of_column(role: Role, name: str) -> str:
    match name:
        case columns.USER_ID:
            return "who"
        case columns.MOVIE_ID:
            return "which movie; the same ids as in the movies" if role is Role.EVENTS else "the id"
        case columns.RATING:
            return 'a number, or up and down; "-": each event counts as 1'
        case columns.TIMESTAMP:
            return 'when; "-": the order of the file'
    return ""


def _line(key: str, value: str, comment: str) -> str:
    bare = key.replace("_", "").replace("-", "").isalnum() and key.isascii()
    line = f"{key if bare else _quoted(key)} = {_quoted(value)}"
    return f"{line}  # {shown(comment)}" if comment else line


def _quoted(text: str) -> str:
    """Return a text as TOML writes it."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _relative(file: Path, path: Path) -> str:
    # A folder that is a link is another place to what is named from it.
    return Path(os.path.relpath(file.resolve(), path.parent.resolve())).as_posix()


def _text(path: Path, key: str, value: object) -> str:
    if not isinstance(value, str):
        raise RequestError(f"{path}: {key} of [data] is '{shown(value)}'; write a text in quotes")
    return value


def _flat(path: Path, key: str, value: object) -> dict[str, str]:
    """Return a table of texts, or of tables of texts, by names with dots."""
    if not isinstance(value, Mapping):
        raise RequestError(f"{path}: {key} of [data] is '{shown(value)}'; write a table")
    flat: dict[str, str] = {}
    for name, each in value.items():
        if isinstance(each, Mapping):
            flat |= {
                f"{name}.{inner}": _text(path, f"{key}.{name}.{inner}", text)
                for inner, text in each.items()
            }
        else:
            flat[name] = _text(path, f"{key}.{name}", each)
    return flat
