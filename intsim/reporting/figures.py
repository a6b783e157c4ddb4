"""Figures in coordinates that a page draws as they stand: a roofline in pixels, a stacked bar in percent.

Drawn by hand rather than by a plotting library: a script that draws them would be 20 times the page.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

LEFT, RIGHT, TOP, BOTTOM = 64, 604, 16, 372
"""Pixels of the axes, in a picture of 760 by 420."""

DOT_RADIUS = 4.5
NEAR = 9.0
"""Pixels within which dots share a label."""
CHARACTER = 6.4
LINE = 13.0
"""Width and height of the text of a label, nearly."""
SECOND_CHOICE = 15.0
"""Square pixels of a line that a label may cover rather than move on to its next place."""
SLOPE_TEXT = 150.0
"""Width of the text that stands on the slope, from its foot."""


class Part(NamedTuple):
    """One piece of a stacked bar: its value, and its length in percent of the room there is."""

    name: str
    value: float
    percent: float


def stack(values: Mapping[str, float], longest: float) -> tuple[Part, ...]:
    """A bar whose pieces are `values`, in percent of the sum that fills the room."""
    return tuple(Part(name, value, round(100 * value / longest, 2) if longest else 0) for name, value in values.items())


@dataclass(frozen=True)
class LogAxis:
    """A logarithmic axis from `low` to `high`, which lie at the pixels `start` and `end`."""

    low: float
    high: float
    start: float
    end: float

    @property
    def pixels_per_decade(self) -> float:
        return (self.end - self.start) / math.log10(self.high / self.low)

    def __call__(self, value: float) -> float:
        return round(self.start + math.log10(value / self.low) * self.pixels_per_decade, 1)

    @property
    def ticks(self) -> tuple[tuple[float, str], ...]:
        """Pixels and text of 1, 2 and 5 times the powers of ten; of the powers alone where those are many."""
        steps = (1, 2, 5) if self.high / self.low < 1e3 else (1,)
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        values = [step * 10.0**decade for decade in decades for step in steps]
        return tuple((self(value), f"{value:,.12g}") for value in values if self.low <= value <= self.high)


@dataclass(frozen=True)
class LinearAxis:
    """A linear axis from `low` to `high`, which lie at the pixels `start` and `end`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return round(self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start), 1)

    @property
    def ticks(self) -> tuple[tuple[float, str], ...]:
        """Pixels and text of at most 12 whole numbers, 1, 2 or 5 times a power of ten apart."""
        steps = (step * 10**decade for decade in itertools.count() for step in (1, 2, 5))
        step = next(step for step in steps if (self.high - self.low) / step < 12)
        values = range(math.ceil(self.low / step) * step, math.floor(self.high) + 1, step)
        return tuple((self(value), f"{value:,}") for value in values)


class Curve(NamedTuple):
    """A line through dots at pixels (x, y), as SVG draws it."""

    label: str
    path: str
    dots: tuple[tuple[float, float], ...]


def curve(label: str, values: Sequence[float], x: LinearAxis, y: LinearAxis) -> Curve:
    """The values of 1, 2, 3 and so on; one that is infinite interrupts the line."""
    path, dots, pen = [], [], "M"
    for number, value in enumerate(values, start=1):
        if not math.isfinite(value):
            pen = "M"
            continue
        dots.append((x(number), y(value)))
        path.append(f"{pen}{x(number)} {y(value)}")
        pen = "L"
    return Curve(label, "".join(path), tuple(dots))


class Point(NamedTuple):
    """A layer: MACs per bit of DRAM and MACs per cycle."""

    number: int
    name: str
    macs_per_bit: float
    macs_per_cycle: float


class Text(NamedTuple):
    """Text whose middle (or start, or end: `anchor`) stands at a pixel."""

    x: float
    y: float
    text: str
    anchor: str = "middle"


class Line(NamedTuple):
    x1: float
    y1: float
    x2: float
    y2: float


class Dot(NamedTuple):
    x: float
    y: float
    point: Point


@dataclass(frozen=True)
class Frame:
    """The axes that the rooflines of one target share, so that they compare."""

    x: LogAxis
    y: LogAxis
    bandwidth: int


@dataclass(frozen=True)
class Roofline:
    """The plot in pixels.

    peaks    a line and its text for each peak of the array
    slope    what the channel to DRAM can feed, at most
    angle    of the slope, in degrees, as SVG turns text
    """

    frame: Frame
    peaks: tuple[tuple[Line, Text], ...]
    slope: Line
    angle: float
    dots: tuple[Dot, ...]
    labels: tuple[Text, ...]


def shared_frame(points: Iterable[Point], peaks: Iterable[float], bandwidth: int) -> Frame:
    """Axes that hold every point, every peak and the ridges where the slope meets the peaks.

    bandwidth   bits per cycle between the array and DRAM
    """
    points, peaks = list(points), list(peaks)
    xs = [point.macs_per_bit for point in points] + [peak / bandwidth for peak in peaks]
    ys = [point.macs_per_cycle for point in points] + peaks
    return Frame(
        LogAxis(min(xs) / 1.6, max(xs) * 1.6, LEFT, RIGHT),
        LogAxis(min(ys) / 1.6, max(ys) * 1.6, BOTTOM, TOP),
        bandwidth,
    )


