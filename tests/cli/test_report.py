"""intsim report: one page for several files and targets, or one line and no page."""

from __future__ import annotations

import shutil

import pytest

from intsim.costing import assigned_layers, estimate, layers_of
from intsim.dtypes import IntType
from intsim.ir import ops
from intsim.ir.file import Model, load, save
from intsim.ir.graph import Graph, Node
from intsim.ir.types import Grid, Scale, TensorType

pytestmark = pytest.mark.torchless


def test_the_page_has_every_file_on_every_target(intsim, model, tmp_path):
    other, page = tmp_path / "other.intsim", tmp_path / "page.html"
    shutil.copy(model, other)
    targets = ("systolic_os", "bitfusion")
    result = intsim("report", model, other, "-o", page, "--target", targets[0], "--target", targets[1], "--json")
    assert result.status == 0
    text = page.read_text()
    assert result.json["bytes"] == page.stat().st_size
    for target in targets:
        total = estimate(layers_of(load(model).graph), target)
        for name in ("sample", "other"):
            row = f'<tr><th scope="row">{name}</th><td class="text">{target}</td><td>{total.total_cycles:,}</td>'
            assert row in text


def test_one_file_at_several_widths(intsim, model, tmp_path):
    page = tmp_path / "page.html"
    assert intsim("report", model, "-o", page, "--widths", "8/8", "--widths", "4/2").status == 0
    text = page.read_text()
    for widths in ("8/8", "4/2"):
        total = estimate(assigned_layers(layers_of(load(model).graph), widths), "systolic_ws")
        row = f'<th scope="row">sample at {widths}</th><td class="text">systolic_ws</td><td>{total.total_cycles:,}</td>'
        assert row in text


def test_files_of_one_name_are_told_apart_by_their_paths(intsim, model, tmp_path):
    (tmp_path / "b").mkdir()
    other, page = tmp_path / "b" / model.name, tmp_path / "page.html"
    shutil.copy(model, other)
    assert intsim("report", model, other, "-o", page).status == 0
    assert all(f'<th scope="row">{path}</th>' in page.read_text() for path in (model, other))


def test_array_and_batch_are_those_asked_for(intsim, model, tmp_path):
    page = tmp_path / "page.html"
    assert intsim("report", model, "-o", page, "--array", "16x8", "--batch", 3).status == 0
    assert "Here 16x8 units" in page.read_text()
    total = estimate(layers_of(load(model).graph), "systolic_ws", "16x8", 3)
    assert f"<td>{total.total_cycles:,}</td>" in page.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--target", "bitfuson"), "did you mean 'bitfusion'"),
        (("--target", "systolic_ws", "--target", "none.toml"), "none.toml"),
        (("--array", "8"), "array"),
        (("--batch", "0"), "batch"),
        (("absent.intsim",), "absent.intsim"),
        (("absent.csv",), "absent.csv"),
    ],
)
def test_what_is_wrong_is_one_line_and_an_old_page_stays(intsim, model, tmp_path, arguments, message):
    page = tmp_path / "page.html"
    page.write_text("old")
    assert message in intsim("report", model, *arguments, "-o", page).complaint
    assert page.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page.html", model.name]


def test_a_page_that_cannot_be_written_is_found_before_the_work(intsim, tmp_path):
    for page in (tmp_path / "no" / "page.html", tmp_path):
        assert str(page) in intsim("report", "absent.intsim", "-o", page).complaint


def test_two_targets_of_one_name_are_refused(intsim, model, tmp_path):
    from intsim.costing.load_target import BUILTIN

    copy = tmp_path / "mine.toml"
    shutil.copy(BUILTIN / "systolic_ws.toml", copy)
    page = tmp_path / "page.html"
    complaint = intsim("report", model, "-o", page, "--target", "systolic_ws", "--target", copy).complaint
    assert "two targets are named 'systolic_ws'" in complaint
    assert not page.exists()


def test_a_model_without_multiplications_has_nothing_to_report(intsim, tmp_path):
    path, page = tmp_path / "idle.intsim", tmp_path / "page.html"
    quantize = Node("q", ops.Quantize(Grid(IntType(False, 4), Scale((0.5,)))), ("x",))
    save(path, Model(Graph({"x": TensorType(None, (None, 4))}, {}, (quantize,), ("q",))))
    assert "idle: has no layer that multiplies" in intsim("report", path, "-o", page).complaint
    assert not page.exists()
