"""AdaRound, BRECQ and QDrop: peers of the other methods, each a setting of the one loop.

All learn whether each weight goes up or down. AdaRound trains layers and leaves activations to mse; BRECQ trains blocks
and the scales of activations, here together with the weights and not after them; QDrop is BRECQ with half of the
activations float while training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from intsim.calibrate.method import Decision, Problem, decide, method
from intsim.calibrate.training_options import Start, check_counts, check_rates


@dataclass(frozen=True)
class RoundingOptions:
    """Hyper-parameters of AdaRound's kin; the rate is of Adam.

    start  the method whose codes and grids training begins with
    """

    iterations: int = 1000
    batch: int = 32
    rounding_rate: float = 2e-2
    regulariser: float = 0.01
    start: Start = "mse"

    def __post_init__(self) -> None:
        check_counts(self, 1, "iterations", "batch")
        check_rates(self)


@dataclass(frozen=True)
class BlockOptions(RoundingOptions):
    """Hyper-parameters of BRECQ and QDrop, which train the scales of activations too."""

    act_scale_rate: float = 1e-3


@method("adaround", "each weight goes up or down, layer by layer; activations as mse", RoundingOptions)
def adaround(problem: Problem, options: RoundingOptions) -> Decision:
    """Source: Nagel et al. 2020, arXiv 2004.10568."""
    return _rounded(problem, options, "layer", {}, drop=0.0)


@method("brecq", "each weight goes up or down, with scales of activations, block by block", BlockOptions)
def brecq(problem: Problem, options: BlockOptions) -> Decision:
    """Source: Li et al. 2021, arXiv 2102.05426, without Fisher weights, as its scripts (methods.md, 0.3)."""
    return _rounded(problem, options, "block", {"act_scale": options.act_scale_rate}, drop=0.0)


@method("qdrop", "BRECQ with half of the activations float while training", BlockOptions)
def qdrop(problem: Problem, options: BlockOptions) -> Decision:
    """Source: Wei et al. 2022, arXiv 2203.05740."""
    return _rounded(problem, options, "block", {"act_scale": options.act_scale_rate}, drop=0.5)


def _rounded(
    problem: Problem, options: RoundingOptions, units: str, rates: Mapping[str, float], drop: float
) -> Decision:
    from functools import partial

    from intsim.calibrate.reconstruct import Stage, Training, reconstruct
    from intsim.calibrate.simulation import Parametrisation
    from intsim.calibrate.trainable import SoftRounding
    from intsim.calibrate.units import find_units

    training = Training(options.iterations, {"rounding": options.rounding_rate, **rates}, options.batch, drop=drop)
    stage = Stage(find_units(problem.placed.graph, units), training)
    parametrisation = Parametrisation(partial(SoftRounding, regulariser=options.regulariser))
    return reconstruct(problem, [stage], parametrisation, decide(options.start, problem))
