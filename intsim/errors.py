"""Errors that a user sees: one subclass per stage, one line each, and no traceback at the command line.

A message says where, what was expected, what came, and what to do about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches


class IntsimError(Exception):
    """Bad input or a model that has no integer meaning; the command line prints it as one line and exits with 2."""


class InputError(IntsimError):
    """A file, a data set, a model reference or an option that cannot be used as given."""


class CaptureError(IntsimError):
    """A PyTorch module, or an operator in it, that has no float graph."""


class CalibrationError(IntsimError):
    """Widths, data or settings from which no quantized graph can be made."""


class LoweringError(IntsimError):
    """A quantized graph without an exact integer form, such as an accumulator that would overflow."""


class GraphError(IntsimError):
    """An integer graph that is not well-formed: shapes, types, ranges or references."""


class FileFormatError(IntsimError):
    """A damaged, truncated, foreign or hostile .intsim file."""


class BackendError(IntsimError):
    """A graph or an input that a backend cannot run."""


class CostError(IntsimError):
    """A target, a topology or a width for which no cost can be stated."""


def one_of(what: str, value: str, known: Sequence[str], error: type[IntsimError] = InputError) -> str:
    """`value`, if it is one of `known`; else an error with what there is and the nearest of it."""
    if value in known:
        return value
    nearest = get_close_matches(value, known, 1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    raise error(f"{what} {value!r}: expected {' or '.join(known)}{hint}")
