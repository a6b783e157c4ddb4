"""Attributes of operators, grids and chain steps as JSON, and back; what the text form and the file share.

Decoding trusts nothing: every value is checked against the annotation of the field that it fills. Arrays (anything with
one entry per channel) go through an `Arrays` store: the text form writes them inline, a file keeps them as tensors.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable
from enum import Enum
from functools import cache
from typing import Any, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from intsim.arithmetic.accumulate import Accumulator
from intsim.dtypes import IntType
from intsim.errors import GraphError
from intsim.ir.op import OPS, Op
from intsim.ir.types import Grid, Scale, plain

T = TypeVar("T")


class Arrays(Protocol):
    """Where arrays are kept."""

    def put(self, array: NDArray[Any]) -> Any:
        """JSON that stands for the array."""

    def get(self, token: Any) -> NDArray[Any]:
        """The array that the JSON stands for; GraphError if it stands for none."""


class Inline:
    """Arrays written out as JSON lists: {"int64": [...]} or {"float64": [...], "shape": [...]}."""

    def put(self, array: NDArray[Any]) -> Any:
        return {"dtype": str(array.dtype), "shape": list(array.shape), "data": array.ravel().tolist()}

    def get(self, token: Any) -> NDArray[Any]:
        try:
            return np.array(token["data"], dtype=token["dtype"]).reshape(token["shape"])
        except (KeyError, TypeError, ValueError, OverflowError):
            raise GraphError(f"expected an array, got {str(token)[:60]}") from None


def encode_scale(scale: Scale, arrays: Arrays) -> Any:
    """ "2^-3" or 0.0123 per tensor; {"exponents": array} or {"reals": array} per channel."""
    if len(scale) == 1:
        return f"2^{scale.values[0]}" if scale.power_of_two else float(scale.values[0])
    kind, dtype = ("exponents", np.int64) if scale.power_of_two else ("reals", np.float64)
    return {kind: arrays.put(np.asarray(scale.values, dtype))}


def decode_scale(token: Any, arrays: Arrays) -> Scale:
    if isinstance(token, str) and token.startswith("2^"):
        try:
            return Scale((int(token[2:]),), True)
        except ValueError:
            raise GraphError(f"scale: expected an exponent, got {token!r}") from None
    if isinstance(token, int | float) and not isinstance(token, bool):
        return Scale((float(token),))
    if isinstance(token, dict) and set(token) == {"exponents"}:
        return Scale(tuple(int(e) for e in _vector(arrays.get(token["exponents"]), "i")), True)
    if isinstance(token, dict) and set(token) == {"reals"}:
        return Scale(tuple(float(v) for v in _vector(arrays.get(token["reals"]), "f")))
    raise GraphError(f"scale: expected a number, 2^e or an array, got {str(token)[:60]}")


def _vector(array: NDArray[Any], kind: str) -> NDArray[Any]:
    if array.ndim != 1 or array.dtype.kind != kind:
        raise GraphError(f"expected a vector of kind {kind}, got {array.dtype} of shape {array.shape}")
    return array


def encode_grid(grid: Grid, arrays: Arrays) -> Any:
    """JSON of a grid, "s8" for a plain one; what holds for nearly all (zero point 0, step 1, axis 1) is left out."""
    if grid == plain(grid.element):
        return str(grid.element)
    token: dict[str, Any] = {"element": str(grid.element), "scale": encode_scale(grid.scale, arrays)}
    if grid.zero_point != (0,):
        one = len(grid.zero_point) == 1
        token["zero_point"] = grid.zero_point[0] if one else arrays.put(np.asarray(grid.zero_point, np.int64))
    if grid.step != 1:
        token["step"] = grid.step
    if grid.axis != 1:
        token["axis"] = grid.axis
    return token


def decode_grid(token: Any, arrays: Arrays) -> Grid:
    if isinstance(token, str):
        return plain(decode_element(token))
    if not isinstance(token, dict) or not {"element", "scale"} <= set(token) <= {
        "element",
        "scale",
        "zero_point",
        "step",
        "axis",
    }:
        raise GraphError(f"grid: expected element, scale, zero_point, step and axis, got {str(token)[:60]}")
    zero = token.get("zero_point", 0)
    zeros = (zero,) if isinstance(zero, int) else tuple(int(z) for z in _vector(arrays.get(zero), "i"))
    step, axis = token.get("step", 1), token.get("axis", 1)
    if not all(isinstance(n, int) and 0 <= n < 1 << 16 for n in (step, axis)):
        raise GraphError(f"grid: step {step!r} and axis {axis!r} have to be small integers")
    return Grid(decode_element(token["element"]), decode_scale(token["scale"], arrays), zeros, step, axis)


def decode_element(token: Any) -> IntType:
    try:
        return IntType.parse(token)
    except (TypeError, ValueError):
        raise GraphError(f"expected an integer type such as u4, got {token!r}") from None


def encode(value: Any, arrays: Arrays) -> Any:
    """JSON of an attribute: numbers, text, tuples, enumerations, grids, accumulators and arrays."""
    match value:
        case Enum():
            return value.value
        case Grid():
            return encode_grid(value, arrays)
        case Accumulator():
            return str(value)
        case tuple():
            return [encode(v, arrays) for v in value]
        case np.ndarray():
            return arrays.put(value)
        case float() if not np.isfinite(value):
            return str(value)
        case None | bool() | int() | float() | str():
            return value
    raise GraphError(f"no JSON form for an attribute of type {type(value).__name__}")


def decode(annotation: Any, token: Any, arrays: Arrays) -> Any:
    """The value that JSON stands for under a field's annotation; GraphError if it does not fit."""
    origin = typing.get_origin(annotation)
    if origin in (types.UnionType, typing.Union):
        for option in typing.get_args(annotation):
            try:
                return decode(option, token, arrays)
            except GraphError:
                continue
    elif origin is tuple:
        items = typing.get_args(annotation)
        if isinstance(token, list) and (items[-1] is Ellipsis or len(items) == len(token)):
            kinds = [items[0]] * len(token) if items[-1] is Ellipsis else items
            return tuple(decode(kind, item, arrays) for kind, item in zip(kinds, token, strict=True))
    elif origin is np.ndarray:
        return arrays.get(token)
    elif annotation is type(None):
        if token is None:
            return None
    elif isinstance(annotation, type):
        return _decode_plain(annotation, token, arrays)
    raise GraphError(f"expected {getattr(annotation, '__name__', annotation)}, got {str(token)[:60]!r}")


