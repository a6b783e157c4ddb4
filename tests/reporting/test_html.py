"""The page: well-formed, self-contained, and safe with whatever a name holds."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from intsim.reporting.comparison import Comparison, Group, Row
from intsim.reporting.html import render

pytestmark = pytest.mark.torchless

VOID = {"meta", "link", "br", "img", "hr", "input"}


class Page(HTMLParser):
    """Checks that every element is closed in order; collects the cells of the table and all attributes."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.links: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.links += [value for name, value in attributes if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data


@pytest.fixture
def comparison():
    speed = Row("time <ms>", (4.0, None, 1.0), "{:.1f} ms".format, bars=True)
    group = Group("How fast?", "Lower is better & safer.", (speed, Row("exact", (None, "yes", "no"))))
    return Comparison("<script>alert(1)</script>", "A lead.", ("float32", "8/8", "4/4"), (group,), ("Remark.",))


def test_the_page_is_well_formed_and_holds_the_table(comparison):
    rows = Page(render(comparison)).rows
    assert rows[0][1:] == ["float32", "8/8", "4/4"]
    assert rows[2] == ["time <ms>", "4.0 ms", "", "1.0 ms"]
    assert rows[3] == ["exact", "", "yes", "no"]


def test_the_page_loads_nothing_and_runs_nothing(comparison):
    text = render(comparison)
    assert Page(text).links == []
    assert "<script" not in text
    assert "url(" not in text
    assert "&lt;script&gt;" in text


def test_bars_compare_along_the_row():
    assert Row("a", (4.0, None, 1.0), bars=True).bar_percents == (100, None, 25)
    assert Row("a", (0, 0), bars=True).bar_percents == (None, None)
    assert Row("a", (1, 2)).bar_percents == (None, None)
