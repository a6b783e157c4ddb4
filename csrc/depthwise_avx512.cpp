// The depthwise strips for AVX-512 with VNNI: exact for any bytes and weights of 8 bits.
//
// Four rows of input interleave, four bytes for each of 16 channels in one register, and vpdpbusd multiplies a column
// of the filter with them at once. At a vertical stride of 1 the same four rows serve both rows of output, the second
// one by weights that are moved down; at 2 each has four of its own.
#include <cstdint>

#include "avx512.h"

namespace intsim {
namespace {

inline __m512i quad_of_rows(const uint8_t* const (&rows)[4]) {
    const auto row = [&](int i) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[i])); };
    const __m256i upper = _mm256_inserti128_si256(_mm256_castsi128_si256(row(0)), row(1), 1);
    const __m256i lower = _mm256_inserti128_si256(_mm256_castsi128_si256(row(2)), row(3), 1);
    const __m512i four = _mm512_inserti64x4(_mm512_castsi256_si512(upper), lower, 1);
    // Four channels of all rows to each 128-bit lane, then their bytes by channel.
    const __m512i by_lane = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512i by_channel =
        _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    return _mm512_shuffle_epi8(_mm512_permutexvar_epi32(by_lane, four), by_channel);
}

template <int kRows, int kStrideY, int kStrideX>
void strip_columns(const Strip& strip) {
    constexpr int kQuads = kStrideY == 1 ? 1 : kRows;  // of rows; the rows of output share one, or have one each
    const char* const panel = static_cast<const char*>(strip.panel);
    const __m512i bias = load(strip.bias);
    const int64_t row_stride = strip.row_stride, pixel_stride = strip.pixel_stride;
    const uint8_t* from = strip.operand;
    __m512i columns[3][kQuads];

    const auto read = [&](__m512i(&quads)[kQuads]) __attribute__((always_inline)) {
#pragma GCC unroll 2
        for (int i = 0; i < kQuads; ++i) {
            const uint8_t* const first = from + 2 * i * row_stride;
            // A quad's last row is only there where both rows of output share it; else any stands for it, unweighted.
            const uint8_t* const rows[4] = {first, first + row_stride, first + 2 * row_stride,
                                            first + (kQuads < kRows ? 3 : 2) * row_stride};
            quads[i] = quad_of_rows(rows);
        }
        from += pixel_stride;
    };
    read(columns[0]);
    if (kStrideX == 1) read(columns[1]);
    int32_t* acc = strip.acc;
    for (int32_t* const end = acc + 16 * strip.pixels; acc != end; acc += 16) {
        if (kStrideX == 2) read(columns[1]);
        read(columns[2]);
#pragma GCC unroll 2
        for (int row = 0; row < kRows; ++row) {
            const int quad = kQuads == 1 ? 0 : row, moved = kStrideY == 1 ? row : 0;
            __m512i sum = bias;
#pragma GCC unroll 3
            for (int x = 0; x < 3; ++x)
                sum = _mm512_dpbusd_epi32(sum, columns[x][quad], load(panel + 128 * x + 64 * moved));
            _mm512_storeu_si512(acc + row * kMaxStripPixels * 16, sum);
        }
#pragma GCC unroll 2
        for (int i = 0; i < kQuads; ++i) {
            columns[0][i] = columns[kStrideX][i];
            if (kStrideX == 1) columns[1][i] = columns[2][i];
        }
    }
}

template <int kRows>
void strip_rows(const Strip& strip) {
    if (strip.stride_y == 1)
        strip.stride_x == 1 ? strip_columns<kRows, 1, 1>(strip) : strip_columns<kRows, 1, 2>(strip);
    else
        strip.stride_x == 1 ? strip_columns<kRows, 2, 1>(strip) : strip_columns<kRows, 2, 2>(strip);
}

void strip_dot(const Strip& strip) { strip.rows == 1 ? strip_rows<1>(strip) : strip_rows<2>(strip); }

constexpr StripRow kStrip = {
    {"strip_u8s8_dot_avx512_2x16", "strip", "dot", "avx512", 2, 16, 8, 8}, Scheme::kDot, strip_dot};

}  // namespace

const Rows<StripRow> kAvx512Strips = {&kStrip, 1};

}  // namespace intsim
