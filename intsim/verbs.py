"""What a user can do: one function for each command, with the same arguments.

A model is an .intsim file, by its path, or what `quantize` and `load` return. Data is a reference (see intsim.data),
(inputs, labels) or a Dataset. Whatever is wrong with an argument raises an IntsimError, and no verb leaves a
half-written file.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard, cast

import numpy as np
from numpy.typing import NDArray

from intsim.backends import load_backend
from intsim.data import Dataset, as_dataset, load_data
from intsim.errors import InputError, one_of
from intsim.ir.file import Model, load, save, write_atomically
from intsim.ir.graph import Graph
from intsim.ir.types import Value
from intsim.progress import Progress, silent

if TYPE_CHECKING:
    import torch

    from intsim.calibrate.settings import GridKind, Scales, Tuning
    from intsim.costing import Allocation, Estimate, Layer, Menu, Target
    from intsim.costing.sweep import Summary
    from intsim.ir.float_graph import FloatGraph
    from intsim.verification import Certificate, Report

__all__ = [
    "Accuracy",
    "Model",
    "allocate",
    "estimate",
    "evaluate",
    "load",
    "menu",
    "prove",
    "quantize",
    "report",
    "run",
    "sweep",
    "train",
    "verify",
]

Data = str | Dataset | tuple[Any, Any]

IMAGES_TO_TRIM_BY = 32
"""Images whose activations say how many bits a serial target needs: enough for a mean over millions of groups."""

IMAGES_TO_CALIBRATE_ON = 1000
"""Training images that decide the grids of what was not trained."""

IMAGES_AT_ONCE = 125
"""Images between two steps of a progress bar."""


@dataclass(frozen=True)
class Accuracy:
    """How many samples have their label as the output with the highest real value."""

    correct: int
    samples: int

    @property
    def top1(self) -> float:
        """Between 0 and 1."""
        return self.correct / self.samples


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
    tune: str = "none",
    profile: str = "torch",
    input: str = "float32",
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
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
    tune             after the method: batchnorm (scales and biases), bias, both or none
    input            float32, or u8: the graph takes pixels, and (p / 255 - mean) / std folds into the first layer
    options          hyper-parameters of the method: those of `intsim methods`, the others by default
    resume           folder in which methods that train keep their state, and from which a stopped one goes on
    output           .intsim file to write
    inspect          called with the name of each lowering pass and the graph after it
    raises           InputError, CaptureError, CalibrationError or LoweringError, each with the layer that it is about
    """
    needs_torch("quantize")
    from intsim.calibrate import quantize_graph
    from intsim.calibrate.settings import Pixels, Settings
    from intsim.calibrate.widths import read_widths
    from intsim.frontend.execute import as_tensor
    from intsim.lower import lower

    one_of("profile", profile, ("torch",))
    one_of("input", input, ("float32", "u8"))
    settings = Settings(
        method=method,
        weight_bits=weight_bits,
        act_bits=act_bits,
        scales=cast("Scales", scales),  # which the settings check
        first_last_bits=first_last_bits,
        residual_bits=residual_bits,
        widths={} if widths is None else read_widths(Path(widths)),
        weight_grid=cast("GridKind", weight_grid),
        tune=cast("Tuning", tune),
        pixels=Pixels(tuple(mean), tuple(std)) if input == "u8" else None,
        seed=seed,
        options={name: str(value) for name, value in (options or {}).items()},
    )
    path = None if output is None else _writable(output)
    images = _dataset(data).inputs
    graph = _capture(model, images)
    quantized = quantize_graph(
        graph, tuple(map(as_tensor, images)), settings, progress, None if resume is None else Path(resume)
    )
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
    batch: int = 128,
    learning_rate: float = 2e-3,
    augment: bool = False,
    rprelu: bool = False,
    order: str = "ordinary",
    scales: str = "threshold",
    first_last_bits: int = 8,
    residual_bits: int = 8,
    input: str = "float32",
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
    seed: int = 0,
    resume: str | Path | None = None,
    output: str | Path | None = None,
    progress: Progress = silent,
) -> Model:
    """Train a network at few bits to say what it says in floating point, and turn it into integers.

    model, scales, input, mean, std   as `quantize` takes them
    data                              images to train on; the first 1,000 calibrate what is not trained: the residual
                                      stream, and the first and the last layer
    method                            n2uq or lsq
    learning_rate                     of the weights at the start, falling to 0; thresholds and scales have a tenth
    augment                           flip and shift images at random
    rprelu, order                     the paper's nonlinearity and the paper's order of it, as `convert` has them
    resume                            folder of the state after each epoch, from which a stopped training goes on
    """
    needs_torch("train")
    import torch

    from intsim.calibrate import quantize_graph
    from intsim.calibrate.batches import Batches
    from intsim.calibrate.convert import convert
    from intsim.calibrate.settings import Pixels, Settings
    from intsim.calibrate.train import Schedule
    from intsim.calibrate.train import train as train_student
    from intsim.frontend.capture import capture
    from intsim.frontend.execute import as_tensor
    from intsim.frontend.reference import load_model
    from intsim.lower import lower

    one_of("input", input, ("float32", "u8"))
    settings = Settings(
        weight_bits=weight_bits,
        act_bits=act_bits,
        scales=cast("Scales", scales),
        first_last_bits=first_last_bits,
        residual_bits=residual_bits,
        pixels=Pixels(tuple(mean), tuple(std)) if input == "u8" else None,
        seed=seed,
    )
    schedule = Schedule(epochs, learning_rate)
    path = None if output is None else _writable(output)
    state = None
    if resume is not None:
        Path(resume).mkdir(exist_ok=True)
        state = Path(resume) / "training.pt"
    images = tuple(map(as_tensor, _dataset(data).inputs))
    if len(images) != 1:
        raise InputError(f"train: expected a network with one input, the data has {len(images)}")
    teacher = load_model(model) if isinstance(model, str) else model
    torch.manual_seed(seed)
    student = convert(teacher, weight_bits, act_bits, cast("Any", method), rprelu, cast("Any", order))
    batches = Batches(images[0], batch, augment=augment, pixels=settings.pixels, seed=seed)
    train_student(student, teacher, batches, schedule, state, progress)
    graph = capture(student, images[0][:2].float())
    quantized = quantize_graph(graph, images[0][:IMAGES_TO_CALIBRATE_ON], settings, progress)
    told = {"method": method, "epochs": str(epochs), "learning_rate": str(learning_rate), "augment": str(augment)}
    quantized = replace(quantized, metadata={**quantized.metadata, **told})
    result = Model(lower(quantized), quantized)
    if path is not None:
        save(path, result)
    return result


