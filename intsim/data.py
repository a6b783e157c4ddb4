"""DATA: images and labels out of a callable or an .npz file, checked once so that no later stage meets bad numbers."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intsim.errors import InputError
from intsim.references import as_input_error, call

EXPECTED = "(inputs, labels), inputs alone, or batches of them such as a DataLoader's"


@dataclass(frozen=True, eq=False)
class Dataset:
    """Inputs of a network, and what each should be recognised as.

    inputs  one array for each input of the network, (N, ...): float32, or integers as they came (pixels, codes)
    labels  int64 (N,), or None
    source  where they came from, as the user wrote it
    """

    inputs: tuple[NDArray[Any], ...]
    labels: NDArray[np.int64] | None
    source: str

    def __len__(self) -> int:
        return len(self.inputs[0])

    def first(self, count: int) -> Dataset:
        """The first `count` samples, or all where there are fewer."""
        labels = None if self.labels is None else self.labels[:count]
        return Dataset(tuple(array[:count] for array in self.inputs), labels, self.source)


def load_data(reference: str) -> Dataset:
    """The data set that `path/file.py:callable`, `package.module:callable` or `path/file.npz` stands for.

    A callable returns what `read_data` takes. An .npz holds `inputs` and optionally `labels`.
    raises  InputError, one line, that says what is wrong with which of them
    """
    try:
        if reference.endswith(".npz"):
            return as_dataset(*_read_npz(Path(reference)), reference)
        if ":" not in reference:
            raise InputError("expected path/file.py:callable, package.module:callable or path/file.npz")
        return read_data(call(reference, "DATA"), reference)
    except InputError as error:
        message = str(error)
        raise InputError(
            message if message.startswith("DATA ") else f"DATA {reference}: {message}"
        ) from error.__cause__


def read_data(value: Any, source: str = "data") -> Dataset:
    """The data set of (inputs, labels), of inputs alone, or of an iterable of batches of them, such as a DataLoader.

    Inputs are an array or tensor, or a tuple of them where a network has several; labels may be None. Batches are read
    to their end, into memory. InputError as above.
    """
    match value:
        case Dataset():
            return value
        case (inputs, labels) if not _is_batch(labels):
            return as_dataset(inputs, labels, source)
        case tuple():
            raise InputError(f"expected {EXPECTED}, got {len(value)} values")
        case str() | bytes() | Mapping():
            pass
        case _ if _is_array(value):
            return as_dataset(value, None, source)
        case Iterable():
            return as_dataset(*_read_batches(value), source)
    raise InputError(f"expected {EXPECTED}, got {type(value).__name__}")


def as_dataset(inputs: Any, labels: Any = None, source: str = "data") -> Dataset:
    """The data set of arrays or tensors, `inputs` a tuple where a network has several. InputError as above."""
    arrays = inputs if isinstance(inputs, tuple) else (inputs,)
    names = [f"inputs[{i}]" for i in range(len(arrays))] if len(arrays) != 1 else ["inputs"]
    checked = tuple(_input(array, name) for array, name in zip(arrays, names, strict=True))
    if not checked:
        raise InputError("inputs is empty: expected at least one array")
    for array, name in zip(checked, names, strict=True):
        if len(array) != len(checked[0]):
            raise InputError(f"{name} has {len(array)} samples but {names[0]} has {len(checked[0])}")
    return Dataset(checked, None if labels is None else _labels(labels, len(checked[0])), source)


def check_labels(labels: NDArray[np.integer], classes: int) -> None:
    """InputError unless every label is one of a network's classes, 0..classes - 1."""
    outside = np.flatnonzero((labels < 0) | (labels >= classes))
    if outside.size:
        first = int(outside[0])
        raise InputError(
            f"labels: {labels[first]} at [{first}], expected 0..{classes - 1}: the network has {classes} outputs"
        )


