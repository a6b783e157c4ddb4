"""Cost on an accelerator: cycles, traffic and energy of a network, for every width."""

from intsim.costing.dataflows import Array
from intsim.costing.estimate import Estimate, LayerCost, estimate
from intsim.costing.graph_layers import layers_of
from intsim.costing.target import FusionTarget, ScaleSimTarget, SystolicTarget, Target, list_targets, load_target
from intsim.costing.topology import read_topology
from intsim.costing.workload import Gemm, Layer

__all__ = [
    "Array",
    "Estimate",
    "FusionTarget",
    "Gemm",
    "Layer",
    "LayerCost",
    "ScaleSimTarget",
    "SystolicTarget",
    "Target",
    "estimate",
    "layers_of",
    "list_targets",
    "load_target",
    "read_topology",
]
