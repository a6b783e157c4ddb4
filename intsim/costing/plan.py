"""What a sweep estimates: every network x allocation x target x array x batch of a SPEC.toml.

    networks = ["resnet18.csv", "digits.intsim"]
    targets = ["systolic_ws", "mine.toml"]
    arrays = ["8x8", "16x16"]            # of targets that have one; each target's own unless given
    batches = [1, 8]                     # 1 unless given
    weight_bits = [2, 4, 8]              # uniform widths, every pair of both lists
    act_bits = [4, 8]
    first_last_bits = 8                  # of the first and the last layer in these
    widths = ["searched.toml"]           # files of widths, as `intsim allocate` writes them

Without widths, networks have their own. Paths are relative to the file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import Field, TypeAdapter, ValidationInfo, field_validator

from intsim import __version__
from intsim.costing.assignment import layers_with_file, uniform_layers
from intsim.costing.estimate import parse_array
from intsim.costing.graph_layers import layers_of
from intsim.costing.load_target import load_target
from intsim.costing.quantity import Record, checked
from intsim.costing.residency import resident_layers
from intsim.costing.topology import read_topology
from intsim.costing.workload import Layer
from intsim.errors import CostError
from intsim.ir.file import load
from intsim.ir.graph import Graph

AtLeastOne = Annotated[int, Field(gt=0, strict=True)]


class Spec(Record):
    """A SPEC.toml."""

    networks: tuple[str, ...] = Field(min_length=1)
    targets: tuple[str, ...] = Field(min_length=1)
    arrays: tuple[str, ...] = ()
    batches: tuple[AtLeastOne, ...] = (1,)
    weight_bits: tuple[AtLeastOne, ...] = ()
    act_bits: tuple[AtLeastOne, ...] = Field(default=(), validate_default=True)
    first_last_bits: AtLeastOne | None = None
    widths: tuple[str, ...] = ()

    @field_validator("act_bits")
    @classmethod
    def _paired(cls, act_bits: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        if bool(act_bits) != bool(info.data.get("weight_bits")):
            raise ValueError("weight_bits and act_bits go together; state both or neither")
        return act_bits


class Key(NamedTuple):
    """The names of a point, as the results list it."""

    network: str
    allocation: str
    target: str
    array: str
    batch: int


@dataclass(frozen=True)
class Point:
    """One estimate to make, ready to be sent to another machine.

    target_json   the target itself, so that its file need not be there
    digest        of everything that the result depends on
    """

    key: Key
    layers: tuple[Layer, ...]
    target_json: str
    digest: str


def read_plan(path: str | Path) -> list[Point]:
    """The points of a SPEC.toml, neighbours differing in their allocation only.

    raises   CostError: a file that cannot be read, an unknown or missing field, a layer that a network does not have
    """
    path = Path(path)
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CostError(f"sweep {path}: not a readable TOML file: {error}") from None
    spec = checked(f"sweep {path}", lambda: TypeAdapter(Spec).validate_python(table))
    for array in spec.arrays:
        parse_array(array)
    targets = {name: load_target(path.parent / name if name.endswith(".toml") else name) for name in spec.targets}
    dumped = {name: (target, target.model_dump_json()) for name, target in targets.items()}
    points = []
    for network in spec.networks:
        listed, graph = _network(path.parent / network)
        allocations = dict(_allocations(spec, path.parent, listed))
        for (target, (machine, text)), batch in product(dumped.items(), spec.batches):
            kept = {
                name: tuple(layers if graph is None else resident_layers(layers, graph, machine, batch))
                for name, layers in allocations.items()
            }
            digests = {name: _digest(repr(layers)) for name, layers in kept.items()}
            own = "" if machine.size is None else f"{machine.size.rows}x{machine.size.columns}"
            for array in spec.arrays if own and spec.arrays else (own,):
                for allocation, layers in kept.items():
                    digest = _digest(__version__, digests[allocation], text, array, str(batch))
                    points.append(Point(Key(network, allocation, target, array, batch), layers, text, digest))
    return list({point.key: point for point in points}.values())


def _network(file: Path) -> tuple[list[Layer], Graph | None]:
    """Layers at the network's own widths, and the graph that they are of; a topology has none."""
    if file.suffix == ".csv":
        return read_topology(file), None
    graph = load(file).graph
    return layers_of(graph), graph


def _allocations(spec: Spec, folder: Path, layers: Sequence[Layer]) -> Iterator[tuple[str, Sequence[Layer]]]:
    """Layers with their widths, by the allocation's name."""
    if not spec.weight_bits and not spec.widths:
        yield "own", layers
    for weight_bits, act_bits in product(spec.weight_bits, spec.act_bits):
        yield f"{weight_bits}/{act_bits}", uniform_layers(layers, weight_bits, act_bits, spec.first_last_bits)
    for name in spec.widths:
        yield name, layers_with_file(layers, folder / name)


def _digest(*texts: str) -> str:
    return sha256("\0".join(texts).encode()).hexdigest()[:32]
