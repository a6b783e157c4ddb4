"""Engines that read ONNX: ONNX Runtime and OpenVINO, float32 and int8.

All int8 models are made by ONNX Runtime's own static quantization, per channel, in the form with QuantizeLinear and
DequantizeLinear that both engines turn into their integer kernels.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from intsim.benchmark.peers.pytorch import Floats, Run

if TYPE_CHECKING:
    import torch

CALIBRATION_IMAGES = 4


@dataclass(frozen=True)
class OnnxRuntime:
    """ONNX Runtime on the CPU.

    types            of activations and weights, None for float32
    exact            session.x64quantprecision: without VNNI, u8s8 products are then summed in 32 bits
    """

    types: tuple[str, str] | None = None
    exact: bool = False

    def __call__(self, model: torch.nn.Module, inputs: Floats, threads: int, folder: Path) -> Run:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        if self.exact:
            options.add_session_config_entry("session.x64quantprecision", "1")
        path = onnx_file(model, inputs, folder)
        path = path if self.types is None else int8_file(path, inputs, self.types)
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        (name,) = (value.name for value in session.get_inputs())
        return lambda: session.run(None, {name: inputs})[0]


@dataclass(frozen=True)
class OpenVino:
    """OpenVINO on the CPU, set for latency: one request at a time, on all the threads."""

    types: tuple[str, str] | None = None

    def __call__(self, model: torch.nn.Module, inputs: Floats, threads: int, folder: Path) -> Run:
        import openvino

        path = onnx_file(model, inputs, folder)
        path = path if self.types is None else int8_file(path, inputs, self.types)
        core = openvino.Core()
        network = core.read_model(path)
        network.reshape(list(inputs.shape))
        options = {
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",  # else a processor with bfloat16 takes that for float32
        }
        compiled = core.compile_model(network, "CPU", options)
        request = compiled.create_infer_request()
        tensor = openvino.Tensor(inputs, shared_memory=True)

        def run() -> Floats:
            request.infer([tensor], share_inputs=True, share_outputs=True)
            return request.get_output_tensor(0).data

        return run


def onnx_file(model: torch.nn.Module, inputs: Floats, folder: Path) -> Path:
    """The float32 model, for any batch; written once for each folder."""
    import torch

    path = folder / "float32.onnx"
    if not path.exists():
        images = torch.from_numpy(inputs[:2] if len(inputs) > 1 else np.concatenate([inputs, inputs]))
        with _quiet():
            torch.onnx.export(
                model,
                (images,),
                path,
                dynamo=True,
                external_data=False,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
            )
    return path


def int8_file(path: Path, inputs: Floats, types: tuple[str, str]) -> Path:
    """The model quantized to the types of activations and weights, calibrated on the first inputs."""
    import onnxruntime
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    quantized = path.with_name(f"{types[0]}_{types[1]}.onnx")
    if quantized.exists():
        return quantized
    (name,) = (value.name for value in onnxruntime.InferenceSession(path).get_inputs())

    class Images(CalibrationDataReader):
        def __init__(self) -> None:
            self.images = iter(inputs[:CALIBRATION_IMAGES, None])

        def get_next(self) -> dict[str, Floats] | None:
            image = next(self.images, None)
            return None if image is None else {name: image}

    with _quiet():
        quantize_static(
            path,
            quantized,
            Images(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType[f"Q{types[0]}"],
            weight_type=QuantType[f"Q{types[1]}"],
        )
    return quantized


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Neither exporter nor quantizer can be told to be silent."""
    import warnings

    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), open(os.devnull, "w") as nothing, contextlib.redirect_stdout(nothing):
            warnings.simplefilter("ignore")
            with contextlib.redirect_stderr(io.StringIO()):
                yield
    finally:
        logging.disable(level)
