"""One model, one .intsim file: safetensors with packed integers, and the graphs as JSON in its header.

    header["intsim"]    {"format": 1, "graph": .., "quantized": ..}
    tensor per weight   dense little-endian bit stream (arithmetic/packing.py)
    tensor "parameters" all other arrays, one after the other; the JSON says [offset, shape, type] for each

Nothing in a file is trusted: sizes, shapes, references, ranges and the version are checked before anything runs.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_safetensors

from intsim.arithmetic.accumulate import Accumulator, signed_bits
from intsim.arithmetic.packing import pack_bits, unpack_bits
from intsim.arithmetic.rounding import Rounding
from intsim.dtypes import IntType
from intsim.errors import FileFormatError, GraphError, IntsimError
from intsim.ir.attributes import decode_fields, decode_grid, decode_op, encode_fields, encode_grid
from intsim.ir.chain import STEPS, Chain, Step
from intsim.ir.check import check
from intsim.ir.float_graph import CONTRACTIONS, MOVEMENTS, OPERATORS, FloatGraph, FloatNode
from intsim.ir.graph import Graph, Node
from intsim.ir.quantized import QuantizedGraph, QuantizedWeight, Quantizer
from intsim.ir.types import TensorType, Value

FORMAT = 1
PARAMETERS = "parameters"


@dataclass(frozen=True, eq=False)
class Model:
    """What a file holds: the integer graph, and the quantized graph that it was lowered from (None for imports)."""

    graph: Graph
    quantized: QuantizedGraph | None = None


class _Blob:
    """Arrays one after the other in one tensor: integers packed to the bits that they need, powers of two likewise."""

    def __init__(self, data: bytes = b""):
        self.data = bytearray(data)

    def put(self, array: NDArray[Any]) -> list[Any]:
        array = np.asarray(array)
        if array.dtype.kind != "f":
            low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
            return self._append(array.shape, *self._packed(array, IntType(True, signed_bits(low, high))))
        mantissas, exponents = np.frexp(array)
        if array.dtype == np.float64 and (mantissas == 0.5).all():
            kind, raw = self._packed(exponents - 1, IntType(True, 11))
            return self._append(array.shape, kind.replace("s", "e"), raw)
        return self._append(array.shape, f"f{array.itemsize * 8}", array.astype(f"<f{array.itemsize}").tobytes())

    def put_codes(self, codes: NDArray[Any], element: IntType) -> int:
        """Codes of a known type and number; their place is all that has to be said."""
        return self._append(codes.shape, *self._packed(codes, element))[0]

    def get_codes(self, offset: Any, element: IntType, count: int) -> NDArray[Any]:
        return self.get([offset, [count], str(element)])

    @staticmethod
    def _packed(array: NDArray[Any], element: IntType) -> tuple[str, bytes]:
        return str(element), pack_bits(array.ravel(), element).tobytes()

    def _append(self, shape: tuple[int, ...], kind: str, raw: bytes) -> list[Any]:
        token = [len(self.data), list(shape), kind]
        self.data += raw
        return token

    def get(self, token: Any) -> NDArray[Any]:
        match token:
            case [int(offset), list(shape), str(kind)] if all(isinstance(e, int) and e >= 0 for e in shape):
                count = int(np.prod(shape, dtype=object))
                bits = int(kind[1:]) if kind[1:].isdigit() and len(kind) <= 3 else 0
                end = offset + (count * bits + 7) // 8
                if bits and 0 <= offset <= end <= len(self.data):
                    raw = np.frombuffer(bytes(self.data[offset:end]), np.uint8)
                    return self._unpack(raw, kind, count).reshape(shape)
        raise GraphError(f"expected an array inside the parameters, got {str(token)[:60]}")

    @staticmethod
    def _unpack(raw: NDArray[np.uint8], kind: str, count: int) -> NDArray[Any]:
        if kind == "e11":  # powers of two by their exponents
            return np.ldexp(1.0, unpack_bits(raw, IntType(True, 11), count))
        if kind in ("f32", "f64"):
            return raw.view(f"<f{int(kind[1:]) // 8}").astype(np.float32 if kind == "f32" else np.float64)
        try:
            return unpack_bits(raw, IntType.parse(kind), count).astype(np.int64)
        except ValueError as error:
            raise GraphError(str(error)) from None


def save(path: str | Path, model: Model) -> None:
    """Write a model; the file appears complete or not at all."""
    check(model.graph)
    blob = _Blob()
    tensors: dict[str, NDArray[np.uint8]] = {}
    header: dict[str, Any] = {"format": FORMAT, "graph": _encode_graph(model.graph, blob, tensors)}
    if model.quantized is not None:
        header["quantized"] = _encode_quantized(model.quantized, model.graph, blob)
    tensors[PARAMETERS] = np.frombuffer(bytes(blob.data), np.uint8)
    text = json.dumps(header, separators=(",", ":"), allow_nan=False)
    write_atomically(Path(path), to_safetensors(tensors, {"intsim": text}))


def load(path: str | Path) -> Model:
    """Read a model. FileFormatError, with the path, for anything but a well-formed one of this format version."""
    path = Path(path)
    try:
        with _as_file_error(path), safe_open(path, framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a mapping)
            header = json.loads((file.metadata() or {}).get("intsim", "null"))
            return _decode_model(header, tensors)
    except OSError as error:
        raise FileFormatError(f"{path}: {error.strerror or error}") from None


def _decode_model(header: Any, tensors: Mapping[str, NDArray[Any]]) -> Model:
    if not isinstance(header, dict) or "format" not in header:
        raise GraphError("a safetensors file, but not one of intsim")
    if header["format"] != FORMAT:
        raise GraphError(f"format {header['format']!r}, this version reads {FORMAT}")
    if any(tensor.dtype != np.uint8 or tensor.ndim != 1 for tensor in tensors.values()) or PARAMETERS not in tensors:
        raise GraphError("expected packed uint8 tensors and one named parameters")
    blob = _Blob(tensors[PARAMETERS].tobytes())
    graph = check(_decode_graph(header["graph"], blob, tensors))
    return Model(graph, _decode_quantized(header["quantized"], blob, graph) if "quantized" in header else None)


@contextmanager
def _as_file_error(path: Path) -> Iterator[None]:
    """Whatever is wrong with the content becomes one FileFormatError."""
    try:
        yield
    except IntsimError as error:
        raise FileFormatError(f"{path}: {error}") from None
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError) as error:
        raise FileFormatError(
            f"{path}: not a readable .intsim file ({type(error).__name__}: {str(error)[:80]})"
        ) from None


def write_atomically(path: Path, data: bytes) -> None:
    """Write to a temporary file beside `path`, then rename it."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


