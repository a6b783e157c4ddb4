"""What a race between engines found: one row for each pair of widths, with the peers' times beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Rate:
    """A network or a layer at one pair of widths, beside its peers in the same run.

    epilogue           how accumulators become codes
    ms, spread_ms      median of a call on the batch, and distance of its quartiles
    gmacs              10**9 multiply-accumulates a second, at the median
    fp32_roof_gmacs    of a tile of float32 multiply-adds on one thread, in the same turns
    peers              other engines' ms
    peer_spreads_ms    and their quartiles' distance
    sums               of the integer peers that were checked: "exact", or what is wrong with them
    """

    name: str
    weight_bits: int
    act_bits: int
    epilogue: str
    threads: int
    batch: int
    ms: float
    spread_ms: float
    gmacs: float
    fp32_roof_gmacs: float
    peers: Mapping[str, float] = field(default_factory=dict)
    peer_spreads_ms: Mapping[str, float] = field(default_factory=dict)
    sums: Mapping[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        return f"intsim {self.weight_bits}/{self.act_bits} {self.epilogue}"

    @property
    def times_roof(self) -> float:
        return self.gmacs / self.fp32_roof_gmacs

    @property
    def fastest_int8(self) -> tuple[str, float] | None:
        """The fastest integer peer, exact or not, and our time over its; None where there is none."""
        integer = {name: ms for name, ms in self.peers.items() if "float32" not in name}
        if not integer:
            return None
        name = min(integer, key=integer.__getitem__)
        return name, self.ms / integer[name]

    def remark(self, peer: str) -> str:
        """What is to be said of a peer's integer sums; nothing of float32."""
        return "" if "float32" in peer else self.sums.get(peer, "not checked")

    def peer_times_roof(self, peer: str) -> float:
        return self.times_roof * self.ms / self.peers[peer]

    def to_dict(self) -> dict[str, Any]:
        """A row of the JSON document."""
        fastest = self.fastest_int8
        ratio = {"fastest_int8": fastest[0], "times_fastest_int8": fastest[1]} if fastest else {}
        return asdict(self) | {"times_roof": self.times_roof} | ratio
