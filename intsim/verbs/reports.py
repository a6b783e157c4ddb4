"""A page that shows what models cost and what their roundings lose, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from intsim.errors import InputError
from intsim.ir.file import Model, write_atomically
from intsim.verbs.arguments import Data, as_model, as_target, captured, dataset_of, is_topology, needs_torch, writable
from intsim.verbs.checks import expect_made_from
from intsim.verbs.cost import layers_on

if TYPE_CHECKING:
    import torch

    from intsim.costing import Target
    from intsim.reporting.errors import LayerErrors

IMAGES_TO_COMPARE = 64
"""Images for an error in decibels: a mean over all values of a layer, so more change only its last digit."""


def report(
    models: Sequence[str | Path | Model],
    targets: Sequence[str | Path | Target] = ("systolic_ws",),
    *,
    widths: Sequence[str | Path] = (),
    array: str | None = None,
    batch: int = 1,
    float_model: str | torch.nn.Module | None = None,
    data: Data | None = None,
    output: str | Path | None = None,
) -> str:
    """One HTML page, without a script or anything from the net: what each model costs on each target, side by side.

    With the float network that they were made from, and data, also what roundings do to each layer: for the gain of a
    method, let the first model be the plainly rounded one.

    models, targets, array, batch   as `estimate` takes them
    widths                          of `estimate`, each of which every model gets in place of its own
    float_model, data               as `layer_errors` takes them, both or neither
    output                          .html file to write
    """
    from intsim.costing import estimate as estimate_layers
    from intsim.reporting.costs import Case, Costs, Section
    from intsim.reporting.html import render_costs

    if not models or not targets:
        raise InputError("a report needs at least one model and at least one target")
    if (float_model is None) != (data is None):
        raise InputError("errors of layers are those of data against the float network: give both, or neither")
    path = None if output is None else writable(output)
    machines = _distinct_targets(targets)
    loaded = [model if is_topology(model) else as_model(model) for model in models]
    names = _distinct_names(models)
    sections = []
    for machine in machines:
        cases = []
        for (name, model), chosen in product(zip(names, loaded, strict=True), widths or (None,)):
            layers = tuple(layers_on(model, machine, batch, chosen))
            if not layers:
                raise InputError(f"{name}: has no layer that multiplies and accumulates, so there is nothing to report")
            label = name if chosen is None else f"{name} at {chosen}"
            cases.append(Case(label, machine, layers, estimate_layers(layers, machine, array, batch)))
        sections.append(Section(machine, tuple(cases)))
    errors = None if float_model is None or data is None else _layer_errors(names, loaded, float_model, data)
    page = render_costs(Costs(tuple(sections)), errors)
    if path is not None:
        write_atomically(path, page.encode())
    return page


def layer_errors(models: Sequence[str | Path | Model], float_model: str | torch.nn.Module, data: Data) -> LayerErrors:
    """The signal to quantization noise of every layer of every model.

    float_model   the network that the models were made from: another one is refused
    data          float32 images, of which the first 64 are looked at
    """
    return _layer_errors(_distinct_names(models), models, float_model, data)


def _layer_errors(
    names: Sequence[str], models: Sequence[str | Path | Model], float_model: str | torch.nn.Module, data: Data
) -> LayerErrors:
    from intsim.benchmark.accuracy import float_layers, layer_sqnr
    from intsim.reporting.errors import LayerErrors

    needs_torch("comparing with a float model")
    images = dataset_of(data).first(IMAGES_TO_COMPARE)
    graph = captured(float_model, images.inputs)
    wanted = float_layers(graph, images.inputs)
    files = {}
    for name, model in zip(names, models, strict=True):
        if is_topology(model):
            raise InputError(f"{name}: a topology has no weights, so its layers compute nothing to compare")
        loaded = as_model(model)
        expect_made_from(loaded, graph)
        files[name] = layer_sqnr(loaded.graph, images.inputs, wanted)
    return LayerErrors(len(images), files)


def _distinct_targets(targets: Sequence[str | Path | Target]) -> list[Target]:
    """The targets, each once; InputError where two of them have one name."""
    machines = list(dict.fromkeys(map(as_target, targets)))
    names = [machine.name for machine in machines]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two targets are named '{name}'; give one of them another name in its file")
    return machines


def _distinct_names(models: Sequence[str | Path | Model]) -> list[str]:
    """What a report calls each model: its file's name, or the whole path where two files share theirs."""
    paths = [Path(f"model {i}" if isinstance(model, Model) else model) for i, model in enumerate(models, start=1)]
    names = [path.stem for path in paths]
    return [str(path) if names.count(path.stem) > 1 else path.stem for path in paths]
