"""From a trained network to integers: by calibration on a few images, or by training at few bits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from intsim.errors import InputError, one_of
from intsim.ir.file import Model, save
from intsim.ir.graph import Graph
from intsim.ir.quantized import MADE_FROM
from intsim.progress import Progress, silent
from intsim.verbs.arguments import (
    Data,
    captured,
    dataset_of,
    needs_torch,
    option_texts,
    pixels_of,
    state_folder,
    writable,
)

if TYPE_CHECKING:
    import torch

    from intsim.calibrate.settings import GridKind, Scales, Tuning

IMAGES_TO_CALIBRATE_ON = 1000
"""Training images that decide the grids of what was not trained."""


def quantize(
    model: str | torch.nn.Module,
    data: Data,
    *,
    method: str = "mse",
    weight_bits: int = 8,
    act_bits: int = 8,
    scales: str = "multiplier",
    widths: str | Path | None = None,
    first_last_bits: int = 8,
    residual_bits: int = 8,
    weight_grid: str = "symmetric",
    equalize: bool = False,
    tune: str = "none",
    profile: str = "torch",
    input: str = "float32",
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    seed: int = 0,
    options: Mapping[str, object] | None = None,
    resume: str | Path | None = None,
    output: str | Path | None = None,
    inspect: Callable[[str, Graph], None] | None = None,
    progress: Progress = silent,
) -> Model:
    """Turn a trained network into integers.

    model            an nn.Module, or a reference to a callable that returns one
    data             images to calibrate on, like those that the network was trained on
    method           one of intsim.calibrate.METHODS
    scales           pow2, multiplier or threshold
    widths           TOML file with the widths of single layers
    first_last_bits  of weights and activations of the first and the last layer
    residual_bits    of what residual additions read and make
    weight_grid      symmetric: zero point 0; asymmetric: one zero point for each scale
    equalize         a scale for each channel that a depthwise layer reads, within its weights' scales
    tune             after the method: batchnorm (scales and biases), bias, both or none
    input            float32, or u8: the graph takes pixels, and (p / 255 - mean) / std folds into the first layer; mean
                     and std are 0 and 1 unless given
    options          hyper-parameters of the method: those of `intsim methods`, the others by default
    resume           folder in which methods that train keep their state, and from which a stopped one goes on
    output           .intsim file to write
    inspect          called with the name of each lowering pass and the graph after it
    raises           InputError, CaptureError, CalibrationError or LoweringError, each with the layer that it is about
    """
    needs_torch("quantize")
    from intsim.calibrate import method_of, quantize_graph
    from intsim.calibrate.settings import Settings
    from intsim.calibrate.widths import read_widths
    from intsim.frontend.execute import as_tensor
    from intsim.lower import lower

    one_of("profile", profile, ("torch",))
    settings = Settings(
        method=method,
        weight_bits=weight_bits,
        act_bits=act_bits,
        scales=cast("Scales", scales),  # which the settings check
        first_last_bits=first_last_bits,
        residual_bits=residual_bits,
        widths={} if widths is None else read_widths(Path(widths)),
        weight_grid=cast("GridKind", weight_grid),
        equalize=equalize,
        tune=cast("Tuning", tune),
        pixels=pixels_of(input, mean, std),
        seed=seed,
        options=option_texts(options),
    )
    method_of(settings)  # mistakes in it are found before PyTorch exports the network
    path = None if output is None else writable(output)
    folder = None if resume is None else state_folder(resume)
    images = dataset_of(data).inputs
    graph = captured(model, images)
    quantized = quantize_graph(graph, tuple(map(as_tensor, images)), settings, progress, folder)
    result = Model(lower(quantized, inspect), quantized)
    if path is not None:
        save(path, result)
    return result


def train(
    model: str | torch.nn.Module,
    data: Data,
    *,
    method: str = "n2uq",
    weight_bits: int = 2,
    act_bits: int = 2,
    epochs: int = 8,
    batch: int = 64,
    learning_rate: float = 1.5e-3,
    slower: float = 1.0,
    augment: bool = False,
    rprelu: bool = False,
    order: str = "ordinary",
    scales: str = "threshold",
    first_last_bits: int = 8,
    residual_bits: int = 8,
    input: str = "float32",
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    seed: int = 0,
    resume: str | Path | None = None,
    output: str | Path | None = None,
    progress: Progress = silent,
) -> Model:
    """Train a network at few bits to say what it says in floating point, and turn it into integers.

    model, input, mean, std           as `quantize` takes them
    scales                            multiplier or threshold
    data                              images to train on; the first 1,000 calibrate what is not trained: the residual
                                      stream, and the first and the last layer
    method                            n2uq or lsq
    learning_rate                     of the weights at the start, falling to 0
    slower                            by how much thresholds and scales learn slower than weights; the paper has 10
    augment                           flip and shift images at random
    rprelu, order                     the paper's nonlinearity and the paper's order of it, as `convert` has them
    resume                            folder of the state after each epoch, from which a stopped training goes on
    """
    needs_torch("train")
    import torch

    from intsim.calibrate import quantize_graph
    from intsim.calibrate.batches import Batches
    from intsim.calibrate.convert import ORDERS, TRAINERS, convert
    from intsim.calibrate.settings import Settings
    from intsim.calibrate.train import Schedule
    from intsim.calibrate.train import train as train_student
    from intsim.frontend.capture import capture
    from intsim.frontend.execute import as_tensor
    from intsim.frontend.reference import load_model
    from intsim.lower import lower

    settings = Settings(
        weight_bits=weight_bits,
        act_bits=act_bits,
        scales=cast("Scales", scales),
        first_last_bits=first_last_bits,
        residual_bits=residual_bits,
        pixels=pixels_of(input, mean, std),
        seed=seed,
    )
    one_of("method", method, TRAINERS)
    one_of("order", order, ORDERS)
    one_of("scales", scales, ("multiplier", "threshold"))  # what is learned is no power of two
    schedule = Schedule(epochs, learning_rate, slower)
    path = None if output is None else writable(output)
    folder = None if resume is None else state_folder(resume)
    inputs = dataset_of(data).inputs
    images = tuple(map(as_tensor, inputs))
    if len(images) != 1:
        raise InputError(f"train: expected a network with one input, the data has {len(images)}")
    batches = Batches(images[0], batch, augment=augment, pixels=settings.pixels, seed=seed)
    teacher = load_model(model) if isinstance(model, str) else model
    original = captured(teacher, inputs)  # refuses what it cannot be trained on, or turned into integers
    torch.manual_seed(seed)
    student = convert(teacher, weight_bits, act_bits, cast("Any", method), rprelu, cast("Any", order))
    state = None
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        state = folder / "training.pt"
    train_student(student, teacher, batches, schedule, state, progress)
    graph = capture(student, images[0][:2].float())
    quantized = quantize_graph(graph, images[0][:IMAGES_TO_CALIBRATE_ON], settings, progress)
    told = {"method": method, "epochs": str(epochs), "learning_rate": str(learning_rate), "augment": str(augment)}
    told[MADE_FROM] = original.digest()  # not the student's, which nobody keeps
    quantized = replace(quantized, metadata={**quantized.metadata, **told})
    result = Model(lower(quantized), quantized)
    if path is not None:
        save(path, result)
    return result
