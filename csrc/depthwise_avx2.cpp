// The depthwise kernels for AVX2, 16 channels at a time; w16 is exact for any bytes and int16 weights.
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

// How a strip's channels become vectors, for each scheme: rows of input go in pairs, and a pair's products are added at
// once. Bytes of two rows interleave with vpunpcklbw, each 64-bit lane's half on its own.

// 8 channels at a time, [8 channels][2 rows] int16 with sums in int32.
struct Words {
    static constexpr int kChannels = 8;
    __m256i bias;

    explicit Words(const int32_t* from) : bias(load(from)) {}
    static __m256i pair(const uint8_t* upper, const uint8_t* lower) {
        const __m256i bytes = _mm256_unpacklo_epi8(eight(upper), eight(lower));  // the same in both halves
        return _mm256_shuffle_epi8(bytes,
                                   _mm256_setr_epi8(0, -1, 1, -1, 2, -1, 3, -1, 4, -1, 5, -1, 6, -1, 7, -1,  //
                                                    8, -1, 9, -1, 10, -1, 11, -1, 12, -1, 13, -1, 14, -1, 15, -1));
    }
    static __m256i product(__m256i pair, const char* weights) { return _mm256_madd_epi16(pair, load(weights)); }
    static __m256i add(__m256i a, __m256i b) { return _mm256_add_epi32(a, b); }
    __m256i start(__m256i product) const { return add(bias, product); }
    void finish(__m256i sum, __m256i product, int32_t* acc) const { store(acc, add(sum, product)); }

private:
    static __m256i eight(const uint8_t* from) {
        int64_t bytes;
        __builtin_memcpy(&bytes, from, sizeof bytes);
        return _mm256_set1_epi64x(bytes);
    }
};

// 16 channels at a time, [16 channels in kUnpackOrder][2 rows] bytes with sums in int16, which the packer proved to
// hold them. vpmaddwd adds the last products as it widens.
struct Bytes {
    static constexpr int kChannels = 16;
    __m256i bias[2];

    explicit Bytes(const int32_t* from) : bias{load(from), load(from + 8)} {}
    static __m256i pair(const uint8_t* upper, const uint8_t* lower) {
        return _mm256_unpacklo_epi8(dealt(upper), dealt(lower));
    }
    static __m256i product(__m256i pair, const char* weights) { return _mm256_maddubs_epi16(pair, load(weights)); }
    static __m256i add(__m256i a, __m256i b) { return _mm256_add_epi16(a, b); }
    static __m256i start(__m256i product) { return product; }
    void finish(__m256i sum, __m256i product, int32_t* acc) const {
        const __m256i ones = _mm256_set1_epi16(1);
        const __m256i low = _mm256_madd_epi16(_mm256_unpacklo_epi16(sum, product), ones);
        const __m256i high = _mm256_madd_epi16(_mm256_unpackhi_epi16(sum, product), ones);
        store(acc, _mm256_add_epi32(bias[0], low)), store(acc + 8, _mm256_add_epi32(bias[1], high));
    }

private:
    static __m256i dealt(const uint8_t* from) {  // to the lower 8 bytes of each half
        const __m256i bytes = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
        return _mm256_shuffle_epi8(bytes, _mm256_setr_epi8(0, 1, 2, 3, 8, 9, 10, 11, 0, 0, 0, 0, 0, 0, 0, 0,  //
                                                           4, 5, 6, 7, 12, 13, 14, 15, 0, 0, 0, 0, 0, 0, 0, 0));
    }
};

