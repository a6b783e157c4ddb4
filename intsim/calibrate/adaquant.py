"""AdaQuant: layer by layer, weights, bias and the ranges of weights and activations trained together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from intsim.calibrate.method import Decision, Problem, decide, method
from intsim.calibrate.training_options import TrainingOptions


@dataclass(frozen=True)
class AdaQuantOptions(TrainingOptions):
    """Hyper-parameters of AdaQuant.

    mode   sequential: a layer reads what arrives from the quantized layers before it; parallel: what the float network
           gives, so that layers do not depend on each other
    units  a partition of intsim.calibrate.units, or groups of layers
    """

    mode: Literal["sequential", "parallel"] = "sequential"
    units: str = "layer"


@method("adaquant", "weights, bias and ranges trained layer by layer on its output error", AdaQuantOptions)
def adaquant(problem: Problem, options: AdaQuantOptions) -> Decision:
    """The weights may move by any number of steps, unlike AdaRound's (methods.md, section 3).

    Ours: the loss is taken behind the activation and the addition, zero points of weights stay, the ranges of
    activations are scale and integer zero point, every image's input is the quantized one in sequential mode, batches
    of large feature maps have fewer images, and learning rates are in units of the quantization step, because the
    released ones fit 8 bits alone.
    Source: Hubara et al. 2021, arXiv 2006.10518, and its code.
    """
    from intsim.calibrate.reconstruct import Stage, Training, reconstruct
    from intsim.calibrate.simulation import Parametrisation
    from intsim.calibrate.trainable import FreeWeight
    from intsim.calibrate.units import find_units

    parallel = options.mode == "parallel"
    training = Training(options.iterations, options.rates, options.batch, parallel=parallel)
    units = find_units(problem.placed.graph, options.units)
    return reconstruct(problem, [Stage(units, training)], Parametrisation(FreeWeight), decide(options.start, problem))
