"""Threads change nothing but time: their number, several callers at once, and a fork."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from tests.csrc.plain import convolve, convolve_native, native


def layer(seed: int) -> Any:
    rng = np.random.default_rng(seed)
    x, weights = rng.integers(0, 16, (3, 12, 9, 9)), rng.integers(-8, 8, (40, 12, 3, 3))
    return x, weights, np.zeros(40, np.int64)


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_results_do_not_depend_on_the_number(threads: int) -> None:
    arguments = layer(0)
    np.testing.assert_array_equal(convolve_native(*arguments, threads=threads), convolve(*arguments))


def test_several_callers_at_once() -> None:
    layers = [layer(seed) for seed in range(6)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda arguments: convolve_native(*arguments, threads=2), layers * 20))
    for result, arguments in zip(results, layers * 20, strict=True):
        np.testing.assert_array_equal(result, convolve(*arguments))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_computes_too() -> None:
    arguments = layer(0)
    expected = convolve_native(*arguments, threads=2)
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(convolve_native(*arguments, threads=2), expected) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_threads_are_limited_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTSIM_THREADS", "1")
    assert native.available_threads() == 1