def roofline(points: Sequence[Point], peaks: Mapping[float, str], frame: Frame) -> Roofline:
    """The layers under the roof of their target.

    peaks    MACs per cycle of the whole array -> the text beside that line
    Exact:   no layer can exceed min(peak, bandwidth * MACs per bit) if the target counts its bandwidth
    Source:  Williams, Waterman, Patterson: Roofline, CACM 2009
    """
    x, y, bandwidth = frame.x, frame.y, frame.bandwidth
    foot, top = max(x.low, y.low / bandwidth), max(peaks)
    flat = tuple(
        (Line(x(peak / bandwidth), y(peak), RIGHT, y(peak)), Text(RIGHT + 6, y(peak) + 4, text, "start"))
        for peak, text in peaks.items()
    )
    dots = tuple(Dot(x(point.macs_per_bit), y(point.macs_per_cycle), point) for point in points)
    angle = math.degrees(math.atan2(y.pixels_per_decade, x.pixels_per_decade))
    slope = Line(x(foot), y(foot * bandwidth), x(top / bandwidth), y(top))
    return Roofline(frame, flat, slope, round(angle, 1), dots, _labels(dots, slope, [line for line, _ in flat]))


def number_ranges(numbers: Iterable[int]) -> str:
    """ "2-4, 7" for 2, 3, 4, 7."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}\N{EN DASH}{run[-1]}" for run in runs)


def _labels(dots: Sequence[Dot], slope: Line, peaks: Sequence[Line]) -> tuple[Text, ...]:
    """The numbers of the layers beside their dots, one label for dots that nearly coincide, with the least overlap."""
    groups: list[list[Dot]] = []
    for dot in dots:
        near = (group for group in groups if math.dist(dot[:2], group[0][:2]) < NEAR)
        group = next(near, None)
        if group is None:
            groups.append([dot])
        else:
            group.append(dot)
    boxes = [(dot.x - DOT_RADIUS, dot.y - DOT_RADIUS, dot.x + DOT_RADIUS, dot.y + DOT_RADIUS) for dot in dots]
    boxes += [(line.x1, line.y1 - 3, line.x2, line.y2 + 3) for line in peaks]
    boxes += _boxes_along(slope)
    boxes += [(x1, y1 - LINE, x2, y2 - LINE) for x1, y1, x2, y2 in _boxes_along(slope) if x1 < LEFT + SLOPE_TEXT]
    labels: list[Text] = []

    def covered(place: Box) -> float:
        """Text over text is worse than text over a line or a dot."""
        texts = sum(_overlap(place, _box(label)) for label in labels)
        return 5 * texts + sum(_overlap(place, box) for box in boxes) + _outside(place)

    for group in groups:
        text = number_ranges(dot.point.number for dot in group)
        places = _beside(group, text)
        costs = [covered(_box(place)) + SECOND_CHOICE * index for index, place in enumerate(places)]
        labels.append(places[costs.index(min(costs))])
    return tuple(labels)


def _beside(group: Sequence[Dot], text: str) -> list[Text]:
    """The label right, left, above and below of the dots, then at their four corners."""
    gap, x, y = DOT_RADIUS + 3, group[0].x, group[0].y
    left, right = min(dot.x for dot in group) - gap, max(dot.x for dot in group) + gap
    above, below = min(dot.y for dot in group) - gap, max(dot.y for dot in group) + gap + 8
    places = [Text(right, y + 4, text, "start"), Text(left, y + 4, text, "end")]
    places += [Text(x, above, text), Text(x, below, text)]
    places += [Text(right, beside, text, "start") for beside in (above, below)]
    places += [Text(left, beside, text, "end") for beside in (above, below)]
    return [place._replace(x=round(place.x, 1), y=round(place.y, 1)) for place in places]


Box = tuple[float, float, float, float]


def _box(text: Text) -> Box:
    """Left, top, right and bottom, nearly."""
    width = CHARACTER * len(text.text)
    left = text.x - width * {"start": 0.0, "middle": 0.5, "end": 1.0}[text.anchor]
    return left, text.y - LINE + 3, left + width, text.y + 3


def _boxes_along(line: Line) -> list[Box]:
    """Small squares that cover a sloping line."""
    steps = max(1, math.ceil((line.x2 - line.x1) / NEAR))
    centres = [
        (line.x1 + (line.x2 - line.x1) * i / steps, line.y1 + (line.y2 - line.y1) * i / steps) for i in range(steps + 1)
    ]
    return [(x - NEAR / 2, y - NEAR / 2, x + NEAR / 2, y + NEAR / 2) for x, y in centres]


def _overlap(a: Box, b: Box) -> float:
    """Square pixels that two boxes share."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return max(0.0, width) * max(0.0, height)


def _outside(box: Box) -> float:
    """Square pixels of a box that stand out of the plot, at its sides."""
    return (max(0.0, box[2] - RIGHT) + max(0.0, LEFT - box[0])) * LINE
