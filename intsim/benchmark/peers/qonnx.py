"""QONNX's own executor: what users of its Quant nodes check their networks with, node by node in float32."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from intsim.benchmark.peers.onnx import onnx_file
from intsim.benchmark.peers.pytorch import Floats, Run

if TYPE_CHECKING:
    import torch
    from onnx import ModelProto

BITS = 4


def executor(model: torch.nn.Module, inputs: Floats, threads: int, folder: Path) -> Run:
    """The network with a Quant node of 4 bits on every operand of its convolutions and linear layers.

    threads  it has no such setting: it runs every node in a session of its own
    """
    import onnx
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.transformation.infer_shapes import InferShapes

    floats = onnx.load(onnx_file(model, inputs, folder))
    wrapper = ModelWrapper(with_quant_nodes(floats))
    (name,) = (value.name for value in wrapper.graph.input)
    (output,) = (value.name for value in wrapper.graph.output)
    wrapper.set_tensor_shape(name, list(inputs.shape))
    wrapper = wrapper.transform(InferShapes())
    return lambda: execute_onnx(wrapper, {name: inputs})[output]


def with_quant_nodes(model: ModelProto) -> ModelProto:
    """The model with symmetric signed Quant nodes in front of its Conv and Gemm nodes; their scales are arbitrary."""
    from onnx import helper, numpy_helper

    graph = model.graph
    constants = {"intsim_scale": 1 / 8, "intsim_zero": 0, "intsim_bits": BITS}
    for name, value in constants.items():
        graph.initializer.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
    nodes = []
    for node in graph.node:
        if node.op_type in ("Conv", "Gemm"):
            for position, operand in enumerate(node.input[:2]):
                node.input[position] = f"{node.name}_{position}_quant"
                nodes.append(
                    helper.make_node(
                        "Quant", [operand, *constants], [node.input[position]], domain="qonnx.custom_op.general",
                        signed=1, narrow=0, rounding_mode="ROUND",
                    )
                )  # fmt: skip
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    model.opset_import.append(helper.make_opsetid("qonnx.custom_op.general", 1))
    return model
