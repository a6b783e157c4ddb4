// The gemm tiles for AVX-512 with VNNI, tuned on Zen 5.
//
// dot: vpdpbusd adds 4 products of unsigned by signed bytes to each of 16 int32, 64 MAC an instruction with nothing to
// prove (unlike vpdpbusds, it does not saturate). 64 bytes of the panel, a quad of 16 channels, are one register. Two
// additions a cycle are 128 MAC. With one panel each needs a load of its own, of which there are hardly two a cycle;
// two panels share those of operands. 14 rows by 2 panels fill the registers, and leave no rest of lines of 7, 14, 28
// and 56 pixels.
//
// Tiles may end in bytes without going by memory.
#include <cstdint>
#include <cstring>

#include "avx512.h"

namespace intsim {
namespace {

// What 4 bytes of each row of operands meet: a line of 64 bytes of the panel.
struct Dot {
    using Vector = __m512i;
    static Vector zero() { return _mm512_setzero_si512(); }
    static Vector weights(const char* line) { return _mm512_load_si512(line); }
    static Vector broadcast(const char* from) {
        int32_t quad;
        std::memcpy(&quad, from, sizeof quad);
        return _mm512_set1_epi32(quad);
    }
    static void add(Vector& acc, Vector operand, Vector weights) {
        __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(operand), "v"(weights));
    }
    static Vector add(Vector a, Vector b) { return _mm512_add_epi32(a, b); }
};

// Benchmarks' float32 roof: a line is one k.
struct MultiplyAdd {
    using Vector = __m512;
    static Vector zero() { return _mm512_setzero_ps(); }
    static Vector weights(const char* line) { return _mm512_load_ps(line); }
    static Vector broadcast(const char* from) {
        float value;
        std::memcpy(&value, from, sizeof value);
        return _mm512_set1_ps(value);
    }
    static void add(Vector& acc, Vector operand, Vector weights) {
        __asm__("vfmadd231ps %2, %1, %0" : "+v"(acc) : "v"(operand), "v"(weights));
    }
    static Vector add(Vector a, Vector b) { return _mm512_add_ps(a, b); }
};

// The sums of MR rows by one or two panels. An addition takes 4 cycles and two begin in each, so that few of them have
// several sums each, of every second line or every fourth.
template <class M, int MR, int kPanels>
class Sums {
public:
    static constexpr int kSets = MR * kPanels >= 7 ? 1 : MR * kPanels >= 3 ? 2 : 4;
    using Vector = typename M::Vector;

    explicit Sums(const Vector (&start)[kPanels]) {
        each_sum([&](int panel, int row) __attribute__((always_inline)) {
            sets_[0][panel][row] = start[panel];
#pragma GCC unroll 4
            for (int set = 1; set < kSets; ++set) sets_[set][panel][row] = M::zero();
        });
    }

    // Goes through a run's lines, and on to the next one's.
    void add_run(const char* from, int64_t stride, const char* (&panels)[kPanels], int64_t lines, int64_t ahead) {
        const char* thirds[(MR + 2) / 3];  // a load's address has room for one pointer and once or twice the stride
#pragma GCC unroll 16
        for (int row = 0; row < MR; row += 3) thirds[row / 3] = from + row * stride;
        const auto add_line = [&](int set, int64_t at) __attribute__((always_inline)) {
            Vector weights[kPanels];
#pragma GCC unroll 2
            for (int panel = 0; panel < kPanels; ++panel) {
                const char* const line = panels[panel] + 64 * at;
                weights[panel] = M::weights(line);
                if (kPanels > 1) _mm_prefetch(line + ahead, _MM_HINT_T0);  // alone they have no load to spare
            }
#pragma GCC unroll 16
            for (int row = 0; row < MR; ++row) {
                const Vector operand = M::broadcast(thirds[row / 3] + row % 3 * stride + 4 * at);
#pragma GCC unroll 2
                for (int panel = 0; panel < kPanels; ++panel) M::add(sets_[set][panel][row], operand, weights[panel]);
            }
        };
        const auto advance = [&](int64_t by) __attribute__((always_inline)) {
#pragma GCC unroll 16
            for (int row = 0; row < MR; row += 3) thirds[row / 3] += 4 * by;
#pragma GCC unroll 2
            for (int panel = 0; panel < kPanels; ++panel) panels[panel] += 64 * by;
        };
        for (; lines >= kSets; lines -= kSets, advance(kSets))
#pragma GCC unroll 4
            for (int set = 0; set < kSets; ++set) add_line(set, set);
        if (kSets > 1)
            for (; lines > 0; --lines, advance(1)) add_line(0, 0);
    }

