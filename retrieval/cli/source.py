"""Options that say where data comes from, and what they come to."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from retrieval.cli.options import choice
from retrieval.errors import RequestError, shown
from retrieval.options import Repeats

if TYPE_CHECKING:
    from retrieval.data.source import DataSource

DATA = "Data"

SourceOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="FOLDER|FILE",
        help="Folder of tables, or a file of events: ratings, plays or clicks.",
        rich_help_panel=DATA,
    ),
]
ColumnsOption = Annotated[
    str | None,
    typer.Option(
        metavar="OURS=THEIRS,...",
        help="Which column is which, as in user_id=viewer,movie_id=video,rating=-; - is none.",
        rich_help_panel=DATA,
    ),
]
RepeatsOption = Annotated[
    Repeats | None,
    choice(
        "choice",
        Repeats,
        "--repeats",
        words="Which events of one movie by one user count; by default the last rating, all plays.",
        panel=DATA,
    ),
]
AnyYearsOption = Annotated[
    bool,
    typer.Option(
        "--any-years", help="Take times before 1990 and after 2100 too.", rich_help_panel=DATA
    ),
]


def chosen_source(
    data: Path | None,
    config: Path | None,
    columns: str | None = None,
    repeats: Repeats | None = None,
    *,
    any_years: bool = False,
) -> "DataSource | None":
    """Return where data comes from: what options say wins over the file, and that over a guess.

    Args:
        data: Folder or file, which replaces all that the section [data] of the file says.
        config: File of settings.
        columns: Which column is which.
        repeats: Which of repeated events count.
        any_years: Whether times may lie in any year.

    Returns:
        None where neither names any data.

    Raises:
        RequestError: The file or the columns are malformed.
    """
    from retrieval.data.section import read_section
    from retrieval.data.source import source_of

    source = None if config is None else read_section(config)
    if data is not None:
        source = source_of(data)
    if source is None:
        return None
    said = _columns(columns)
    kept = {
        name: column
        for name, column in source.columns.items()
        if name.rpartition(".")[2] not in said  # what is said of all tables is so of each
    }
    return replace(
        source,
        columns={**kept, **said},
        repeats=repeats or source.repeats,
        any_year=any_years or source.any_year,
    )


def _columns(text: str | None) -> dict[str, str]:
    """Read which column is which."""
    said = {}
    for part in (text or "").split(",") if text else ():
        ours, equals, theirs = part.partition("=")
        if not equals or not ours.strip() or not theirs.strip():
            raise RequestError(
                f"malformed column '{shown(part)}'; write OURS=THEIRS, as in user_id=viewer"
            )
        said[ours.strip()] = theirs.strip()
    return said
