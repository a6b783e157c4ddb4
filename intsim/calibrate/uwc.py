"""UWC: units of adjacent layers trained together, so that the error of one layer can cancel another's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from intsim.calibrate.method import Decision, Problem, decide, method
from intsim.calibrate.training_options import TrainingOptions, check_counts, check_shares
from intsim.ir.types import Grid

if TYPE_CHECKING:
    from intsim.calibrate.reconstruct import Trained
    from intsim.calibrate.trainable import WeightQuantizer

SOFT_BITS = 3
"""With `auto`, weights of so few bits go up or down only: AdaQuant's collapsed there (methods.md, 3.6)."""
NETWORK_RATE = 0.1
"""Learning rates of the whole network against those of units: what each step does adds up over all layers."""
MEASURED_IMAGES = 128
MEASURED_LAYERS = 8
"""Units of more layers, such as the whole network, have no cross term noted: it takes a run for each layer."""


@dataclass(frozen=True)
class UwcOptions(TrainingOptions):
    """Hyper-parameters of UWC.

    units          a partition of intsim.calibrate.units, or groups of layers, which may overlap
    rounding       adaquant: weights move freely; adaround: each goes up or down; auto: adaround for at most 3 bits
    rounding_rate  of AdaRound's choices
    regulariser    weight of AdaRound's push towards hard choices
    drop           share of activations that stays float while the last unit is trained (QDrop), less in those before,
                   nearly none in the first: half keeps deep units from fitting few images too closely
    network        iterations of one more unit behind the others, the whole network, whose result is the network's;
                   weights that AdaRound chose stay, scales and biases move. Without a gain on ResNet-20 at 4 bits
    """

    iterations: int = 1000
    units: str = "block"
    rounding: Literal["adaquant", "adaround", "auto"] = "adaquant"
    rounding_rate: float = 2e-2
    regulariser: float = 0.01
    drop: float = 0.0
    network: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_counts(self, 0, "network")
        check_shares(self, "drop")


@method("uwc", "adjacent layers, such as a residual block, trained together on their common output error", UwcOptions)
def uwc(problem: Problem, options: UwcOptions) -> Decision:
    """Unit-wise calibration (methods.md, section 4).

    The paper's, as its abstract says: several adjacent layers form a unit, whose output is reconstructed, because by
    the second-order expansion of its error adjacent layers can compensate what neither can alone at 4 bits and below.
    Ours, since no code or text is known to us: which layers form a unit, AdaQuant's or AdaRound's parameters inside,
    inputs from the quantized layers before, and the last unit, which is the whole network.
    Notes cross_term.UNIT: E_joint - sum E_i + (layers - 1) E_0 of the unit's squared error, where E_i has layer i
    quantized alone and E_0 none; negative where the errors of its layers cancel.
    Source: arXiv 2201.06376 (BMVC 2021).
    """
    from intsim.calibrate.reconstruct import Stage, Training, reconstruct
    from intsim.calibrate.simulation import Parametrisation
    from intsim.calibrate.trainable import FreeWeight, SoftRounding
    from intsim.calibrate.units import find_units, growing

    def weight(reals: NDArray[np.float32], grid: Grid) -> WeightQuantizer:
        few = options.rounding == "auto" and grid.element.bits <= SOFT_BITS
        if few or options.rounding == "adaround":
            return SoftRounding(reals, grid, options.regulariser)
        return FreeWeight(reals, grid)

    graph = problem.placed.graph
    rates = {**options.rates, "rounding": options.rounding_rate}
    units = find_units(graph, options.units)
    stages = [Stage(units, Training(options.iterations, rates, options.batch, drop=growing(units, options.drop)))]
    if options.network:
        slower = {kind: rate * NETWORK_RATE for kind, rate in rates.items()}
        stages.append(
            Stage(find_units(graph, "network"), Training(options.network, slower, options.batch, centered=False))
        )
    return reconstruct(problem, stages, Parametrisation(weight), decide(options.start, problem), cross_term)


def cross_term(trained: Trained) -> dict[str, str]:
    """E_joint - sum E_i + (layers - 1) E_0 of a trained unit of several layers, in its results' squared units."""
    layers = trained.unit.layers
    if not 1 < len(layers) <= MEASURED_LAYERS:
        return {}
    alone = sum(trained.error(MEASURED_IMAGES, rounded=[layer]) for layer in layers)
    joint, none = (trained.error(MEASURED_IMAGES, rounded=rounded) for rounded in (layers, ()))
    value = joint - alone + (len(layers) - 1) * none
    return {f"cross_term.{trained.unit.name}": f"{value:.4g} of {joint:.4g}"}
