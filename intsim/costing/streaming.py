"""A streaming dataflow such as FINN's: every layer is hardware of its own, and all work at once on successive parts."""

from __future__ import annotations

from collections.abc import Sequence

from intsim.costing.cost import Cost
from intsim.costing.folding import Stage, fold, is_depthwise
from intsim.costing.fpga import resources
from intsim.costing.memory import Traffic
from intsim.costing.target import StreamingTarget
from intsim.costing.workload import Layer
from intsim.errors import CostError


def streaming_costs(layers: Sequence[Layer], target: StreamingTarget, batch: int) -> list[Cost]:
    """Costs of all layers, folded for the frame that the target states, or for the best that they all can reach.

    A layer's cycles are those of its slower unit. Nothing waits for DRAM, which only the network's input comes from.
    raises   CostError: a product of two activations, a grouped convolution, a width that the target does not support
    """
    for layer in layers:
        _check(layer, target)
    stages = [fold(layer, target, target.frame.value) for layer in layers]
    reached = max((stage.interval for stage in stages), default=0)
    if reached > target.frame.value:
        stages = [fold(layer, target, reached) for layer in layers]
    return [_cost(stage, target, batch) for stage in stages]


def _check(layer: Layer, target: StreamingTarget) -> None:
    where = f"layer '{layer.name}'"
    if layer.kind == "matmul":
        raise CostError(f"{where}: multiplies two activations, but target '{target.name}' keeps weights on the chip")
    if layer.groups > 1 and not is_depthwise(layer):
        raise CostError(f"{where}: has {layer.groups} groups; target '{target.name}' supports 1, or one per channel")
    widths = (
        ("weights", layer.weight_bits, target.widest_weight),
        ("activations", layer.act_bits, target.widest_activation),
    )
    for name, bits, widest in widths:
        if bits > widest.value:
            raise CostError(
                f"{where}: {name} have {bits} bits, but target '{target.name}' supports 1 to {widest.value}; "
                "use fewer bits or another target"
            )


def _cost(stage: Stage, target: StreamingTarget, batch: int) -> Cost:
    layer = stage.layer
    macs = layer.gemm(batch).macs
    read = batch * layer.input_bits(layer.gemm(1), layer.gemm(1).m) if layer.from_input else 0
    dram = Traffic(read, 0)
    return Cost(
        macs,
        batch * stage.interval,
        0,
        {"dram": dram},
        {"dram": dram.picojoules(target.memory.dram)},
        stage.pe * stage.simd,
        "compute",
        (),
        resources(stage, target),
    )
