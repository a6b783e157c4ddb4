"""Hyper-parameters of a method: a frozen dataclass with defaults, and what a user gives for them as text.

Fields are int, float, bool, str, a Literal of words, or one of these or None; `__post_init__` refuses values that make
no sense with CalibrationError.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from intsim.errors import CalibrationError, one_of

Options = TypeVar("Options")


@dataclass(frozen=True)
class NoOptions:
    """A method without hyper-parameters."""


def parse_options(kind: type[Options], given: Mapping[str, str], method: str) -> Options:
    """The options of a method from what the user gave for some of them; the others keep their defaults.

    kind    the method's dataclass
    given   option name -> value, as text
    raises  CalibrationError, one line: an unknown option, or a value that is not of the option's type
    """
    types = get_type_hints(kind)
    if given and not types:
        raise CalibrationError(f"method {method!r} has no options, got {', '.join(given)}")
    values = {}
    for name, text in given.items():
        one_of(f"option of {method}", name, tuple(types), CalibrationError)
        values[name] = _parse(types[name], str(text), f"option {name} of {method}")
    try:
        return kind(**values)
    except CalibrationError as error:
        raise CalibrationError(f"options of {method}: {error}") from None


def describe_options(kind: type[Any]) -> list[tuple[str, str, str]]:
    """(name, what it takes, default) of every option, in order."""
    types, defaults = get_type_hints(kind), kind()
    return [(f.name, _expected(types[f.name]), _text(getattr(defaults, f.name))) for f in fields(kind)]


def _parse(kind: Any, text: str, what: str) -> Any:
    members = get_args(kind)
    if get_origin(kind) is Literal:
        return one_of(what, text, members, CalibrationError)
    if members:  # a union with None
        if text.lower() == "none":
            return None
        (kind,) = (member for member in members if member is not NoneType)
        return _parse(kind, text, what)
    if kind is bool and text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        if kind is not bool:
            return kind(text)
    except ValueError:
        pass
    raise CalibrationError(f"{what}: expected {_expected(kind)}, got {text!r}")


def _expected(kind: Any) -> str:
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text", NoneType: "none"}
    if get_origin(kind) is Literal:
        return " or ".join(get_args(kind))
    return " or ".join(map(_expected, get_args(kind))) or names[kind]


def _text(value: Any) -> str:
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)
