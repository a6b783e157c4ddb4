"""Every kernel test runs once for each instruction set that this processor has."""

from __future__ import annotations

import pytest

from intsim import _native

ISAS = tuple(dict.fromkeys(kernel.isa for kernel in _native.kernels()))


DOT_ISAS = ("neon", "avx512", "avx512vbmi")
"""Those that add four products of bytes at once, and take that for all widths but what they can look up faster."""


@pytest.fixture(params=[isa for isa in ISAS if isa not in DOT_ISAS])
def isa_of_schemes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """An instruction set of which the weights choose the scheme."""
    monkeypatch.setenv("INTSIM_ISA", request.param)
    return request.param


@pytest.fixture(params=ISAS)
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """An instruction set, forced while the test prepares its operators."""
    monkeypatch.setenv("INTSIM_ISA", request.param)
    return request.param
