// Winograd transforms, 16 channels at a time.
#include "avx2.h"

namespace intsim {
namespace {

// Four vectors of a row or a column, as B' has it.
inline void transform_four(const __m256i* from, int from_step, __m256i* to, int to_step) {
    const __m256i a = from[0], b = from[from_step], c = from[2 * from_step], d = from[3 * from_step];
    to[0] = _mm256_sub_epi16(a, c), to[to_step] = _mm256_add_epi16(b, c);
    to[2 * to_step] = _mm256_sub_epi16(c, b), to[3 * to_step] = _mm256_sub_epi16(b, d);
}

// Calls put(place, 16 int16) for every place of every 16 channels from `channel` on.
template <class Put>
inline void winograd_input(const WinogradInput& args, const Put& put) {
    for (int64_t channel = 0; channel < args.channels; channel += 16) {
        __m256i patch[16], rows[16], places[16];
#pragma GCC unroll 16
        for (int i = 0; i < 16; ++i) patch[i] = widen16(args.pixels[i / 4][i % 4] + channel);
#pragma GCC unroll 4
        for (int x = 0; x < 4; ++x) transform_four(patch + x, 4, rows + x, 4);
#pragma GCC unroll 4
        for (int y = 0; y < 4; ++y) transform_four(rows + 4 * y, 1, places + 4 * y, 1);
#pragma GCC unroll 16
        for (int i = 0; i < 16; ++i) put(i, channel, places[i]);
    }
}

void to_words(const WinogradInput& args) {
    char* out = static_cast<char*>(args.out);
    winograd_input(
        args, [=](int place, int64_t channel, __m256i words) { store(out + place * args.step + 2 * channel, words); });
}

void to_bytes(const WinogradInput& args) {
    char* out = static_cast<char*>(args.out);
    const __m256i move = _mm256_set1_epi16(static_cast<int16_t>(args.move));
    winograd_input(args, [=](int place, int64_t channel, __m256i words) {
        if (place != 5) words = _mm256_add_epi16(words, move);
        const __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out + place * args.step + channel), bytes);
    });
}

inline __m256i twice(__m256i x) { return _mm256_add_epi32(x, x); }

void to_outputs(const WinogradOutput& args) {
    for (int64_t i = 0; i < 16 * args.rows; i += 8) {
        __m256i rows[2][4];
#pragma GCC unroll 4
        for (int x = 0; x < 4; ++x) {
            const int32_t* from = args.sums + x * args.step + i;
            const __m256i a = load(from), b = load(from + 4 * args.step), c = load(from + 8 * args.step),
                          d = load(from + 12 * args.step);
            rows[0][x] = _mm256_add_epi32(twice(a), _mm256_add_epi32(b, c));
            rows[1][x] = _mm256_sub_epi32(_mm256_sub_epi32(b, c), twice(d));
        }
#pragma GCC unroll 2
        for (int y = 0; y < 2; ++y) {
            const __m256i *row = rows[y], left = _mm256_add_epi32(twice(row[0]), _mm256_add_epi32(row[1], row[2])),
                          right = _mm256_sub_epi32(_mm256_sub_epi32(row[1], row[2]), twice(row[3]));
            store(args.acc + 2 * y * args.acc_step + i, _mm256_srai_epi32(left, 2));
            store(args.acc + (2 * y + 1) * args.acc_step + i, _mm256_srai_epi32(right, 2));
        }
    }
}

// Measured in layers, on Zen 3.
constexpr WinogradRow kRow = {{"winograd_u8s32_f2x2_avx2_1x16", "winograd", "f2x2", "avx2", 1, 16, 8, 32},
                              {80, 70, 70},
                              to_bytes,
                              to_words,
                              to_outputs};

}  // namespace

const Rows<WinogradRow> kAvx2Winograd = {&kRow, 1};

}  // namespace intsim
