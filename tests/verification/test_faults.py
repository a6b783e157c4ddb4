"""Every seeded fault of lowering and of kernels is found, and found at the layer where it is."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest

from intsim.backends.base import Backend
from intsim.backends.reference import ReferenceBackend
from intsim.ir.check import check
from intsim.ir.file import Model
from intsim.ir.graph import Graph
from intsim.ir.types import Value
from intsim.lower import lower
from intsim.verification import Comparison, Report, prove, verify
from tests.certificate_checker import Checker, RefusedError
from tests.verification.faults import FAULTS, Fault
from tests.verification.networks import images, small_network

IMAGES = images(96)


@cache
def sound(form: str) -> Model:
    quantized = small_network(form)
    return Model(lower(quantized), quantized)


def mirror_of(report: Report) -> Comparison:
    assert report.mirror is not None
    return report.mirror


def faulty(fault: Fault) -> Model:
    return Model(check(fault.mutate(sound(fault.form).graph)), sound(fault.form).quantized)


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_the_proof_names_the_layer_of_a_fault_of_lowering(fault: Fault) -> None:
    certificate = prove(faulty(fault))
    assert not certificate.proved
    assert [layer for layer, _ in certificate.problems] == [fault.layer]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_the_checker_refuses_a_certificate_of_the_sound_model(fault: Fault) -> None:
    with pytest.raises(RefusedError):
        Checker(faulty(fault)).check(prove(sound(fault.form)).to_dict())


# Differences that no code of these images shows: they are for the proof alone.
RARE = {
    "gate.u8: a table entry off by one",
    "relu1.u4: one threshold one too low",
    "relu2.u8: ties upward in an addition",
}


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_comparing_with_the_mirror_names_the_layer_of_a_fault_of_lowering(fault: Fault) -> None:
    model = faulty(fault)
    report = verify(model, [IMAGES], [ReferenceBackend(model.graph)], sample=0)
    if str(fault) in RARE:
        assert report.first_layer in (None, fault.layer)
    else:
        assert mirror_of(report).first_layer == report.first_layer == fault.layer


class Faulty(Backend):
    """The reference with a wrong kernel: one layer's codes are changed before the next layer reads them."""

    def __init__(self, graph: Graph, layer: str, spoil: Callable[[np.ndarray], np.ndarray]):
        super().__init__(graph)
        self.layer, self.spoil = layer, spoil

    def execute(self, inputs: Mapping[str, Value], wanted: Collection[str]) -> dict[str, np.ndarray]:
        values: dict[str, Any] = {**self.graph.constants, **inputs}
        for node in self.graph:
            codes = node.op.evaluate(*(values[name] for name in node.inputs))
            if node.name == self.layer:
                codes = self.spoil(codes.copy())
            values[node.name] = Value(self.graph.types[node.name], codes)
        return {name: values[name].codes for name in wanted}


def at(place: Any, change: Callable[[np.ndarray], Any]) -> Callable[[np.ndarray], np.ndarray]:
    def spoil(codes: np.ndarray) -> np.ndarray:
        codes[place] = change(codes[place])
        return codes

    return spoil


KERNEL_FAULTS = {
    "the last channel left out": ("conv1", at(np.s_[:, -1], lambda c: 0 * c)),
    "the last column of pixels left out": ("conv1", at(np.s_[..., -1], lambda c: 0 * c)),
    "sums that wrap at 10 bits": ("depthwise", lambda c: (c + 512) % 1024 - 512),
    "sums that saturate at 9 bits": ("depthwise", lambda c: np.clip(c, -256, 255)),
    "two channels swapped": ("conv2", lambda c: c[:, [1, 0, 2, 3]]),
    "the first image for all": ("relu1.u4", lambda c: np.repeat(c[:1], len(c), axis=0)),
    "rows of pixels swapped": ("pool1", lambda c: c[:, :, ::-1]),
    "codes that saturate at 7 bits": ("relu2.u8", lambda c: np.minimum(c, 127)),
    "one element off by one": ("average.u8", at((20, 3, 1, 0), lambda c: c ^ 1)),
    "a stale tile": ("relu6.u4", at(np.s_[1::2, :, 0], lambda c: c[:, :, ::-1] ^ 1)),
    "a bias added twice": ("linear", lambda c: c + np.arange(5, dtype=c.dtype)),
    "a sign lost": ("linear", lambda c: np.abs(c)),
}


@pytest.mark.parametrize("fault", KERNEL_FAULTS)
def test_comparing_backends_names_the_layer_of_a_fault_of_a_kernel(fault: str) -> None:
    layer, spoil = KERNEL_FAULTS[fault]
    model = sound("multiplier")
    report = verify(model, [IMAGES[:32]], ["native", Faulty(model.graph, layer, spoil)])
    native, wrong, between = report.backends
    assert native.first_layer is None
    assert wrong.first_layer == between.first_layer == report.first_layer == layer
    assert mirror_of(report).first_layer is None  # the mirror is beside the reference, which is right
    assert not report.bit_exact


def test_a_kernel_that_fails_behind_the_sample_is_found_by_the_mirror() -> None:
    model = sound("shift")
    backend = Faulty(model.graph, "depthwise", lambda c: np.where(c == c.max(), c - 1, c))
    spoil_late = {"count": 0}

    def late(codes: np.ndarray) -> np.ndarray:
        spoil_late["count"] += 1
        return codes + (spoil_late["count"] > 1)

    backend.spoil = late
    report = verify(model, [IMAGES], [backend], sample=16)
    assert report.backends[0].first_layer is None
    assert mirror_of(report).first_layer == report.first_layer == "depthwise"