def verify(
    model: str | Path | Model,
    data: Data,
    *,
    float_model: str | torch.nn.Module | None = None,
    sample: int = 64,
    threads: int | None = None,
    progress: Progress = silent,
) -> Report:
    """Check the three claims of bit-exactness on data, layer by layer; `Report.bit_exact` speaks of the first two.

    float_model  the network that the model was made from: another one is refused
    sample       images that the reference backend runs on, which is slow; all others run on everything
    """
    from intsim.verification import verify as verify_model

    checked, dataset = _model(model), _dataset(data)
    if float_model is not None:
        _expect_made_from(checked, float_model, dataset)
    return verify_model(checked, dataset.inputs, sample=sample, threads=threads, progress=progress)


def prove(model: str | Path | Model, *, output: str | Path | None = None, progress: Progress = silent) -> Certificate:
    """Prove for every possible input of every layer that nothing overflows and that it equals its float chain.

    output  .json file for the certificate
    """
    from intsim.verification import prove as prove_model

    path = None if output is None else _writable(output)
    certificate = prove_model(_model(model), progress=progress)
    if path is not None:
        write_atomically(path, json.dumps(certificate.to_dict(), allow_nan=False).encode())
    return certificate


def run(
    model: str | Path | Model,
    data: Data,
    *,
    backend: str = "native",
    threads: int | None = None,
    everything: bool = False,
    output: str | Path | None = None,
    progress: Progress = silent,
) -> dict[str, NDArray[Any]]:
    """Codes of the outputs for every image, or with `everything` of every layer, in order of evaluation.

    output  .npz file to write, with one array for each
    """
    path = None if output is None else _writable(output)
    graph, dataset = _model(model).graph, _dataset(data)
    wanted = tuple(node.name for node in graph) if everything else graph.outputs
    batches = list(_batches(graph, dataset, backend, threads, wanted, progress))
    codes = {name: np.concatenate([batch[name].codes for batch in batches]) for name in wanted}
    if path is not None:
        write_atomically(path, _npz(codes))
    return codes


def export(
    model: str | Path | Model, data: Data, *, to: str = "vectors", output: str | Path, images: int = 1
) -> tuple[str, ...]:
    """Write test vectors for hardware: every layer's operands, parameters, accumulators and codes.

    to       vectors
    output   folder that does not exist yet, or is empty; complete or not there at all
    images   the vectors are of the first so many samples
    returns  names of the layers written
    """
    from intsim.exporters.product import layer_nodes
    from intsim.exporters.vectors import export_vectors, needed_values

    one_of("to", to, ("vectors",))
    graph, dataset = _model(model).graph, _dataset(data).first(images)
    values = load_backend("reference", graph).run(*dataset.inputs, wanted=needed_values(graph))
    export_vectors(graph, values, Path(output))
    return tuple(node.name for node in layer_nodes(graph))


