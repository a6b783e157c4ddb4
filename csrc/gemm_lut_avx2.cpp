// The gemm tiles that look sums up, for AVX2, tuned on Zen 3: weights of one or two bits.
//
// Look-ups run on two of Zen 3's vector pipes that do not multiply, at up to 3.4 instructions per cycle with the
// additions: 108 MAC/cycle for lut. The rows are in gemm_avx2.cpp.
#include <cstdint>

#include "gemm_avx2.h"

namespace intsim {
namespace {

alignas(32) constexpr uint8_t kOneBytes[32] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                               1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
alignas(32) constexpr uint8_t kOddPlanes[32] = {1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2,
                                                1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2};

}  // namespace

// clang-format off

#define CONSTANTS [odd_planes] "m"(kOddPlanes), [one_bytes] "m"(kOneBytes)

// lut: the panel's indices look up a quad's table, 16 channels by 2 planes in a register, and entries add up as bytes.
// Flushing them adds each plane by what it counts to int16 totals on the stack, and a full flush these to the tile. What
// planes count is copied from the panel's beginning to the 64 bytes in front of the totals.
#define LUT_ROW(low, high, address) MULTIPLY_ADD("vbroadcasti128", "vpshufb", "vpaddb", low, high, address)
#define LUT_QUAD(rows)        \
    LOAD_PANEL("0", "32")     \
    rows(LUT_ROW)             \
    "add $16, %[p]\n"         \
    "add $16, %[q]\n"         \
    "add $64, %[panel]\n"
#define TO_TOTALS(i)                                             \
    "vpaddw 64+32*" #i "(%[totals]), %%ymm" #i ", %%ymm" #i "\n" \
    "vmovdqa %%ymm" #i ", 64+32*" #i "(%[totals])\n"             \
    ZERO_ONE(i)
#define LUT_ADD_BYTES(i, planes)                                   \
    "vpmaddubsw " planes "(%[totals]), %%ymm" #i ", %%ymm" #i "\n" \
    TO_TOTALS(i)
#define LUT_START_ROW(low, high, address)              \
    "vmovdqa %%ymm12, 64*" #low "(%[acc])\n"           \
    "vmovdqa %%ymm13, 64*" #low "+32(%[acc])\n"        \
    "vmovdqa %%ymm14, 64*" #high "(%[acc])\n"          \
    "vmovdqa %%ymm15, 64*" #high "+32(%[acc])\n"
#define LUT_START_PLANES(rows)          \
    LOAD_PANEL("0", "32")               \
    "vmovdqa %%ymm12, (%[totals])\n"    \
    "vmovdqa %%ymm13, 32(%[totals])\n"  \
    "add $64, %[panel]\n"               \
    LUT_START(rows)
#define LUT_START(rows)                 \
    LOAD_BIAS                           \
    "vmovdqa 64(%[bias]), %%ymm14\n"    \
    "vmovdqa 96(%[bias]), %%ymm15\n"    \
    rows(LUT_START_ROW)
#define LUT_FLUSH_BYTES(low, high, address) LUT_ADD_BYTES(low, "0") LUT_ADD_BYTES(high, "32")
#define LUT_ADD_HALF(i, half)                                        \
    "vpmovsxwd 64+32*" #i "+16*" half "(%[totals]), %%ymm14\n"       \
    "vpaddd 64*" #i "+32*" half "(%[acc]), %%ymm14, %%ymm14\n"       \
    "vmovdqa %%ymm14, 64*" #i "+32*" half "(%[acc])\n"
#define LUT_ADD_TOTALS(i)                       \
    LUT_ADD_HALF(i, "0") LUT_ADD_HALF(i, "1")   \
    "vmovdqa %%ymm15, 64+32*" #i "(%[totals])\n"
#define LUT_FLUSH_TOTALS(low, high, address) LUT_ADD_TOTALS(low) LUT_ADD_TOTALS(high)
#define LUT_FLUSH(rows)         \
    rows(LUT_FLUSH_BYTES)       \
    "cmpq $1, 16(%[run])\n"     \
    "je 3f\n"                   \
    ZERO_ONE(15)                \
    rows(LUT_FLUSH_TOTALS)

// lutodd: the same with signed entries, so that the planes are the unsigned operand.
#define LUTODD_ADD_BYTES(i) "vpmaddubsw %%ymm" #i ", %%ymm14, %%ymm" #i "\n" TO_TOTALS(i)
#define LUTODD_FLUSH_BYTES(low, high, address) LUTODD_ADD_BYTES(low) LUTODD_ADD_BYTES(high)
#define LUTODD_FLUSH(rows)               \
    "vmovdqa %[odd_planes], %%ymm14\n"   \
    rows(LUTODD_FLUSH_BYTES)             \
    "cmpq $1, 16(%[run])\n"              \
    "je 3f\n"                            \
    ZERO_ONE(15)                         \
    rows(LUT_FLUSH_TOTALS)

// lutsign: two neighbouring tables at once, one in each half of a register, for 16 channels. Flushing the bytes brings
// both sums of a channel side by side and adds them, which leaves 16 channels in order in each of the two registers.
#define LUTSIGN_ROW(low, high, address) MULTIPLY_ADD("vmovdqu", "vpshufb", "vpaddb", low, high, address)
#define LUTSIGN_PAIR(rows)    \
    LOAD_PANEL("0", "32")     \
    rows(LUTSIGN_ROW)         \
    "add $32, %[p]\n"         \
    "add $32, %[q]\n"         \
    "add $64, %[panel]\n"
#define LUTSIGN_ADD_WORDS(i) "vpmaddubsw %%ymm" #i ", %%ymm13, %%ymm" #i "\n" TO_TOTALS(i)
#define LUTSIGN_FLUSH_BYTES(low, high, address)                          \
    "vperm2i128 $0x20, %%ymm" #high ", %%ymm" #low ", %%ymm14\n"         \
    "vperm2i128 $0x31, %%ymm" #high ", %%ymm" #low ", %%ymm15\n"         \
    "vpunpcklbw %%ymm15, %%ymm14, %%ymm" #low "\n"                       \
    "vpunpckhbw %%ymm15, %%ymm14, %%ymm" #high "\n"                      \
    LUTSIGN_ADD_WORDS(low) LUTSIGN_ADD_WORDS(high)
#define LUTSIGN_FLUSH(rows)               \
    "vmovdqa %[one_bytes], %%ymm13\n"     \
    rows(LUTSIGN_FLUSH_BYTES)             \
    "cmpq $1, 16(%[run])\n"               \
    "je 3f\n"                             \
    ZERO_ONE(15)                          \
    rows(LUT_FLUSH_TOTALS)

// The loop over quads in pairs.
#define EACH_PAIR(pair, rows) \
    ".p2align 5\n"            \
    "2:\n"                    \
    pair(rows)                \
    "sub $2, %[n]\n"          \
    "jnz 2b\n"

// clang-format on

#define LUT_KERNELS(mr)                                                                      \
    GEMM_KERNEL(gemm_lut_##mr, 32 * mr + 32, EACH_ROW_##mr, LUT_START_PLANES(EACH_ROW_##mr), \
                EACH_QUAD(LUT_QUAD, EACH_ROW_##mr), LUT_FLUSH(EACH_ROW_##mr), "")            \
    GEMM_KERNEL(gemm_lutodd_##mr, 32 * mr + 32, EACH_ROW_##mr, LUT_START(EACH_ROW_##mr),     \
                EACH_QUAD(LUT_QUAD, EACH_ROW_##mr), LUTODD_FLUSH(EACH_ROW_##mr), "")         \
    GEMM_KERNEL(gemm_lutsign_##mr, 32 * mr + 32, EACH_ROW_##mr, LUT_START(EACH_ROW_##mr),    \
                EACH_PAIR(LUTSIGN_PAIR, EACH_ROW_##mr), LUTSIGN_FLUSH(EACH_ROW_##mr), "")

LUT_KERNELS(1)
LUT_KERNELS(2)
LUT_KERNELS(3)
LUT_KERNELS(4)
LUT_KERNELS(5)
LUT_KERNELS(6)

}  // namespace intsim