    void total(Vector (&acc)[kPanels][MR]) const {
        each_sum([&](int panel, int row) __attribute__((always_inline)) {
            acc[panel][row] = sets_[0][panel][row];
#pragma GCC unroll 4
            for (int set = 1; set < kSets; ++set) acc[panel][row] = M::add(acc[panel][row], sets_[set][panel][row]);
        });
    }

private:
    template <class F>
    static void each_sum(const F& f) {
#pragma GCC unroll 2
        for (int panel = 0; panel < kPanels; ++panel)
#pragma GCC unroll 16
            for (int row = 0; row < MR; ++row) f(panel, row);
    }

    Vector sets_[kSets][kPanels][MR];
};

template <int MR, int kPanels>
inline void sum_runs(const Tile* const (&tiles)[kPanels], __m512i (&acc)[kPanels][MR]) {
    __m512i biases[kPanels];
    const char* panels[kPanels];
    for (int i = 0; i < kPanels; ++i)
        biases[i] = _mm512_load_si512(tiles[i]->bias), panels[i] = static_cast<const char*>(tiles[i]->panel);
    const Tile& tile = *tiles[0];
    Sums<Dot, MR, kPanels> sums(biases);
    for (int64_t r = 0; r < tile.run_count; ++r)
        sums.add_run(static_cast<const char*>(tile.operand) + tile.runs[r].offset, tile.row_stride, panels,
                     tile.runs[r].length, tile.ahead);
    sums.total(acc);
}

template <int MR, class... Tiles>
void gemm_dot(const Tiles&... tiles) {
    const Tile* const all[] = {&tiles...};
    constexpr int kPanels = sizeof...(tiles);
    __m512i acc[kPanels][MR];
    sum_runs<MR>(all, acc);
#pragma GCC unroll 2
    for (int i = 0; i < kPanels; ++i)
#pragma GCC unroll 16
        for (int row = 0; row < MR; ++row) _mm512_store_si512(all[i]->acc + 16 * row, acc[i][row]);
}

template <class Epilogue, int MR, class... ByteTiles>
void dot_to_bytes(const ByteTiles&... tiles) {
    const ByteTile* const all[] = {&tiles...};
    const Tile* const sums[] = {&tiles.tile...};
    constexpr int kPanels = sizeof...(tiles);
    __m512i acc[kPanels][MR];
    sum_runs<MR>(sums, acc);
#pragma GCC unroll 2
    for (int i = 0; i < kPanels; ++i) {
        Epilogue(*static_cast<const typename Epilogue::Block*>(all[i]->block)).to_codes(acc[i]);
        uint8_t* out = all[i]->out;
#pragma GCC unroll 16
        for (int row = 0; row < MR; ++row, out += all[i]->out_stride)
            _mm_storeu_si128(reinterpret_cast<__m128i*>(out), low_bytes(acc[i][row]));
    }
}

constexpr int kRoofRows = 14;
void float32_roof(const Tile& tile) {
    const int64_t lines = 4 * tile.runs[0].length;
    const char* const panel = static_cast<const char*>(tile.panel);
    const char* panels[] = {panel, panel + 64 * lines};
    Sums<MultiplyAdd, kRoofRows, 2> sums({MultiplyAdd::zero(), MultiplyAdd::zero()});
    sums.add_run(static_cast<const char*>(tile.operand), tile.row_stride, panels, lines, 0);
    __m512 acc[2][kRoofRows];
    sums.total(acc);
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i)
#pragma GCC unroll 16
        for (int row = 0; row < kRoofRows; ++row) _mm512_store_ps(tile.acc + 16 * (kRoofRows * i + row), acc[i][row]);
}

