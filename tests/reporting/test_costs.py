"""The page of costs: every figure is the estimate's, in the table, in the bars and in the plot."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intsim.costing import Layer, estimate, load_target
from intsim.reporting.costs import Case, Costs, Section
from intsim.reporting.figures import BOTTOM, LEFT, RIGHT, TOP, LogAxis, number_ranges, stack
from intsim.reporting.html import render_costs

pytestmark = pytest.mark.torchless

TARGETS = ("systolic_ws", "bitfusion", "scalesim3_os")
NARROW = {"wide": (8, 8), "narrow": (3, 4)}


class Page(HTMLParser):
    """Text of the rows of every table, and the attributes and text of every element; all elements close in order."""

    VOID = ("meta", "path")

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.titles: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in (*self.VOID, "br"):
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] in (["td"], ["th"]):
            self.tables[-1][-1][-1] += data
        if self.open[-2:] == ["circle", "title"]:
            self.titles.append(data)

    def having(self, tag, attribute):
        return [attributes[attribute] for name, attributes in self.elements if name == tag and attribute in attributes]


def layers(bits: tuple[int, int]) -> tuple[Layer, ...]:
    def convolution(name: str, channels: int, size: int, stride: int) -> Layer:
        out = (size - 3 + stride) // stride
        extents = {"in_height": size, "in_width": size, "out_height": out, "out_width": out}
        strides = {"kernel": (3, 3), "stride": (stride, stride)}
        return Layer(name, "conv", channels, 2 * channels, *bits, bits[1], **extents, **strides)

    return (
        convolution("<first>", 4, 34, 1),
        convolution("second", 16, 18, 2),
        Layer("linear", "linear", 512, 100, 8, 8, 8),
    )


@pytest.fixture(scope="module")
def costs() -> Costs:
    machines = [load_target(name) for name in TARGETS]
    networks = {name: layers(bits) for name, bits in NARROW.items()}
    return Costs(
        tuple(
            Section(m, tuple(Case(name, m, net, estimate(net, m, None, 2)) for name, net in networks.items()))
            for m in machines
        )
    )


@pytest.fixture(scope="module")
def page(costs) -> Page:
    return Page(render_costs(costs))


def number(text: str) -> float:
    return float(text.replace(",", "").removesuffix(" %"))


def test_the_totals_are_the_estimates(costs, page):
    rows = page.tables[0][1:]
    assert [row[:2] for row in rows] == [[name, target] for target in TARGETS for name in NARROW]
    for row, case in zip(rows, costs.cases, strict=True):
        e = case.estimate
        assert [number(row[i]) for i in (2, 4, 5, 7)] == [
            e.total_cycles,
            e.compute_cycles,
            e.stall_cycles,
            e.dram_bits,
        ]
        assert number(row[6]) == pytest.approx(e.latency_ms, rel=1e-3)
        assert number(row[8]) == pytest.approx(e.energy_pj / 1e6, rel=1e-3)
        assert number(row[10]) == pytest.approx(100 * e.utilisation, abs=0.06)


def test_every_layer_is_its_estimate(costs, page):
    for table, case in zip(page.tables[1:], costs.cases, strict=True):
        *rows, total = table[1:]
        assert number(total[4]) == case.estimate.total_cycles
        for row, priced, layer in zip(rows, case.estimate.layers, case.layers, strict=True):
            cost = priced.cost
            assert row[1] == layer.name
            assert row[2] == f"{layer.weight_bits}/{layer.act_bits}"
            exact = (cost.macs, cost.cycles, cost.stall_cycles, cost.dram_bits)
            assert tuple(number(row[i]) for i in (3, 4, 6, 7)) == exact
            assert number(row[8]) == pytest.approx(cost.energy_pj / 1e6, rel=1e-3)
            assert row[11] == cost.bound


def test_the_bars_are_the_parts_of_the_estimates(costs, page):
    found = list(zip(page.having("i", "title"), page.having("i", "style"), strict=True))
    expected = []
    for group in [[case.estimate for case in costs.cases]] + [
        [layer.cost for case in section.cases for layer in case.estimate.layers] for section in costs.sections
    ]:
        longest = [max(c.compute_cycles + c.stall_cycles for c in group), max(c.energy_pj for c in group)]
        for c in group:
            bars = ({"compute": c.compute_cycles, "stall": c.stall_cycles}, c.energy_by_component_pj)
            for parts, room in zip(bars, longest, strict=True):
                expected += [(name, value, 100 * value / room) for name, value in parts.items() if value]
    assert len(found) == len(expected)
    for (title, style), (name, value, percent) in zip(found, expected, strict=True):
        assert title.startswith(f"{name}: ")
        assert number(title.split()[1]) == pytest.approx(value, rel=1e-5)
        assert float(re.fullmatch(r"width:([\d.e-]+)%", style)[1]) == pytest.approx(percent, abs=0.006)


def test_a_dot_of_the_roofline_is_a_layer(costs, page):
    expected = [(i, layer) for case in costs.cases for i, layer in enumerate(case.estimate.layers, start=1)]
    assert len(page.titles) == len(expected)
    for title, (i, layer) in zip(page.titles, expected, strict=True):
        per_cycle, per_bit = re.fullmatch(
            rf"{i} {layer.name}: (\S+) MACs per cycle, (\S+) MACs per bit of DRAM", title
        ).groups()
        assert number(per_cycle) == pytest.approx(layer.cost.macs / layer.cost.cycles, rel=1e-3)
        assert number(per_bit) == pytest.approx(layer.cost.macs / layer.cost.dram_bits, rel=1e-3)


def test_the_roof_is_the_target(costs):
    for section in costs.sections:
        bandwidth = section.target.memory.dram.bandwidth.value
        for case in section.cases:
            plot = section.roofline(case)
            x, y = plot.frame.x, plot.frame.y
            peaks = sorted({layer.cost.peak_macs_per_cycle for layer in case.estimate.layers})
            assert [line.y1 for line, _ in plot.peaks] == [y(peak) for peak in peaks]
            assert [line.x1 for line, _ in plot.peaks] == [x(peak / bandwidth) for peak in peaks]
            assert (plot.slope.x2, plot.slope.y2) == (x(peaks[-1] / bandwidth), y(peaks[-1]))
            for dot in plot.dots:
                assert (dot.x, dot.y) == (x(dot.point.macs_per_bit), y(dot.point.macs_per_cycle))
                assert LEFT < dot.x < RIGHT
                assert TOP < dot.y < BOTTOM
                assert dot.point.macs_per_cycle <= peaks[-1]


def test_layers_above_the_slope_are_named_where_bandwidth_is_not_counted(costs):
    by_name = {section.target.name: section for section in costs.sections}
    assert [by_name["systolic_ws"].above_the_slope(case) for case in by_name["systolic_ws"].cases] == ["", ""]
    simulated = by_name["scalesim3_os"]
    assert all(simulated.above_the_slope(case) for case in simulated.cases)


def test_every_note_stands_in_the_page_with_the_files_that_it_is_about(costs):
    text = render_costs(costs)
    for case in costs.cases:
        for note in case.estimate.notes:
            assert note.replace("'", "&#39;") in text
    assert "energy per MAC at 3-bit weights and 4-bit activations is an unverified extrapolation (narrow)" in text


def test_the_page_loads_nothing_and_runs_nothing(costs, page):
    text = render_costs(costs)
    assert not [tag for tag, attributes in page.elements if {"src", "href", "onload", "onclick"} & set(attributes)]
    for foreign in ("<script", "<first>", "url(", "http", "@import"):
        assert foreign not in text


@given(st.sets(st.integers(1, 99), min_size=1))
def test_ranges_name_every_number(numbers):
    found: set[int] = set()
    for run in number_ranges(numbers).split(", "):
        first, _, last = run.partition("\N{EN DASH}")
        found |= set(range(int(first), int(last or first) + 1))
    assert found == numbers


@given(st.floats(1e-6, 1e6), st.floats(1.1, 1e9), st.floats(0, 1))
def test_an_axis_is_logarithmic(low, ratio, share):
    axis = LogAxis(low, low * ratio, LEFT, RIGHT)
    assert axis(low * ratio**share) == pytest.approx(LEFT + share * (RIGHT - LEFT), abs=0.1)
    assert all(LEFT <= at <= RIGHT and math.isfinite(float(text.replace(",", ""))) for at, text in axis.ticks)


def test_a_stack_of_nothing_has_no_length():
    assert [part.percent for part in stack({"compute": 0, "stall": 0}, 0)] == [0, 0]
