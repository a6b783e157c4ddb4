"""The integer program: limits hold exactly where doubles cannot tell, and nothing is printed."""

from __future__ import annotations

import ctypes
from fractions import Fraction

import pytest

from intsim.costing.integer_program import Limit, _stdout_closed, pick

pytestmark = pytest.mark.torchless


def test_a_limit_that_doubles_cannot_tell_from_its_neighbours() -> None:
    """HiGHS keeps limits to a millionth; here they are missed by a billionth, by the two choices that look best."""
    hair = Fraction(1, 10**9)
    terms = [Fraction(1), 1 + hair, 1 + 2 * hair, Fraction(1), 1 + hair]
    objective = [Fraction(value) for value in (9, 3, 2, 5, 1)]
    assert pick([3, 2], objective, [Limit(terms, 2 + hair)]) == (1, 0)
    assert pick([3, 2], objective, [Limit(terms, 2 + 2 * hair)]) == (1, 1)
    assert pick([3, 2], objective, [Limit(terms, 2 - hair)]) is None


def test_huge_and_tiny_amounts() -> None:
    huge, tiny = Fraction(10) ** 40, Fraction(1, 10**40)
    assert pick([2, 2], [2 * tiny, tiny, tiny, 3 * tiny], [Limit([huge, 2 * huge, huge, huge], 3 * huge)]) == (1, 0)
    assert pick([1], [Fraction(0)], []) == (0,)


def test_what_the_solver_prints_goes_nowhere(capfd: pytest.CaptureFixture[str]) -> None:
    libc = ctypes.CDLL(None)
    with _stdout_closed():
        libc.puts(b"a line for developers")
    libc.puts(b"an answer")
    libc.fflush(None)
    assert capfd.readouterr().out == "an answer\n"