#define EACH_HEIGHT(f) f(14) f(13) f(12) f(11) f(10) f(9) f(8) f(7) f(6) f(5) f(4) f(3) f(2) f(1)

#define DOT_ROW(mr) \
    {{"gemm_u8s8_dot_avx512_" #mr "x16", "gemm", "dot", "avx512", mr, 16, 8, 8}, Scheme::kDot, gemm_dot<mr, Tile>},
#define DOT_PAIR(mr)                                                                     \
    {{"gemmpair_u8s8_dot_avx512_" #mr "x32", "gemmpair", "dot", "avx512", mr, 32, 8, 8}, \
     Scheme::kDot,                                                                       \
     gemm_dot<mr, Tile, Tile>},
constexpr TileRow kGemm[] = {EACH_HEIGHT(DOT_ROW)};
constexpr TilePairRow kGemmPairs[] = {EACH_HEIGHT(DOT_PAIR)};

// What ends in bytes by each kind of epilogue.
#define BYTES_ROW(mr, name, kind, ...)                                                        \
    {{"gemm" name "_u8s8_dot_avx512_" #mr "x16", "gemm" name, "dot", "avx512", mr, 16, 8, 8}, \
     Scheme::kDot,                                                                            \
     EpilogueKind::kind,                                                                      \
     dot_to_bytes<__VA_ARGS__, mr, ByteTile>},
#define BYTES_PAIR(mr, name, kind, ...)                                                                  \
    {{"gemm" name "pair_u8s8_dot_avx512_" #mr "x32", "gemm" name "pair", "dot", "avx512", mr, 32, 8, 8}, \
     Scheme::kDot,                                                                                       \
     EpilogueKind::kind,                                                                                 \
     dot_to_bytes<__VA_ARGS__, mr, ByteTile, ByteTile>},
#define EACH_KIND(f, mr)                                                     \
    f(mr, "line", kLine, Line) f(mr, "highword", kHighWord, HighWord<false>) \
        f(mr, "threshold16", kThreshold16, Thresholds) f(mr, "threshold32", kThreshold32, Thresholds)
#define BYTES_ROWS(mr) EACH_KIND(BYTES_ROW, mr)
#define BYTES_PAIRS(mr) EACH_KIND(BYTES_PAIR, mr)
constexpr ByteTileRow kBytes[] = {EACH_HEIGHT(BYTES_ROWS)};
constexpr ByteTilePairRow kBytesPairs[] = {EACH_HEIGHT(BYTES_PAIRS)};

constexpr TileRow kRoof = {{"roof_f32f32_float32_avx512_14x32", "roof", "float32", "avx512", kRoofRows, 32, 32, 32},
                           Scheme::kFloat32,
                           float32_roof};

}  // namespace

const Rows<TileRow> kAvx512Gemm = {kGemm, sizeof kGemm / sizeof *kGemm};
const Rows<TilePairRow> kAvx512GemmPairs = {kGemmPairs, sizeof kGemmPairs / sizeof *kGemmPairs};
const Rows<ByteTileRow> kAvx512ByteTiles = {kBytes, sizeof kBytes / sizeof *kBytes};
const Rows<ByteTilePairRow> kAvx512ByteTilePairs = {kBytesPairs, sizeof kBytesPairs / sizeof *kBytesPairs};
const Rows<TileRow> kAvx512Roof = {&kRoof, 1};

}  // namespace intsim
