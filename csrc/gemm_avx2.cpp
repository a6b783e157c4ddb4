// The gemm tiles for AVX2, tuned on Zen 3.
//
// Each loop is a single asm block in a leaf function: GCC spills accumulator arrays of intrinsics and lost a factor of
// 2 to 6. ymm0..11 hold 6 rows x 2 registers of accumulators, ymm12 and ymm13 the panel, ymm14 the broadcast operand,
// ymm15 the product. Multiplies run on two of Zen 3's vector pipes and additions on all four, so the pair multiply +
// add is bound at 3.2 instructions per cycle: 51 MAC/cycle for a16 and 25.6 for w16, against 16 for float32. Look-ups
// run on the other two pipes, at up to 3.4 instructions per cycle: 108 MAC/cycle for lut.
#include <cstdint>

#include "avx2.h"

namespace intsim {
namespace {

alignas(32) constexpr int16_t kOnes[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
alignas(32) constexpr int8_t kPlanes[32] = {1, -2, 1, -2, 1, -2, 1, -2, 1, -2, 1, -2, 1, -2, 1, -2,
                                            1, -2, 1, -2, 1, -2, 1, -2, 1, -2, 1, -2, 1, -2, 1, -2};

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

// Add one register of int32 lanes to the tile.
#define ADD_TO_TILE(i)                                 \
    "vpaddd 32*" #i "(%[acc]), %%ymm" #i ", %%ymm" #i "\n" \
    "vmovdqa %%ymm" #i ", 32*" #i "(%[acc])\n"

// a16: u8 times s8, pairs summed into int16 (no pair saturates, by the packer's proof), then wrapping addition. A flush
// widens the int16 lanes to 8 channels of int32, adds them to the tile, and starts again from zero.
#define A16_ROW(low, high, address) MULTIPLY_ADD("vpbroadcastd", "vpmaddubsw", "vpaddw", low, high, address)
#define A16_QUAD(rows)        \
    LOAD_PANEL("0", "32")     \
    rows(A16_ROW)             \
    "add $4, %[p]\n"          \
    "add $4, %[q]\n"          \
    "add $64, %[panel]\n"
#define A16_WIDEN(i) "vpmaddwd %[ones], %%ymm" #i ", %%ymm" #i "\n"
#define A16_FLUSH(low, high, address)  \
    A16_WIDEN(low) ADD_TO_TILE(low)    \
    A16_WIDEN(high) ADD_TO_TILE(high)  \
    ZERO(low, high, address)

// w16: int16 times int16, pairs summed into int32. A quad is two pairs of k, 4 bytes apart in the widened operand.
#define W16_FIRST(low, high, address) MULTIPLY_ADD("vpbroadcastd", "vpmaddwd", "vpaddd", low, high, address)
#define W16_SECOND(low, high, address) MULTIPLY_ADD("vpbroadcastd", "vpmaddwd", "vpaddd", low, high, "4" address)
#define W16_QUAD(rows)        \
    LOAD_PANEL("0", "32")     \
    rows(W16_FIRST)           \
    LOAD_PANEL("64", "96")    \
    rows(W16_SECOND)          \
    "add $8, %[p]\n"          \
    "add $8, %[q]\n"          \
    "sub $-128, %[panel]\n"
#define W16_STORE(low, high, address) ADD_TO_TILE(low) ADD_TO_TILE(high)

// lut: the panel's indices look up a quad's table, 16 channels by 2 planes in a register, and entries add up as bytes.
// Flushing them adds plane 0 - 2 * plane 1 to int16 totals on the stack, and a full flush these to the tile.
#define LUT_ROW(low, high, address) MULTIPLY_ADD("vbroadcasti128", "vpshufb", "vpaddb", low, high, address)
#define LUT_QUAD(rows)        \
    LOAD_PANEL("0", "32")     \
    rows(LUT_ROW)             \
    "add $16, %[p]\n"         \
    "add $16, %[q]\n"         \
    "add $64, %[panel]\n"
#define LUT_ADD_BYTES(i)                                      \
    "vpmaddubsw %[planes], %%ymm" #i ", %%ymm" #i "\n"        \
    "vpaddw 32*" #i "(%[totals]), %%ymm" #i ", %%ymm" #i "\n" \
    "vmovdqa %%ymm" #i ", 32*" #i "(%[totals])\n"             \
    ZERO_ONE(i)
#define LUT_FLUSH_BYTES(low, high, address) LUT_ADD_BYTES(low) LUT_ADD_BYTES(high)
#define LUT_ADD_HALF(i, half)                                        \
    "vpmovsxwd 32*" #i "+16*" half "(%[totals]), %%ymm14\n"          \
    "vpaddd 64*" #i "+32*" half "(%[acc]), %%ymm14, %%ymm14\n"       \
    "vmovdqa %%ymm14, 64*" #i "+32*" half "(%[acc])\n"
#define LUT_ADD_TOTALS(i)                       \
    LUT_ADD_HALF(i, "0") LUT_ADD_HALF(i, "1")   \
    "vmovdqa %%ymm15, 32*" #i "(%[totals])\n"
#define LUT_FLUSH_TOTALS(low, high, address) LUT_ADD_TOTALS(low) LUT_ADD_TOTALS(high)
#define LUT_FLUSH(rows)         \
    rows(LUT_FLUSH_BYTES)       \
    "cmpq $1, 16(%[run])\n"     \
    "je 3f\n"                   \
    ZERO_ONE(15)                \
    rows(LUT_FLUSH_TOTALS)

// `int16_totals`: how many of them a kernel keeps on the stack; 1 where it has none.
// for each run { p = operand + offset; do { quad } while (--n); if (run.flush) { after_flush } } at_end
#define GEMM_KERNEL(function, int16_totals, rows, quad, after_flush, at_end)                                         \
    __attribute__((noinline)) void function(const Tile& tile) {                                                      \
        const Run* run = tile.runs;                                                                                  \
        const void* panel = tile.panel;                                                                              \
        int64_t count = tile.run_count, n;                                                                           \
        const char *p, *q;                                                                                           \
        alignas(32) int16_t totals[int16_totals] = {};                                                               \
        __asm__ volatile(                                                                                            \
            rows(ZERO)                                                                                               \
            "1: mov (%[run]), %[p]\n"                                                                                \
            "add %[operand], %[p]\n"                                                                                 \
            "lea (%[p],%[stride],2), %[q]\n"                                                                         \
            "add %[stride], %[q]\n"                                                                                  \
            "mov 8(%[run]), %[n]\n"                                                                                  \
            ".p2align 5\n"                                                                                           \
            "2:\n"                                                                                                   \
            quad(rows)                                                                                               \
            "dec %[n]\n"                                                                                             \
            "jnz 2b\n"                                                                                               \
            "cmpq $0, 16(%[run])\n"                                                                                  \
            "je 3f\n"                                                                                                \
            after_flush                                                                                              \
            "3: add $24, %[run]\n"                                                                                   \
            "dec %[count]\n"                                                                                         \
            "jnz 1b\n"                                                                                               \
            at_end                                                                                                   \
            "vzeroupper\n"                                                                                           \
            : [run] "+&r"(run), [panel] "+&r"(panel), [count] "+&r"(count), [n] "=&r"(n), [p] "=&r"(p), [q] "=&r"(q) \
            : [operand] "r"(tile.operand), [stride] "r"(tile.row_stride), [acc] "r"(tile.acc), [ones] "m"(kOnes),    \
              [planes] "m"(kPlanes), [totals] "r"(totals)                                                            \
            : "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",        \
              "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");                                                 \
    }

// clang-format on

static_assert(sizeof(Run) == 24, "the asm blocks step through runs by 24 bytes");

#define GEMM_KERNELS(mr)                                                                 \
    GEMM_KERNEL(gemm_a16_##mr, 1, EACH_ROW_##mr, A16_QUAD, EACH_ROW_##mr(A16_FLUSH), "") \
    GEMM_KERNEL(gemm_w16_##mr, 1, EACH_ROW_##mr, W16_QUAD, "", EACH_ROW_##mr(W16_STORE)) \
    GEMM_KERNEL(gemm_lut_##mr, 32 * mr, EACH_ROW_##mr, LUT_QUAD, LUT_FLUSH(EACH_ROW_##mr), "")

GEMM_KERNELS(1)
GEMM_KERNELS(2)
GEMM_KERNELS(3)
GEMM_KERNELS(4)
GEMM_KERNELS(5)
GEMM_KERNELS(6)

#define GEMM_ROWS(mr)                                                                                          \
    {{"gemm_u8s8_a16_avx2_" #mr "x16", "gemm", "a16", "avx2", mr, 16, 8, 8}, Scheme::kA16, gemm_a16_##mr},     \
        {{"gemm_u8s8_w16_avx2_" #mr "x16", "gemm", "w16", "avx2", mr, 16, 8, 8}, Scheme::kW16, gemm_w16_##mr}, \
        {{"gemm_u8s2_lut_avx2_" #mr "x32", "gemm", "lut", "avx2", mr, 32, 8, 2}, Scheme::kLut, gemm_lut_##mr},

constexpr TileRow kRows[] = {GEMM_ROWS(6) GEMM_ROWS(5) GEMM_ROWS(4) GEMM_ROWS(3) GEMM_ROWS(2) GEMM_ROWS(1)};

}  // namespace

const Rows<TileRow> kAvx2Gemm = {kRows, 18};

}  // namespace intsim
