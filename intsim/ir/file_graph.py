"""The integer graph as JSON and packed arrays, and back; every size, reference and range is checked on the way back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intsim.arithmetic.packing import pack_bits, unpack_bits
from intsim.errors import GraphError
from intsim.ir.attributes import decode_grid, decode_op, encode_fields, encode_grid
from intsim.ir.blob import Blob
from intsim.ir.graph import Graph, Node
from intsim.ir.types import TensorType, Value


def encode_graph(graph: Graph, blob: Blob, tensors: dict[str, NDArray[np.uint8]]) -> dict[str, Any]:
    constants: dict[str, Any] = {}
    for name, value in graph.constants.items():
        grid = value.type.integer
        constants[name] = {"shape": list(value.codes.shape), "grid": encode_grid(grid, blob)}
        if value.codes.ndim > 1:
            tensors[name] = pack_bits(value.codes.ravel(), grid.element)
        else:
            constants[name]["data"] = blob.put_codes(value.codes, grid.element)
    return {
        "inputs": {
            name: {"shape": list(t.shape), **({} if t.grid is None else {"grid": encode_grid(t.grid, blob)})}
            for name, t in graph.inputs.items()
        },
        "constants": constants,
        "nodes": [
            [node.name, node.mnemonic, list(node.inputs), encode_fields(node.op, blob, defaults=False)]
            for node in graph.nodes
        ],
        "outputs": list(graph.outputs),
        "metadata": dict(graph.metadata),
    }


def decode_graph(token: Any, blob: Blob, tensors: Mapping[str, NDArray[Any]]) -> Graph:
    inputs = {decode_name(name): _decode_type(t, blob) for name, t in token["inputs"].items()}
    constants = {}
    for name, item in token["constants"].items():
        type = _decode_type(item, blob)
        try:
            constants[decode_name(name)] = _decode_constant(type, item, blob, tensors.get(name))
        except (GraphError, ValueError) as error:
            raise GraphError(f"constant '{name}': {error}") from None
    nodes = tuple(_decode_node(item, blob) for item in token["nodes"])
    metadata = {str(k): str(v) for k, v in token["metadata"].items()}
    return Graph(inputs, constants, nodes, tuple(map(decode_name, token["outputs"])), metadata)


def _decode_type(token: Any, blob: Blob) -> TensorType:
    shape = tuple(token["shape"])
    if not all(e is None or (isinstance(e, int) and not isinstance(e, bool) and 0 < e < 1 << 32) for e in shape):
        raise GraphError(f"shape {str(shape)[:60]}: expected positive extents below 2**32")
    return TensorType(decode_grid(token["grid"], blob) if "grid" in token else None, shape)


def _decode_constant(type: TensorType, item: Any, blob: Blob, packed: NDArray[np.uint8] | None) -> Value:
    element, count = type.integer.element, type.elements()
    if None in type.shape:
        raise GraphError("a constant has no batch")
    if "data" in item:
        codes = blob.get_codes(item["data"], element, count).astype(element.storage)
    elif packed is not None and packed.size == (count * element.bits + 7) // 8:
        codes = unpack_bits(packed, element, count)
    else:
        raise GraphError(
            f"expected {(count * element.bits + 7) // 8} bytes, got {0 if packed is None else packed.size}"
        )
    return Value(type, codes.reshape([int(e or 0) for e in type.shape]))


def _decode_node(token: Any, blob: Blob) -> Node:
    name, mnemonic, inputs, attributes = token
    try:
        return Node(decode_name(name), decode_op(mnemonic, attributes, blob), tuple(map(decode_name, inputs)))
    except GraphError as error:
        raise GraphError(f"{mnemonic} '{name}': {error}") from None


def decode_name(token: Any) -> str:
    if not isinstance(token, str) or not token or any(c.isspace() or c in ",()" for c in token):
        raise GraphError(f"expected a name, got {str(token)[:60]!r}")
    return token
