"""Plans: values share an arena, halos are filled anew, and any threads may run one plan."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.csrc.plain import convolve, native

ZEROS = np.zeros(256, np.int64)


def chain(depth: int, channels: int, size: int, fills: list[int]) -> tuple[Any, list[np.ndarray]]:
    """A plan of 3x3 convolutions over codes of 4 bits, each padded with a code of its own, and the weights."""
    rng = np.random.default_rng(depth)
    plan = native.Plan()
    values = [plan.bytes(size, size, channels, 4, (1, 1, 1, 1), fill) for fill in fills]
    plan.import_codes("x", 0, values[0])
    weights = []
    for i in range(depth):
        weights.append(rng.integers(-8, 8, (channels, channels, 3, 3)))
        shift = native.ScaleSpec(
            np.ones(channels, np.int64), np.full(channels, 4), "floor", 0, False, 0, 15, 4, 0
        )  # fmt: skip
        conv = native.Conv(f"conv{i}", weights[-1], ZEROS[:channels], channels, act_bits=4, epilogue=shift)
        plan.conv(conv, values[i], (1, 1, 1, 1), fills[i], values[i + 1])
    plan.export_codes("y", values[-1], 0)
    return plan, weights


def expected(x: np.ndarray, weights: list[np.ndarray], fills: list[int]) -> np.ndarray:
    for weight, fill in zip(weights, fills, strict=False):
        x = np.clip(convolve(x, weight, ZEROS[: len(weight)], padding=(1, 1, 1, 1), pad_code=fill) >> 4, 0, 15)
    return x


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("batch", [1, 2, 5, 150])
def test_values_that_share_memory_keep_their_halos(batch: int, threads: int) -> None:
    """Four layers in the room of two values, each with another pad code, for batches that threads share unevenly."""
    fills = [0, 15, 3, 7, 9]
    plan, weights = chain(4, 5, 6, fills)
    x = np.random.default_rng(0).integers(0, 16, (batch, 5, 6, 6)).astype(np.uint8)
    for _ in range(2):
        (result,) = plan.run([x], batch, threads)
        np.testing.assert_array_equal(result, expected(x, weights, fills))
    assert plan.live_bytes == 2 * 5 * 6 * 6


def test_any_threads_run_one_plan() -> None:
    fills = [1, 2, 3, 4]
    plan, weights = chain(3, 9, 8, fills)
    batches = [np.random.default_rng(i).integers(0, 16, (1 + i % 4, 9, 8, 8)).astype(np.uint8) for i in range(20)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda x: plan.run([x], len(x), 2)[0], batches))
    for x, result in zip(batches, results, strict=True):
        np.testing.assert_array_equal(result, expected(x, weights, fills))


@given(sizes=st.lists(st.tuples(st.integers(1, 40), st.integers(1, 9)), min_size=1, max_size=12))
def test_copies_in_an_arena(sizes: Any) -> None:
    """Values of many sizes and lifetimes, each a copy of the first: none overwrites another that is still needed."""
    plan = native.Plan()
    x = plan.bytes(40, 1, 1, 8)
    plan.import_codes("x", 0, x)
    copies = []
    for i, (size, _) in enumerate(sizes):
        copies.append(plan.bytes(size, 1, 1, 8))
        plan.copy(f"copy{i}", (0, 0, 0), (1, 1, 1), (0, 0, 0), (1, 1, 1), (size, 1, 1), x, copies[-1])
        for j, (_, life) in enumerate(sizes[: i + 1]):
            if j + life == i or (i == len(sizes) - 1 and j + life > i):
                plan.export_codes(f"out{j}", copies[j], 0)
    codes = np.arange(40, dtype=np.uint8).reshape(1, 1, 40, 1)
    for result in plan.run([codes], 1, 1):
        np.testing.assert_array_equal(result, codes[:, :, : result.shape[2]])


def test_a_part_is_memory_of_its_whole() -> None:
    """Two tables write their halves of the channels, in the middle of an image with a halo."""
    plan = native.Plan()
    x, whole = plan.bytes(3, 4, 5, 8), plan.bytes(3, 4, 10, 8, (1, 1, 1, 1), 7)
    plan.import_codes("x", 0, x)
    table = np.arange(256, dtype=np.uint8)[None]
    for i in (0, 1):
        plan.lookup(f"half{i}", table ^ i, x, plan.part(whole, (0, 0, 5 * i), (1, 1), 3, 4, 5, 8))
    odd = plan.part(whole, (1, 0, 5), (1, 2), 2, 2, 5, 8)
    plan.export_codes("whole", whole, 0)
    plan.export_codes("odd", odd, 0)
    codes = np.random.default_rng(0).integers(0, 256, (2, 5, 3, 4)).astype(np.uint8)
    joined, every_second = plan.run([codes], 2, 1)
    np.testing.assert_array_equal(joined, np.concatenate([codes, codes ^ 1], axis=1))
    np.testing.assert_array_equal(every_second, (codes ^ 1)[:, :, 1:, ::2])


@pytest.mark.parametrize("scheme", [None, "w16", "lut6"])
@pytest.mark.parametrize("width", [5, 6])
def test_a_convolution_of_every_second_pixel(isa: str, scheme: str | None, width: int) -> None:
    """Right, or refused by look-ups of six where rows are no whole number of such pixels apart."""
    rng = np.random.default_rng(width)
    codes, weights = rng.integers(0, 4, (2, 48, 4, width)), rng.integers(-2, 2, (64, 48, 1, 1))
    conv = native.Conv("conv", weights, np.zeros(64, np.int64), 48, act_bits=2, scheme=scheme)
    plan = native.Plan()
    whole, columns = plan.bytes(4, width, 48, 2), width // 2
    result = plan.accumulators(4, columns, 64)
    plan.import_codes("x", 0, whole)
    plan.conv(conv, plan.part(whole, (0, 1, 0), (1, 2), 4, columns, 48, 2), (0, 0, 0, 0), 0, result)
    plan.export_accumulators("y", result)
    if conv.scheme == "lut6" and width % 2:
        with pytest.raises(ValueError, match="'conv': rows of the input are no whole number of pixels apart"):
            plan.run([codes.astype(np.uint8)], 2, 1)
        return
    (got,) = plan.run([codes.astype(np.uint8)], 2, 1)
    np.testing.assert_array_equal(got, convolve(codes[..., 1::2][..., :columns], weights, np.zeros(64, np.int64)))


def test_an_addition_in_the_tiles_of_a_convolution() -> None:
    """Dense, depthwise and by transforms; the stream lies in memory in another way than the result."""
    rng = np.random.default_rng(0)
    for outputs, inputs, kernel, groups in ((37, 6, 3, 1), (20, 20, 3, 20), (33, 8, 1, 1), (64, 64, 3, 1)):
        padding = (kernel // 2,) * 4
        weights = rng.integers(-8, 8, (outputs, inputs // groups, kernel, kernel))
        conv = native.Conv("conv", weights, ZEROS[:outputs], inputs, groups=groups, act_bits=8)
        ones = np.ones(outputs, np.int64)
        low, high = min(conv.acc_low), max(conv.acc_high)
        add = native.Add(
            "sum", ones * 3, ones * 20, ones * 5, ones * 9, "half_up", 0, False, 0, 255, 8, 0, True, low, high
        )
        plan = native.Plan()
        x, stream = plan.bytes(7, 9, inputs, 8, padding), plan.bytes(7, 9, outputs, 8, (0, 2, 1, 0))
        out = plan.bytes(7, 9, outputs, 8, (1, 1, 1, 1))
        plan.import_codes("x", 0, x)
        plan.import_codes("stream", 0, stream)
        plan.conv_add(conv, add, x, padding, 0, stream, out)
        plan.export_codes("out", out, 0)
        codes = [rng.integers(0, 256, (3, channels, 7, 9)).astype(np.uint8) for channels in (inputs, outputs)]
        acc = convolve(codes[0], weights, ZEROS[:outputs], padding=padding, groups=groups)
        total = (3 * acc + 20 * codes[1].astype(np.int64) + 5 + 256) >> 9
        for threads in (1, 2):
            np.testing.assert_array_equal(plan.run(codes, 3, threads)[0], np.clip(total, 0, 255))


def test_what_a_plan_refuses() -> None:
    plan, _ = chain(1, 4, 6, [0, 0])
    x = np.zeros((2, 4, 6, 6), np.uint8)
    for arguments, message in (
        (([], 2, 1), "0 arrays, expected 1"),
        (([x], 3, 1), "has 288 elements, expected 3x4x6x6"),
        (([x.astype(np.int32)], 2, 1), "of another type"),
        (([x[:, :, ::-1]], 2, 1), "not contiguous"),
        (([x], 0, 1), "a batch of 0"),
        (([x + 16], 2, 1), "'x': codes leave their type"),
    ):
        with pytest.raises(ValueError, match=message):
            plan.run(*arguments)
    with pytest.raises(ValueError, match="'pool': writes value 9 of 2"):
        plan.max_pool("pool", (2, 2), (2, 2), (1, 1), (0, 0, 0, 0), 0, 9)
    with pytest.raises(ValueError, match="a part of value 7"):
        plan.part(7, (0, 0, 0), (1, 1), 1, 1, 1, 8)
    narrow = plan.bytes(6, 6, 3, 8)
    plan.max_pool("pool", (1, 1), (1, 1), (1, 1), (0, 0, 0, 0), 0, narrow)
    with pytest.raises(ValueError, match="'pool': max_pool: input and output differ"):
        plan.run([x], 2, 1)


def test_an_arena_beyond_memory_is_an_exception() -> None:
    plan = native.Plan()
    extent = 1 << 20
    plan.fill("huge", plan.bytes(extent, extent, extent - 1, 8))
    with pytest.raises(MemoryError):
        plan.run([], 1, 1)
