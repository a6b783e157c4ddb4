"""Targets by name or by file, checked on loading and kept, so that results can be remembered by target."""

from __future__ import annotations

import tomllib
from difflib import get_close_matches
from functools import cache, lru_cache
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter

from intsim.costing.dataflows import Array
from intsim.costing.quantity import checked
from intsim.costing.target import ArraySize, StreamingTarget, Target
from intsim.errors import CostError

BUILTIN = Path(__file__).parent / "targets"

_SCHEMA: TypeAdapter[Target] = TypeAdapter(Annotated[Target, Field(discriminator="model")])


def list_targets() -> list[str]:
    """Names of the targets that come with intsim."""
    return sorted(path.stem for path in BUILTIN.glob("*.toml"))


def load_target(name: str | Path) -> Target:
    """The target of that name, or of a .toml file at that path.

    raises   CostError: no such target, not TOML, or a field that is missing, unknown, of the wrong unit or range
    """
    path = Path(name) if str(name).endswith(".toml") else BUILTIN / f"{name}.toml"
    try:
        stamp = path.stat().st_mtime_ns
    except OSError:
        raise CostError(_not_found(str(name))) from None
    return _load(path.resolve(), stamp)


@cache
def _load(path: Path, stamp: int) -> Target:
    """The file as it was at modification time `stamp`, so that an edited file is read again."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CostError(f"target {path}: not a readable TOML file: {error}") from None
    return checked(f"target {path}", lambda: _SCHEMA.validate_python(table))


def parse_target(text: str) -> Target:
    """The target that `model_dump_json` made `text` of."""
    return _SCHEMA.validate_json(text)


def _not_found(name: str) -> str:
    if name.endswith(".toml"):
        return (
            f"target file {name}: cannot be read; state the path of a .toml file, or one of {', '.join(list_targets())}"
        )
    near = get_close_matches(name, list_targets(), n=1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    return f"target '{name}': unknown; {hint}known are {', '.join(list_targets())}, or state a path that ends in .toml"


@lru_cache(maxsize=1024)
def with_array(target: Target, size: Array) -> Target:
    """The same target with another number of units; buffers and the external channel stay as the file states them."""
    if isinstance(target, StreamingTarget):
        raise CostError(
            f"target '{target.name}' has no array: every layer has hardware of its own; leave the array out"
        )
    if min(size) < 1:
        raise CostError(f"array {size.rows}x{size.columns}: expected at least one row and one column")
    rows = target.array.rows.model_copy(update={"value": size.rows})
    columns = target.array.columns.model_copy(update={"value": size.columns})
    return target.model_copy(update={"array": ArraySize(rows=rows, columns=columns)})
