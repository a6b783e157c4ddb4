"""What verbs take, turned into what they work on, each error in one line before any long work begins."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from numpy.typing import NDArray

from intsim.data import Dataset, load_data, read_data
from intsim.errors import InputError
from intsim.ir.file import Model, load

if TYPE_CHECKING:
    import torch

    from intsim.costing import Target
    from intsim.ir.float_graph import FloatGraph

Data = str | Dataset | tuple[Any, Any] | NDArray[Any] | Iterable[Any]
"""A reference (see intsim.data), the path of an .npz file, a Dataset, or what `intsim.data.read_data` takes."""


def needs_torch(verb: str) -> None:
    """InputError where PyTorch is not installed."""
    if find_spec("torch") is None:
        raise InputError(f"{verb} needs PyTorch, which is not installed: pip install 'intsim[torch]'")


def as_model(model: str | Path | Model) -> Model:
    return model if isinstance(model, Model) else load(model)


def as_target(target: str | Path | Target) -> Target:
    from intsim.costing import load_target

    return load_target(target) if isinstance(target, str | Path) else target


def is_topology(model: str | Path | Model) -> TypeGuard[str | Path]:
    return not isinstance(model, Model) and Path(model).suffix == ".csv"


def dataset_of(data: Data) -> Dataset:
    return load_data(data) if isinstance(data, str) else read_data(data)


def captured(model: str | torch.nn.Module, inputs: Sequence[NDArray[Any]]) -> FloatGraph:
    from intsim.frontend.capture import capture
    from intsim.frontend.execute import as_tensor
    from intsim.frontend.reference import load_model

    return capture(load_model(model) if isinstance(model, str) else model, *map(as_tensor, inputs))


def writable(path: str | Path) -> Path:
    """The path of a file that can be written, before any long work begins."""
    path = Path(path)
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}")
    if path.is_dir():
        raise InputError(f"{path}: is a folder, expected the name of a file")
    return path
