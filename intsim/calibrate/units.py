"""Reconstruction units: what calibration trains together, found in the placed graph.

The placed graph is a sequence of *steps*: a contraction, the elementwise operators behind it that its chain absorbs,
and before it the quantizers and movements that lead to it. Units are runs of consecutive steps, so a unit begins with
the quantizers of what it reads and ends with raw results, post-activation and post-add, which training compares with
the float network's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from intsim.errors import CalibrationError
from intsim.ir.float_graph import AVERAGES, CONTRACTIONS, ELEMENTWISE, MOVEMENTS, FloatGraph, FloatNode

LARGEST_BLOCK = 8
"""Layers between a stream value and the addition that are still one block; a longer way is no residual block."""

Step = tuple[FloatNode, ...]


@dataclass(frozen=True, eq=False)
class Unit:
    """Consecutive nodes that are trained at their common results.

    name     the layer's, or what the names of the layers have in common
    nodes    in order of evaluation
    layers   names of its contractions
    targets  the raw results among its values that later nodes or the user read: what training compares
    """

    name: str
    nodes: tuple[FloatNode, ...]
    layers: tuple[str, ...]
    targets: tuple[str, ...]


def find_units(graph: FloatGraph, partition: str) -> list[Unit]:
    """The units of a placed graph, in order; they may overlap.

    partition  layer: every contraction by itself
               block: residual blocks, from the value that both operands of an addition come from to that addition;
               elsewhere layers up to one without an activation (an inverted residual that adds nothing); single
               layers, the first and the last among them
               pairs: every two neighbours within a block, so that inner layers are trained twice
               network: everything at once
               else groups such as "conv1,layer1.0.conv1+layer1.0.conv2,layer1.1,fc": layers joined by +; the path of a
               module stands for all layers in it; trained in the network's order, whatever theirs is
    raises     CalibrationError for groups that leave a layer out, name one that is not there, or are not neighbours
    """
    steps = _steps(graph)
    match partition:
        case "layer":
            runs = [range(i, i + 1) for i in range(len(steps))]
        case "block":
            runs = _blocks(graph, steps)
        case "pairs":
            runs = [pair for block in _blocks(graph, steps) for pair in _pairs(block)]
        case "network":
            runs = [range(len(steps))]
        case _:
            runs = _groups(steps, partition)
    return [_unit(graph, [node for i in run for node in steps[i]]) for run in runs]


def growing(units: Sequence[Unit], last: float) -> Callable[[Unit], float]:
    """What grows evenly from unit to unit, from nearly 0 for the first to `last` for the last one."""
    shares = {unit: last * i / len(units) for i, unit in enumerate(units, start=1)}
    return shares.__getitem__


def _steps(graph: FloatGraph) -> list[Step]:
    """The nodes cut behind every chain that begins with a contraction or an addition."""
    pieces: list[list[FloatNode]] = [[]]
    tail = None  # the raw result at the end of the last piece, while elementwise operators continue its chain
    for node in graph.nodes:
        if tail is not None and not (node.op in ELEMENTWISE and tail in node.inputs):
            pieces.append([])
            tail = None
        pieces[-1].append(node)
        if tail is not None or node.op in CONTRACTIONS or node.op == "add":
            tail = node.name
    steps: list[list[FloatNode]] = []
    for piece in pieces:
        if steps and not _layers(piece):  # an addition of codes, or what follows the last layer
            steps[-1].extend(piece)
        else:
            steps.append(piece)
    if len(steps) > 1 and not _layers(steps[0]):
        steps[:2] = [steps[0] + steps[1]]
    return [tuple(step) for step in steps]


def _layers(nodes: Iterable[FloatNode]) -> list[str]:
    return [node.name for node in nodes if node.op in CONTRACTIONS]


def _unit(graph: FloatGraph, nodes: Sequence[FloatNode]) -> Unit:
    inside = {node.name for node in nodes}
    raw = CONTRACTIONS | ELEMENTWISE | AVERAGES
    read_outside = {
        node.name
        for node in nodes
        if node.name in graph.outputs or any(reader.name not in inside for reader in graph.consumers[node.name])
    }
    targets = tuple(node.name for node in nodes if node.name in read_outside and node.op in raw)
    layers = _layers(nodes)
    return Unit(_common_name(layers or [nodes[0].name]), tuple(nodes), tuple(layers), targets or (nodes[-1].name,))


def _common_name(layers: Sequence[str]) -> str:
    if len(layers) == 1:
        return layers[0]
    parts = []
    for level in zip(*(name.split(".") for name in layers), strict=False):
        if len(set(level)) > 1:
            break
        parts.append(level[0])
    return ".".join(parts) or f"{layers[0]}..{layers[-1]}"


def _blocks(graph: FloatGraph, steps: Sequence[Step]) -> list[range]:
    """Runs of steps: residual blocks, inverted residuals, and single layers in between."""
    step_of = {node.name: i for i, step in enumerate(steps) for node in step}
    inner = [False] * len(steps)  # whether a step belongs with the one after it
    for node in graph.nodes:
        if node.op != "add":
            continue
        start, stop = step_of.get(_fork(graph, node), -1) + 1, step_of[node.name]
        if stop - start < LARGEST_BLOCK:
            inner[start:stop] = [True] * (stop - start)
    runs: list[range] = []
    pending: list[int] = []  # steps that end in an activation, outside of blocks
    i = 0
    while i < len(steps):
        stop = i
        while inner[stop]:
            stop += 1
        single = i in (0, len(steps) - 1)
        if stop > i or single or any(node.op == "add" for node in steps[i]):
            runs += [range(p, p + 1) for p in pending] + [range(i, stop + 1)]
            pending = []
        elif steps[i][-1].op in CONTRACTIONS:  # no activation behind it
            runs.append(range(pending[0] if pending else i, i + 1))
            pending = []
        else:
            pending.append(i)
        i = stop + 1
    return runs + [range(p, p + 1) for p in pending]


def _fork(graph: FloatGraph, add: FloatNode) -> str:
    """The last raw value that both operands of an addition are made from, or may be."""
    position = {node.name: i for i, node in enumerate(graph.nodes)}
    behind: dict[str, set[str]] = {}
    for operand in add.inputs:
        found, pending = set[str](), [operand]
        while pending:
            name = pending.pop()
            if name not in found:
                found.add(name)
                pending.extend(graph.by_name[name].inputs if name in graph.by_name else ())
        behind[operand] = found
    common = set.intersection(*behind.values())
    name = max(common, key=lambda name: position.get(name, -1), default="")
    while name in graph.by_name and graph.by_name[name].op in MOVEMENTS | {"quantize"}:
        name = graph.by_name[name].inputs[0]
    return name


def _pairs(block: range) -> list[range]:
    return [range(i, i + 2) for i in block[:-1]] if len(block) > 2 else [block]


def _groups(steps: Sequence[Step], text: str) -> list[range]:
    step_of = {name: i for i, step in enumerate(steps) for name in _layers(step)}
    runs = []
    for group in text.split(","):
        found: set[int] = set()
        for name in map(str.strip, group.split("+")):
            members = {i for layer, i in step_of.items() if layer == name or layer.startswith(f"{name}.")}
            if not members:
                known = ["layer", "block", "pairs", "network", *step_of] if group == text else list(step_of)
                nearest = get_close_matches(name, known, n=1, cutoff=0)[0]
                raise CalibrationError(f"units: there is no layer or module '{name}'; did you mean '{nearest}'?")
            found |= members
        run = range(min(found), max(found) + 1)
        gap = next((i for i in run if i not in found), None)
        if gap is not None:
            raise CalibrationError(
                f"units: '{group}' is no run of neighbours: '{_layers(steps[gap])[0]}' lies in between"
            )
        runs.append(run)
    missing = [layer for layer, i in step_of.items() if not any(i in run for run in runs)]
    if missing:
        raise CalibrationError(f"units: '{missing[0]}' is in none of them ({len(missing)} layers left out)")
    return sorted(runs, key=lambda run: (run.start, run.stop))
