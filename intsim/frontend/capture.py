"""From a PyTorch module to a float graph in normal form, by torch.export.

torch.export traces the module into ATen operators; a converter for each of them (frontend/operators.py) says what it
is in normal form. Names are the paths of the modules that made a value, and the operator's where it was a function.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Mapping
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx import Node
from torch.fx.node import map_arg

from intsim.errors import CaptureError
from intsim.frontend.fold_batchnorm import fold_batchnorm
from intsim.frontend.fold_padding import fold_padding
from intsim.frontend.operators import CONVERTERS, IDENTITIES, WEIGHT_GRIDS, Call, Converted, supported
from intsim.ir.float_graph import FloatGraph, FloatNode
from intsim.ir.types import Grid, Shape
from intsim.references import users_line

_FRAME = re.compile(r'File "([^"]+)", line (\d+)')
_ON_VALUES = ("data-dependent", "dynamic control flow")
"""How torch.export calls Python that looks at values."""


def capture(model: nn.Module, *examples: Tensor) -> FloatGraph:
    """The float graph of a module in eval mode, BatchNorm folded.

    examples  one tensor for each input, float32 (N, ...); their values do not matter and the batch stays symbolic
    raises    CaptureError, one line: no module, a module that cannot be traced, weights that are NaN or infinite, or an
              operator without an integer meaning, with its module, its place in the source and what is supported
    """
    if not isinstance(model, nn.Module):
        raise CaptureError(f"expected an nn.Module, got {type(model).__name__}")
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise CaptureError(
                f"'{name}': {int((~tensor.isfinite()).sum())} of {tensor.numel()} weights are NaN or infinite"
            )
    program = _export(model, examples)
    graph = _Builder(program).build()
    return fold_padding(fold_batchnorm(graph))


def _export(model: nn.Module, examples: tuple[Tensor, ...]) -> ExportedProgram:
    """The traced program; a batch of two, since torch.export takes a batch of one for a constant."""
    batch = Dim("batch", min=1, max=1 << 20)
    pairs = tuple(torch.zeros((2, *e.shape[1:]), dtype=torch.float32) for e in examples)
    modes = {module: module.training for module in model.modules()}
    try:
        with warnings.catch_warnings(), _Quiet("torch"), redirect_stderr(StringIO()):  # it prints what it traced, too
            warnings.simplefilter("ignore")
            return torch.export.export(model.eval(), pairs, dynamic_shapes=tuple({0: batch} for _ in pairs))
    except Exception as error:  # torch.export raises many types; each becomes one line
        place = users_line(error)
        where = f"{type(model).__name__}{f' ({place})' if place else ''}"
        reason = " ".join(str(error).split())
        if any(words in reason.lower() for words in _ON_VALUES):
            raise CaptureError(
                f"{where}: an `if`, a loop or an index on values is not supported: an integer graph runs the same "
                "operators on every input; decide outside the network, or by operators alone"
            ) from None
        raise CaptureError(
            f"torch.export cannot trace {where}: {type(error).__name__}: {shorten(reason, 200, placeholder=' ..')}"
        ) from None
    finally:
        for module, training in modes.items():
            module.training = training


class _Quiet:
    """A logger's messages below an error are held back: what they say comes as one CaptureError."""

    def __init__(self, name: str):
        self.logger = logging.getLogger(name)

    def __enter__(self) -> None:
        self.level = self.logger.level
        self.logger.setLevel(logging.CRITICAL)

    def __exit__(self, *_: object) -> None:
        self.logger.setLevel(self.level)


