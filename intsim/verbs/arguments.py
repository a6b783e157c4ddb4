"""What verbs take, turned into what they work on, each error in one line before any long work begins."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from numpy.typing import NDArray

from intsim.data import Dataset, load_data, read_data
from intsim.errors import InputError, one_of
from intsim.ir.file import Model, load

if TYPE_CHECKING:
    import torch

    from intsim.calibrate.settings import Pixels
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


def option_texts(options: Mapping[str, object] | None) -> dict[str, str]:
    """The options of a method as text, as settings have them."""
    if not isinstance(options, Mapping | None):
        raise InputError(f"options: expected a mapping such as {{'iterations': 500}}, got {options!r}")
    return {name: str(value) for name, value in (options or {}).items()}


def pixels_of(input: str, mean: Sequence[float] | None, std: Sequence[float] | None) -> Pixels | None:
    """The normalization of pixels, None where the input is float32; 0 and 1 where they are not given."""
    from intsim.calibrate.settings import Pixels

    if one_of("input", input, ("float32", "u8")) == "u8":
        return Pixels((0.0,) if mean is None else tuple(mean), (1.0,) if std is None else tuple(std))
    for name, values in (("mean", mean), ("std", std)):
        if values is not None:
            raise InputError(
                f"{name}: belongs to pixels; with the input float32 images are normalized already, so say "
                "input u8 (--input u8), or leave it out"
            )
    return None


def writable(path: str | Path) -> Path:
    """The path of a file that can be written, before any long work begins."""
    path = Path(path)
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}")
    if path.is_dir():
        raise InputError(f"{path}: is a folder, expected the name of a file")
    _expect_writable(path, path.parent)
    return path


def state_folder(path: str | Path) -> Path:
    """The path of a folder that is there, or can be made with all above it, before any long work begins."""
    path = Path(path)
    above = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    if not above.is_dir():
        raise InputError(f"{path}: {'' if above == path else f'{above} '}is a file, expected a folder")
    _expect_writable(path, above)
    return path


def _expect_writable(path: Path, folder: Path) -> None:
    """InputError unless a file can be made in a folder; tried, since permissions do not tell all."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"{path}: nothing can be written to {folder}: {error.strerror or error}") from None
