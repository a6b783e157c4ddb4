"""What a folded layer is made of on an FPGA: LUTs, blocks of 18 kbit of RAM, and DSPs.

Source:  FINN, custom_op/fpgadataflow: hls/matrixvectoractivation_hls.py and rtl/convolutioninputgenerator_rtl.py, which
         follow Blott et al., FINN-R, TRETS 2018. FIFOs between the layers are not counted, there as here.
"""

from __future__ import annotations

from math import ceil, log2

from intsim.costing.folding import Stage, padded
from intsim.costing.target import StreamingTarget
from intsim.costing.workload import ceil_div

WINDOW_LUTS = 300
BLOCK_SHAPES = ((512, 36), (1024, 18), (2048, 9), (4096, 4), (8192, 2), (16384, 1))
"""(words, bits) of a block of RAM, widest words first."""


def resources(stage: Stage, target: StreamingTarget) -> dict[str, int]:
    """PE, SIMD, LUTs, blocks of RAM and DSPs of a layer."""
    bits = stage.layer.weight_bits + stage.layer.act_bits
    return {
        "pe": stage.pe,
        "simd": stage.simd,
        "lut": _luts(stage, target) + (WINDOW_LUTS if stage.window_simd else 0),
        "bram18": _weight_blocks(stage, target) + _window_blocks(stage),
        "dsp": stage.pe * stage.simd * ceil_div(bits, 48) if target.multipliers == "dsp" else 0,
    }


def _luts(stage: Stage, target: StreamingTarget) -> int:
    """LUTs of the matrix unit.

    Exact:   constant + factor * PE * (multipliers + adders + accumulator + thresholds) + distributed weights
    """
    layer, pe, simd = stage.layer, stage.pe, stage.simd
    rows, columns = layer.out_channels, layer.gemm(1).k
    bits = layer.weight_bits + layer.act_bits
    multipliers = simd * (2 * ceil(bits / 6) - 1) * bits if target.multipliers == "lut" else 0
    alpha = log2(columns) + bits - 1
    sum_bits = min(target.accumulator.value, ceil(alpha + log2(1 + 2**-alpha) + 1))
    thresholds = 0
    if target.threshold_memory == "distributed" and layer.out_bits < target.accumulator.value:
        thresholds = (2**layer.out_bits - 1) * sum_bits * (ceil(rows / pe / 64) + 1)
    weights = 0
    if target.weight_memory == "distributed":
        weights = pe * simd * layer.weight_bits * ceil(rows * columns / (pe * simd) / 64)
    logic = pe * (multipliers + bits * (2 * simd - 1) + sum_bits + thresholds)
    return int(target.lut_model.constant.value + target.lut_model.factor.value * logic + weights)


def _weight_blocks(stage: Stage, target: StreamingTarget) -> int:
    """Blocks of 18 kbit for the weights, as many words wide as the unit takes at once."""
    if target.weight_memory == "distributed":
        return 0
    rows, columns = stage.layer.out_channels, stage.layer.gemm(1).k
    width = stage.pe * stage.simd * stage.layer.weight_bits
    depth = rows * columns / (stage.pe * stage.simd)
    for widest, words, columns_of_block in ((1, 16384, 1), (2, 8192, 2), (4, 4096, 4), (9, 2048, 9)):
        if width <= widest:
            return ceil(depth / words) * ceil_div(width, columns_of_block)
    if width <= 18 or depth > 512:
        return ceil(depth / 1024) * ceil_div(width, 18)
    return ceil(depth / 512) * ceil_div(width, 36)


def _window_blocks(stage: Stage) -> int:
    """Blocks of 18 kbit for the pixels that a window unit keeps."""
    layer = stage.layer
    if not stage.window_simd:
        return 0
    (kernel_h, kernel_w), (stride_h, stride_w), (dilation_h, dilation_w) = layer.kernel, layer.stride, layer.dilation
    height, width = padded(layer)
    word = stage.window_simd * layer.act_bits
    if stage.parallel:
        if 1 in (height, width):
            return 0
        depth = width - ((kernel_w - 1) * dilation_w + 1) + width * (dilation_h - 1)
        return (kernel_h - 1) * _blocks(depth, word)
    folds, taps = ceil_div(layer.in_channels, stage.window_simd), kernel_h * kernel_w
    depth = ((kernel_h - 1) * dilation_h * width + (kernel_w - 1) * dilation_w + 1) * folds
    depth += max(0, (stride_w - 1 - taps) * folds) + max(0, ((stride_h - 1) * width - taps) * folds)
    return _blocks(depth, word)


def _blocks(depth: int, word: int) -> int:
    """Blocks in cascade: the last may be shallower than the deepest there is, and then its words are wider."""
    deepest, _ = BLOCK_SHAPES[-1]
    full, rest = divmod(depth, deepest)
    last = next((bits for words, bits in BLOCK_SHAPES if rest <= words)) if rest else None
    return full * word + (ceil_div(word, last) if last else 0)
