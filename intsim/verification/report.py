"""What `verify` found: the three claims apart, and layer by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

EXAMPLES = 3  # mismatches of a comparison that are listed by their index


@dataclass
class Tally:
    """One layer in one comparison, counted over all images.

    difference  largest absolute difference of codes or accumulators; None where the shapes differ
    examples    (index, one side, other side) of the first mismatches; the index begins with the image
    """

    elements: int = 0
    mismatches: int = 0
    difference: int | None = 0
    examples: list[tuple[tuple[int, ...], int, int]] = field(default_factory=list)

    def add(self, ours: NDArray[Any], theirs: NDArray[Any] | None, first_image: int) -> None:
        """Count another batch; a side without the value, or with another shape, differs everywhere."""
        self.elements += ours.size
        if theirs is None or theirs.shape != ours.shape:
            self.mismatches += ours.size
            self.difference = None
            return
        different = ours != theirs
        count = int(np.count_nonzero(different))
        if not count:
            return
        self.mismatches += count
        places = np.argwhere(different)
        ours, theirs = ours[different].astype(np.int64), theirs[different].astype(np.int64)
        if self.difference is not None:
            self.difference = max(self.difference, int(np.abs(ours - theirs).max()))
        for place, a, b in list(zip(places, ours, theirs, strict=True))[: EXAMPLES - len(self.examples)]:
            self.examples.append(((first_image + int(place[0]), *map(int, place[1:])), int(a), int(b)))


@dataclass
class Comparison:
    """Two ways to run a network, layer by layer in order of evaluation.

    sides   what is compared: ("reference", "native")
    layers  by the layer's name
    """

    sides: tuple[str, str]
    layers: dict[str, Tally]

    @property
    def mismatches(self) -> int:
        return sum(tally.mismatches for tally in self.layers.values())

    @property
    def first_layer(self) -> str | None:
        """The first layer that differs: where to look, since those behind it inherit the difference."""
        return next((name for name, tally in self.layers.items() if tally.mismatches), None)

    def to_dict(self) -> dict[str, Any]:
        elements = sum(tally.elements for tally in self.layers.values())
        return {
            "sides": list(self.sides),
            "elements": elements,
            "mismatches": self.mismatches,
            "first_layer": self.first_layer,
        }


@dataclass(frozen=True)
class Flips:
    """Why codes of a layer may differ from plain float32 fake-quantization.

    reason        what float32 rounds in the layer; None where it rounds nothing, so that zero flips are proved
    tie_distance  the farthest that a flipped value lies from the tie between two codes, in steps; None without flips
                  or where the layer does not round
    """

    reason: str | None
    tie_distance: float | None = None


@dataclass(frozen=True)
class Report:
    """The three claims of bit-exactness.

    images, sample  how many images ran, and on how many of them the reference did
    backends        claim 1: every backend equals the reference on the sample, and the first one on all images
    mirror          claim 2: the integers equal the PyTorch mirror; None where `unchecked` says why
    fake_quant      claim 3: codes against plain fake-quantization, each layer fed with the same inputs; or None
    flips           why they may differ, for the layers of claim 3
    """

    images: int
    sample: int
    backends: Sequence[Comparison]
    mirror: Comparison | None
    fake_quant: Comparison | None
    flips: Mapping[str, Flips]
    unchecked: str | None = None

    @property
    def exact(self) -> list[Comparison]:
        """The comparisons that may not differ anywhere: claims 1 and 2."""
        return [*self.backends, *([self.mirror] if self.mirror else [])]

    @property
    def bit_exact(self) -> bool:
        return not any(comparison.mismatches for comparison in self.exact)

    @property
    def first_layer(self) -> str | None:
        """The first layer in order of evaluation that differs in claim 1 or 2."""
        wrong = {comparison.first_layer for comparison in self.exact}
        return next((name for name in self.backends[0].layers if name in wrong), None)

    def to_dict(self) -> dict[str, Any]:
        broken = [name for name, why in self.flips.items() if why.reason is None and self._flipped(name)]
        return {
            "bit_exact": self.bit_exact,
            "first_layer": self.first_layer,
            "images": self.images,
            "sample": self.sample,
            "unchecked": self.unchecked,
            "claims": {
                "backends": [comparison.to_dict() for comparison in self.backends],
                "mirror": self.mirror and self.mirror.to_dict(),
                "fake_quant": self.fake_quant
                and {
                    **self.fake_quant.to_dict(),
                    "proved_zero": [name for name, why in self.flips.items() if why.reason is None],
                    "flips_where_proved_zero": broken,
                },
            },
            "layers": [self._layer(name) for name in self.backends[0].layers],
        }

    def _flipped(self, name: str) -> int:
        return self.fake_quant.layers[name].mismatches if self.fake_quant else 0

    def _layer(self, name: str) -> dict[str, Any]:
        """A layer over claims 1 and 2, and its codes under claim 3."""
        tallies = [comparison.layers[name] for comparison in self.exact]
        differences = [tally.difference for tally in tallies]
        layer: dict[str, Any] = {
            "name": name,
            "elements": max(tally.elements for tally in tallies),
            "mismatches": sum(tally.mismatches for tally in tallies),
            "max_abs_difference": None if None in differences else max(d for d in differences if d is not None),
            "examples": [
                {"sides": list(comparison.sides), "index": list(index), "values": [a, b]}
                for comparison in self.exact
                for index, a, b in comparison.layers[name].examples
            ],
        }
        if self.fake_quant and name in self.fake_quant.layers:
            tally, why = self.fake_quant.layers[name], self.flips[name]
            layer["fake_quant"] = {
                "elements": tally.elements,
                "flips": tally.mismatches,
                "max_abs_difference": tally.difference,
                "examples": [{"index": list(index), "values": [a, b]} for index, a, b in tally.examples],
                "proved_zero": why.reason is None,
                "reason": why.reason,
                "tie_distance": why.tie_distance,
            }
        return layer
