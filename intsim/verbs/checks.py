"""Whether a model computes exactly what it claims: on data, and for every input there can be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from intsim.errors import InputError
from intsim.ir.file import Model, write_atomically
from intsim.ir.quantized import MADE_FROM
from intsim.progress import Progress, silent
from intsim.verbs.arguments import Data, as_model, captured, dataset_of, needs_torch, writable

if TYPE_CHECKING:
    import torch

    from intsim.ir.float_graph import FloatGraph
    from intsim.verification import Certificate, Report


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

    float_model  the network that the model was made from, for `train` the one before training: one with other layers,
                 weights or biases is refused
    sample       images that the reference backend runs on, which is slow; all others run on everything
    """
    from intsim.verification import verify as verify_model

    checked, dataset = as_model(model), dataset_of(data)
    if float_model is not None:
        needs_torch("comparing with a float model")
        expect_made_from(checked, captured(float_model, dataset.inputs))
    return verify_model(checked, dataset.inputs, sample=sample, threads=threads, progress=progress)


def prove(model: str | Path | Model, *, output: str | Path | None = None, progress: Progress = silent) -> Certificate:
    """Prove for every possible input of every layer that nothing overflows and that it equals its float chain.

    output  .json file for the certificate
    """
    from intsim.verification import prove as prove_model

    path = None if output is None else writable(output)
    certificate = prove_model(as_model(model), progress=progress)
    if path is not None:
        write_atomically(path, json.dumps(certificate.to_dict(), allow_nan=False).encode())
    return certificate


def expect_made_from(model: Model, network: FloatGraph) -> None:
    """InputError unless the network has the layers that the model has, and the weights and biases it was made from.

    A file that does not say from which weights it was made is compared by its layers' names and shapes alone.
    """
    layers = {} if model.quantized is None else model.quantized.weights
    ours = {name: layer.weight.codes.shape for name, layer in layers.items()}
    theirs = {node.name: node.arrays["weight"].shape for node in network.weighted}
    for name in [*ours, *theirs]:
        if ours.get(name) != theirs.get(name):
            found = f"{ours.get(name, 'absent')} in the file, {theirs.get(name, 'absent')} in the network"
            raise InputError(f"the file was not made from this network: weight of '{name}' is {found}")
    if model.graph.metadata.get(MADE_FROM) not in (None, network.digest()):
        raise InputError(
            "the file was not made from this network: its layers are alike, but their weights or biases differ"
        )