def evaluate(
    model: str | Path | Model,
    data: Data,
    *,
    backend: str = "native",
    threads: int | None = None,
    progress: Progress = silent,
) -> Accuracy:
    """Count the samples whose label is the output with the highest real value."""
    graph, dataset = _model(model).graph, _dataset(data)
    labels, scores = dataset.labels, graph.types[graph.outputs[0]]
    if labels is None:
        raise InputError(f"DATA {dataset.source}: has no labels, and accuracy needs them")
    if scores.rank != 2:
        raise InputError(f"'{graph.outputs[0]}': accuracy needs one score for each class, the output is {scores}")
    batches = _batches(graph, dataset, backend, threads, graph.outputs[:1], progress)
    best = np.concatenate([batch[graph.outputs[0]].reals.argmax(1) for batch in batches])
    return Accuracy(int(np.count_nonzero(best == labels)), len(labels))


def estimate(
    model: str | Path | Model,
    target: str | Path | Target,
    *,
    widths: str | Path | None = None,
    array: str | None = None,
    batch: int = 1,
    data: Data | None = None,
    progress: Progress = silent,
) -> Estimate:
    """Cycles, traffic and energy of a model, or of the layers in a topology file (.csv), on an accelerator.

    target  a name of intsim.costing.list_targets(), a .toml file, or a loaded target
    widths  bits instead of the model's own, such as "4/8" for weights and activations, or a .toml file of `allocate`
    array   rows and columns instead of the target's own, such as "16x8"
    data    images, the first 32 of which say how many bits the activations need, for targets that skip leading zeros
    """
    from intsim.costing import SerialTarget, load_target, trimmed_layers
    from intsim.costing import estimate as estimate_layers

    machine = load_target(target) if isinstance(target, str | Path) else target
    if widths is not None and data is not None:
        raise InputError("data says what the model's own activations need; leave the widths out, or the data")
    layers = _layers(model, machine, batch, widths)
    if data is not None and isinstance(machine, SerialTarget) and machine.trims_activations:
        layers = trimmed_layers(layers, _codes_read(model, _dataset(data), progress), machine)
    return estimate_layers(layers, machine, array, batch)


def report(
    models: Sequence[str | Path | Model],
    targets: Sequence[str | Path | Target] = ("systolic_ws",),
    *,
    widths: Sequence[str | Path] = (),
    array: str | None = None,
    batch: int = 1,
    output: str | Path | None = None,
) -> str:
    """One HTML page, without a script or anything from the net: what each model costs on each target, side by side.

    models, targets, array, batch   as `estimate` takes them
    widths                          of `estimate`, each of which every model gets in place of its own
    output                          .html file to write
    """
    from intsim.costing import estimate as estimate_layers
    from intsim.reporting.costs import Case, Costs, Section
    from intsim.reporting.html import render_costs

    if not models or not targets:
        raise InputError("a report needs at least one model and at least one target")
    path = None if output is None else _writable(output)
    machines = _distinct_targets(targets)
    loaded = [model if _is_topology(model) else _model(model) for model in models]
    names = _distinct_names(models)
    sections = []
    for machine in machines:
        cases = []
        for (name, model), chosen in product(zip(names, loaded, strict=True), widths or (None,)):
            layers = tuple(_layers(model, machine, batch, chosen))
            if not layers:
                raise InputError(f"{name}: has no layer that multiplies and accumulates, so there is nothing to report")
            label = name if chosen is None else f"{name} at {chosen}"
            cases.append(Case(label, machine, layers, estimate_layers(layers, machine, array, batch)))
        sections.append(Section(machine, tuple(cases)))
    page = render_costs(Costs(tuple(sections)))
    if path is not None:
        write_atomically(path, page.encode())
    return page


