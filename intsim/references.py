"""References to the user's Python code: "path/file.py:callable" or "package.module:callable", imported and called."""

from __future__ import annotations

import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from intsim.errors import InputError

NOT_THE_USERS = (
    f"{Path(__file__).parent}/",
    "<frozen",
    "<string>",
    sysconfig.get_path("stdlib"),
    sysconfig.get_path("purelib"),
)
"""Where the frames of a traceback start that say nothing about the user's own code."""


def call(reference: str, what: str) -> Any:
    """What the referenced callable returns when it is called without arguments.

    what    what the reference stands for ("MODEL", "DATA"), for errors
    raises  InputError, one line, for a reference that does not resolve and for a callable that raises
    """
    function = resolve(reference, what)
    with as_input_error(f"{what} {reference}: the call failed"):
        return function()


def resolve(reference: str, what: str) -> Callable[..., Any]:
    """The callable that a reference names. A file is imported once, however often it is named.

    raises  InputError that says which half of the reference does not hold, and the nearest name there is
    """
    place, _, name = reference.rpartition(":")
    if not place or not name.isidentifier():
        raise InputError(f"{what} {reference!r}: expected path/file.py:callable or package.module:callable")
    with as_input_error(f"{what} {reference}: cannot import {place}"):
        module = _import_file(Path(place)) if place.endswith(".py") else _import_module(place)
    found = getattr(module, name, None)
    if callable(found):
        return found
    names = [n for n, value in vars(module).items() if callable(value) and not n.startswith("_")]
    nearest = get_close_matches(name, names, 1)
    hint = f"; the nearest name is {nearest[0]!r}" if nearest else ""
    problem = "is not there" if found is None else f"is no callable but of type {type(found).__name__}"
    raise InputError(f"{what} {reference}: {name!r} {problem}{hint}")


def _import_file(path: Path) -> ModuleType:
    path = path.resolve()
    if not path.is_file():
        raise FileNotFoundError("there is no such file")
    key = f"intsim reference {path}"  # no name that an import statement could mean
    if key in sys.modules:
        return sys.modules[key]
    spec = spec_from_file_location(key, path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[key] = module_from_spec(spec)
    try:
        with _searched_first(path.parent):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[key]
        raise
    return module


def _import_module(name: str) -> ModuleType:
    with _searched_first(Path.cwd()):
        return import_module(name)


@contextmanager
def _searched_first(folder: Path) -> Iterator[None]:
    """Imports look into a folder first, as they do for a script that is run there."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def users_line(error: BaseException) -> str:
    """The innermost line of the user's own code that raised an error: "resnet.py:41"; "" where there is none."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(NOT_THE_USERS)]
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""


@contextmanager
def as_input_error(where: str) -> Iterator[None]:
    """Whatever the user's code raises becomes one line with the place in that code; an InputError stays as it is."""
    try:
        yield
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        place = users_line(error)
        line = f" ({place})" if place else ""
        reason = " ".join(str(error).split()) or "no message"
        raise InputError(f"{where}: {type(error).__name__}: {reason[:200]}{line}") from error
