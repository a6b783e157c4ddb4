"""The integer program: limits hold exactly where doubles cannot tell, no better choice is lost, nothing is printed."""

from __future__ import annotations

import ctypes
import itertools
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.optimize

from intsim.costing import integer_program
from intsim.costing.integer_program import Limit, _stdout_closed, pick
from intsim.errors import CostError

pytestmark = pytest.mark.torchless


@pytest.fixture(params=["sweeps", "HiGHS"])
def solver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What answers: where sweeps go on with one partial choice, they prove nothing."""
    if request.param == "HiGHS":
        monkeypatch.setattr(integer_program, "WIDTHS", (1,))
        monkeypatch.setattr(integer_program, "LAST_WIDTH", 1)
    return str(request.param)


def positions(*program: Any) -> tuple[int, ...] | None:
    found = pick(*program)
    return found and found.positions


@pytest.mark.usefixtures("solver")
def test_a_limit_that_doubles_cannot_tell_from_its_neighbours() -> None:
    """HiGHS keeps limits to a millionth; here they are missed by a billionth, by the two choices that look best."""
    hair = Fraction(1, 10**9)
    terms = [Fraction(1), 1 + hair, 1 + 2 * hair, Fraction(1), 1 + hair]
    objective = [Fraction(value) for value in (9, 3, 2, 5, 1)]
    assert positions([3, 2], objective, [Limit(terms, 2 + hair)]) == (1, 0)
    assert positions([3, 2], objective, [Limit(terms, 2 + 2 * hair)]) == (1, 1)
    assert positions([3, 2], objective, [Limit(terms, 2 - hair)]) is None


@pytest.mark.usefixtures("solver")
@pytest.mark.parametrize("missing", [0, 1])
def test_a_small_layer_beside_a_large_one(missing: int) -> None:
    """A budget that the best choice meets exactly; all that the small layer takes is a millionth of it."""
    sizes, widths = [7, 7], range(2, 9)
    macs = [144, 2359296 * 784]
    terms = [Fraction(own * bits * bits) for own in macs for bits in widths]
    losses = [971, 834, 768, 651, 428, 124, 101, 885, 783, 706, 653, 592, 547, 263]
    bound = terms[5] + terms[7 + 4] - missing
    kept = [(i, j) for i, j in itertools.product(range(7), repeat=2) if terms[i] + terms[7 + j] <= bound]
    best = min(kept, key=lambda pair: losses[pair[0]] + losses[7 + pair[1]])
    assert positions(sizes, [Fraction(loss) for loss in losses], [Limit(terms, bound)]) == best


def test_huge_and_tiny_amounts() -> None:
    huge, tiny = Fraction(10) ** 40, Fraction(1, 10**40)
    assert positions([2, 2], [2 * tiny, tiny, tiny, 3 * tiny], [Limit([huge, 2 * huge, huge, huge], 3 * huge)]) == (
        1,
        0,
    )
    assert positions([1, 2], [huge, tiny, 2 * tiny], [Limit([huge, tiny, huge], 3 * huge)] * 2) == (0, 0)
    assert positions([1], [huge], [Limit([tiny], -(huge**20))]) is None
    assert positions([1], [Fraction(0)], []) == (0,)


def test_more_partial_choices_than_a_block_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against all 4**7 choices, with three sums that pull apart."""
    rng = np.random.default_rng(0)
    amounts = rng.integers(0, 10**6, (3, 7, 4))
    sums = np.zeros((3, *[4] * 7), np.int64)
    for group in range(7):
        sums += amounts[:, group].reshape(3, *(4 if axis == group else 1 for axis in range(7)))
    bounds = [int(np.quantile(own, 0.3)) for own in sums[1:]]
    best = np.where((sums[1] <= bounds[0]) & (sums[2] <= bounds[1]), sums[0], np.iinfo(np.int64).max).argmin()
    objective, *limits = ([Fraction(int(value)) for value in own.ravel()] for own in amounts)
    rows = [Limit(*limit) for limit in zip(limits, map(Fraction, bounds), strict=True)]
    assert pick([4] * 7, objective, rows) == (tuple(np.unravel_index(best, sums.shape[1:])), True)
    monkeypatch.setattr(integer_program, "WIDTHS", (1,))
    monkeypatch.setattr(integer_program, "LAST_WIDTH", 1)
    monkeypatch.setattr(integer_program, "_duals", lambda groups, bounds: np.zeros(3))  # no price tells much
    assert pick([4] * 7, objective, rows) == (tuple(np.unravel_index(best, sums.shape[1:])), False)


def test_what_stays_open_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integer_program, "WIDTHS", ())
    monkeypatch.setattr(
        scipy.optimize, "milp", lambda *_, **__: SimpleNamespace(status=4, message="other\n(solve error)")
    )
    with pytest.raises(CostError, match=r"^2 groups of options within 1 limits: .* \(other \(solve error\)\); state"):
        pick([1, 1], [Fraction(1)] * 2, [Limit([Fraction(1)] * 2, Fraction(2))])


def test_what_the_solver_prints_goes_nowhere(capfd: pytest.CaptureFixture[str]) -> None:
    libc = ctypes.CDLL(None)
    with _stdout_closed():
        libc.puts(b"a line for developers")
    libc.puts(b"an answer")
    libc.fflush(None)
    assert capfd.readouterr().out == "an answer\n"
