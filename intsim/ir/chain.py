"""The float chain after an accumulator, from integer levels to codes: float64 operations in a stated order.

A chain is the definition that the integers have to reproduce: the PyTorch mirror executes it, lowering turns it into a
shift, a multiplier or thresholds, and the proof shows that the two agree on every level that can occur. Every step is
made of the IEEE 754 float64 operations that its formula shows, so NumPy and PyTorch give the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intsim.arithmetic.rounding import Rounding, round_float
from intsim.errors import GraphError
from intsim.ir.functions import evaluate_function

Parameter = NDArray[np.float64]
"""float64, () per tensor or (C,) per channel."""


def _along(parameter: NDArray[Any], ndim: int, axis: int) -> NDArray[Any]:
    if parameter.ndim == 0:
        return parameter
    shape = [1] * ndim
    shape[axis] = parameter.size
    return parameter.reshape(shape)


@dataclass(frozen=True, eq=False)
class Terms:
    """v = c_1 * level_1 (+ c_2 * level_2 ...), from left to right; always the first step."""

    coefficients: tuple[Parameter, ...]


@dataclass(frozen=True, eq=False)
class Multiply:
    """v = v * factor"""

    factor: Parameter


@dataclass(frozen=True, eq=False)
class Divide:
    """v = v / divisor; the divisor may be an (H', W') map of cells, of average pooling at borders."""

    divisor: Parameter


@dataclass(frozen=True, eq=False)
class Offset:
    """v = v + offset"""

    offset: Parameter


@dataclass(frozen=True, eq=False)
class Clamp:
    """v = min(max(v, low), high), bounds in the units that v has here; infinite for none"""

    low: float
    high: float


@dataclass(frozen=True, eq=False)
class PRelu:
    """v = v where v >= 0, v * slope where it is negative"""

    slope: Parameter


@dataclass(frozen=True)
class Function:
    """v = f(v), one of float_graph.FUNCTIONS; only on codes of at most 12 bits, since it becomes a table"""

    name: str


@dataclass(frozen=True, eq=False)
class ToCodes:
    """q = clip(round(v) + zero_point, low, high); with the zero point first clip(round(v + zero_point), low, high)."""

    rounding: Rounding
    zero_point: int
    zero_point_first: bool
    low: int
    high: int

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise GraphError(f"the bounds {self.low}..{self.high} leave no code")


@dataclass(frozen=True, eq=False)
class CountThresholds:
    """q = low + #{k : v >= T_k}, or v > T_k where strict; T ascending, float64 (L,)"""

    thresholds: Parameter
    strict: bool
    low: int


Step = Terms | Multiply | Divide | Offset | Clamp | PRelu | Function | ToCodes | CountThresholds


@dataclass(frozen=True, eq=False)
class Chain:
    """From the integer levels of `sources` to the codes of one quantizer.

    sources  names of the values that it reads: accumulators, sums of an average pool, or codes (as levels)
    steps    Terms first, ToCodes or CountThresholds last
    form     how lowering has to realise it: "shift", "multiplier", "threshold", "table" or "divide"
    axis     channel axis of the per-channel parameters
    """

    sources: tuple[str, ...]
    steps: tuple[Step, ...]
    form: str
    axis: int = 1

    def evaluate(self, levels: Sequence[NDArray[Any]], axis: int | None = None) -> NDArray[np.int64]:
        """Codes for integer levels, one array for each source; `axis` overrides the channel axis."""
        axis = self.axis if axis is None else axis
        value = np.zeros((), np.float64)
        for step in self.steps:
            value = apply_step(step, value, levels, axis)
        return value.astype(np.int64)

    def at_channel(self, channel: int) -> Chain:
        """The chain of one channel, with parameters per tensor."""
        return replace(self, steps=tuple(_at_channel(step, channel) for step in self.steps))

    def __str__(self) -> str:
        return f"{self.form}[{' '.join(type(step).__name__ for step in self.steps)}]"

    @property
    def tail(self) -> ToCodes | CountThresholds:
        last = self.steps[-1]
        assert isinstance(last, ToCodes | CountThresholds)
        return last


def _at_channel(step: Step, channel: int) -> Step:
    def pick(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(pick(v) for v in value)
        if isinstance(value, np.ndarray) and value.ndim == 1 and not isinstance(step, CountThresholds):
            return value[channel if value.size > 1 else 0]
        return value

    return type(step)(**{f.name: pick(getattr(step, f.name)) for f in fields(step)})


def apply_step(
    step: Step, value: NDArray[np.float64], levels: Sequence[NDArray[Any]], axis: int
) -> NDArray[np.float64]:
    """One step on float64 values; Terms reads the levels."""
    match step:
        case Terms(coefficients):
            terms = [
                _along(c, level.ndim, axis) * level.astype(np.float64)
                for c, level in zip(coefficients, levels, strict=True)
            ]
            total = terms[0]
            for term in terms[1:]:
                total = total + term
            return total
        case Multiply(factor):
            return value * _along(factor, value.ndim, axis)
        case Divide(divisor):
            return value / (divisor if divisor.ndim != 1 else _along(divisor, value.ndim, axis))
        case Offset(offset):
            return value + _along(offset, value.ndim, axis)
        case Clamp(low, high):
            return np.minimum(np.maximum(value, low), high)
        case PRelu(slope):
            return np.where(value >= 0, value, value * _along(slope, value.ndim, axis))
        case Function(name):
            return evaluate_function(name, value)
        case ToCodes():
            if step.zero_point_first:
                return np.clip(round_float(value + step.zero_point, step.rounding), step.low, step.high)
            return np.clip(round_float(value, step.rounding) + step.zero_point, step.low, step.high)
        case CountThresholds(thresholds, strict, low):
            passed = np.searchsorted(thresholds, value, side="left" if strict else "right")
            return (low + passed).astype(np.float64)


STEPS: Mapping[str, type] = {
    cls.__name__: cls for cls in (Terms, Multiply, Divide, Offset, Clamp, PRelu, Function, ToCodes, CountThresholds)
}
"""Every kind of step by its name, for files."""
