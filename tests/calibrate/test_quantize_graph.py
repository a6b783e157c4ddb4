"""Calibration as a whole: every method on any network, ending in integers that equal the mirror."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from intsim.backends.reference import ReferenceBackend
from intsim.calibrate import METHODS, LayerWidths, Settings, quantize_graph
from intsim.errors import CalibrationError, LoweringError
from intsim.frontend.execute import run_float
from intsim.frontend.mirror import Mirror
from intsim.ir.float_graph import FloatGraph
from intsim.lower import lower
from tests.calibrate.networks import Network, networks, residual_network


def quick(method: str, **others: Any) -> Settings:
    """Settings with as little training as can be, where a method trains; percentiles that clip nothing."""
    short = {"iterations": "2", "phase": "2", "network": "2", "act": "100"}
    names = {field.name for field in fields(METHODS[method].options)}
    return Settings(method, options={name: short[name] for name in names & short.keys()}, **others)


SCALES = ("pow2", "multiplier", "threshold")
CASES = [(method, scales) for method in METHODS for scales in (SCALES if method != "rapq" else ("pow2",))]


@pytest.mark.parametrize(("method", "scales"), CASES)
@pytest.mark.parametrize("kind", ["symmetric", "asymmetric"])
def test_eight_bits_are_close_to_float(method: str, scales: Any, kind: Any) -> None:
    graph = residual_network()
    images = torch.randn(30, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    quantized = quantize_graph(graph, images, quick(method, scales=scales, weight_grid=kind, act_grid=kind))
    result = Mirror(quantized).run(images)["head"].numpy() * lower(quantized).types["head"].integer.scale.array
    expected = run_float(graph, images)["head"].numpy()
    allowed = 0.1 if method == "rapq" else 0.06  # its p is below 2: rare large errors count less
    assert np.abs(result - expected).max() < allowed * np.abs(expected).max()


def test_more_bits_are_more_exact() -> None:
    graph = residual_network()
    images = torch.randn(30, 3, 4, 4, generator=torch.Generator().manual_seed(2))
    expected = run_float(graph, images)["head"].numpy()
    errors = []
    for bits in (2, 3, 4, 6, 8):
        quantized = quantize_graph(graph, images, Settings(weight_bits=bits, act_bits=bits))
        scale = lower(quantized).types["head"].integer.scale.array
        errors.append(((Mirror(quantized).run(images)["head"].numpy() * scale - expected) ** 2).mean())
    assert errors == sorted(errors, reverse=True)


def test_the_same_seed_gives_the_same_integers() -> None:
    images = torch.randn(300, 3, 4, 4, generator=torch.Generator().manual_seed(3))
    first, again = (quantize_graph(residual_network(), images, Settings(act_bits=3, seed=5)) for _ in range(2))
    for name, quantizer in first.quantizers.items():
        assert quantizer.grid == again.quantizers[name].grid
    for name, record in first.weights.items():
        np.testing.assert_array_equal(record.weight.codes, again.weights[name].weight.codes)


@settings(max_examples=40)
@given(networks(), st.integers(2, 8), st.integers(2, 8), st.sampled_from(["symmetric", "asymmetric"]),
       st.sampled_from(CASES))  # fmt: skip
def test_any_network_becomes_integers_that_equal_the_mirror(
    graph: FloatGraph, bits: int, residual_bits: int, kind: Any, case: tuple[str, Any]
) -> None:
    method, scales = case
    images = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(4))
    widths = {"weight_bits": bits, "act_bits": bits, "residual_bits": residual_bits}
    wanted = quick(method, scales=scales, weight_grid=kind, act_grid=kind, **widths)
    quantized = quantize_graph(graph, images, wanted)
    lowered = lower(quantized)
    mirrored = Mirror(quantized).run(images)
    integers = ReferenceBackend(lowered).run(images.numpy(), wanted=tuple(mirrored))
    for name, codes in mirrored.items():
        np.testing.assert_array_equal(integers[name].codes, codes.numpy(), err_msg=name)


@pytest.mark.parametrize(("method", "scales"), CASES)
def test_a_network_without_layers_has_codes_too(method: str, scales: Any) -> None:
    network = Network(x=(2, 4, 4))
    graph = network.graph(network.relu("positive", "x"))
    images = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(4))
    quantized = quantize_graph(graph, images, quick(method, scales=scales, act_bits=4))
    (name,) = quantized.graph.outputs
    codes = Mirror(quantized).run(images)[name].numpy()
    np.testing.assert_array_equal(ReferenceBackend(lower(quantized)).run(images.numpy())[name].codes, codes)


def test_progress_reaches_its_total() -> None:
    seen: list[tuple[str, int, int]] = []
    quantize_graph(residual_network(), torch.randn(7, 3, 4, 4), Settings(), lambda *step: seen.append(step))
    assert {what for what, _, _ in seen} == {"observing", "grids"}
    for what in ("observing", "grids"):
        steps = [(done, total) for name, done, total in seen if name == what]
        assert steps == sorted(steps) and steps[-1][0] == steps[-1][1]


def test_an_unknown_method_suggests_one() -> None:
    with pytest.raises(CalibrationError, match=r"method 'msee': expected .*minmax or mse.*; did you mean 'mse'\?"):
        quantize_graph(residual_network(), torch.zeros(1, 3, 4, 4), Settings("msee"))


def test_arrays_do_as_well_as_tensors() -> None:
    images = np.random.default_rng(0).normal(size=(3, 3, 4, 4)).astype(np.float32)
    assert quantize_graph(residual_network(), (images,), Settings()).weights.keys() >= {"head"}


def test_a_network_of_zeros_has_legal_scales() -> None:
    graph = residual_network()
    for node in graph.nodes:
        for array in node.arrays.values():
            np.copyto(array, 0)
    quantized = quantize_graph(graph, torch.zeros(2, 3, 4, 4), Settings(widths={"head": LayerWidths(2, 2)}))
    try:
        lower(quantized)
    except LoweringError as error:  # pragma: no cover
        pytest.fail(str(error))
