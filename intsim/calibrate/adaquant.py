"""AdaQuant: layer by layer, weights, bias and the ranges of weights and activations trained together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from intsim.calibrate.method import Decision, Problem, method
from intsim.errors import CalibrationError


@dataclass(frozen=True)
class AdaQuantOptions:
    """Hyper-parameters of AdaQuant; learning rates are in quantization steps an iteration, of scales in shares of them.

    mode        sequential: a layer reads what arrives from the quantized layers before it; parallel: what the float
                network gives, so that layers do not depend on each other
    units       a partition of intsim.calibrate.units, or groups of layers
    """

    iterations: int = 700
    batch: int = 32
    mode: Literal["sequential", "parallel"] = "sequential"
    units: str = "layer"
    weight_rate: float = 1e-2
    weight_scale_rate: float = 1e-3
    bias_rate: float = 1e-2
    act_scale_rate: float = 1e-3

    def __post_init__(self) -> None:
        for name in ("iterations", "batch"):
            if getattr(self, name) < 1:
                raise CalibrationError(f"{name}: expected at least 1, got {getattr(self, name)}")


@method("adaquant", "weights, bias and ranges trained layer by layer on its output error", AdaQuantOptions)
def adaquant(problem: Problem, options: AdaQuantOptions) -> Decision:
    """The weights may move by any number of steps, unlike AdaRound's (methods.md, section 3).

    Ours: the loss is taken behind the activation and the addition, zero points of weights stay, the ranges of
    activations are scale and integer zero point, every image's input is the quantized one in sequential mode, and
    learning rates are in units of the quantization step, because the released ones fit 8 bits alone.
    Source: Hubara et al. 2021, arXiv 2006.10518, and its code.
    """
    from intsim.calibrate.reconstruct import Stage, Training, reconstruct
    from intsim.calibrate.simulation import Parametrisation
    from intsim.calibrate.trainable import FreeWeight
    from intsim.calibrate.units import find_units

    rates = {
        "weight": options.weight_rate,
        "weight_scale": options.weight_scale_rate,
        "bias": options.bias_rate,
        "act_scale": options.act_scale_rate,
        "act_zero_point": options.act_scale_rate * 10,
    }
    training = Training(options.iterations, rates, options.batch, parallel=options.mode == "parallel")
    units = find_units(problem.placed.graph, options.units)
    return reconstruct(problem, [Stage(units, training)], Parametrisation(FreeWeight))