class _Builder:
    """Walks the traced operators in order and collects nodes in normal form."""

    def __init__(self, program: ExportedProgram):
        self.program = program
        self.nodes: list[FloatNode] = []
        self.shapes: dict[str, Shape] = {}
        self.values: dict[Node, str] = {}  # the value that each traced result has in the graph
        self.constants: dict[Node, Tensor] = {}
        self.grids: dict[Node, Grid] = {}  # of constants that the network quantizes itself
        self.parts: dict[Node, list[str]] = {}  # the values of a split or chunk

    def build(self) -> FloatGraph:
        inputs = {}
        for node in self.program.graph.nodes:
            if node.op == "placeholder":
                name = self._placeholder(node)
                if name is not None:
                    inputs[name] = self.shapes[name]
            elif node.op == "call_function":
                self._call(node)
        results = self.program.graph.output_node().args[0]
        outputs = tuple(self._value(result) for result in results)
        return FloatGraph(inputs, tuple(self.nodes), outputs, self.shapes)

    def _placeholder(self, node: Node) -> str | None:
        """The name of a graph input; parameters and buffers are remembered instead."""
        signature = self.program.graph_signature
        key = signature.inputs_to_parameters.get(node.name) or signature.inputs_to_buffers.get(node.name)
        if key is not None:
            source: Mapping[str, Any] = self.program.state_dict
            self.constants[node] = source[key] if key in source else self.program.constants[key]
        elif node.name in signature.inputs_to_lifted_tensor_constants:
            self.constants[node] = self.program.constants[signature.inputs_to_lifted_tensor_constants[node.name]]
        else:
            self.values[node], self.shapes[node.name] = node.name, _shape(node)
            return node.name
        return None

    def _call(self, node: Node) -> None:
        target = str(node.target)
        if not isinstance(node.meta.get("val"), Tensor | list | tuple):
            return  # arithmetic on the batch: shapes are read from the results
        if all(source in self.constants for source in node.all_input_nodes):
            self._constant(node)
            return
        if target in IDENTITIES:
            self.values[node] = self._value(node.args[0])
            return
        if "getitem" in target:
            self.values[node] = self.parts[node.args[0]][node.args[1]]  # type: ignore[index]
            return
        converter = CONVERTERS.get(target)
        where = _where(node)
        if converter is None:
            raise CaptureError(
                f"{target.removeprefix('aten.')} at {where} has no integer meaning; supported: {supported()}"
            )
        try:
            _refuse_write_through_view(node)
            converted = converter(self._read(node))
        except CaptureError as error:
            raise CaptureError(f"{target.removeprefix('aten.')} at {where}: {error}") from None
        if isinstance(converted, list):
            self.parts[node] = [self._add(node, part) for part in converted]
        else:
            self.values[node] = self._add(node, converted)

    def _read(self, node: Node) -> Call:
        return Call(node, self.constants, self.grids, self.shapes, self._value)

    def _constant(self, node: Node) -> None:
        """Remember what a call makes of constants alone, and the grid of weights that come out of a quantizer."""
        self.constants[node] = self._evaluate(node)
        target = str(node.target)
        quantized = next((source for source in node.all_input_nodes if source in self.grids), None)
        try:
            if target in WEIGHT_GRIDS:
                self.grids[node] = WEIGHT_GRIDS[target](self._read(node))
            elif quantized is not None and target in IDENTITIES:
                self.grids[node] = self.grids[quantized]
            elif quantized is not None:
                raise CaptureError("changes weights behind their quantizer; let the layer read them as they come")
        except CaptureError as error:
            raise CaptureError(f"{target.removeprefix('aten.')} at {_where(node)}: {error}") from None

    def _evaluate(self, node: Node) -> Any:
        """What a call makes of constants alone, such as a weight that is computed from parameters."""
        args, kwargs = map_arg((node.args, node.kwargs), self.constants.__getitem__)
        with torch.no_grad():
            return node.target(*args, **kwargs)  # type: ignore[operator]

    def _value(self, arg: Any) -> str:
        """The graph's name of a traced value."""
        if isinstance(arg, Node) and arg in self.values:
            return self.values[arg]
        raise CaptureError(f"expected a tensor computed from the input, got {arg}, which does not depend on it")

    def _add(self, node: Node, converted: Converted) -> str:
        """Append the nodes of a conversion; the last one holds the result, or the input does where there is none."""
        inputs = converted.inputs
        for op, attributes, arrays, shape in converted.steps:
            name = self._name(node, op)
            self.nodes.append(FloatNode(name, op, inputs, attributes, arrays, _source(node), converted.grid))
            self.shapes[name] = shape
            inputs = (name,)
        return inputs[0]

    def _name(self, node: Node, op: str) -> str:
        """The module's path, and the operator's name where a module's own forward made the call."""
        path, kind = _stack(node)[-1] if _stack(node) else ("", "")
        torchs = kind.startswith(("torch.nn.modules.", "torch.nn.utils.parametrize."))
        single = torchs and not kind.endswith(("Sequential", "ModuleList"))
        base = path if single and path else f"{path}.{op}" if path else op
        name, count = base, 1
        while name in self.shapes:
            count += 1
            name = f"{base}_{count}"
        return name


def _refuse_write_through_view(node: Node) -> None:
    """CaptureError where an in-place operator writes into a view of a tensor that is read again afterwards."""
    if not node.target._schema.is_mutable:  # type: ignore[union-attr]
        return
    view = node.args[0]
    while isinstance(view, Node) and view.op == "call_function" and _is_view(view):
        view = view.args[0]
        if isinstance(view, Node) and any(node < reader for reader in view.users):
            raise CaptureError("writes in place into a view of a tensor that is read again; assign a new tensor")


def _is_view(node: Node) -> bool:
    """Whether the result of a call shares the memory of its first argument."""
    schema = getattr(node.target, "_schema", None)
    returns = [] if schema is None else schema.returns
    return any(r.alias_info is not None and not r.alias_info.is_write for r in returns)


def _stack(node: Node) -> list[tuple[str, str]]:
    """(path, class) of the modules around a call, outermost first."""
    stack = node.meta.get("nn_module_stack") or {}
    return [
        (path, kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}")
        for path, kind in stack.values()
    ]


def _module(node: Node) -> str:
    stack = _stack(node)
    return stack[-1][0] if stack and stack[-1][0] else node.name


def _where(node: Node) -> str:
    """A call's module and place in the source, for errors."""
    return f"'{_module(node)}'{f' ({_source(node)})' if _source(node) else ''}"


def _source(node: Node) -> str:
    """The innermost line of the user's own code: "resnet.py:41"."""
    torch_folder = str(Path(torch.__file__).parent)
    frames = [f for f in _FRAME.findall(node.meta.get("stack_trace") or "") if not f[0].startswith(torch_folder)]
    return f"{Path(frames[-1][0]).name}:{frames[-1][1]}" if frames else ""


def _shape(node: Node) -> Shape:
    value = node.meta["val"]
    return tuple(None if i == 0 else int(extent) for i, extent in enumerate(value.shape))
