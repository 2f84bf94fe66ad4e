"""The command that looks at tables and writes what it took them for.

`rec init --json` prints written (the file), tables (by what they are of, the file), columns (file,
table, column, meaning, why) and notes.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from retrieval.cli.data import fate_facts
from retrieval.cli.display import note, remark
from retrieval.cli.options import JsonOption
from retrieval.cli.output import print_json, print_table
from retrieval.cli.source import AnyYearsOption, ColumnsOption, RepeatsOption, chosen_source
from retrieval.errors import RequestError, shown


def init(
    files: Annotated[
        list[Path], typer.Argument(help="Tables of events, movies and users, or their folder.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE.toml", help="File to write.")
    ] = Path("rec.toml"),
    columns: ColumnsOption = None,
    repeats: RepeatsOption = None,
    any_years: AnyYearsOption = False,
    force: Annotated[
        bool, typer.Option("--force", help="Write over a file that is there.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Look at tables, say what is what, and write the settings that rec train --config takes."""
    if out.is_dir():
        raise RequestError(f"{shown(out)} is a folder; name a file in it with -o")
    if out.exists() and not force:
        raise RequestError(f"{shown(out)} is there already; give --force to write over it")
    from retrieval.data.fates import fate_lines
    from retrieval.data.section import written
    from retrieval.data.source import understood
    from retrieval.storage.files import new_file

    source = chosen_source(files[0], None, columns, repeats, any_years=any_years)
    if source is None:
        raise RequestError("name the tables, or the folder that holds them")
    if len(files) > 1:
        source = replace(source, folder=None, events=None, tables=tuple(files))
    found = understood(source)
    with new_file(out) as partial:
        partial.write_text(written(found.source, found.fates, out), encoding="utf-8")
    if as_json:
        print_json(
            {"written": str(out)}
            | {"tables": {role: str(path) for role, path in found.source.files.items()}}
            | {"columns": [fate_facts(fate) for fate in found.fates]}
            | {"notes": list(found.data.notes)}
        )
        return
    said = fate_lines(found.fates)  # which the tables say
    remark(*(line for line in found.data.notes if line not in said))
    for role, path in found.source.files.items():
        print_table(
            f"{path}: the table of {role}",
            ("column", "taken for", "why not"),
            [
                (shown(fate.column, 40), fate.meaning or "left out", fate.why)
                for fate in found.fates
                if fate.role == role
            ],
        )
    note(f"wrote {shown(out)}; next: rec train --config {shown(out)}")
