"""Where commands print: answers on stdout, as a table or as one JSON document; progress on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from intsim.progress import Progress
    from intsim.reporting.comparison import Comparison

WIDTH_OF_A_FILE = 240
"""Columns where no terminal says how many it has: tables are as wide as they need to be."""


def print_json(document: object) -> None:
    print(json.dumps(document, indent=2, allow_nan=False))


def print_table(columns: Iterable[str], rows: Iterable[Iterable[object]], title: str = "", total: bool = False) -> None:
    """A table on stdout: text to the left, numbers to the right; with `total` the last row is set apart."""
    from rich.table import Table

    cells = [list(row) for row in rows]
    table = Table(title=title or None, title_justify="left", title_style="bold", header_style="bold", box=_box())
    for index, column in enumerate(columns):
        numbers = all(isinstance(row[index], int | float) for row in cells if row[index] not in ("", None))
        table.add_column(column, justify="right" if numbers and cells else "left", overflow="fold")
    for index, row in enumerate(cells):
        table.add_row(*map(format_cell, row), end_section=total and index == len(cells) - 2)
    _console(sys.stdout).print(table)


def print_comparison(comparison: Comparison) -> None:
    """A comparison as one table on stdout, a section for each group."""
    from rich.table import Table

    table = Table(title=comparison.title, title_justify="left", title_style="bold", header_style="bold", box=_box())
    table.add_column("")
    for column in comparison.columns:
        table.add_column(column, justify="right")
    for group in comparison.groups:
        for index, row in enumerate(group.rows):
            table.add_row(row.label, *row.texts, end_section=index == len(group.rows) - 1)
    _console(sys.stdout).print(table)
    for remark in comparison.remarks:
        print(f"  {remark}")


def format_cell(value: object) -> str:
    """A cell's text: yes or no, thousands apart, four digits of a real number, nothing for None."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
        case _:
            return str(value)


@contextmanager
def show_progress() -> Iterator[Progress]:
    """What long work calls with (what, done, total): a bar for each `what` on stderr, where that is a terminal.

    In "training: loss 0.51" what stands behind the colon may change from call to call.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    times = TimeElapsedColumn(), TimeRemainingColumn()
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), *times
    console = _console(sys.stderr)
    with Bars(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        tasks: dict[str, Any] = {}

        def report(what: str, done: int, total: int) -> None:
            name, _, _ = what.partition(":")
            if name not in tasks:
                tasks[name] = bars.add_task(what, total=total)
            bars.update(tasks[name], description=what, completed=done, total=total)

        yield report


def _console(stream: IO[str]) -> Console:
    from rich.console import Console

    width = None if stream.isatty() else WIDTH_OF_A_FILE
    return Console(file=stream, width=width, markup=False, highlight=False, emoji=False)


def _box() -> Any:
    from rich import box

    return box.SIMPLE_HEAD
