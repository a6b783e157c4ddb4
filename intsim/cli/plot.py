"""A scatter of points in characters, for a terminal."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from intsim.cli.console import format_cell

COLUMNS, LINES = 72, 18
DOT = "•"


def draw_points(points: Sequence[tuple[float, float]], x_name: str, y_name: str) -> str:
    """Points (x, y) on a linear x and, where all are above zero, a logarithmic y; the extents stand at the axes."""
    xs, ys = zip(*points, strict=True)
    logarithmic = min(ys) > 0
    column, line = _scale(xs, COLUMNS, float), _scale(ys, LINES, math.log if logarithmic else float)
    cells = [[" "] * COLUMNS for _ in range(LINES)]
    for x, y in points:
        cells[LINES - 1 - line(y)][column(x)] = DOT
    low, high = format_cell(float(min(ys))), format_cell(float(max(ys)))
    margin = max(len(low), len(high))
    labels = [high, *[""] * (LINES - 2), low]
    rows = [f"{label:>{margin}} │{''.join(cells).rstrip()}" for label, cells in zip(labels, cells, strict=True)]
    left, right = format_cell(float(min(xs))), format_cell(float(max(xs)))
    axis = f"{left}{right:>{COLUMNS - len(left)}}"
    title = f"{y_name}{', logarithmic' if logarithmic else ''}"
    indent = " " * (margin + 1)
    return "\n".join([title, *rows, f"{indent}└{'─' * COLUMNS}", f"{indent} {axis}", f"{indent} {x_name:^{COLUMNS}}"])


def _scale(values: Sequence[float], cells: int, warp: Callable[[float], float]) -> Callable[[float], int]:
    """The cell that a value between the smallest and the largest falls into."""
    low, high = warp(min(values)), warp(max(values))
    step = (high - low) / (cells - 1) or 1.0
    return lambda value: round((warp(value) - low) / step)
