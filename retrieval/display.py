"""What people see: tables on a terminal. Programs ask for JSON instead."""

import json
import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table


def console() -> Console:
    """Return the terminal for data; wide enough never to cut a table when it is a file or pipe."""
    return Console(soft_wrap=True, width=None if sys.stdout.isatty() else 120, highlight=False)


def notes() -> Console:
    """Return the terminal for progress and everything that is not data."""
    return Console(stderr=True, soft_wrap=True, highlight=False)


class _Lines(Progress):
    """What progress is where nothing can be drawn over: a line for each thing that is said."""

    def add_task(
        self,
        description: str,
        start: bool = True,  # noqa: FBT001, FBT002 (as in rich)
        total: float | None = 100.0,
        completed: int = 0,
        visible: bool = True,  # noqa: FBT001, FBT002 (as in rich)
        **fields: object,
    ) -> TaskID:
        """Do what rich does; print the description."""
        self.console.print(description)
        return super().add_task(description, start, total, completed, visible, **fields)

    def update(
        self,
        task_id: TaskID,
        *,
        total: float | None = None,
        completed: float | None = None,
        advance: float | None = None,
        description: str | None = None,
        visible: bool | None = None,
        refresh: bool = False,
        **fields: object,
    ) -> None:
        """Do what rich does; print a description that is another one."""
        task = self._tasks[task_id]
        if description is not None and description != task.description:
            self.console.print(f"{description} ({task.elapsed or 0:.0f} s)")
        super().update(
            task_id,
            total=total,
            completed=completed,
            advance=advance,
            description=description,
            visible=visible,
            refresh=refresh,
            **fields,
        )


def progress() -> Progress:
    """Return a progress display on stderr: bars on a terminal, lines in a log."""
    console = notes()
    if not console.is_interactive:
        return _Lines(console=console, disable=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )


def print_table(title: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; numbers go to the right."""
    texts = [[_text(value) for value in row] for row in rows]
    table = Table(title=title, title_justify="left", header_style="bold")
    for place, name in enumerate(header):
        numeric = all(_is_number(row[place]) for row in texts)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in texts:
        table.add_row(*row)
    console().print(table)


def print_json(value: object) -> None:
    """Print JSON on one line, in UTF-8."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).replace("-", "", 1).isdigit() or not text
