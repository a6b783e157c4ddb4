"""What a calibration method is: a function from a Problem to a Decision, registered under its name.

A new method is one file: decorate its function with @method and import it in __init__.py. It may run the float network,
train, and choose any codes and grids; finish.py turns whatever it decides into a QuantizedGraph. Its hyper-parameters
are a dataclass of options, which the function gets as its second argument.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from intsim.calibrate.observers import Observation
from intsim.calibrate.options import NoOptions, parse_options
from intsim.calibrate.place import Placed
from intsim.calibrate.settings import Settings
from intsim.calibrate.widths import Widths
from intsim.errors import CalibrationError, one_of
from intsim.ir.quantized import Quantizer
from intsim.ir.types import Value
from intsim.progress import Progress

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Problem:
    """What a method has to decide, and from what.

    placed        the float graph with quantize nodes, weights and biases in it
    widths        of every contraction
    observations  for every quantize node what its values look like; tied nodes have theirs in common
    inputs        the calibration data, one float32 tensor (N, ...) for each graph input
    resume        folder where a stopped calibration left its state, and where this one leaves its own
    """

    placed: Placed
    widths: Mapping[str, Widths]
    observations: Mapping[str, Observation]
    inputs: tuple[Tensor, ...]
    settings: Settings
    progress: Progress
    resume: Path | None = None


@dataclass(frozen=True, eq=False)
class Decision:
    """What a method decided.

    quantizers  for every quantize node; the same grid on tied nodes
    weights     codes of every layer with weights
    biases      float64 (O,) of layers whose bias is not the float graph's
    notes       what the method measured, for the metadata
    """

    quantizers: Mapping[str, Quantizer]
    weights: Mapping[str, Value]
    biases: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)


Decide = Callable[[Problem, Any], Decision]


@dataclass(frozen=True)
class Method:
    """A calibration method with one line that says what it does, and the dataclass of its hyper-parameters."""

    name: str
    summary: str
    decide: Decide
    options: type[Any]


METHODS: dict[str, Method] = {}
"""Every calibration method by its name."""


def method_of(settings: Settings) -> tuple[Method, Any]:
    """The method that settings name, and its options.

    raises  CalibrationError, one line: an unknown method, or one that trains; options that it does not have or take
    """
    if settings.method not in METHODS:
        from intsim.calibrate.convert import TRAINERS

        if settings.method in TRAINERS:
            raise CalibrationError(
                f"{settings.method} trains the network: use `intsim train --method {settings.method}`"
            )
    method = METHODS[one_of("method", settings.method, tuple(sorted(METHODS)), CalibrationError)]
    return method, parse_options(method.options, settings.options, method.name)


def decide(name: str, problem: Problem) -> Decision:
    """What a method decides with its own hyper-parameters as they are by default."""
    chosen = METHODS[name]
    return chosen.decide(problem, chosen.options())


def method(name: str, summary: str, options: type[Any] = NoOptions) -> Callable[[Decide], Decide]:
    """Register a function (problem, options) -> decision as a method; `options` is a frozen dataclass with defaults."""

    def register(decide: Decide) -> Decide:
        METHODS[name] = Method(name, summary, decide, options)
        return decide

    return register