def _read_batches(batches: Iterable[Any]) -> tuple[tuple[NDArray[Any], ...], NDArray[Any] | None]:
    """The inputs and labels of all batches, one after the other."""
    parts: list[tuple[NDArray[Any], ...]] = []
    labels: list[NDArray[Any]] = []
    with as_input_error(f"reading the batches of {type(batches).__name__} failed"):
        for number, batch in enumerate(batches, start=1):
            inputs, own = _split(batch, f"batch {number}")
            shapes = [array.shape[1:] for array in inputs]
            first = shapes if not parts else [array.shape[1:] for array in parts[0]]
            if shapes != first:
                raise InputError(f"batch {number}: has samples of {_listed(shapes)}, the first of {_listed(first)}")
            if parts and (own is None) != (not labels):
                raise InputError(f"batch {number}: {'lacks' if own is None else 'has'} labels, unlike the first")
            parts.append(inputs)
            labels += [] if own is None else [own]
        if not parts:
            raise InputError(f"{type(batches).__name__} gave no batch: expected at least one")
        joined = tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        return joined, np.concatenate(labels) if labels else None


def _split(batch: Any, name: str) -> tuple[tuple[NDArray[Any], ...], NDArray[Any] | None]:
    """A batch's inputs and labels in memory of their own, since workers lend what they load."""
    inputs, labels = batch, None
    match batch:
        case (inputs, labels):
            pass
        case (inputs,):
            pass
        case _ if not _is_array(batch):
            got = f"{len(batch)} values" if isinstance(batch, tuple | list) else type(batch).__name__
            raise InputError(f"{name}: expected (inputs, labels) or inputs, got {got}")
    several = inputs if isinstance(inputs, tuple | list) else (inputs,)
    arrays = tuple(np.array(_as_array(array, f"inputs of {name}"), ndmin=1) for array in several)
    return arrays, None if labels is None else np.array(_as_array(labels, f"labels of {name}"), ndmin=1)


def _is_array(value: Any) -> bool:
    """An array of NumPy, or a tensor of PyTorch."""
    return isinstance(value, np.ndarray) or hasattr(value, "detach")


def _is_batch(value: Any) -> bool:
    """Whether a value is the second of two batches, rather than labels."""
    if not isinstance(value, tuple | list) or not value:
        return False
    return getattr(value[0], "ndim", 0) > 1 or _is_batch(value[0])


def _listed(shapes: Iterable[tuple[int, ...]]) -> str:
    return " and ".join(map(str, shapes))


def _read_npz(path: Path) -> tuple[Any, Any]:
    try:
        archive = np.load(path, allow_pickle=False)  # a pickle could run anything
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise InputError("expected an .npz archive, got a single array")
        with archive:
            if "inputs" not in archive:
                raise InputError(f"expected an array named inputs, the file has {', '.join(archive) or 'none'}")
            return archive["inputs"], archive.get("labels")
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}") from None
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"not a readable .npz file: {error}") from None


def _as_array(value: Any, name: str) -> NDArray[Any]:
    """NumPy's view of an array, of nested lists, or of a tensor of PyTorch, which is not imported for that."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InputError(f"{name}: {error}") from None
    if array.dtype.kind not in "fiub":
        raise InputError(f"{name}: expected numbers, got {type(value).__name__} of dtype {array.dtype}")
    return array


def _input(value: Any, name: str) -> NDArray[Any]:
    array = _as_array(value, name)
    if array.ndim == 0 or array.size == 0:
        raise InputError(f"{name} is empty: expected at least one sample, got shape {array.shape}")
    if array.dtype.kind != "f":
        return np.ascontiguousarray(array, np.uint8 if array.dtype.kind == "b" else array.dtype)
    with np.errstate(over="ignore"):  # float64 beyond float32 becomes infinite, and is counted as such
        array = np.ascontiguousarray(array, np.float32)
    bad = int(np.count_nonzero(~np.isfinite(array)))
    if bad:
        place = ", ".join(str(int(i)) for i in np.argwhere(~np.isfinite(array))[0])
        raise InputError(f"{name}: {bad} of {array.size} elements are NaN or infinite, the first at [{place}]")
    return array


def _labels(value: Any, samples: int) -> NDArray[np.int64]:
    labels = _as_array(value, "labels")
    if labels.dtype.kind not in "iu":
        raise InputError(f"labels: expected integers, got {labels.dtype}")
    if labels.shape != (samples,):
        raise InputError(f"labels: expected shape ({samples},), one for each sample, got {labels.shape}")
    return labels.astype(np.int64)
