"""Where a network becomes integers: `quantize` nodes in the float graph.

Whatever a contraction, a pool or a movement reads is codes. Between two quantizers stands a chain: a contraction, the
sum of an average, or codes; then elementwise operators, each the only reader of the one before. Lowering turns a chain
into one integer operator, so what it cannot turn (a function behind an addition, for one) gets a quantizer in between.

A value that additions or other elementwise operators read as codes is a *stream* value and has the width of the
residual stream. Where a layer wants fewer bits than its input is stored with, a second quantizer narrows the stored
codes, once for all the layers that want that width. Quantizers and weights' grids that the network has itself are taken
as they are, whatever the widths.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from intsim.calibrate.given import given_quantizer, given_weight
from intsim.calibrate.settings import Settings
from intsim.calibrate.widths import Widths
from intsim.dtypes import IntType
from intsim.ir.float_graph import AVERAGES, CONTRACTIONS, ELEMENTWISE, MOVEMENTS, FloatGraph, FloatNode
from intsim.ir.quantized import Quantizer
from intsim.ir.types import Value

FUNCTION_BITS = 8
"""Width of the codes that a function reads: its table has 256 entries."""

NON_NEGATIVE_FUNCTIONS = frozenset({"sigmoid", "hardsigmoid", "exp", "softplus"})


@dataclass(frozen=True, eq=False)
class Placed:
    """A float graph with quantize nodes.

    graph     names of outputs and operands are those of the quantize nodes, where there is one
    elements  for every quantize node the type of its codes
    ties      for every concatenation the quantize nodes of its operands, which have one grid
    fixed     quantizers of graph inputs that are codes already, and of the network's own quantize nodes
    weights   codes of the layers that quantize their weights themselves
    """

    graph: FloatGraph
    elements: Mapping[str, IntType]
    ties: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    fixed: Mapping[str, Quantizer] = field(default_factory=dict)
    weights: Mapping[str, Value] = field(default_factory=dict)

    @property
    def has_own_quantizers(self) -> bool:
        """Whether the network brought quantizers of weights or activations along."""
        return bool(self.weights) or not self.fixed.keys() <= self.graph.inputs.keys()

    @property
    def open_layers(self) -> tuple[FloatNode, ...]:
        """The layers whose weights a method has to choose codes for."""
        return tuple(node for node in self.graph.weighted if node.name not in self.weights)


def place(
    graph: FloatGraph, widths: Mapping[str, Widths], settings: Settings, fixed: Mapping[str, Quantizer] | None = None
) -> Placed:
    """The graph with a quantize node wherever codes are read.

    widths  of every contraction
    fixed   quantizers of graph inputs that are codes already
    """
    return _Placer(graph, widths, settings, fixed or {}).place()


class _Placer:
    """One walk over the nodes. Every value is either `raw` (an unquantized result) or stored as codes."""

    def __init__(
        self, graph: FloatGraph, widths: Mapping[str, Widths], settings: Settings, fixed: Mapping[str, Quantizer]
    ):
        self.graph, self.widths, self.settings, self.fixed = graph, widths, settings, dict(fixed)
        self.stored_bits = _stored_bits(graph, widths, settings)
        self.non_negative = _non_negative(graph)
        self.position = {node.name: i for i, node in enumerate(graph.nodes)}
        self.nodes: list[FloatNode] = []
        self.shapes = dict(graph.shapes)
        self.elements: dict[str, IntType] = {}
        self.ties: dict[str, tuple[str, ...]] = {}
        self.raw = {name for name in graph.inputs if name not in fixed}
        self.roots: dict[str, str] = {}  # of a raw value: the operator that its chain begins with
        self.codes = {name: name for name in fixed}  # of a stored value: the name of its codes
        self.bits = {name: quantizer.grid.element.bits for name, quantizer in fixed.items()}
        self.narrowed: dict[tuple[str, int], str] = {}
        self.own: set[str] = set()  # values that are codes of the network's own quantizers

    def place(self) -> Placed:
        for node in self.graph.nodes:
            if node.op == "concat":
                self._concat(node)
            elif node.op in MOVEMENTS:
                inputs = tuple(self.read(name, self.stored_bits[node.name]) for name in node.inputs)
                self._emit(node, inputs)
                self.codes[node.name] = node.name
                self.bits[node.name] = self.bits[inputs[0]]
                self.own |= {node.name} if node.inputs[0] in self.own else set()
            elif node.op in CONTRACTIONS:
                self._emit_raw(node, tuple(self.read(name, self.widths[node.name].act_bits) for name in node.inputs))
            elif node.op in AVERAGES:
                self._emit_raw(node, tuple(self.read(name, self.stored_bits[node.name]) for name in node.inputs))
            elif node.op == "add":
                self._add(node)
            elif node.op == "quantize":
                self._own_quantizer(node)
            else:
                self._elementwise(node)
        outputs = tuple(self._output(name) for name in self.graph.outputs)
        placed = replace(self.graph, nodes=tuple(self.nodes), outputs=outputs, shapes=self.shapes)
        weights = {node.name: given_weight(node) for node in placed.weighted if node.grid is not None}
        return Placed(placed, self.elements, self.ties, self.fixed, weights)

    # --- reading values as codes

    def read(self, value: str, bits: int) -> str:
        """The name of codes of a value, of at most `bits` bits unless it is stored with fewer."""
        if value in self.raw:
            self.raw.remove(value)
            element = self._element(value, self.stored_bits[value])
            self.codes[value] = self._quantize(value, f"{value}.{element}", element)
        name = self.codes[value]
        if bits >= self.bits[name] or value in self.own:
            return name
        if (value, bits) not in self.narrowed:
            element = self._element(value, bits)
            self.narrowed[value, bits] = self._quantize(name, f"{value}.{element}", element)
        return self.narrowed[value, bits]

    def _element(self, value: str, bits: int) -> IntType:
        return IntType(self.settings.act_grid == "symmetric" and value not in self.non_negative, bits)

    def _quantize(self, source: str, name: str, element: IntType) -> str:
        while name in self.shapes:
            name += "_"
        origin = self.graph.by_name.get(source)
        self.nodes.append(FloatNode(name, "quantize", (source,), source=origin.source if origin else ""))
        self.shapes[name] = self.shapes[source]
        self.elements[name] = element
        self.bits[name] = element.bits
        return name

    # --- one kind of node each

    def _emit(self, node: FloatNode, inputs: tuple[str, ...]) -> None:
        self.nodes.append(replace(node, inputs=inputs))

    def _emit_raw(self, node: FloatNode, inputs: tuple[str, ...], root: str | None = None) -> None:
        self._emit(node, inputs)
        self.raw.add(node.name)
        self.roots[node.name] = root or node.op

    def _only_reader(self, value: str, node: FloatNode) -> bool:
        """Whether a raw value goes into this node once, and nowhere else."""
        alone = self.graph.consumers[value] == (node,) and node.inputs.count(value) == 1
        return value in self.raw and value in self.roots and alone and value not in self.graph.outputs

    def _add(self, node: FloatNode) -> None:
        """One accumulator at most goes into the sum unrounded: the last, so that the others are there before it."""
        results = [v for v in node.inputs if self._only_reader(v, node)]
        accumulators = [v for v in results if self.graph.by_name[v].op in CONTRACTIONS]
        fused = max(accumulators, key=self.position.__getitem__, default=None)
        inputs = tuple(v if v == fused else self.read(v, self.stored_bits[v]) for v in node.inputs)
        self._emit_raw(node, inputs)

    def _own_quantizer(self, node: FloatNode) -> None:
        """Behind the chain of what it reads, or behind codes of it where that chain cannot end in this quantizer."""
        (value,) = node.inputs
        compares = "thresholds" in node.arrays
        direct = value in self.raw and (value in self.graph.inputs or self._only_reader(value, node))
        summed = self.roots.get(value) in {"add", *AVERAGES} or value in self.graph.inputs
        absorbed = direct and not (compares and summed)
        self._emit(node, node.inputs if absorbed else (self.read(value, self.stored_bits[value]),))
        self.fixed[node.name] = given_quantizer(node)
        self.codes[node.name] = node.name
        self.bits[node.name] = self.fixed[node.name].grid.element.bits
        self.own.add(node.name)

    def _elementwise(self, node: FloatNode) -> None:
        (value,) = node.inputs
        if self._only_reader(value, node) and self._absorbs(self.roots[value], node):
            self._emit_raw(node, node.inputs, self.roots[value])
        else:
            bits = FUNCTION_BITS if node.op == "function" else self.stored_bits[value]
            self._emit_raw(node, (self.read(value, bits),))

    @staticmethod
    def _absorbs(root: str, node: FloatNode) -> bool:
        """Whether a chain that begins with `root` stays one integer operator with this node in it."""
        if node.op == "function" or root in AVERAGES:
            return False
        if root == "add":  # thresholds compare one operand, so what needs them cannot follow a sum of two
            return node.op in ("relu", "clamp")
        if root == "function":  # one table serves all channels
            return all(array.size == 1 for array in node.arrays.values())
        return True

    def _concat(self, node: FloatNode) -> None:
        """Every operand gets its own quantizer onto the common grid, straight from its chain where it can."""
        element = self._element(node.name, self.stored_bits[node.name])
        names = []
        for i, value in enumerate(node.inputs):
            if self._only_reader(value, node):
                self.raw.remove(value)
                source = value
            else:
                source = self.read(value, self.stored_bits[value])
            names.append(self._quantize(source, f"{node.name}.{i}.{element}", element))
        self._emit(node, tuple(names))
        self.ties[node.name] = tuple(names)
        self.codes[node.name] = node.name
        self.bits[node.name] = element.bits

    def _output(self, value: str) -> str:
        """Accumulators leave the graph as they are, everything else as codes."""
        node = self.graph.by_name.get(value)
        if node is not None and node.op in CONTRACTIONS:
            return value
        return self.read(value, self.stored_bits[value])


def _stored_bits(graph: FloatGraph, widths: Mapping[str, Widths], settings: Settings) -> dict[str, int]:
    """For every value the width of its codes, if it gets any: what its readers want, the stream's if it is one."""
    bits: dict[str, int] = {}
    streams: set[str] = set()
    for value in reversed([*graph.inputs, *(node.name for node in graph.nodes)]):
        wanted = [settings.first_last_bits] if value in graph.outputs else []
        for reader in graph.consumers[value]:
            if reader.op in CONTRACTIONS:
                wanted.append(widths[reader.name].act_bits)
            elif reader.op == "function":
                wanted.append(FUNCTION_BITS)
            elif reader.op in ELEMENTWISE | {"quantize"} or (reader.op in MOVEMENTS and reader.name in streams):
                streams.add(value)
            else:
                wanted.append(bits[reader.name])
        bits[value] = settings.residual_bits if value in streams else max(wanted, default=settings.act_bits)
    return bits


def _non_negative(graph: FloatGraph) -> set[str]:
    """The values that cannot be negative, whatever the input."""
    found: set[str] = set()
    for node in graph.nodes:
        operands = all(name in found for name in node.inputs)
        match node.op:
            case "relu":
                holds = True
            case "quantize":
                holds = node.attributes.get("low", 0) >= node.attributes.get("zero_point", 0)
            case "clamp":
                low = node.attributes.get("low")
                holds = operands or (low is not None and low >= 0)
            case "function":
                holds = node.attributes["function"] in NON_NEGATIVE_FUNCTIONS
            case "add":
                holds = operands and min(node.attributes["coefficients"]) > 0
            case "mul":
                holds = operands and bool((node.arrays["factor"] >= 0).all())
            case op:
                holds = operands and op in MOVEMENTS | AVERAGES
        if holds:
            found.add(node.name)
    return found
