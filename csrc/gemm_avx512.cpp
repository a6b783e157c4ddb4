// The gemm tile for AVX-512 with VNNI; the rest of its table is AVX2's.
//
// dot: vpdpbusd adds 4 products of unsigned by signed bytes to each of 16 int32, 64 MAC an instruction with nothing to
// prove (unlike vpdpbusds, it does not saturate). 64 bytes of the panel, a quad of 16 channels, are one register.
#include <cstdint>
#include <cstring>

#include "avx2.h"

namespace intsim {
namespace {

// What 4 bytes of each row of operands meet: a line of 64 bytes of the panel.
struct Dot {
    using Vector = __m512i;
    static Vector weights(const char* line) { return _mm512_load_si512(line); }
    static Vector broadcast(const char* from) {
        int32_t quad;
        std::memcpy(&quad, from, sizeof quad);
        return _mm512_set1_epi32(quad);
    }
    static Vector add(Vector acc, Vector operand, Vector weights) { return _mm512_dpbusd_epi32(acc, operand, weights); }
};

// Benchmarks' float32 roof: a line is one k.
struct MultiplyAdd {
    using Vector = __m512;
    static Vector weights(const char* line) { return _mm512_load_ps(line); }
    static Vector broadcast(const char* from) {
        float value;
        std::memcpy(&value, from, sizeof value);
        return _mm512_set1_ps(value);
    }
    static Vector add(Vector acc, Vector operand, Vector weights) { return _mm512_fmadd_ps(operand, weights, acc); }
};

// Even and odd lines have sums of their own, so that an addition need not wait for the one just before it.
template <class M, int MR>
inline void add_line(typename M::Vector (&acc)[MR], const char* from, int64_t stride, const char* line) {
    const auto weights = M::weights(line);
#pragma GCC unroll 6
    for (int row = 0; row < MR; ++row) acc[row] = M::add(acc[row], M::broadcast(from + row * stride), weights);
}
template <class M, int MR>
inline const char* add_lines(typename M::Vector (&even)[MR], typename M::Vector (&odd)[MR], const char* from,
                             int64_t stride, const char* panel, int64_t lines) {
    for (; lines >= 2; lines -= 2, from += 8, panel += 128) {
        add_line<M, MR>(even, from, stride, panel);
        add_line<M, MR>(odd, from + 4, stride, panel + 64);
    }
    if (lines == 0) return panel;
    add_line<M, MR>(even, from, stride, panel);
    return panel + 64;
}

template <int MR>
void gemm_dot(const Tile& tile) {
    __m512i even[MR], odd[MR];
    const __m512i bias = _mm512_load_si512(tile.bias);
#pragma GCC unroll 6
    for (int row = 0; row < MR; ++row) even[row] = bias, odd[row] = _mm512_setzero_si512();
    const char* panel = static_cast<const char*>(tile.panel);
    for (int64_t r = 0; r < tile.run_count; ++r)
        panel = add_lines<Dot, MR>(even, odd, static_cast<const char*>(tile.operand) + tile.runs[r].offset,
                                   tile.row_stride, panel, tile.runs[r].length);
#pragma GCC unroll 6
    for (int row = 0; row < MR; ++row) _mm512_store_si512(tile.acc + 16 * row, _mm512_add_epi32(even[row], odd[row]));
}

void float32_roof(const Tile& tile) {
    __m512 even[6], odd[6];
#pragma GCC unroll 6
    for (int row = 0; row < 6; ++row) even[row] = odd[row] = _mm512_setzero_ps();
    add_lines<MultiplyAdd, 6>(even, odd, static_cast<const char*>(tile.operand), tile.row_stride,
                              static_cast<const char*>(tile.panel), 4 * tile.runs[0].length);
#pragma GCC unroll 6
    for (int row = 0; row < 6; ++row) _mm512_store_ps(tile.acc + 16 * row, _mm512_add_ps(even[row], odd[row]));
}

#define DOT_ROW(mr) \
    {{"gemm_u8s8_dot_avx512_" #mr "x16", "gemm", "dot", "avx512", mr, 16, 8, 8}, Scheme::kDot, gemm_dot<mr>}
constexpr TileRow kGemm[] = {DOT_ROW(6), DOT_ROW(5), DOT_ROW(4), DOT_ROW(3), DOT_ROW(2), DOT_ROW(1)};
constexpr Rows<TileRow> kGemmRows = {kGemm, 6};

constexpr TileRow kRoof = {
    {"roof_f32f32_float32_avx512_6x16", "roof", "float32", "avx512", 6, 16, 32, 32}, Scheme::kFloat32, float32_roof};
constexpr Rows<TileRow> kRoofRows = {&kRoof, 1};

// Of dot counted, for 7 loads at two a cycle; the others as AVX2 has them.
constexpr SchemeCost kCosts[] = {{Scheme::kLutSign, 3.7, 22, 44, 44, 0.6},
                                 {Scheme::kLut, 7.4, 14, 44, 44, 0.6},
                                 {Scheme::kLutOdd, 7.4, 14, 44, 44, 0.6},
                                 {Scheme::kDot, 4, 0, 0, 0, 0},
                                 {Scheme::kW16, 16, 0, 0, 0, 0}};
constexpr Rows<SchemeCost> kCostRows = {kCosts, 5};

}  // namespace

const KernelTable kAvx512Kernels = {"avx512",   &kAvx2Kernels, &kCostRows, &kGemmRows, nullptr, nullptr, nullptr,
                                    &kRoofRows, nullptr,       nullptr,    nullptr,    nullptr, nullptr};

}  // namespace intsim
