"""A comparison: columns are variants of a model, rows are quantities, in groups. What a page and a terminal show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """One quantity for every variant.

    values  one for each column; None where the quantity has no meaning
    show    text of a value
    bars    whether a page draws the values, which are numbers from zero up, as bars that are comparable along the row
    """

    label: str
    values: tuple[Any, ...]
    show: Callable[[Any], str] = str
    bars: bool = False

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple("" if value is None else self.show(value) for value in self.values)

    @property
    def bar_percents(self) -> tuple[float | None, ...]:
        """Length of each bar in percent of the longest; None for no bar."""
        longest = max((value for value in self.values if value is not None), default=0) if self.bars else 0
        return tuple(round(100 * v / longest, 1) if longest and v is not None else None for v in self.values)


@dataclass(frozen=True)
class Group:
    """Rows that answer one question.

    explanation  how to read them, in a sentence or two
    """

    title: str
    explanation: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Comparison:
    """The whole table.

    lead     what was done, in a sentence or two
    remarks  what the figures depend on, one line each
    """

    title: str
    lead: str
    columns: tuple[str, ...]
    groups: tuple[Group, ...]
    remarks: tuple[str, ...] = ()
