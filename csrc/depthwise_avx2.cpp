// The depthwise tiles for AVX2: 16 channels of MR pixels, exact for any bytes and int16 weights.
#include <cstdint>

#include "avx2.h"

namespace intsim {
namespace {

// Words of two taps interleave, so one vpmaddwd adds both; the interleaving leaves channels in kUnpackOrder.
template <int MR>
void depthwise_w16(const Tile& tile) {
    __m256i low[MR], high[MR];
#pragma GCC unroll 4
    for (int row = 0; row < MR; ++row) low[row] = high[row] = _mm256_setzero_si256();
    const uint8_t* operand = static_cast<const uint8_t*>(tile.operand);
    const int16_t* panel = static_cast<const int16_t*>(tile.panel);
    for (int64_t pair = 0; pair < tile.run_count / 2; ++pair, panel += 32) {
        const uint8_t* first = operand + tile.runs[2 * pair].offset;
        const uint8_t* second = operand + tile.runs[2 * pair + 1].offset;
        const __m256i weights_low = load(panel), weights_high = load(panel + 16);
#pragma GCC unroll 4
        for (int row = 0; row < MR; ++row) {
            const __m256i a = widen16(first + row * tile.row_stride), b = widen16(second + row * tile.row_stride);
            low[row] = _mm256_add_epi32(low[row], _mm256_madd_epi16(_mm256_unpacklo_epi16(a, b), weights_low));
            high[row] = _mm256_add_epi32(high[row], _mm256_madd_epi16(_mm256_unpackhi_epi16(a, b), weights_high));
        }
    }
#pragma GCC unroll 4
    for (int row = 0; row < MR; ++row) {
        int32_t* acc = tile.acc + 16 * row;
        store(acc, _mm256_add_epi32(load(acc), _mm256_permute2x128_si256(low[row], high[row], 0x20)));
        store(acc + 8, _mm256_add_epi32(load(acc + 8), _mm256_permute2x128_si256(low[row], high[row], 0x31)));
    }
}

#define DEPTHWISE_ROW(mr) \
    {{"depthwise_u8s8_w16_avx2_" #mr "x16", "depthwise", "w16", "avx2", mr, 16, 8, 8}, Scheme::kW16, depthwise_w16<mr>}

constexpr TileRow kRows[] = {DEPTHWISE_ROW(4), DEPTHWISE_ROW(3), DEPTHWISE_ROW(2), DEPTHWISE_ROW(1)};

}  // namespace

const Rows<TileRow> kAvx2Depthwise = {kRows, 4};

}  // namespace intsim
