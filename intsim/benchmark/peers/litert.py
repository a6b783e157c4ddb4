"""LiteRT (TensorFlow Lite) on a .tflite file, which it cannot make from a PyTorch network by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from intsim.benchmark.peers.pytorch import Run
from intsim.errors import InputError


def litert(path: Path, threads: int) -> Run:
    """A call that runs the file's network on one random image, with the kernels that LiteRT takes by default (XNNPACK).

    raises  InputError where the file is no network that LiteRT reads, or LiteRT is not installed
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        raise InputError(f"{path}: running it needs LiteRT: pip install ai-edge-litert") from None
    try:
        interpreter = Interpreter(str(path), num_threads=threads)
    except (ValueError, RuntimeError, OSError) as error:
        raise InputError(f"{path}: no network that LiteRT reads: {error}") from None
    interpreter.allocate_tensors()
    (image,), output = interpreter.get_input_details(), interpreter.get_output_details()[0]
    codes: Any = np.random.default_rng(0).integers(0, 128, image["shape"]).astype(image["dtype"])

    def run() -> Any:
        interpreter.set_tensor(image["index"], codes)
        interpreter.invoke()
        return interpreter.get_tensor(output["index"])

    return run
