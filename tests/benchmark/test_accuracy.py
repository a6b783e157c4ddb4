"""McNemar's test against its definition, and the error in decibels against a hand computation."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest

from intsim.backends import load_backend
from intsim.benchmark.accuracy import layer_sqnr, mcnemar, sqnr
from tests.ir.sample import every_operator

pytestmark = pytest.mark.torchless


@pytest.mark.parametrize(("only_ours", "only_theirs"), [(0, 0), (5, 5), (10, 2), (0, 7), (40, 61)])
def test_mcnemar_counts_coin_tosses(only_ours: int, only_theirs: int) -> None:
    ours = np.array([True] * only_ours + [False] * only_theirs + [True] * 30 + [False] * 4)
    theirs = np.array([False] * only_ours + [True] * only_theirs + [True] * 30 + [False] * 4)
    tosses, fewer = only_ours + only_theirs, min(only_ours, only_theirs)
    tail = sum(comb(tosses, k) for k in range(fewer + 1)) / 2**tosses
    assert mcnemar(ours, theirs) == pytest.approx(min(1.0, 2 * tail))
    assert mcnemar(ours, theirs) == mcnemar(theirs, ours)


def test_a_tenth_of_the_amplitude_is_20_decibels() -> None:
    signal = np.array([1.0, -2.0, 3.0])
    assert sqnr(signal, 1.1 * signal) == pytest.approx(20)
    assert sqnr(signal, signal) == np.inf
    assert sqnr(np.zeros(3), signal) == -np.inf


def test_layers_are_compared_by_name() -> None:
    graph = every_operator()
    images = np.random.default_rng(0).uniform(0, 2, (3, 4, 6, 6)).astype(np.float32)
    results = load_backend("reference", graph).run(images, wanted=graph.outputs)
    wanted = {name: value.reals.astype(np.float32) for name, value in results.items()}
    found = layer_sqnr(graph, (images,), wanted)
    assert found.keys() == wanted.keys()
    assert all(decibels > 100 for decibels in found.values())
