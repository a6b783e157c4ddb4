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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_safetensors

from intsim.errors import FileFormatError, GraphError, IntsimError
from intsim.ir.blob import Blob
from intsim.ir.check import check
from intsim.ir.file_graph import decode_graph, encode_graph
from intsim.ir.file_quantized import decode_quantized, encode_quantized
from intsim.ir.graph import Graph
from intsim.ir.quantized import QuantizedGraph

FORMAT = 1
PARAMETERS = "parameters"


@dataclass(frozen=True, eq=False)
class Model:
    """What a file holds: the integer graph, and the quantized graph that it was lowered from (None for imports)."""

    graph: Graph
    quantized: QuantizedGraph | None = None


def save(path: str | Path, model: Model) -> None:
    """Write a model; the file appears complete or not at all."""
    check(model.graph)
    blob = Blob()
    tensors: dict[str, NDArray[np.uint8]] = {}
    header: dict[str, Any] = {"format": FORMAT, "graph": encode_graph(model.graph, blob, tensors)}
    if model.quantized is not None:
        header["quantized"] = encode_quantized(model.quantized, model.graph, blob)
    tensors[PARAMETERS] = np.frombuffer(bytes(blob.data), np.uint8)
    text = json.dumps(header, separators=(",", ":"), allow_nan=False)
    write_atomically(Path(path), to_safetensors(tensors, {"intsim": text}))


def load(path: str | Path) -> Model:
    """Read a model. FileFormatError, with the path, for anything but a well-formed one of this format version."""
    path = Path(path)
    if path.is_dir():
        raise FileFormatError(f"{path}: is a folder, expected an .intsim file")
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
    blob = Blob(tensors[PARAMETERS].tobytes())
    graph = check(decode_graph(header["graph"], blob, tensors))
    return Model(graph, decode_quantized(header["quantized"], blob, graph) if "quantized" in header else None)


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
