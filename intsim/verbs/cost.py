"""What models cost on accelerators, and which widths are worth their cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from numpy.typing import NDArray

from intsim.data import Dataset
from intsim.errors import InputError, one_of
from intsim.ir.file import Model, write_atomically
from intsim.progress import Progress, silent
from intsim.verbs.arguments import (
    Data,
    as_model,
    as_target,
    captured,
    dataset_of,
    is_topology,
    needs_torch,
    option_texts,
    state_folder,
    writable,
)
from intsim.verbs.execution import run

if TYPE_CHECKING:
    import torch

    from intsim.calibrate.settings import GridKind
    from intsim.costing import Allocation, Estimate, Layer, Menu, Target
    from intsim.costing.sweep import Summary

IMAGES_TO_TRIM_BY = 32
"""Images whose activations say how many bits a serial target needs: enough for a mean over millions of groups."""


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
    from intsim.costing import SerialTarget, trimmed_layers
    from intsim.costing import estimate as estimate_layers

    machine = as_target(target)
    if widths is not None and data is not None:
        raise InputError("data says what the model's own activations need; leave the widths out, or the data")
    layers = layers_on(model, machine, batch, widths)
    if data is not None and isinstance(machine, SerialTarget) and machine.trims_activations:
        layers = trimmed_layers(layers, _codes_read(model, dataset_of(data), progress), machine)
    return estimate_layers(layers, machine, array, batch)


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
    weight_grid: str = "symmetric",
    tie: bool = False,
    loss: str = "noise",
    method: str = "mse",
    options: Mapping[str, object] | None = None,
    sensitivities: str | Path | None = None,
    ranked: int = 0,
    seed: int = 0,
    progress: Progress = silent,
) -> Menu:
    """What `allocate` chooses from: every pair of widths of every layer, with its costs on a target and its loss.

    bits            widths to choose from, for weights and for activations; the first and the last layer have no choice
    weight_grid     as `quantize` will have it
    tie             the same widths for layers whose results meet in an addition or a concatenation
    loss            noise: what rounding puts into each layer, without a calibration; kl or cross_entropy: by how much
                    the integer network's logits move from the float network's, or from the labels, on the data
    method, options calibrate the networks whose loss is measured
    sensitivities   folder that keeps measured losses: a stopped run goes on, the next allocation measures nothing
    ranked          random allocations to measure too: `Menu.ranking` is how well the losses rank them
    seed            of everything random
    """
    needs_torch("allocate")
    from intsim.calibrate import method_of
    from intsim.calibrate.allocation import Measurement, allocatable, meeting_layers
    from intsim.calibrate.settings import Settings, check_bits
    from intsim.costing import Pair, layers_of, menu_of, resident_layers
    from intsim.frontend.execute import as_tensor

    for width in bits:
        check_bits("bits", width)
    one_of("loss", loss, ("noise", "kl", "cross_entropy"))
    if ranked and loss == "noise":
        raise InputError("only measured losses can be ranked: choose the loss kl or cross_entropy")
    pairs = [Pair(*pair) for pair in product(bits, repeat=2)]
    settings = Settings(
        method,
        first_last_bits=first_last_bits,
        residual_bits=residual_bits,
        weight_grid=cast("GridKind", weight_grid),
        seed=seed,
        options=option_texts(options),
    )
    method_of(settings)  # mistakes in it are found before PyTorch exports the network
    machine = as_target(target)
    folder = None if sensitivities is None else state_folder(sensitivities)
    dataset = dataset_of(data)
    graph = captured(model, dataset.inputs)
    measurement = None if loss == "noise" else Measurement(cast("Any", loss), dataset.labels, folder, ranked)
    network = allocatable(graph, tuple(map(as_tensor, dataset.inputs)), pairs, settings, measurement, progress)
    ties = [[name for name in group if name in network.sensitivities] for group in meeting_layers(graph)] if tie else []
    # What stays on the chip at 8 bits stays there at fewer; what then fits too is not counted.
    layers = resident_layers(layers_of(network.graph), network.graph, machine, batch)
    choices = menu_of(layers, network.sensitivities, machine, array=array, batch=batch, ties=ties)
    return replace(choices, ranking=network.ranking)


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
    weight_grid: str = "symmetric",
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
        None if output is None else writable(output),
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
        weight_grid=weight_grid,
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
    write_atomically(writable(path), allocation.to_toml().encode())


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

    return sweep_plan(spec, writable(results), workers=workers, scheduler=scheduler, progress=progress)


def layers_on(model: str | Path | Model, target: Target, batch: int, widths: str | Path | None = None) -> list[Layer]:
    """The layers of a model, or of a topology file, with the activations that stay on the target's chip."""
    from intsim.costing import assigned_layers, layers_of, read_topology, resident_layers

    graph = None
    if is_topology(model):
        layers = read_topology(model)
    else:
        graph = as_model(model).graph
        layers = layers_of(graph)
    if widths is not None:
        layers = assigned_layers(layers, widths)
    return layers if graph is None else resident_layers(layers, graph, target, batch)


def _codes_read(model: str | Path | Model, dataset: Dataset, progress: Progress) -> dict[str, NDArray[Any]]:
    """For every layer the codes that it reads, of the first few images."""
    from intsim.costing.graph_layers import CONTRACTIONS

    if is_topology(model):
        raise InputError(f"{model}: a topology has no weights, so no activations can be computed; leave the data out")
    loaded = as_model(model)
    codes = run(loaded, dataset.first(IMAGES_TO_TRIM_BY), everything=True, progress=progress)
    layers = (node for node in loaded.graph if isinstance(node.op, CONTRACTIONS))
    return {node.name: codes[node.inputs[0]] for node in layers if node.inputs[0] in codes}