def _decode_plain(annotation: type, token: Any, arrays: Arrays) -> Any:
    if annotation is Grid:
        return decode_grid(token, arrays)
    if annotation is float and token in ("inf", "-inf"):
        return float(token)
    if annotation is float and isinstance(token, int | float) and not isinstance(token, bool):
        return float(token)
    if annotation in (bool, str) and isinstance(token, annotation):
        return token
    if annotation is int and isinstance(token, int) and not isinstance(token, bool):
        return token
    if isinstance(token, str) and (issubclass(annotation, Enum) or annotation is Accumulator):
        try:
            return Accumulator.parse(token) if annotation is Accumulator else cast(Any, annotation)(token)
        except ValueError:
            pass
    raise GraphError(f"expected {annotation.__name__}, got {str(token)[:60]!r}")


@cache
def _fields(cls: Any) -> dict[str, tuple[Any, Any]]:
    """Annotation and default of every field of a dataclass."""
    hints = typing.get_type_hints(cls)
    return {f.name: (hints[f.name], f.default) for f in dataclasses.fields(cls)}


def encode_fields(instance: Any, arrays: Arrays, defaults: bool = True) -> dict[str, Any]:
    """JSON of a dataclass's fields; without `defaults` those that have their default value are left out."""
    fields = _fields(cast(Any, type(instance)))
    values = {name: getattr(instance, name) for name in fields}
    return {
        name: encode(value, arrays)
        for name, value in values.items()
        if defaults or isinstance(value, np.ndarray) or value != fields[name][1]
    }


def decode_fields(cls: Callable[..., T], token: Any, arrays: Arrays) -> T:
    """An instance of a dataclass from the JSON of its fields."""
    fields = _fields(cls)
    if not isinstance(token, dict) or not set(token) <= set(fields):
        raise GraphError(f"expected the fields {', '.join(fields)}, got {str(token)[:80]}")
    for name, (_, default) in fields.items():
        if name not in token and default is dataclasses.MISSING:
            raise GraphError(f"the field {name} is missing")
    values = {}
    for name, item in token.items():
        try:
            values[name] = decode(fields[name][0], item, arrays)
        except GraphError as error:
            raise GraphError(f"{name}: {error}") from None
    return cls(**values)


def decode_op(mnemonic: Any, token: Any, arrays: Arrays) -> Op:
    """The operator of a mnemonic with its attributes filled in."""
    import intsim.ir.ops  # noqa: F401  (registers the operators)

    if mnemonic not in OPS:
        raise GraphError(f"unknown operator {mnemonic!r}: this version knows {', '.join(sorted(OPS))}")
    return decode_fields(OPS[mnemonic], token, arrays)
