// The asm of gemm tiles for AVX2 that files of tiles share: rows, panels, the loop over quads, and the quads of a16.
//
// Each tile is a single asm block in a leaf function: GCC spills accumulator arrays of intrinsics and lost a factor of
// 2 to 6. ymm0..11 hold 6 rows x 2 registers of accumulators, ymm12 and ymm13 the panel, ymm14 the broadcast operand,
// ymm15 the product.
#pragma once

#include <cstdint>

#include "kernel_table.h"

namespace intsim {
namespace {

alignas(32) constexpr int16_t kOnes[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

static_assert(sizeof(Run) == 24, "the asm blocks step through runs by 24 bytes");

}  // namespace

// gemm_lut_avx2.cpp
#define DECLARE_LUT(mr)                 \
    void gemm_lut_##mr(const Tile&);    \
    void gemm_lutodd_##mr(const Tile&); \
    void gemm_lutsign_##mr(const Tile&);
DECLARE_LUT(1) DECLARE_LUT(2) DECLARE_LUT(3) DECLARE_LUT(4) DECLARE_LUT(5) DECLARE_LUT(6)

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

// The bias of 16 channels.
#define LOAD_BIAS                       \
    "vmovdqa (%[bias]), %%ymm12\n"      \
    "vmovdqa 32(%[bias]), %%ymm13\n"

// A kernel of one tile: at_start; for each run { p = operand + offset; each_quad; if (run.flush) { after_flush } } at_end
// `int16_totals` is how many of them it keeps on the stack, at least 1; CONSTANTS are what a file's asm reads beside.
#define GEMM_KERNEL(function, int16_totals, rows, at_start, each_quad, after_flush, at_end)                   \
    __attribute__((noinline)) void function(const Tile& tile) {                                               \
        const Run* run = tile.runs;                                                                           \
        const void* panel = tile.panel;                                                                       \
        const int32_t* bias = tile.bias;                                                                      \
        int64_t count = tile.run_count, n;                                                                    \
        const char *p, *q;                                                                                    \
        alignas(32) int16_t totals[int16_totals] = {};                                                        \
        __asm__ volatile(                                                                                     \
            at_start                                                                                          \
            rows(ZERO)                                                                                        \
            "1: mov (%[run]), %[p]\n"                                                                         \
            "add %[operand], %[p]\n"                                                                          \
            "lea (%[p],%[stride],2), %[q]\n"                                                                  \
            "add %[stride], %[q]\n"                                                                           \
            "mov 8(%[run]), %[n]\n"                                                                           \
            each_quad                                                                                         \
            "cmpq $0, 16(%[run])\n"                                                                           \
            "je 3f\n"                                                                                         \
            after_flush                                                                                       \
            "3: add $24, %[run]\n"                                                                            \
            "dec %[count]\n"                                                                                  \
            "jnz 1b\n"                                                                                        \
            at_end                                                                                            \
            "vzeroupper\n"                                                                                    \
            : [run] "+&r"(run), [panel] "+&r"(panel), [count] "+&r"(count), [bias] "+&r"(bias), [n] "=&r"(n), \
              [p] "=&r"(p), [q] "=&r"(q)                                                                      \
            : [operand] "r"(tile.operand), [stride] "r"(tile.row_stride), [acc] "r"(tile.acc),                \
              [ahead] "r"(tile.ahead), [totals] "r"(totals), CONSTANTS                                        \
            : "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", \
              "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");                                          \
    }

// clang-format on
