"""One convolution with ReLU in other engines: from codes to codes for those of 8 bits, from floats to floats else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

if TYPE_CHECKING:
    from onnx import ModelProto

Run = Callable[[], NDArray[Any]]


@dataclass(frozen=True, eq=False)
class ConvCodes:
    """A convolution of 8-bit integers, padded to keep the size, and its image.

    x        uint8 (N, C, H, W)
    weight   int8 (O, C / groups, K, K)
    shift    codes are clip(rint(sum / 2**shift), 0, 255), ties to even: engines that sum exactly agree in every bit
    """

    x: NDArray[np.uint8]
    weight: NDArray[np.int8]
    stride: int
    groups: int
    shift: int

    @property
    def padding(self) -> int:
        return self.weight.shape[2] // 2

    def onnx(self, weights: type[np.integer] = np.int8) -> ModelProto:
        """DequantizeLinear, Conv, Relu, QuantizeLinear, which engines turn into one integer operator."""
        from onnx import TensorProto, helper, numpy_helper

        zero = 128 if weights is np.uint8 else 0
        constants = {
            "one": np.float32(1),
            "zero": np.uint8(0),
            "step": np.float32(2.0**self.shift),
            "w": (self.weight.astype(np.int16) + zero).astype(weights),
            "w_scale": np.ones(len(self.weight), np.float32),
            "w_zero": np.full(len(self.weight), zero, weights),
        }
        pads = [self.padding] * 4
        nodes = [
            helper.make_node("DequantizeLinear", ["x", "one", "zero"], ["xf"]),
            helper.make_node("DequantizeLinear", ["w", "w_scale", "w_zero"], ["wf"], axis=0),
            helper.make_node("Conv", ["xf", "wf"], ["acc"], strides=[self.stride] * 2, pads=pads, group=self.groups),
            helper.make_node("Relu", ["acc"], ["positive"]),
            helper.make_node("QuantizeLinear", ["positive", "step", "zero"], ["y"]),
        ]
        graph = helper.make_graph(
            nodes,
            "layer",
            [helper.make_tensor_value_info("x", TensorProto.UINT8, self.x.shape)],
            [helper.make_tensor_value_info("y", TensorProto.UINT8, [None] * 4)],
            [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def torch_float32(layer: ConvCodes, threads: int, memory_format: torch.memory_format) -> Run:
    torch.set_num_threads(threads)
    x = torch.from_numpy(layer.x).float().contiguous(memory_format=memory_format)
    weight = torch.from_numpy(layer.weight).float().contiguous(memory_format=memory_format)

    @torch.inference_mode()
    def run() -> NDArray[np.float32]:
        return F.relu_(F.conv2d(x, weight, None, layer.stride, layer.padding, 1, layer.groups)).numpy()

    return run


def channels_last(layer: ConvCodes, threads: int) -> Run:
    return torch_float32(layer, threads, torch.channels_last)


def channels_first(layer: ConvCodes, threads: int) -> Run:
    return torch_float32(layer, threads, torch.contiguous_format)


def torch_int8(layer: ConvCodes, threads: int) -> Run:
    """The operator that torch.ao's converted networks call."""
    torch.set_num_threads(threads)
    torch.backends.quantized.engine = "x86"
    image = torch.from_numpy(layer.x).contiguous(memory_format=torch.channels_last)
    x = torch._make_per_tensor_quantized_tensor(image, 1.0, 0)
    scales, zeros = torch.ones(len(layer.weight)), torch.zeros(len(layer.weight), dtype=torch.long)
    weight = torch._make_per_channel_quantized_tensor(torch.from_numpy(layer.weight), scales, zeros, 0)
    both = [layer.stride] * 2, [layer.padding] * 2, [1, 1]
    packed = torch.ops.quantized.conv2d_prepack(weight, None, *both, layer.groups)
    step = 2.0**layer.shift

    @torch.inference_mode()
    def run() -> NDArray[np.uint8]:
        return torch.ops.quantized.conv2d_relu(x, packed, step, 0).int_repr().numpy()

    return run


@dataclass(frozen=True)
class OnnxRuntime:
    """weights  int8 or uint8;  exact  session.x64quantprecision"""

    weights: type[np.integer] = np.int8
    exact: bool = False

    def __call__(self, layer: ConvCodes, threads: int) -> Run:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        if self.exact:
            options.add_session_config_entry("session.x64quantprecision", "1")
        model = layer.onnx(self.weights).SerializeToString()
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        return lambda: session.run(None, {"x": layer.x})[0]


def openvino_int8(layer: ConvCodes, threads: int) -> Run:
    import openvino

    network = openvino.Core().read_model(layer.onnx().SerializeToString())
    options = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    request = openvino.Core().compile_model(network, "CPU", options).create_infer_request()
    x = openvino.Tensor(layer.x, shared_memory=True)

    def run() -> NDArray[np.uint8]:
        request.infer([x], share_inputs=True, share_outputs=True)
        return request.get_output_tensor(0).data

    return run


@dataclass(frozen=True)
class LayerPeer:
    """An engine that runs single layers; bits 32 for float32."""

    name: str
    bits: int
    package: str
    prepare: Callable[[ConvCodes, int], Run]


LAYER_PEERS = (
    LayerPeer("PyTorch float32 NHWC", 32, "torch", channels_last),
    LayerPeer("PyTorch float32 NCHW", 32, "torch", channels_first),
    LayerPeer("PyTorch int8", 8, "torch", torch_int8),
    LayerPeer("ONNX Runtime u8s8", 8, "onnxruntime", OnnxRuntime()),
    LayerPeer("ONNX Runtime u8s8 precise", 8, "onnxruntime", OnnxRuntime(exact=True)),
    LayerPeer("ONNX Runtime u8u8", 8, "onnxruntime", OnnxRuntime(np.uint8)),
    LayerPeer("OpenVINO int8", 8, "openvino", openvino_int8),
)


def installed_layer_peers() -> tuple[LayerPeer, ...]:
    return tuple(peer for peer in LAYER_PEERS if find_spec(peer.package) is not None)
