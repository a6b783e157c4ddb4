"""The quantized graph as JSON beside the integer graph, with which it shares weights, nodes and grids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, cast

from intsim.arithmetic.accumulate import Accumulator
from intsim.arithmetic.rounding import Rounding
from intsim.errors import GraphError
from intsim.ir.attributes import decode_fields, encode_fields
from intsim.ir.blob import Blob
from intsim.ir.chain import STEPS, Chain, Step
from intsim.ir.file_graph import decode_name
from intsim.ir.float_graph import CONTRACTIONS, MOVEMENTS, OPERATORS, FloatGraph, FloatNode
from intsim.ir.graph import Graph
from intsim.ir.quantized import QuantizedGraph, QuantizedWeight, Quantizer
from intsim.ir.types import TensorType


def encode_quantized(quantized: QuantizedGraph, integers: Graph, blob: Blob) -> dict[str, Any]:
    """What the integer graph says already is not said again: a node or quantizer that stands in both is its name."""
    graph = quantized.graph
    nodes: list[Any] = []
    for node in graph.nodes:
        arrays = {key: blob.put(array) for key, array in node.arrays.items()}
        attributes = _plain_json(node.attributes)
        token = [node.name, node.op, list(node.inputs), list(graph.shapes[node.name]), attributes, arrays]
        shared = _shared_node(integers, node.name)
        nodes.append(
            node.name if shared is not None and shared == (node.op, node.inputs, dict(node.attributes)) else token
        )
    return {
        "inputs": list(graph.inputs),
        "outputs": list(graph.outputs),
        "nodes": nodes,
        "quantizers": {
            name: None if _is_plain(q, integers.types[name]) else encode_fields(q, blob, defaults=False)
            for name, q in quantized.quantizers.items()
        },
        "biased": [name for name, w in quantized.weights.items() if w.bias is not None],
        "chains": {name: _encode_chain(chain, blob) for name, chain in quantized.chains.items()},
        "pad_codes": dict(quantized.pad_codes),
        "accumulators": {name: str(acc) for name, acc in quantized.accumulators.items()},
    }


def _is_plain(quantizer: Quantizer, type: TensorType) -> bool:
    """Whether a quantizer is only the grid that the integer graph has for its codes."""
    uniform = (Rounding.HALF_EVEN, False, False)
    settings = (quantizer.rounding, quantizer.zero_point_first, quantizer.strict)
    return quantizer.thresholds is None and quantizer.grid == type.grid and settings == uniform


def _shared_node(graph: Graph, name: str) -> tuple[str, tuple[str, ...], dict[str, Any]] | None:
    """Operator, inputs and attributes of an integer node in float normal form; None where it has none."""
    node = graph.by_name.get(name)
    if node is None or node.mnemonic not in CONTRACTIONS | MOVEMENTS:
        return None
    inputs = tuple(source for source in node.inputs if source not in graph.constants)
    own = {f.name: getattr(node.op, f.name) for f in fields(cast(Any, node.op))}
    for integer_only in ("accumulator", "pad_code", "code"):
        own.pop(integer_only, None)
    return node.mnemonic, inputs, own


def _plain_json(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in attributes.items()}


def _encode_chain(chain: Chain, blob: Blob) -> list[Any]:
    steps = [[type(step).__name__, *encode_fields(step, blob).values()] for step in chain.steps]
    return [list(chain.sources), chain.form, chain.axis, steps]


def decode_quantized(token: Any, blob: Blob, graph: Graph) -> QuantizedGraph:
    """The quantized graph; weights and biases are the integer graph's own."""
    shapes = {name: graph.inputs[name].shape for name in token["inputs"]}
    nodes = []
    for item in token["nodes"]:
        node, shape = _decode_float_node(item, blob, graph)
        if node.op not in OPERATORS or not set(node.inputs) <= set(shapes) or node.name in shapes:
            raise GraphError(f"quantized graph: {node.op!r} '{node.name}' is unknown, out of order or named twice")
        nodes.append(node)
        shapes[node.name] = shape
    float_graph = FloatGraph(
        {name: shapes[name] for name in token["inputs"]}, tuple(nodes), tuple(token["outputs"]), shapes
    )
    weights = {}
    for node in float_graph.weighted:
        bias = graph.constants[f"{node.name}.bias"].levels if node.name in token["biased"] else None
        weights[node.name] = QuantizedWeight(graph.constants[f"{node.name}.weight"], bias)
    quantizers = {
        name: Quantizer(graph.types[name].integer) if item is None else decode_fields(Quantizer, item, blob)
        for name, item in token["quantizers"].items()
    }
    chains = {name: _decode_chain(item, blob, shapes) for name, item in token["chains"].items()}
    if not set(chains) <= set(quantizers) <= set(shapes):
        raise GraphError("quantized graph: a chain without a quantizer, or a quantizer without a value")
    accumulators = {name: Accumulator.parse(text) for name, text in token["accumulators"].items()}
    return QuantizedGraph(
        float_graph, quantizers, weights, chains, dict(token["pad_codes"]), accumulators, graph.metadata
    )


def _decode_float_node(token: Any, blob: Blob, graph: Graph) -> tuple[FloatNode, tuple[int | None, ...]]:
    if isinstance(token, str):
        shared = _shared_node(graph, token)
        if shared is None:
            raise GraphError(f"quantized graph: '{token}' is no node of the integer graph")
        return FloatNode(token, *shared), graph.types[token].shape
    name, op, inputs, shape, attributes, arrays = token
    values = {key: tuple(v) if isinstance(v, list) else v for key, v in attributes.items()}
    kept = {key: blob.get(array) for key, array in arrays.items()}
    return FloatNode(decode_name(name), op, tuple(map(decode_name, inputs)), values, kept), tuple(shape)


def _decode_chain(token: Any, blob: Blob, shapes: Mapping[str, Any]) -> Chain:
    sources, form, axis, steps = token
    if not set(sources) <= set(shapes) or not isinstance(form, str) or not isinstance(axis, int):
        raise GraphError(f"chain: unknown sources {str(sources)[:60]}")
    return Chain(tuple(sources), tuple(_decode_step(*step, blob=blob) for step in steps), form, axis)


def _decode_step(kind: str, *values: Any, blob: Blob) -> Step:
    """A step from its name and its fields in order."""
    names = [f.name for f in fields(STEPS[kind])]
    return cast(Step, decode_fields(STEPS[kind], dict(zip(names, values, strict=True)), blob))
