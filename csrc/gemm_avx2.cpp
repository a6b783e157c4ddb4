// The gemm tiles that multiply, for AVX2, tuned on Zen 3, and the rows of all gemm tiles.
//
// Multiplies run on two of Zen 3's vector pipes and additions on all four, so the pair multiply + add is bound at 3.2
// instructions per cycle: 51 MAC/cycle for a16 and 25.6 for w16, against 16 for float32. a32s1, s2 and s4 need 3, 2.5
// and 2.25 instructions for 32 MAC: 31, 39 and 41 MAC/cycle.
#include <cstdint>

#include "avx2.h"
#include "gemm_avx2.h"

namespace intsim {
namespace {

alignas(32) constexpr uint8_t kNibbles[32] = {15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15,
                                              15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15};
alignas(32) constexpr int8_t kNibbleLevels[32] = {0, 1, 2, 3, 4, 5, 6, 7, -8, -7, -6, -5, -4, -3, -2, -1,
                                                  0, 1, 2, 3, 4, 5, 6, 7, -8, -7, -6, -5, -4, -3, -2, -1};

// clang-format off

#define CONSTANTS [ones] "m"(kOnes), [nibbles] "m"(kNibbles), [nibble_levels] "m"(kNibbleLevels)

// A panel that a few tiles alone multiply is read from memory, and fetched by the tiles before. Where it is in the cache
// anyway that would cost a16 4 % of its time, so there is a loop without.
#define FETCH_AHEAD(skip) "prefetcht1 " skip "(%[panel],%[ahead])\n"
#define FETCH_OR_NOT(each_ahead, each) \
    "test %[ahead], %[ahead]\n"        \
    "jz 7f\n"                          \
    each_ahead                         \
    "jmp 8f\n"                         \
    "7:\n"                             \
    each                               \
    "8:\n"

// Add one register of int32 lanes to the tile.
#define ADD_TO_TILE(i)                                 \
    "vpaddd 32*" #i "(%[acc]), %%ymm" #i ", %%ymm" #i "\n" \
    "vmovdqa %%ymm" #i ", 32*" #i "(%[acc])\n"

// The tile is written once, bias included, where sums stay in int32.
#define STORE_ROW(low, high, address)                      \
    "vpaddd %%ymm12, %%ymm" #low ", %%ymm" #low "\n"       \
    "vpaddd %%ymm13, %%ymm" #high ", %%ymm" #high "\n"     \
    "vmovdqa %%ymm" #low ", 32*" #low "(%[acc])\n"         \
    "vmovdqa %%ymm" #high ", 32*" #high "(%[acc])\n"
#define INT32_STORE(rows) LOAD_BIAS rows(STORE_ROW)

// a16: u8 times s8, pairs summed into int16 (no pair saturates, by the packer's proof), then wrapping addition. A flush
// widens the int16 lanes to 8 channels of int32 and starts again from zero. The first one, mostly the only one, writes
// the tile, bias included; those after it, by which time the bias is a null pointer, add to it.
#define A16_QUAD_AHEAD(rows) FETCH_AHEAD("0") A16_QUAD(rows)
#define A16_WIDEN(i) "vpmaddwd %[ones], %%ymm" #i ", %%ymm" #i "\n"
#define A16_WRITE(low, high, address) A16_WIDEN(low) A16_WIDEN(high) STORE_ROW(low, high, address) ZERO(low, high, address)
#define A16_ADD(low, high, address)    \
    A16_WIDEN(low) ADD_TO_TILE(low)    \
    A16_WIDEN(high) ADD_TO_TILE(high)  \
    ZERO(low, high, address)
#define A16_FLUSH(rows)           \
    "test %[bias], %[bias]\n"     \
    "jz 7f\n"                     \
    LOAD_BIAS                     \
    rows(A16_WRITE)               \
    "xor %k[bias], %k[bias]\n"    \
    "jmp 3f\n"                    \
    "7:\n"                        \
    rows(A16_ADD)

// a16x4: half a panel is read, and its nibbles widened by looking them up.
#define A16X4_QUAD(rows)                           \
    "vmovdqa (%[panel]), %%ymm12\n"                \
    "vmovdqa %[nibble_levels], %%ymm14\n"          \
    "vpsrlw $4, %%ymm12, %%ymm13\n"                \
    "vpand %[nibbles], %%ymm12, %%ymm12\n"         \
    "vpand %[nibbles], %%ymm13, %%ymm13\n"         \
    "vpshufb %%ymm12, %%ymm14, %%ymm12\n"          \
    "vpshufb %%ymm13, %%ymm14, %%ymm13\n"          \
    rows(A16_ROW)                                  \
    "add $4, %[p]\n"                               \
    "add $4, %[q]\n"                               \
    "add $32, %[panel]\n"

// w16: int16 times int16, pairs of k summed into int32, two pairs at a time.
#define W16_FIRST(low, high, address) MULTIPLY_ADD("vpbroadcastd", "vpmaddwd", "vpaddd", low, high, address)
#define W16_SECOND(low, high, address) MULTIPLY_ADD("vpbroadcastd", "vpmaddwd", "vpaddd", low, high, "4" address)
#define W16_TWO(rows)         \
    LOAD_PANEL("0", "32")     \
    rows(W16_FIRST)           \
    LOAD_PANEL("64", "96")    \
    rows(W16_SECOND)          \
    "add $8, %[p]\n"          \
    "add $8, %[q]\n"          \
    "sub $-128, %[panel]\n"
#define W16_TWO_AHEAD(rows) FETCH_AHEAD("0") FETCH_AHEAD("64") W16_TWO(rows)
#define W16_ONE(rows)         \
    LOAD_PANEL("0", "32")     \
    rows(W16_FIRST)           \
    "add $64, %[panel]\n"
// w16x8: the same from bytes.
#define LOAD_WIDENED(low, high)                  \
    "vpmovsxbw " low "(%[panel]), %%ymm12\n"     \
    "vpmovsxbw " high "(%[panel]), %%ymm13\n"
#define W16X8_TWO(rows)         \
    LOAD_WIDENED("0", "16")     \
    rows(W16_FIRST)             \
    LOAD_WIDENED("32", "48")    \
    rows(W16_SECOND)            \
    "add $8, %[p]\n"            \
    "add $8, %[q]\n"            \
    "add $64, %[panel]\n"
#define W16X8_ONE(rows)         \
    LOAD_WIDENED("0", "16")     \
    rows(W16_FIRST)             \
    "add $32, %[panel]\n"

// a32: as a16, but 16-bit sums are widened and added to int32 registers after every step. Steps of 2 and 4 quads have 4
// rows, so that ymm8..15 are free; quads that are left over go one by one.
#define A32_ADD(product, i)                                \
    "vpmaddwd %[ones], " product ", " product "\n"         \
    "vpaddd " product ", %%ymm" #i ", %%ymm" #i "\n"
#define A32S1_ROW(low, high, address)           \
    "vpbroadcastd " address ", %%ymm14\n"       \
    "vpmaddubsw %%ymm12, %%ymm14, %%ymm15\n"    \
    A32_ADD("%%ymm15", low)                     \
    "vpmaddubsw %%ymm13, %%ymm14, %%ymm14\n"    \
    A32_ADD("%%ymm14", high)
#define A32S1_QUAD(rows)      \
    LOAD_PANEL("0", "32")     \
    rows(A32S1_ROW)           \
    "add $4, %[p]\n"          \
    "add $4, %[q]\n"          \
    "add $64, %[panel]\n"

// One more quad of a row in its 16-bit sums, ymm14 and ymm15.
#define A32_MORE(skip, address, low_panel, high_panel) \
    "vpbroadcastd " skip address ", %%ymm12\n"         \
    "vpmaddubsw " low_panel ", %%ymm12, %%ymm13\n"     \
    "vpaddw %%ymm13, %%ymm14, %%ymm14\n"               \
    "vpmaddubsw " high_panel ", %%ymm12, %%ymm13\n"    \
    "vpaddw %%ymm13, %%ymm15, %%ymm15\n"
#define A32_FIRST(address, low_panel, high_panel)      \
    "vpbroadcastd " address ", %%ymm12\n"              \
    "vpmaddubsw " low_panel ", %%ymm12, %%ymm14\n"     \
    "vpmaddubsw " high_panel ", %%ymm12, %%ymm15\n"
#define A32S2_ROW(low, high, address)                     \
    A32_FIRST(address, "%%ymm8", "%%ymm9")                \
    A32_MORE("4", address, "%%ymm10", "%%ymm11")          \
    A32_ADD("%%ymm14", low) A32_ADD("%%ymm15", high)
#define A32S2_STEP(rows)               \
    "vmovdqa (%[panel]), %%ymm8\n"     \
    "vmovdqa 32(%[panel]), %%ymm9\n"   \
    "vmovdqa 64(%[panel]), %%ymm10\n"  \
    "vmovdqa 96(%[panel]), %%ymm11\n"  \
    rows(A32S2_ROW)                    \
    "add $8, %[p]\n"                   \
    "add $8, %[q]\n"                   \
    "sub $-128, %[panel]\n"
#define A32S4_ROW(low, high, address)                                \
    A32_FIRST(address, "%%ymm8", "%%ymm9")                           \
    A32_MORE("4", address, "%%ymm10", "%%ymm11")                     \
    A32_MORE("8", address, "128(%[panel])", "160(%[panel])")         \
    A32_MORE("12", address, "192(%[panel])", "224(%[panel])")        \
    A32_ADD("%%ymm14", low) A32_ADD("%%ymm15", high)
#define A32S4_STEP(rows)               \
    "vmovdqa (%[panel]), %%ymm8\n"     \
    "vmovdqa 32(%[panel]), %%ymm9\n"   \
    "vmovdqa 64(%[panel]), %%ymm10\n"  \
    "vmovdqa 96(%[panel]), %%ymm11\n"  \
    rows(A32S4_ROW)                    \
    "add $16, %[p]\n"                  \
    "add $16, %[q]\n"                  \
    "add $256, %[panel]\n"

// float32, the roof of benchmarks: one k of 16 channels, 4 times.
#define FMA_AT(skip, low, high, address)                        \
    "vbroadcastss " skip address ", %%ymm14\n"                  \
    "vfmadd231ps %%ymm12, %%ymm14, %%ymm" #low "\n"             \
    "vfmadd231ps %%ymm13, %%ymm14, %%ymm" #high "\n"
#define FMA_0(low, high, address) FMA_AT("", low, high, address)
#define FMA_1(low, high, address) FMA_AT("4", low, high, address)
#define FMA_2(low, high, address) FMA_AT("8", low, high, address)
#define FMA_3(low, high, address) FMA_AT("12", low, high, address)
#define FMA_QUAD(rows)                    \
    LOAD_PANEL("0", "32") rows(FMA_0)     \
    LOAD_PANEL("64", "96") rows(FMA_1)    \
    LOAD_PANEL("128", "160") rows(FMA_2)  \
    LOAD_PANEL("192", "224") rows(FMA_3)  \
    "add $16, %[p]\n"                     \
    "add $16, %[q]\n"                     \
    "add $256, %[panel]\n"
#define FMA_STORE_ONE(i) "vmovaps %%ymm" #i ", 32*" #i "(%[acc])\n"
#define FMA_STORE(low, high, address) FMA_STORE_ONE(low) FMA_STORE_ONE(high)

// The loop over quads in steps, with the rest one by one.
#define EACH_STEP(count, step, single, rows)  \
    "sub $" #count ", %[n]\n"         \
    "jl 5f\n"                         \
    ".p2align 5\n"                    \
    "4:\n"                            \
    step(rows)                        \
    "sub $" #count ", %[n]\n"         \
    "jge 4b\n"                        \
    "5: add $" #count ", %[n]\n"      \
    "jz 6f\n"                         \
    EACH_QUAD(single, rows)           \
    "6:\n"

// clang-format on

#define GEMM_KERNELS(mr)                                                                                               \
    GEMM_KERNEL(gemm_a16_##mr, 1, EACH_ROW_##mr, "",                                                                   \
                FETCH_OR_NOT(EACH_QUAD(A16_QUAD_AHEAD, EACH_ROW_##mr), EACH_QUAD(A16_QUAD, EACH_ROW_##mr)),            \
                A16_FLUSH(EACH_ROW_##mr), "")                                                                          \
    GEMM_KERNEL(gemm_a16x4_##mr, 1, EACH_ROW_##mr, "", EACH_QUAD(A16X4_QUAD, EACH_ROW_##mr), A16_FLUSH(EACH_ROW_##mr), \
                "")                                                                                                    \
    GEMM_KERNEL(gemm_w16x8_##mr, 1, EACH_ROW_##mr, "", EACH_STEP(2, W16X8_TWO, W16X8_ONE, EACH_ROW_##mr), "",          \
                INT32_STORE(EACH_ROW_##mr))                                                                            \
    GEMM_KERNEL(gemm_w16_##mr, 1, EACH_ROW_##mr, "",                                                                   \
                FETCH_OR_NOT(EACH_STEP(2, W16_TWO_AHEAD, W16_ONE, EACH_ROW_##mr),                                      \
                             EACH_STEP(2, W16_TWO, W16_ONE, EACH_ROW_##mr)),                                           \
                "", INT32_STORE(EACH_ROW_##mr))                                                                        \
    GEMM_KERNEL(gemm_a32s1_##mr, 1, EACH_ROW_##mr, "", EACH_QUAD(A32S1_QUAD, EACH_ROW_##mr), "",                       \
                INT32_STORE(EACH_ROW_##mr))
#define STEP_KERNELS(mr)                                                                                        \
    GEMM_KERNEL(gemm_a32s2_##mr, 1, EACH_ROW_##mr, "", EACH_STEP(2, A32S2_STEP, A32S1_QUAD, EACH_ROW_##mr), "", \
                INT32_STORE(EACH_ROW_##mr))                                                                     \
    GEMM_KERNEL(gemm_a32s4_##mr, 1, EACH_ROW_##mr, "", EACH_STEP(4, A32S4_STEP, A32S1_QUAD, EACH_ROW_##mr), "", \
                INT32_STORE(EACH_ROW_##mr))

GEMM_KERNELS(1)
GEMM_KERNELS(2)
GEMM_KERNELS(3)
GEMM_KERNELS(4)
GEMM_KERNELS(5)
GEMM_KERNELS(6)
GEMM_KERNEL(roof_6, 1, EACH_ROW_6, "", EACH_QUAD(FMA_QUAD, EACH_ROW_6), "", EACH_ROW_6(FMA_STORE))
STEP_KERNELS(1)
STEP_KERNELS(2)
STEP_KERNELS(3)
STEP_KERNELS(4)

#define GEMM_ROW(weight_bits, scheme, enumerator, mr, nr)                                                         \
    {{"gemm_u8s" #weight_bits "_" #scheme "_avx2_" #mr "x" #nr, "gemm", #scheme, "avx2", mr, nr, 8, weight_bits}, \
     Scheme::enumerator,                                                                                          \
     gemm_##scheme##_##mr},
#define GEMM_ROWS(mr)                  \
    GEMM_ROW(8, a16, kA16, mr, 16)     \
    GEMM_ROW(4, a16x4, kA16X4, mr, 16) \
    GEMM_ROW(8, w16, kW16, mr, 16)     \
    GEMM_ROW(8, w16x8, kW16X8, mr, 16) \
    GEMM_ROW(8, a32s1, kA32S1, mr, 16) \
    GEMM_ROW(2, lut, kLut, mr, 32) GEMM_ROW(2, lutodd, kLutOdd, mr, 32) GEMM_ROW(1, lutsign, kLutSign, mr, 32)
#define STEP_ROWS(mr) GEMM_ROW(8, a32s2, kA32S2, mr, 16) GEMM_ROW(8, a32s4, kA32S4, mr, 16)

constexpr TileRow kRows[] = {GEMM_ROWS(6) GEMM_ROWS(5) GEMM_ROWS(4) GEMM_ROWS(3) GEMM_ROWS(2) GEMM_ROWS(1)  //
                             STEP_ROWS(4) STEP_ROWS(3) STEP_ROWS(2) STEP_ROWS(1)};

constexpr TileRow kRoof = {
    {"roof_f32f32_float32_avx2_6x16", "roof", "float32", "avx2", 6, 16, 32, 32}, Scheme::kFloat32, roof_6};

}  // namespace

const Rows<TileRow> kAvx2Roof = {&kRoof, 1};
const Rows<TileRow> kAvx2Gemm = {kRows, sizeof kRows / sizeof *kRows};

}  // namespace intsim
