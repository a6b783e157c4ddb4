"""Checks a certificate of `intsim prove` against its model, slowly, with none of the code that made it.

    python -m tests.certificate_checker MODEL.intsim CERTIFICATE.json

It derives from the model what a true certificate says and refuses any other. The crossings, which `prove` searches for,
are tested: there the float chain reaches its code, one accumulator before not, and the integers do the same.
"""

from __future__ import annotations

import base64
import json
import sys
import zlib
from dataclasses import replace
from fractions import Fraction
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from intsim.ir.file import load
from tests.oracle import bits, bounds, extremes, float_code, integer_code, levels, pick, window_kinds

SUMS, AVERAGES = ("conv2d", "linear"), ("avg_pool", "adaptive_avg_pool")
RESCALES = ("requantize_shift", "requantize_multiplier", "add", "threshold", "table")
ABSORBED = ("add", "mul", "affine", "relu", "clamp", "prelu", "function", *AVERAGES)


class RefusedError(Exception):
    """What a certificate, or its model, gets wrong."""


def require(condition: Any, reason: str) -> None:
    if not condition:
        raise RefusedError(reason)


class Checker:
    """What the certificate of a model has to say; RefusedError where nothing proves the model."""

    def __init__(self, model: Any):
        self.graph, self.quantized, self.types = model.graph, model.quantized, model.graph.types
        self.reach: dict[str, Any] = {}  # least and greatest accumulator of each channel
        self.crossed: dict[str, Any] = {}  # of each layer: code of a level, ends of each channel, codes there
        self.same_network()
        layers = [n for n in self.graph.nodes if n.mnemonic in (*SUMS, *RESCALES, *AVERAGES)]
        self.expected = {"proved": True, "chains": True, "problems": [], "layers": [self.layer(n) for n in layers],
                         "copies": [n.name for n in self.graph.nodes if n not in layers]}  # fmt: skip

    def check(self, certificate: Any) -> None:
        """RefusedError unless every statement of the certificate holds."""
        try:
            plain = json.loads(json.dumps(certificate))
            found = {v["name"]: v["epilogue"].pop("distances") for v in plain["layers"] if v["name"] in self.crossed}
            same = json.dumps(plain, sort_keys=True) == json.dumps(self.expected, sort_keys=True)
            require(same, "the certificate and the model disagree")  # compared as text, where 1, 1.0 and true differ
            for name, search in self.crossed.items():
                data = zlib.decompress(base64.b64decode(found[name], validate=True))
                self.test_crossings(np.frombuffer(data, "<i8"), *search)
        except (KeyError, TypeError, AttributeError, ValueError, zlib.error) as error:
            raise RefusedError(f"a layer is not as it should be: {error}") from None

    def same_network(self) -> None:
        """The nodes are the quantized graph's, but for how they rescale."""
        q, sources = self.quantized, [n for n in self.quantized.graph.nodes if n.op not in ABSORBED]
        require([n.name for n in sources] == [n.name for n in self.graph.nodes], "other nodes")
        require(self.graph.outputs == q.graph.outputs, "other outputs")
        for node, source in zip(self.graph.nodes, sources, strict=True):
            op, chain = node.op, q.chains.get(node.name)
            before = q.graph.by_name.get(chain.sources[0], source) if chain else source
            model = before if before.op in AVERAGES else source
            kinds, reads = (RESCALES, chain.sources) if chain and model is source else ((model.op,), model.inputs)
            same = node.mnemonic in kinds and node.inputs[: len(reads)] == reads
            require(same and all(getattr(op, k) == v for k, v in model.attributes.items()), f"{node.name}: operator")
            require(source.op != "quantize" or op.out == q.quantizers[node.name].grid, f"{node.name}: grid")
            if node.mnemonic in SUMS:
                (weight, *bias), record = self.parameters(node), q.weights[node.name]
                require(str(op.accumulator) == str(q.accumulators.get(node.name, "s32")), f"{node.name}: accumulator")
                require(getattr(op, "pad_code", None) == q.pad_codes.get(node.name), f"{node.name}: padding")
                same = weight.type == record.weight.type and np.array_equal(weight.codes, record.weight.codes)
                start = None if record.bias is None else record.bias.tolist()
                require(same and [*(b.codes.tolist() for b in bias), None][0] == start, f"{node.name}: weights")

    def parameters(self, node: Any) -> list[Any]:
        return [self.graph.constants[name] for name in node.inputs if name in self.graph.constants]

    def ends(self, name: str) -> Any:
        """Least and greatest level of a value in each channel."""
        grid, shape = self.types[name].grid, self.types[name].shape
        codes = [grid.step * end - np.array(grid.zero_point) for end in (grid.element.min, grid.element.max)]
        return [np.broadcast_to(end, shape[grid.axis]) for end in self.reach.get(name, codes)]

    def layer(self, node: Any) -> dict[str, Any]:
        derive = self.sums if node.mnemonic in SUMS else self.average if node.mnemonic in AVERAGES else self.rescaling
        low, high, witness, more = derive(node)
        return {"name": node.name, "op": node.mnemonic, "acc_min": int(low), "acc_max": int(high),
                "acc_bits": bits(low, high), "witness": witness, **more}  # fmt: skip

    def sums(self, node: Any) -> Any:
        x, (weight, *bias) = self.types[node.inputs[0]], map(levels, self.parameters(node))
        start = bias[0] if bias else np.zeros(len(weight), np.int64)
        least, most, *partial = extremes(node.op, x, self.ends(node.inputs[0]), weight, start)
        self.reach[node.name] = least.min((1, 2)), most.max((1, 2))
        low, high = int(partial[0].min()), int(partial[1].max())
        require(bits(low, high) <= node.op.accumulator.bits, f"{node.name}: overflow")
        codes, witness = (x.grid.element.min, x.grid.element.max), {}
        for name, sums, (positive, other) in (("min", -least, codes), ("max", most, codes[::-1])):
            pixels = sums.transpose(1, 2, 0)  # the first pixel, and there the first channel, that reach the end
            *pixel, channel = (int(i) for i in np.unravel_index(pixels.argmax(), pixels.shape))
            witness[name] = {"channel": channel, "code_if_positive": positive, "code_otherwise": other}
            witness[name] |= {"pixel": pixel} if node.mnemonic == "conv2d" else {}
        more = {"accumulator": str(node.op.accumulator), "partial_bits": bits(low, high)}
        return least.min(), most.max(), witness, {**more, "partial_min": low, "partial_max": high}

    def average(self, node: Any) -> Any:
        op, chain, ((low, *_), (high, *_)) = node.op, self.quantized.chains[node.name], self.ends(node.inputs[0])
        low, high = int(low), int(high)
        kinds = window_kinds(op, self.types[node.inputs[0]], chain)
        for inside, count, by in kinds:
            for total in range(inside * low, inside * high + 1):
                same = integer_code(op, [], 0, total, count=count) == float_code(chain, 0, total, by)
                require(same, f"{node.name}: other codes at {total}")
        least, most = min(inside * low for inside, _, _ in kinds), max(inside * high for inside, _, _ in kinds)
        scaled, divisor = max(-least, most) * abs(op.multiplier), max(count for _, count, _ in kinds)
        largest = max(scaled << max(-op.shift, 0), divisor << max(op.shift, 0))
        require(largest < 1 << 63, f"{node.name}: overflow")
        tried = {"method": "enumeration", "integers": sum(inside * (high - low) + 1 for inside, _, _ in kinds)}
        return least, most, None, {"intermediate_bits": bits(largest), "epilogue": tried}

    def rescaling(self, node: Any) -> Any:
        op, chain, grid = node.op, self.quantized.chains[node.name], self.types[node.inputs[0]].grid
        sources = [self.ends(name) for name in node.inputs[: len(chain.sources)]]
        parameters, channels = [*map(levels, self.parameters(node))], range(len(sources[0][0]))
        require(chain.axis == grid.axis or node.mnemonic == "table", f"{node.name}: channels")
        low, high, largest = list[int](), list[int](), 0
        for c in channels:
            *m, s = [pick(p, c) for p in parameters] if node.mnemonic in RESCALES[:3] else [0]
            sums = [sorted(f * int(end[c]) for end in ends) for f, ends in zip(m or [1], sources, strict=True)]
            worst = sum(max(-a, b) for a, b in sums) << max(-s, 0)
            largest = max(largest, worst + (1 << max(s, 0) >> 1) + abs(op.out.zero_point[0]))
            ends = sums if node.mnemonic == "add" else [[int(end[c]) for end in sources[0]]]
            low, high = [*low, sum(a for a, _ in ends)], [*high, sum(b for _, b in ends)]
        require(largest < 1 << 63, f"{node.name}: overflow")
        if node.mnemonic == "add":
            evidence = self.coefficients(node, chain, sources, parameters)
        elif node.inputs[0] in self.reach:
            evidence = self.search(node, chain, parameters, low, high)
        else:
            evidence = {"method": "enumeration", "integers": len(channels) << grid.element.bits}
            for c, place in product(channels, range(1 << grid.element.bits)):
                self.same_code(node, chain, parameters, c, grid.step * place + int(sources[0][0][c]), place)
        return min(low), max(high), None, {"intermediate_bits": bits(largest), "epilogue": evidence}

    def coefficients(self, node: Any, chain: Any, sources: Any, parameters: Any) -> dict[str, Any]:
        """The chain's coefficients are the integers' own, and nothing in it needs more than the 53 bits of a double."""
        op, (terms, *others, tail), needed = node.op, chain.steps, 0
        for c in range(len(sources[0][0])):
            *m, s = (pick(p, c) for p in parameters)
            exact = [Fraction(pick(p, c)) for p in terms.coefficients]
            require(exact == [Fraction(f) / Fraction(2) ** s for f in m], f"{node.name}: other coefficients")
            size = sum(abs(f) * int(max(-a[c], b[c])) for f, (a, b) in zip(exact, sources, strict=True))
            needed = max(needed, bits((size + abs(tail.zero_point)) * max(f.denominator for f in exact)) - 1)
        require((op.rounding, op.zero_point_first) == (tail.rounding, tail.zero_point_first), f"{node.name}: rounding")
        require(needed <= 53 and op.out.zero_point == (tail.zero_point,), f"{node.name}: zero point")
        ends = [float_code(replace(chain, steps=(*others, tail)), 0, end) for end in (-(2**60), 2**60)]
        require((*ends,) == bounds(op) and all(type(s).__name__ == "Clamp" for s in others), f"{node.name}: bounds")
        return {"method": "coefficients", "float_bits": needed, "codes": ends}

    def search(self, node: Any, chain: Any, parameters: Any, low: list[int], high: list[int]) -> dict[str, Any]:
        """Both sides are monotone and agree at both ends; what lies between is for the crossings to show."""
        monotone = all(type(s).__name__ != "Function" and np.min(getattr(s, "slope", 0)) >= 0 for s in chain.steps)
        require(monotone and node.mnemonic in RESCALES, f"{node.name}: not monotone")
        code = partial(self.same_code, node, chain, parameters)
        ends = [(code(c, low[c]), code(c, high[c])) for c in range(len(low))]
        self.crossed[node.name] = code, low, high, ends
        falling, codes = [c for c, (a, b) in enumerate(ends) if a > b], [min(map(min, ends)), max(map(max, ends))]
        return {"method": "crossings", "codes": codes, "falling": falling}

    def same_code(self, node: Any, chain: Any, parameters: Any, channel: int, level: int, place: int = 0) -> int:
        code = integer_code(node.op, parameters, channel, level, place)
        require(code == float_code(chain, channel, level), f"{node.name}: other codes at {level} in channel {channel}")
        return code

    def test_crossings(self, differences: Any, code: Any, low: Any, high: Any, ends: Any) -> None:
        codes = range(min(map(min, ends)) + 1, max(map(max, ends)) + 1)
        for c, row in enumerate(differences.reshape(len(low), len(codes)).cumsum(axis=1).tolist()):
            origin, sign = (high[c], -1) if ends[c][0] > ends[c][1] else (low[c], 1)
            for reached, distance in zip(codes, row, strict=True):
                require(0 <= distance <= high[c] - low[c] + 1, f"channel {c}: {distance} leaves the interval")
                after = distance > high[c] - low[c] or code(c, origin + sign * distance) >= reached
                require(after and (distance == 0 or code(c, origin + sign * (distance - 1)) < reached), "no crossing")


if __name__ == "__main__":
    with open(sys.argv[2]) as file:
        Checker(load(sys.argv[1])).check(json.load(file))
    print("every statement of the certificate holds")
