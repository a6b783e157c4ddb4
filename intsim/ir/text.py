"""The graph as text: one line for each value, every attribute shown, and parsed back without loss.

    input %x : float32[N, 3, 32, 32]
    const %conv1.weight : s8[16, 3, 3, 3] {"element": "s8", ..} = base64
    %x.s8 = quantize(%x) out={"element": "s8", "scale": "2^-5"} : s8[N, 3, 32, 32]
    %conv1 = conv2d(%x.s8, %conv1.weight, %conv1.bias) stride=[1, 1] padding=[1, 1, 1, 1] .. : s32[N, 16, 32, 32]
    output %linear

A name is anything without white space, comma or parenthesis. With `elide` constants are shown by type alone, for
reading; such text does not parse back.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import numpy as np

from intsim.arithmetic.packing import pack_bits, unpack_bits
from intsim.errors import GraphError
from intsim.ir.attributes import Inline, decode_grid, decode_op, encode_fields, encode_grid
from intsim.ir.check import check
from intsim.ir.graph import Graph, Node
from intsim.ir.op import Op
from intsim.ir.types import TensorType, Value

_INPUT = re.compile(r'input %(\S+) : (\S+?)(\[[^\]]*\])(?: (\{.*\}|"\w+"))?')
_CONST = re.compile(r'const %(\S+) : \w+(\[[^\]]*\]) (\{.*\}|"\w+") = (\S*)')
_NODE = re.compile(r"%(\S+) = (\w+)\(([^)]*)\)(.*) : (\S+\[[^\]]*\])")
_ARRAYS = Inline()


def print_graph(graph: Graph, elide: bool = False) -> str:
    """Text of a graph; with `elide` the data of constants and per-channel numbers is left out.

    Only elided text can show a graph between two passes of lowering, with float chains in it.
    """
    lines = [f"meta {json.dumps(dict(graph.metadata))}"] if graph.metadata else []
    for name, type in graph.inputs.items():
        lines.append(f"input %{name} : {type}" + ("" if type.grid is None else f" {_grid(type, elide)}"))
    for name, constant in graph.constants.items():
        data = "" if elide else f" = {_encode_codes(constant)}"
        lines.append(f"const %{name} : {constant.type} {_grid(constant.type, elide)}{data}")
    for node in graph.nodes:
        shown = "".join(f" {key}={value}" for key, value in _attributes(node.op, elide).items())
        inputs = ", ".join(f"%{name}" for name in node.inputs)
        lines.append(f"%{node.name} = {node.mnemonic}({inputs}){shown} : {graph.types[node.name]}")
    lines += [f"output %{name}" for name in graph.outputs]
    return "\n".join(lines) + "\n"


def parse_graph(text: str) -> Graph:
    """The graph that a text stands for, checked; GraphError with the line where it does not parse."""
    metadata: dict[str, str] = {}
    inputs: dict[str, TensorType] = {}
    constants: dict[str, Value] = {}
    nodes: list[tuple[Node, str]] = []
    outputs: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            if line.startswith("meta "):
                metadata = json.loads(line[5:])
            elif line.startswith("input "):
                name, element, shape, grid = _match(_INPUT, line)
                inputs[name] = TensorType(
                    None if element == "float32" else decode_grid(json.loads(grid), _ARRAYS), _shape(shape)
                )
            elif line.startswith("const "):
                name, shape, grid, data = _match(_CONST, line)
                type = TensorType(decode_grid(json.loads(grid), _ARRAYS), _shape(shape))
                constants[name] = _decode_codes(type, data)
            elif line.startswith("output %"):
                outputs.append(line[8:])
            elif line.strip():
                nodes.append(_parse_node(line))
        except (GraphError, ValueError, TypeError) as error:
            raise GraphError(f"line {number}: {error}") from None
    graph = check(Graph(inputs, constants, tuple(node for node, _ in nodes), tuple(outputs), metadata))
    for node, printed in nodes:
        if str(graph.types[node.name]) != printed:
            raise GraphError(
                f"{node.mnemonic} '{node.name}': the text says {printed}, its operands give {graph.types[node.name]}"
            )
    return graph


def _match(pattern: re.Pattern[str], line: str) -> tuple[Any, ...]:
    match = pattern.fullmatch(line)
    if match is None:
        raise GraphError(f"expected {pattern.pattern.split(' ')[0]} ..., got {line[:60]!r}")
    return match.groups()


def _parse_node(line: str) -> tuple[Node, str]:
    name, mnemonic, inputs, rest, printed = _match(_NODE, line)
    attributes: dict[str, Any] = {}
    decoder = json.JSONDecoder()
    while rest := rest.strip():
        key, _, value = rest.partition("=")
        attributes[key], end = decoder.raw_decode(value)
        rest = value[end:]
    operands = tuple(operand.strip().removeprefix("%") for operand in inputs.split(",") if operand.strip())
    return Node(name, decode_op(mnemonic, attributes, _ARRAYS), operands), printed


def _shape(text: str) -> tuple[int | None, ...]:
    items = [item.strip() for item in text[1:-1].split(",") if item.strip()]
    return tuple(None if item == "N" else int(item) for item in items)


def _attributes(op: Op, elide: bool) -> dict[str, str]:
    try:
        return {key: json.dumps(value) for key, value in encode_fields(op, _ARRAYS).items()}
    except GraphError:
        if not elide:
            raise
        return {key: str(value) for key, value in vars(op).items() if value is not None}


def _grid(type: TensorType, elide: bool) -> str:
    return f"({type.grid})" if elide else json.dumps(encode_grid(type.integer, _ARRAYS))


def _encode_codes(constant: Value) -> str:
    return base64.b64encode(pack_bits(constant.codes.ravel(), constant.type.integer.element).tobytes()).decode()


def _decode_codes(type: TensorType, data: str) -> Value:
    element = type.integer.element
    packed = np.frombuffer(base64.b64decode(data, validate=True), np.uint8)
    shape = tuple(int(e or 0) for e in type.shape)
    return Value(type, unpack_bits(packed, element, type.elements()).reshape(shape))
