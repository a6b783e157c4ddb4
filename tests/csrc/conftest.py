"""Every kernel test runs once for each instruction set that this processor has."""

from __future__ import annotations

import pytest

from intsim import _native

ISAS = tuple(dict.fromkeys(kernel.isa for kernel in _native.kernels()))


@pytest.fixture(params=ISAS)
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """An instruction set, forced while the test prepares its operators."""
    monkeypatch.setenv("INTSIM_ISA", request.param)
    return request.param
