// The gemm tiles for AVX2 that end in bytes: accumulators of a16 become codes by a line in registers. Written out and
// read again they take a tenth of a layer whose sums are short (K of 16 to 64). For w16 and high words, whose constants
// do not fit the registers beside, this gained nothing.
#include <cstddef>
#include <cstdint>

#include "avx2.h"
#include "gemm_avx2.h"

namespace intsim {
namespace {

alignas(32) constexpr int32_t kPixelOrder[8] = {0, 4, 1, 5, 2, 6, 3, 7};  // of four channels each, after two packings

// clang-format off

// EACH_PAIR_<MR>(two, one): rows two by two, by the registers that hold their 16 words.
#define EACH_PAIR_1(two, one) one(0, "(%[p])")
#define EACH_PAIR_2(two, one) two(0, 2, "(%[p])", "(%[p],%[stride])")
#define EACH_PAIR_3(two, one) EACH_PAIR_2(two, one) one(4, "(%[p],%[stride],2)")
#define EACH_PAIR_4(two, one) EACH_PAIR_2(two, one) two(4, 6, "(%[p],%[stride],2)", "(%[q])")
#define EACH_PAIR_5(two, one) EACH_PAIR_4(two, one) one(8, "(%[q],%[stride])")
#define EACH_PAIR_6(two, one) EACH_PAIR_4(two, one) two(8, 10, "(%[q],%[stride])", "(%[q],%[stride],2)")

// 16-bit sums to int32, through a LineBlock whose offsets are in ymm12 and ymm13, to 16 words.
#define START_LINE                                \
    "vmovaps %c[offset](%[block]), %%ymm12\n"     \
    "vmovaps %c[offset]+32(%[block]), %%ymm13\n"
#define LINE(i, skip, offset)                                                      \
    "vpmaddwd %[ones], %%ymm" #i ", %%ymm" #i "\n"                                 \
    "vpaddd " skip "(%[bias]), %%ymm" #i ", %%ymm" #i "\n"                         \
    "vcvtdq2ps %%ymm" #i ", %%ymm" #i "\n"                                         \
    "vfmadd132ps %c[scale]+" skip "(%[block]), %%ymm" #offset ", %%ymm" #i "\n"    \
    "vcvtps2dq %%ymm" #i ", %%ymm" #i "\n"
#define LINE_ROW(low, high, address)                   \
    LINE(low, "0", 12) LINE(high, "32", 13)            \
    "vpackssdw %%ymm" #high ", %%ymm" #low ", %%ymm" #low "\n"

// Two rows of words become two rows of bytes, in order and clipped.
#define START_BYTES                                   \
    "vpbroadcastb %c[low](%[block]), %%ymm12\n"       \
    "vpbroadcastb %c[high](%[block]), %%ymm13\n"      \
    "vmovdqa %[pixel_order], %%ymm14\n"
#define TO_BYTES(a, b)                                         \
    "vpackuswb %%ymm" #b ", %%ymm" #a ", %%ymm" #a "\n"        \
    "vpermd %%ymm" #a ", %%ymm14, %%ymm" #a "\n"               \
    "vpmaxub %%ymm12, %%ymm" #a ", %%ymm" #a "\n"              \
    "vpminub %%ymm13, %%ymm" #a ", %%ymm" #a "\n"
#define STORE_TWO(a, b, first, second)              \
    TO_BYTES(a, b)                                  \
    "vmovdqu %%xmm" #a ", " first "\n"              \
    "vextracti128 $1, %%ymm" #a ", " second "\n"
#define STORE_ONE(a, address) TO_BYTES(a, a) "vmovdqu %%xmm" #a ", " address "\n"

// for each run { p = operand + offset; each quad } each row to words, each two rows to bytes at out
#define A16_LINE_KERNEL(mr)                                                                                          \
    __attribute__((noinline)) void a16_line_##mr(const ByteTile& bytes) {                                            \
        const Tile& tile = bytes.tile;                                                                               \
        const Run* run = tile.runs;                                                                                  \
        const void* panel = tile.panel;                                                                              \
        int64_t count = tile.run_count, stride = tile.row_stride, n;                                                 \
        const char *p, *q;                                                                                           \
        __asm__ volatile(                                                                                            \
            EACH_ROW_##mr(ZERO)                                                                                      \
            "1: mov (%[run]), %[p]\n"                                                                                \
            "add %[operand], %[p]\n"                                                                                 \
            "lea (%[p],%[stride],2), %[q]\n"                                                                         \
            "add %[stride], %[q]\n"                                                                                  \
            "mov 8(%[run]), %[n]\n"                                                                                  \
            EACH_QUAD(A16_QUAD, EACH_ROW_##mr)                                                                       \
            "add $24, %[run]\n"                                                                                      \
            "dec %[count]\n"                                                                                         \
            "jnz 1b\n"                                                                                               \
            START_LINE                                                                                               \
            EACH_ROW_##mr(LINE_ROW)                                                                                  \
            "mov %[out], %[p]\n"                                                                                     \
            "mov %[out_stride], %[stride]\n"                                                                         \
            "lea (%[p],%[stride],2), %[q]\n"                                                                         \
            "add %[stride], %[q]\n"                                                                                  \
            START_BYTES                                                                                              \
            EACH_PAIR_##mr(STORE_TWO, STORE_ONE)                                                                     \
            "vzeroupper\n"                                                                                           \
            : [run] "+&r"(run), [panel] "+&r"(panel), [count] "+&r"(count), [stride] "+&r"(stride), [n] "=&r"(n),    \
              [p] "=&r"(p), [q] "=&r"(q)                                                                             \
            : [operand] "r"(tile.operand), [bias] "r"(tile.bias), [block] "r"(bytes.block), [out] "m"(bytes.out),    \
              [out_stride] "m"(bytes.out_stride), [ones] "m"(kOnes), [pixel_order] "m"(kPixelOrder),                 \
              [scale] "i"(offsetof(LineBlock, scale)), [offset] "i"(offsetof(LineBlock, offset)),                    \
              [low] "i"(offsetof(LineBlock, low)), [high] "i"(offsetof(LineBlock, high))                             \
            : "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",        \
              "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");                                                 \
    }

// clang-format on

A16_LINE_KERNEL(1)
A16_LINE_KERNEL(2)
A16_LINE_KERNEL(3)
A16_LINE_KERNEL(4)
A16_LINE_KERNEL(5)
A16_LINE_KERNEL(6)

#define A16_LINE_ROW(mr)                                                             \
    {{"gemmline_u8s8_a16_avx2_" #mr "x16", "gemmline", "a16", "avx2", mr, 16, 8, 8}, \
     Scheme::kA16,                                                                   \
     EpilogueKind::kLine,                                                            \
     a16_line_##mr}

constexpr ByteTileRow kRows[] = {A16_LINE_ROW(6), A16_LINE_ROW(5), A16_LINE_ROW(4),
                                 A16_LINE_ROW(3), A16_LINE_ROW(2), A16_LINE_ROW(1)};

}  // namespace

const Rows<ByteTileRow> kAvx2ByteTiles = {kRows, sizeof kRows / sizeof *kRows};

}  // namespace intsim