// One vector of channels. Every column of input is read once, for both rows of output and for all the outputs that it
// is a part of: `open` lack their last column, and at stride 1 `next`, one further, lack two. The second row of output
// starts in the middle of a pair (stride 1), where its weights are moved down by one, or a pair further.
template <class Lanes, int kRows, int kStrideY, int kStrideX>
void strip_columns(const Strip& strip, int channel) {
    constexpr int kInputs = (kRows - 1) * kStrideY + 3, kPairs = (kInputs + 1) / 2;
    const Lanes lanes(strip.bias + channel);
    const char* panel = static_cast<const char*>(strip.panel) + 3 * 4 * 32 * (channel / 8);
    const uint8_t* from = strip.operand + channel;
    const int64_t row_stride = strip.row_stride, pixel_stride = strip.pixel_stride;
    __m256i pairs[kPairs], open[kRows], next[kRows];

    const auto read = [&] {
#pragma GCC unroll 3
        for (int i = 0; i < kPairs;
             ++i)  // the last pair may lack a second row: its first one stands for it, unweighted
            pairs[i] =
                Lanes::pair(from + 2 * i * row_stride, from + (2 * i + 1 < kInputs ? 2 * i + 1 : 2 * i) * row_stride);
        from += pixel_stride;
    };
    const auto product = [&](int row, int column, int i) {
        const int moved = kStrideY == 1 ? row : 0;
        return Lanes::product(pairs[row - moved + i], panel + 32 * (4 * column + 2 * moved + i));
    };
    const auto started = [&](int row) { return Lanes::add(lanes.start(product(row, 0, 0)), product(row, 0, 1)); };
    const auto continued = [&](__m256i sum, int row) {
        return Lanes::add(Lanes::add(sum, product(row, 1, 0)), product(row, 1, 1));
    };

    read();
#pragma GCC unroll 2
    for (int row = 0; row < kRows; ++row) (kStrideX == 1 ? next : open)[row] = started(row);
    if (kStrideX == 1) {
        read();
#pragma GCC unroll 2
        for (int row = 0; row < kRows; ++row) open[row] = continued(next[row], row), next[row] = started(row);
    }
    int32_t* acc = strip.acc + channel;
    for (int32_t* const end = acc + 16 * strip.pixels; acc != end; acc += 16) {
        if (kStrideX == 2) {
            read();
#pragma GCC unroll 2
            for (int row = 0; row < kRows; ++row) open[row] = continued(open[row], row);
        }
        read();
#pragma GCC unroll 2
        for (int row = 0; row < kRows; ++row) {
            lanes.finish(Lanes::add(open[row], product(row, 2, 0)), product(row, 2, 1),
                         acc + row * kMaxStripPixels * 16);
            if (kStrideX == 1) open[row] = continued(next[row], row);
            (kStrideX == 1 ? next : open)[row] = started(row);
        }
    }
}

template <class Lanes, int kRows>
void strip_rows(const Strip& strip) {
    for (int channel = 0; channel < 16; channel += Lanes::kChannels) {
        if (strip.stride_y == 1)
            strip.stride_x == 1 ? strip_columns<Lanes, kRows, 1, 1>(strip, channel)
                                : strip_columns<Lanes, kRows, 1, 2>(strip, channel);
        else
            strip.stride_x == 1 ? strip_columns<Lanes, kRows, 2, 1>(strip, channel)
                                : strip_columns<Lanes, kRows, 2, 2>(strip, channel);
    }
}

template <class Lanes>
void strip_of(const Strip& strip) {
    strip.rows == 1 ? strip_rows<Lanes, 1>(strip) : strip_rows<Lanes, 2>(strip);
}

constexpr StripRow kStrips[] = {
    {{"strip_u8s8_a16_avx2_2x16", "strip", "a16", "avx2", 2, 16, 8, 8}, Scheme::kA16, strip_of<Bytes>},
    {{"strip_u8s8_w16_avx2_2x16", "strip", "w16", "avx2", 2, 16, 8, 8}, Scheme::kW16, strip_of<Words>}};

#define DEPTHWISE_ROW(mr) \
    {{"depthwise_u8s8_w16_avx2_" #mr "x16", "depthwise", "w16", "avx2", mr, 16, 8, 8}, Scheme::kW16, depthwise_w16<mr>}

constexpr TileRow kRows[] = {DEPTHWISE_ROW(4), DEPTHWISE_ROW(3), DEPTHWISE_ROW(2), DEPTHWISE_ROW(1)};

}  // namespace

const Rows<TileRow> kAvx2Depthwise = {kRows, 4};
const Rows<StripRow> kAvx2Strips = {kStrips, 2};

}  // namespace intsim
