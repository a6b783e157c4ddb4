// The depthwise kernels for AVX2, 16 channels at a time, exact for any bytes and int16 weights.
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
        store(acc, _mm256_add_epi32(load(tile.bias), _mm256_permute2x128_si256(low[row], high[row], 0x20)));
        store(acc + 8, _mm256_add_epi32(load(tile.bias + 8), _mm256_permute2x128_si256(low[row], high[row], 0x31)));
    }
}

// Most rows of input that two rows of output need, in pairs; columns likewise, for strides up to 2.
constexpr int kMaxPairs = 3, kMaxColumns = kMaxStripPixels + 2;

// Words of two input rows side by side, [pair][column][2 x 8 channels][2 rows]: made once for all taps that read them.
struct RowPairs {
    alignas(32) int16_t words[kMaxPairs][kMaxColumns][32];
};

// 16 channels as words, dealt to the halves so that vpunpck*wd leaves them in order.
inline __m256i widen_dealt(const uint8_t* from) {
    const __m256i bytes = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
    return _mm256_shuffle_epi8(bytes, _mm256_setr_epi8(0, -1, 1, -1, 2, -1, 3, -1, 8, -1, 9, -1, 10, -1, 11, -1,  //
                                                       4, -1, 5, -1, 6, -1, 7, -1, 12, -1, 13, -1, 14, -1, 15, -1));
}

// The last pair may lack a second row; its first one then stands for it, beside weights of zero.
void interleave_rows(const Strip& strip, RowPairs& pairs) {
    const int64_t rows = (strip.rows - 1) * strip.stride_y + 3, columns = (strip.pixels - 1) * strip.stride_x + 3;
    for (int64_t pair = 0; 2 * pair < rows; ++pair) {
        const uint8_t* first = strip.operand + 2 * pair * strip.row_stride;
        const uint8_t* second = 2 * pair + 1 < rows ? first + strip.row_stride : first;
        const int64_t to_second = second - first;
        int16_t* to = pairs.words[pair][0];
        for (const uint8_t* end = first + columns * strip.pixel_stride; first != end; first += strip.pixel_stride) {
            const __m256i a = widen_dealt(first), b = widen_dealt(first + to_second);
            store(to, _mm256_unpacklo_epi16(a, b));
            store(to + 16, _mm256_unpackhi_epi16(a, b));
            to += 32;
        }
    }
}

// 8 channels of one row of output, from two pairs of rows and the weights that fit them.
void multiply_pairs(const Strip& strip, const int16_t* pairs, const int16_t* panel, __m256i bias, int32_t* acc) {
    constexpr int kColumn = 32, kPair = 32 * kMaxColumns;
    const __m256i w00 = load(panel), w01 = load(panel + 16), w10 = load(panel + 64), w11 = load(panel + 80),
                  w20 = load(panel + 128), w21 = load(panel + 144);
    const int64_t step = kColumn * strip.stride_x;
    for (int32_t* const end = acc + 16 * strip.pixels; acc != end; acc += 16, pairs += step) {
        const auto product = [&](int offset, __m256i weights) {
            return _mm256_madd_epi16(load(pairs + offset), weights);
        };
        const __m256i first = _mm256_add_epi32(product(0, w00), product(kPair, w01));
        const __m256i second = _mm256_add_epi32(product(kColumn, w10), product(kColumn + kPair, w11));
        const __m256i third = _mm256_add_epi32(product(2 * kColumn, w20), product(2 * kColumn + kPair, w21));
        store(acc, _mm256_add_epi32(_mm256_add_epi32(bias, first), _mm256_add_epi32(second, third)));
    }
}

// The second row starts in the middle of a pair (stride 1), where its weights are moved down by one, or a pair further.
void strip_w16(const Strip& strip) {
    RowPairs pairs;
    interleave_rows(strip, pairs);
    const int second_pair = strip.stride_y - 1, second_weights = strip.stride_y == 1 ? 32 : 0;
    for (int half = 0; half < 2; ++half) {
        const int16_t* panel = static_cast<const int16_t*>(strip.panel) + 192 * half;
        const __m256i bias = load(strip.bias + 8 * half);
        int32_t* acc = strip.acc + 8 * half;
        multiply_pairs(strip, pairs.words[0][0] + 16 * half, panel, bias, acc);
        if (strip.rows == 2)
            multiply_pairs(strip, pairs.words[second_pair][0] + 16 * half, panel + second_weights, bias,
                           acc + 16 * kMaxStripPixels);
    }
}

constexpr StripRow kStrip = {{"strip_u8s8_w16_avx2_2x16", "strip", "w16", "avx2", 2, 16, 8, 8}, strip_w16};

#define DEPTHWISE_ROW(mr) \
    {{"depthwise_u8s8_w16_avx2_" #mr "x16", "depthwise", "w16", "avx2", mr, 16, 8, 8}, Scheme::kW16, depthwise_w16<mr>}

constexpr TileRow kRows[] = {DEPTHWISE_ROW(4), DEPTHWISE_ROW(3), DEPTHWISE_ROW(2), DEPTHWISE_ROW(1)};

}  // namespace

const Rows<TileRow> kAvx2Depthwise = {kRows, 4};
const Rows<StripRow> kAvx2Strips = {&kStrip, 1};

}  // namespace intsim
