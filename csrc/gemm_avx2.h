// The asm of gemm tiles for AVX2 that files of tiles share: rows, panels, the loop over quads, and the quads of a16 and
// w16. ymm0..11 hold 6 rows x 2 registers of accumulators, ymm12 and ymm13 the panel, ymm14 the broadcast operand,
// ymm15 the product.
#pragma once

#include <cstdint>

#include "kernel_table.h"

namespace intsim {
namespace {

alignas(32) constexpr int16_t kOnes[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

static_assert(sizeof(Run) == 24, "the asm blocks step through runs by 24 bytes");

}  // namespace
}  // namespace intsim

// clang-format off

// EACH_ROW_<MR>(f): f(low accumulator, high accumulator, address of the row's operand), for rows p + {0, 1, 2} * stride
// and q + {0, 1, 2} * stride, where q = p + 3 * stride.
#define EACH_ROW_1(f) f(0, 1, "(%[p])")
#define EACH_ROW_2(f) EACH_ROW_1(f) f(2, 3, "(%[p],%[stride])")
#define EACH_ROW_3(f) EACH_ROW_2(f) f(4, 5, "(%[p],%[stride],2)")
#define EACH_ROW_4(f) EACH_ROW_3(f) f(6, 7, "(%[q])")
#define EACH_ROW_5(f) EACH_ROW_4(f) f(8, 9, "(%[q],%[stride])")
#define EACH_ROW_6(f) EACH_ROW_5(f) f(10, 11, "(%[q],%[stride],2)")

#define ZERO_ONE(i) "vpxor %%xmm" #i ", %%xmm" #i ", %%xmm" #i "\n"
#define ZERO(low, high, address) ZERO_ONE(low) ZERO_ONE(high)

#define LOAD_PANEL(low, high)              \
    "vmovdqa " low "(%[panel]), %%ymm12\n" \
    "vmovdqa " high "(%[panel]), %%ymm13\n"

#define MULTIPLY_ADD(broadcast, multiply, add, low, high, address) \
    broadcast " " address ", %%ymm14\n"                \
    multiply " %%ymm12, %%ymm14, %%ymm15\n"             \
    add " %%ymm15, %%ymm" #low ", %%ymm" #low "\n"      \
    multiply " %%ymm13, %%ymm14, %%ymm15\n"             \
    add " %%ymm15, %%ymm" #high ", %%ymm" #high "\n"

// a16: u8 times s8, pairs summed into int16 (no pair saturates, by the packer's proof), then wrapping addition.
#define A16_ROW(low, high, address) MULTIPLY_ADD("vpbroadcastd", "vpmaddubsw", "vpaddw", low, high, address)
#define A16_QUAD(rows)        \
    LOAD_PANEL("0", "32")     \
    rows(A16_ROW)             \
    "add $4, %[p]\n"          \
    "add $4, %[q]\n"          \
    "add $64, %[panel]\n"

// The loop over the n quads of a run.
#define EACH_QUAD(quad, rows) \
    ".p2align 5\n"            \
    "2:\n"                    \
    quad(rows)                \
    "dec %[n]\n"              \
    "jnz 2b\n"

// clang-format on