def menu(
    model: str | torch.nn.Module,
    data: Data,
    target: str | Path | Target,
    *,
    bits: Sequence[int] = range(2, 9),
    array: str | None = None,
    batch: int = 1,
    first_last_bits: int = 8,
    residual_bits: int = 8,
    tie: bool = False,
    loss: str = "noise",
    method: str = "mse",
    options: Mapping[str, object] | None = None,
    sensitivities: str | Path | None = None,
    progress: Progress = silent,
) -> Menu:
    """What `allocate` chooses from: every pair of widths of every layer, with its costs on a target and its loss.

    bits            widths to choose from, for weights and for activations; the first and the last layer have no choice
    tie             the same widths for layers whose results meet in an addition or a concatenation
    loss            noise: what rounding puts into each layer, without a calibration; kl or cross_entropy: by how much
                    the integer network's logits move from the float network's, or from the labels, on the data
    method, options calibrate the networks whose loss is measured
    sensitivities   folder that keeps measured losses: a stopped run goes on, the next allocation measures nothing
    """
    needs_torch("allocate")
    from intsim.calibrate.allocation import Measurement, allocatable, meeting_layers
    from intsim.calibrate.settings import Settings, check_bits
    from intsim.costing import Pair, layers_of, load_target, menu_of, resident_layers
    from intsim.frontend.execute import as_tensor

    for width in bits:
        check_bits("bits", width)
    one_of("loss", loss, ("noise", "kl", "cross_entropy"))
    dataset = _dataset(data)
    graph = _capture(model, dataset.inputs)
    pairs = [Pair(*pair) for pair in product(bits, repeat=2)]
    texts = {name: str(value) for name, value in (options or {}).items()}
    settings = Settings(method, first_last_bits=first_last_bits, residual_bits=residual_bits, options=texts)
    folder = None if sensitivities is None else Path(sensitivities)
    measurement = None if loss == "noise" else Measurement(cast("Any", loss), dataset.labels, folder)
    network = allocatable(graph, tuple(map(as_tensor, dataset.inputs)), pairs, settings, measurement, progress)
    ties = [[name for name in group if name in network.sensitivities] for group in meeting_layers(graph)] if tie else []
    machine = load_target(target) if isinstance(target, str | Path) else target
    # What stays on the chip at 8 bits stays there at fewer; what then fits too is not counted.
    layers = resident_layers(layers_of(network.graph), network.graph, machine, batch)
    return menu_of(layers, network.sensitivities, machine, array=array, batch=batch, ties=ties)


def allocate(
    model: str | torch.nn.Module,
    data: Data,
    target: str | Path | Target,
    budgets: Sequence[str] = (),
    *,
    minimise: str = "loss",
    bits: Sequence[int] = range(2, 9),
    array: str | None = None,
    batch: int = 1,
    first_last_bits: int = 8,
    residual_bits: int = 8,
    tie: bool = False,
    loss: str = "noise",
    method: str = "mse",
    options: Mapping[str, object] | None = None,
    sensitivities: str | Path | None = None,
    output: str | Path | None = None,
    progress: Progress = silent,
) -> Allocation:
    """The widths of every layer with the least loss within all budgets, proven optimal.

    budgets    such as "cycles=0.6", a fraction of 8/8 bits, or "size=300kB"; where nothing meets them, the status is
               "infeasible" and the allocation the nearest there is
    minimise   what to make as small as possible instead: cycles, energy, size, bops or peak, within "loss=.."
    output     .toml file for `quantize`, written if all budgets are met
    others     as `menu` takes them
    """
    from intsim.costing import allocate as allocate_widths
    from intsim.costing.budget import parse_budget, parse_measure

    path, measure, parsed = (
        None if output is None else _writable(output),
        parse_measure(minimise),
        [parse_budget(b) for b in budgets],
    )
    choices = menu(
        model,
        data,
        target,
        bits=bits,
        array=array,
        batch=batch,
        first_last_bits=first_last_bits,
        residual_bits=residual_bits,
        tie=tie,
        loss=loss,
        method=method,
        options=options,
        sensitivities=sensitivities,
        progress=progress,
    )
    found = allocate_widths(choices, parsed, measure)
    if path is not None and found.status == "optimal":
        write_widths(path, found)
    return found


def write_widths(path: str | Path, allocation: Allocation) -> None:
    """Write a file of widths for `quantize`."""
    write_atomically(_writable(path), allocation.to_toml().encode())


def sweep(
    spec: str | Path,
    results: str | Path,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    progress: Progress = silent,
) -> Summary:
    """Estimate every network x widths x target x array x batch of a SPEC.toml, into one SQLite file that it continues.

    workers     processes, one for each core unless given
    scheduler   address of a Dask scheduler whose workers do it instead
    """
    from intsim.costing.sweep import sweep as sweep_plan

    return sweep_plan(spec, _writable(results), workers=workers, scheduler=scheduler, progress=progress)


def needs_torch(verb: str) -> None:
    """InputError where PyTorch is not installed."""
    if find_spec("torch") is None:
        raise InputError(f"{verb} needs PyTorch, which is not installed: pip install 'intsim[torch]'")


def _model(model: str | Path | Model) -> Model:
    return model if isinstance(model, Model) else load(model)


