"""Cost on an accelerator: cycles, traffic and energy of a network for every width, and the best widths for a budget."""

from intsim.costing.allocate import allocate, pareto
from intsim.costing.allocation import Allocation
from intsim.costing.assignment import assigned_layers
from intsim.costing.budget import Budget, parse_budget
from intsim.costing.dataflows import Array
from intsim.costing.estimate import Estimate, LayerCost, estimate
from intsim.costing.graph_layers import layers_of
from intsim.costing.load_target import list_targets, load_target
from intsim.costing.menu import Menu, Pair, menu_of
from intsim.costing.noise import noise_sensitivities
from intsim.costing.residency import resident_layers
from intsim.costing.target import (
    FusionTarget,
    ScaleSimTarget,
    SerialTarget,
    StreamingTarget,
    SystolicTarget,
    Target,
)
from intsim.costing.topology import read_topology
from intsim.costing.trimming import trimmed_layers
from intsim.costing.workload import Gemm, Layer

__all__ = [
    "Allocation",
    "Array",
    "Budget",
    "Estimate",
    "FusionTarget",
    "Gemm",
    "Layer",
    "LayerCost",
    "Menu",
    "Pair",
    "ScaleSimTarget",
    "SerialTarget",
    "StreamingTarget",
    "SystolicTarget",
    "Target",
    "allocate",
    "assigned_layers",
    "estimate",
    "layers_of",
    "list_targets",
    "load_target",
    "menu_of",
    "noise_sensitivities",
    "pareto",
    "parse_budget",
    "read_topology",
    "resident_layers",
    "trimmed_layers",
]
