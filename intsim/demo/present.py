"""The demo's outcome as one table, for the terminal and for a page."""

from __future__ import annotations

from intsim.demo.run import TARGETS, Outcome
from intsim.reporting.comparison import Comparison, Group, Row
from intsim.verification import Comparison as Checked


def compare(outcome: Outcome) -> Comparison:
    """float32 and every variant side by side."""
    variants = outcome.variants
    return Comparison(
        title="Handwritten digits in integers",
        lead=(
            f"A small residual network reads {outcome.images} handwritten digits: in float32, and as the integers that "
            "hardware would compute, with weights and activations of 8, 4 and 2 bits."
        ),
        columns=("float32", *(f"{variant.bits} bits" for variant in variants)),
        groups=(
            Group(
                "Does it still work?",
                "Test images read right. The first layer, the last one and the residual stream keep 8 bits.",
                (Row("top-1", (outcome.float_top1, *(v.top1 for v in variants)), "{:.1%}".format),),
            ),
            Group(
                "Is it exact?",
                "Elements that differ, over all layers and images. The first two rows must be zero. Plain fake-quant "
                "is float32 as researchers write it; it agrees too, as scales are powers of two here. The proof covers "
                "every possible input, not only these images.",
                _exactness(outcome),
            ),
            Group(
                "How large is it?",
                "Bytes of the file: weights are stored with exactly as many bits as they have.",
                (Row("file", (outcome.float_bytes, *(v.file_bytes for v in variants)), _kilobytes, bars=True),),
            ),
            Group(
                "How fast is it here?",
                "PyTorch in float32 (eager, channels last) and intsim's native kernels take turns in one process, on "
                "one thread; medians for all images in one batch.",
                (
                    Row(
                        "time",
                        tuple(t.median_ms for t in (outcome.float_timing, *(v.timing for v in variants))),
                        "{:.2f} ms".format,
                        bars=True,
                    ),
                ),
            ),
            Group(
                "What would it cost in hardware?",
                "Cycles and energy of one image, DRAM included. systolic_ws has fixed 8-bit units: fewer bits save "
                "traffic and the waiting for it. Those of bitfusion split: fewer bits also save cycles of work.",
                _costs(outcome),
            ),
        ),
        remarks=(
            f"Speed: {outcome.threads} thread for each; spread of the middle half of the rounds: "
            + ", ".join(f"{t.spread_ms:.2f} ms" for t in (outcome.float_timing, *(v.timing for v in variants)))
            + ".",
        ),
    )


def _exactness(outcome: Outcome) -> tuple[Row, ...]:
    reports = [variant.report for variant in outcome.variants]
    proofs = [variant.certificate for variant in outcome.variants]
    widest = [max(layer["acc_bits"] for layer in proof.layers) for proof in proofs]
    return (
        Row("native = numba = reference", (None, *(list(r.backends) for r in reports)), _mismatches),
        Row("integers = PyTorch mirror", (None, *([r.mirror] for r in reports)), _mismatches),
        Row("integers = plain fake-quant", (None, *([r.fake_quant] for r in reports)), _mismatches),
        Row("proved for every input", (None, *("yes" if proof.proved else "NO" for proof in proofs))),
        Row("widest accumulator", (None, *widest), "{} bits".format),
    )


def _mismatches(comparisons: list[Checked]) -> str:
    elements = sum(tally.elements for comparison in comparisons for tally in comparison.layers.values())
    return f"{sum(comparison.mismatches for comparison in comparisons):,} of {elements / 1e6:.1f}M"


def _costs(outcome: Outcome) -> tuple[Row, ...]:
    rows: list[Row] = []
    for index, target in enumerate(TARGETS):
        estimates = [variant.estimates[index] for variant in outcome.variants]
        rows.append(Row(f"{target}, cycles", (None, *(e.total_cycles for e in estimates)), "{:,}".format, bars=True))
        rows.append(
            Row(f"{target}, energy", (None, *(e.energy_pj / 1e6 for e in estimates)), "{:.2f} uJ".format, bars=True)
        )
    return tuple(rows)


def _kilobytes(count: int) -> str:
    return f"{count / 1000:.1f} kB"