def _layers(model: str | Path | Model, target: Target, batch: int, widths: str | Path | None = None) -> list[Layer]:
    """The layers of a model, or of a topology file, with the activations that stay on the target's chip."""
    from intsim.costing import assigned_layers, layers_of, read_topology, resident_layers

    graph = None
    if _is_topology(model):
        layers = read_topology(model)
    else:
        graph = _model(model).graph
        layers = layers_of(graph)
    if widths is not None:
        layers = assigned_layers(layers, widths)
    return layers if graph is None else resident_layers(layers, graph, target, batch)


def _distinct_targets(targets: Sequence[str | Path | Target]) -> list[Target]:
    """The targets, each once; InputError where two of them have one name."""
    from intsim.costing import load_target

    loaded = (load_target(target) if isinstance(target, str | Path) else target for target in targets)
    machines = list(dict.fromkeys(loaded))
    names = [machine.name for machine in machines]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two targets are named '{name}'; give one of them another name in its file")
    return machines


def _is_topology(model: str | Path | Model) -> TypeGuard[str | Path]:
    return not isinstance(model, Model) and Path(model).suffix == ".csv"


def _codes_read(model: str | Path | Model, dataset: Dataset, progress: Progress) -> dict[str, NDArray[Any]]:
    """For every layer the codes that it reads, of the first few images."""
    from intsim.costing.graph_layers import CONTRACTIONS

    if _is_topology(model):
        raise InputError(f"{model}: a topology has no weights, so no activations can be computed; leave the data out")
    loaded = _model(model)
    codes = run(loaded, dataset.first(IMAGES_TO_TRIM_BY), everything=True, progress=progress)
    layers = (node for node in loaded.graph if isinstance(node.op, CONTRACTIONS))
    return {node.name: codes[node.inputs[0]] for node in layers if node.inputs[0] in codes}


def _distinct_names(models: Sequence[str | Path | Model]) -> list[str]:
    """What a report calls each model: its file's name, or the whole path where two files share theirs."""
    paths = [Path(f"model {i}" if isinstance(model, Model) else model) for i, model in enumerate(models, start=1)]
    names = [path.stem for path in paths]
    return [str(path) if names.count(path.stem) > 1 else path.stem for path in paths]


def _dataset(data: Data) -> Dataset:
    match data:
        case Dataset():
            return data
        case str():
            return load_data(data)
        case (inputs, labels):
            return as_dataset(inputs, labels)
    raise InputError(f"data: expected a reference, an .npz file or (inputs, labels), got {type(data).__name__}")


def _capture(model: str | torch.nn.Module, inputs: Sequence[NDArray[Any]]) -> FloatGraph:
    from intsim.frontend.capture import capture
    from intsim.frontend.execute import as_tensor
    from intsim.frontend.reference import load_model

    return capture(load_model(model) if isinstance(model, str) else model, *map(as_tensor, inputs))


def _batches(
    graph: Graph,
    dataset: Dataset,
    backend: str,
    threads: int | None,
    wanted: Sequence[str],
    progress: Progress,
) -> Iterator[dict[str, Value]]:
    """Wanted values of the samples, some at a time."""
    engine = load_backend(backend, graph, threads)
    progress(backend, 0, len(dataset))
    for start in range(0, len(dataset), IMAGES_AT_ONCE):
        stop = min(start + IMAGES_AT_ONCE, len(dataset))
        yield engine.run(*(array[start:stop] for array in dataset.inputs), wanted=wanted)
        progress(backend, stop, len(dataset))


def _expect_made_from(model: Model, reference: str | torch.nn.Module, dataset: Dataset) -> None:
    """InputError unless the network has the layers with weights that the model has."""
    needs_torch("verify with a float model")
    layers = {} if model.quantized is None else model.quantized.weights
    ours = {name: layer.weight.codes.shape for name, layer in layers.items()}
    theirs = {node.name: node.arrays["weight"].shape for node in _capture(reference, dataset.inputs).weighted}
    for name in [*ours, *theirs]:
        if ours.get(name) != theirs.get(name):
            found = f"{ours.get(name, 'absent')} in the file, {theirs.get(name, 'absent')} in the network"
            raise InputError(f"the file was not made from this network: weight of '{name}' is {found}")


def _npz(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """An .npz archive; unlike np.savez, arrays may have any name."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
    return buffer.getvalue()


def _writable(path: str | Path) -> Path:
    """The path of a file that can be written, before any long work begins."""
    path = Path(path)
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}")
    if path.is_dir():
        raise InputError(f"{path}: is a folder, expected the name of a file")
    return path