# --- the integer graph ------------------------------------------------------------------------------------------------


def _encode_graph(graph: Graph, blob: _Blob, tensors: dict[str, NDArray[np.uint8]]) -> dict[str, Any]:
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


def _decode_graph(token: Any, blob: _Blob, tensors: Mapping[str, NDArray[Any]]) -> Graph:
    inputs = {_name(name): _decode_type(t, blob) for name, t in token["inputs"].items()}
    constants = {}
    for name, item in token["constants"].items():
        type = _decode_type(item, blob)
        try:
            constants[_name(name)] = _decode_constant(type, item, blob, tensors.get(name))
        except (GraphError, ValueError) as error:
            raise GraphError(f"constant '{name}': {error}") from None
    nodes = tuple(_decode_node(item, blob) for item in token["nodes"])
    metadata = {str(k): str(v) for k, v in token["metadata"].items()}
    return Graph(inputs, constants, nodes, tuple(map(_name, token["outputs"])), metadata)


def _decode_type(token: Any, blob: _Blob) -> TensorType:
    shape = tuple(token["shape"])
    if not all(e is None or (isinstance(e, int) and not isinstance(e, bool) and 0 < e < 1 << 32) for e in shape):
        raise GraphError(f"shape {str(shape)[:60]}: expected positive extents below 2**32")
    return TensorType(decode_grid(token["grid"], blob) if "grid" in token else None, shape)


def _decode_constant(type: TensorType, item: Any, blob: _Blob, packed: NDArray[np.uint8] | None) -> Value:
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


def _decode_node(token: Any, blob: _Blob) -> Node:
    name, mnemonic, inputs, attributes = token
    try:
        return Node(_name(name), decode_op(mnemonic, attributes, blob), tuple(map(_name, inputs)))
    except GraphError as error:
        raise GraphError(f"{mnemonic} '{name}': {error}") from None


def _name(token: Any) -> str:
    if not isinstance(token, str) or not token or any(c.isspace() or c in ",()" for c in token):
        raise GraphError(f"expected a name, got {str(token)[:60]!r}")
    return token


# --- the quantized graph ----------------------------------------------------------------------------------------------


def _encode_quantized(quantized: QuantizedGraph, integers: Graph, blob: _Blob) -> dict[str, Any]:
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
    uniform = (Rounding.HALF_EVEN, False, None, False)
    settings = (quantizer.rounding, quantizer.zero_point_first, quantizer.thresholds, quantizer.strict)
    return quantizer.grid == type.grid and settings == uniform


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


def _encode_chain(chain: Chain, blob: _Blob) -> list[Any]:
    steps = [[type(step).__name__, *encode_fields(step, blob).values()] for step in chain.steps]
    return [list(chain.sources), chain.form, chain.axis, steps]


def _decode_quantized(token: Any, blob: _Blob, graph: Graph) -> QuantizedGraph:
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


def _decode_float_node(token: Any, blob: _Blob, graph: Graph) -> tuple[FloatNode, tuple[int | None, ...]]:
    if isinstance(token, str):
        shared = _shared_node(graph, token)
        if shared is None:
            raise GraphError(f"quantized graph: '{token}' is no node of the integer graph")
        return FloatNode(token, *shared), graph.types[token].shape
    name, op, inputs, shape, attributes, arrays = token
    values = {key: tuple(v) if isinstance(v, list) else v for key, v in attributes.items()}
    kept = {key: blob.get(array) for key, array in arrays.items()}
    return FloatNode(_name(name), op, tuple(map(_name, inputs)), values, kept), tuple(shape)


def _decode_chain(token: Any, blob: _Blob, shapes: Mapping[str, Any]) -> Chain:
    sources, form, axis, steps = token
    if not set(sources) <= set(shapes) or not isinstance(form, str) or not isinstance(axis, int):
        raise GraphError(f"chain: unknown sources {str(sources)[:60]}")
    return Chain(tuple(sources), tuple(_decode_step(*step, blob=blob) for step in steps), form, axis)


def _decode_step(kind: str, *values: Any, blob: _Blob) -> Step:
    """A step from its name and its fields in order."""
    names = [f.name for f in fields(STEPS[kind])]
    return cast(Step, decode_fields(STEPS[kind], dict(zip(names, values, strict=True)), blob))
