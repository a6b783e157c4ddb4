// The gemm tiles that look sums up, for AVX-512 with VBMI, tuned on Zen 5: weights of two bits.
//
// lut6: vpermb looks 64 bytes up in a table of 64, the sums of 6 activations: 6 MAC for each of 32 channels' 2 planes.
// Zen 5 begins two look-ups a cycle and 3.5 of look-ups and additions: 335 MAC a cycle, where dot has 128. Two panels
// share the loads of tables. 12 rows by 2 panels leave room for both panels' indices, a table and what is looked up.
//
// The loops are one asm block: GCC spills sums that it can see.
#include <cstdint>

#include "avx512vbmi.h"

namespace intsim {
namespace {

// Of a tile's panels: what their planes count, [32 channels][2 planes] int8, and the sums of their rows in int16.
struct Words {
    __m512i planes[2], sums[2][12];
};

// clang-format off

// EACH_ROW_<MR>(f): f(sums of the first panel, of the second, address of the row's table), three rows to a pointer.
#define EACH_ROW_1(f) f(0, 12, "(%[p])")
#define EACH_ROW_2(f) EACH_ROW_1(f) f(1, 13, "(%[p],%[stride])")
#define EACH_ROW_3(f) EACH_ROW_2(f) f(2, 14, "(%[p],%[stride],2)")
#define EACH_ROW_4(f) EACH_ROW_3(f) f(3, 15, "(%[q])")
#define EACH_ROW_5(f) EACH_ROW_4(f) f(4, 16, "(%[q],%[stride])")
#define EACH_ROW_6(f) EACH_ROW_5(f) f(5, 17, "(%[q],%[stride],2)")
#define EACH_ROW_7(f) EACH_ROW_6(f) f(6, 18, "(%[r])")
#define EACH_ROW_8(f) EACH_ROW_7(f) f(7, 19, "(%[r],%[stride])")
#define EACH_ROW_9(f) EACH_ROW_8(f) f(8, 20, "(%[r],%[stride],2)")
#define EACH_ROW_10(f) EACH_ROW_9(f) f(9, 21, "(%[s])")
#define EACH_ROW_11(f) EACH_ROW_10(f) f(10, 22, "(%[s],%[stride])")
#define EACH_ROW_12(f) EACH_ROW_11(f) f(11, 23, "(%[s],%[stride],2)")

#define ZERO_ONE(i) "vpxorq %%xmm" #i ", %%xmm" #i ", %%xmm" #i "\n"
#define LOAD_INDICES_ONE(panel, i)                 \
    "vmovdqa64 (%[" panel "]), %%zmm" #i "\n"      \
    "add $64, %[" panel "]\n"
#define LOOK_UP_ONE(indices, sum)                          \
    "vpermb %%zmm26, %%zmm" #indices ", %%zmm27\n"         \
    "vpaddb %%zmm27, %%zmm" #sum ", %%zmm" #sum "\n"
#define ADD_ONE(planes, i)                                       \
    "vpmaddubsw " planes "(%[words]), %%zmm" #i ", %%zmm" #i "\n" \
    "vpaddw 128+64*" #i "(%[words]), %%zmm" #i ", %%zmm" #i "\n" \
    "vmovdqa64 %%zmm" #i ", 128+64*" #i "(%[words])\n"

// Of one panel.
#define ZERO_1(first, second, address) ZERO_ONE(first)
#define LOAD_INDICES_1 LOAD_INDICES_ONE("panel", 24)
#define LOOK_UP_1(first, second, address) "vmovdqu64 " address ", %%zmm26\n" LOOK_UP_ONE(24, first)
#define ADD_1(first, second, address) ADD_ONE("0", first)

// Of two.
#define ZERO_2(first, second, address) ZERO_ONE(first) ZERO_ONE(second)
#define LOAD_INDICES_2 LOAD_INDICES_1 LOAD_INDICES_ONE("second", 25)
#define LOOK_UP_2(first, second, address) LOOK_UP_1(first, second, address) LOOK_UP_ONE(25, second)
#define ADD_2(first, second, address) ADD_ONE("0", first) ADD_ONE("64", second)

// Adds the sums of runs, up to one that ends in kFlushAll, to `words`, and goes on to what follows it. On the way they are
// bytes, [32 channels][2 planes].
#define SUM_RUNS(function, panel_count, rows)                                                                          \
    void function(const Tile& tile, const Run*& run, const char* (&panels)[2], Words& words) {                         \
        int64_t n;                                                                                                     \
        const char *p, *q, *r, *s;                                                                                     \
        __asm__ volatile(                                                                                              \
            rows(ZERO_##panel_count)                                                                                   \
            "1: mov (%[run]), %[p]\n"                                                                                  \
            "add %[operand], %[p]\n"                                                                                   \
            "lea (%[p],%[stride],2), %[q]\n"                                                                           \
            "add %[stride], %[q]\n"                                                                                    \
            "lea (%[q],%[stride],2), %[r]\n"                                                                           \
            "add %[stride], %[r]\n"                                                                                    \
            "lea (%[r],%[stride],2), %[s]\n"                                                                           \
            "add %[stride], %[s]\n"                                                                                    \
            "mov 8(%[run]), %[n]\n"                                                                                    \
            ".p2align 5\n"                                                                                             \
            "2:\n"                                                                                                     \
            LOAD_INDICES_##panel_count                                                                                 \
            rows(LOOK_UP_##panel_count)                                                                                \
            "add $64, %[p]\n"                                                                                          \
            "add $64, %[q]\n"                                                                                          \
            "add $64, %[r]\n"                                                                                          \
            "add $64, %[s]\n"                                                                                          \
            "dec %[n]\n"                                                                                               \
            "jnz 2b\n"                                                                                                 \
            "add $24, %[run]\n"                                                                                        \
            "cmpq %[no_flush], -8(%[run])\n"                                                                           \
            "je 1b\n"                                                                                                  \
            rows(ADD_##panel_count)                                                                                    \
            rows(ZERO_##panel_count)                                                                                   \
            "cmpq %[flush_all], -8(%[run])\n"                                                                          \
            "jne 1b\n"                                                                                                 \
            : [run] "+&r"(run), [panel] "+&r"(panels[0]), [second] "+&r"(panels[1]), [n] "=&r"(n), [p] "=&r"(p),       \
              [q] "=&r"(q), [r] "=&r"(r), [s] "=&r"(s)                                                                 \
            : [operand] "r"(tile.operand), [stride] "r"(tile.row_stride), [words] "r"(&words),                        \
              [no_flush] "i"(kNoFlush), [flush_all] "i"(kFlushAll)                                                     \
            : "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", \
              "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21",       \
              "xmm22", "xmm23", "xmm24", "xmm25", "xmm26", "xmm27");                                                   \
    }

// clang-format on

static_assert(sizeof(Run) == 24, "the asm blocks step through runs by 24 bytes");

using SumRuns = void (*)(const Tile&, const Run*&, const char* (&)[2], Words&);

template <int MR, SumRuns sum_runs, class... Tiles>
void gemm_lut6(const Tiles&... tiles) {
    const Tile* const all[] = {&tiles...};
    const char* panels[2] = {static_cast<const char*>(tiles.panel) + 64 ...};
    const Run *run = all[0]->runs, *const end = run + all[0]->run_count;
    Words words;
    for (size_t panel = 0; panel < sizeof...(tiles); ++panel) words.planes[panel] = load(all[panel]->panel);
    bool started = false;  // the first flush, mostly the only one, writes acc, bias included; those after it add to it
    while (run != end) {
        for (auto& of_panel : words.sums)
            for (int row = 0; row < MR; ++row) of_panel[row] = _mm512_setzero_si512();
        sum_runs(*all[0], run, panels, words);
        for (size_t panel = 0; panel < sizeof...(tiles); ++panel)
            for (int row = 0; row < MR; ++row) {
                int32_t* const acc = all[panel]->acc + 32 * row;
                const int32_t* const before = started ? acc : all[panel]->bias;
                const __m512i word = words.sums[panel][row];
                const __m512i low = _mm512_cvtepi16_epi32(_mm512_castsi512_si256(word));
                const __m512i high = _mm512_cvtepi16_epi32(_mm512_extracti64x4_epi64(word, 1));
                _mm512_store_si512(acc, _mm512_add_epi32(load(before), low));
                _mm512_store_si512(acc + 16, _mm512_add_epi32(load(before + 16), high));
            }
        started = true;
    }
}

#define EACH_HEIGHT(f) f(12) f(11) f(10) f(9) f(8) f(7) f(6) f(5) f(4) f(3) f(2) f(1)

#define SUM_RUNS_OF(mr)                         \
    SUM_RUNS(sum_runs_1_##mr, 1, EACH_ROW_##mr) \
    SUM_RUNS(sum_runs_2_##mr, 2, EACH_ROW_##mr)
EACH_HEIGHT(SUM_RUNS_OF)

#define LUT6_ROW(mr)                                                                       \
    {{"gemm_u8s2_lut6_avx512vbmi_" #mr "x32", "gemm", "lut6", "avx512vbmi", mr, 32, 8, 2}, \
     Scheme::kLut6,                                                                        \
     gemm_lut6<mr, sum_runs_1_##mr, Tile>},
#define LUT6_PAIR(mr)                                                                              \
    {{"gemmpair_u8s2_lut6_avx512vbmi_" #mr "x64", "gemmpair", "lut6", "avx512vbmi", mr, 64, 8, 2}, \
     Scheme::kLut6,                                                                                \
     gemm_lut6<mr, sum_runs_2_##mr, Tile, Tile>},
constexpr TileRow kGemm[] = {EACH_HEIGHT(LUT6_ROW)};
constexpr TilePairRow kGemmPairs[] = {EACH_HEIGHT(LUT6_PAIR)};

}  // namespace

const Rows<TileRow> kAvx512VbmiGemm = {kGemm, sizeof kGemm / sizeof *kGemm};
const Rows<TilePairRow> kAvx512VbmiGemmPairs = {kGemmPairs, sizeof kGemmPairs / sizeof *kGemmPairs};

}  // namespace intsim
