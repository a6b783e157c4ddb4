"""Rates of kernels: every row of the table is there, with what others need to judge it. Nothing about how fast."""

from __future__ import annotations

import json

import pytest

from intsim import _native
from intsim.benchmark.kernels import kernel_rates
from intsim.cli import execute

pytestmark = pytest.mark.torchless

FIELDS = {"name", "weight_bits", "act_bits", "threads", "batch", "ms", "gmacs", "fp32_roof_gmacs", "peers"}


def test_every_gemm_and_roof_of_the_table_is_measured() -> None:
    rates = kernel_rates(rounds=2)
    ops = ("gemm", "gemmpair", "roof")
    assert {rate.name for rate in rates} == {kernel.name for kernel in _native.kernels() if kernel.op in ops}
    for rate in rates:
        assert rate.times_roof == pytest.approx(rate.gmacs / rate.fp32_roof_gmacs)
        if rate.name.startswith("roof"):
            assert (rate.times_roof, rate.weight_bits, rate.act_bits) == (1, 32, 32)


def test_the_command_prints_rows(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["bench", "kernels", "--rounds", "2", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert all(row.keys() >= FIELDS for row in rows)


def test_what_a_micro_kernel_refuses() -> None:
    name = next(k.name for k in _native.kernels() if k.scheme == "a16")
    for arguments, message in (
        (("gemm_x", 4, 4, 64), "no tile kernel is named 'gemm_x'"),
        ((name, 4, 4, 6), "a depth of 6"),
        ((name, 9, 4, 64), "weights of 9 bits"),
        ((name, 8, 8, 64), "not exact for weights of 8 bits and activations of 8"),
        ((name, 4, 9, 64), "activations of 9 bits"),
    ):
        with pytest.raises(ValueError, match=message):
            _native.MicroKernel(*arguments)
