"""Other engines, as competitors for `interleave`: each as its makers recommend it, on the same inputs and threads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from intsim.benchmark.peers.onnx import OnnxRuntime, OpenVino
from intsim.benchmark.peers.pytorch import Floats, Run, channels_first, channels_last, int8
from intsim.benchmark.peers.qonnx import executor

if TYPE_CHECKING:
    import torch

__all__ = ["PEERS", "Floats", "Peer", "Run", "installed_peers"]


@dataclass(frozen=True)
class Peer:
    """An engine in one of its ways of running a network.

    bits     of weights and activations; 32 for float32
    package  that it needs
    prepare  from a float32 network, a batch (N, C, H, W), a number of threads and a folder for files to a call that
             gives the network's output on the batch
    slow     hundreds of times slower than the others: it only runs one small image
    """

    name: str
    bits: int
    package: str
    prepare: Callable[[torch.nn.Module, Floats, int, Path], Run]
    slow: bool = False


PEERS = (
    Peer("PyTorch float32 NHWC", 32, "torch", channels_last),
    Peer("PyTorch float32 NCHW", 32, "torch", channels_first),
    Peer("PyTorch int8", 8, "torch", int8),
    Peer("ONNX Runtime float32", 32, "onnxruntime", OnnxRuntime()),
    Peer("ONNX Runtime u8s8", 8, "onnxruntime", OnnxRuntime(("UInt8", "Int8"))),
    Peer("ONNX Runtime u8s8 precise", 8, "onnxruntime", OnnxRuntime(("UInt8", "Int8"), exact=True)),
    Peer("ONNX Runtime s8s8", 8, "onnxruntime", OnnxRuntime(("Int8", "Int8"))),
    Peer("ONNX Runtime u8u8", 8, "onnxruntime", OnnxRuntime(("UInt8", "UInt8"))),
    Peer("OpenVINO float32", 32, "openvino", OpenVino()),
    Peer("OpenVINO int8", 8, "openvino", OpenVino(("UInt8", "Int8"))),
    Peer("QONNX executor", 4, "qonnx", executor, slow=True),
)


def installed_peers() -> tuple[Peer, ...]:
    """The peers whose packages are there."""
    return tuple(peer for peer in PEERS if find_spec(peer.package) is not None)
