// Winograd transforms for AVX-512: of inputs 32 channels at a time, of sums 16.
#include "avx512.h"

namespace intsim {
namespace {

// Four vectors of a row or a column, as B' has it.
inline void transform_four(const __m512i* from, int from_step, __m512i* to, int to_step) {
    const __m512i a = from[0], b = from[from_step], c = from[2 * from_step], d = from[3 * from_step];
    to[0] = _mm512_sub_epi16(a, c), to[to_step] = _mm512_add_epi16(b, c);
    to[2 * to_step] = _mm512_sub_epi16(c, b), to[3 * to_step] = _mm512_sub_epi16(b, d);
}

// Calls put(place, channel, 32 int16) for every place of every 32 channels from `channel` on; of the last ones there
// may be 16.
template <class Put>
inline void winograd_input(const WinogradInput& args, const Put& put) {
    for (int64_t channel = 0; channel < args.channels; channel += 32) {
        const __mmask32 some = args.channels - channel > 16 ? 0xffffffffu : 0xffffu;
        __m512i patch[16], rows[16], places[16];
#pragma GCC unroll 16
        for (int i = 0; i < 16; ++i)
            patch[i] = _mm512_cvtepu8_epi16(_mm256_maskz_loadu_epi8(some, args.pixels[i / 4][i % 4] + channel));
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
    winograd_input(args, [&](int place, int64_t channel, __m512i words) {
        char* const to = out + place * args.step + 2 * channel;
        if (args.channels - channel > 16)
            _mm512_storeu_si512(to, words);
        else
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_castsi512_si256(words));
    });
}

void to_bytes(const WinogradInput& args) {
    char* out = static_cast<char*>(args.out);
    const __m512i move = _mm512_set1_epi16(static_cast<int16_t>(args.move));
    winograd_input(args, [&](int place, int64_t channel, __m512i words) {
        if (place != 5) words = _mm512_add_epi16(words, move);
        const __m256i bytes = _mm512_cvtepi16_epi8(words);
        char* const to = out + place * args.step + channel;
        if (args.channels - channel > 16)
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), bytes);
        else
            _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_castsi256_si128(bytes));
    });
}

inline __m512i twice(__m512i x) { return _mm512_add_epi32(x, x); }

void to_outputs(const WinogradOutput& args) {
    for (int64_t i = 0; i < 16 * args.rows; i += 16) {
        __m512i rows[2][4];
#pragma GCC unroll 4
        for (int x = 0; x < 4; ++x) {
            const int32_t* from = args.sums + x * args.step + i;
            const __m512i a = load(from), b = load(from + 4 * args.step), c = load(from + 8 * args.step),
                          d = load(from + 12 * args.step);
            rows[0][x] = _mm512_add_epi32(twice(a), _mm512_add_epi32(b, c));
            rows[1][x] = _mm512_sub_epi32(_mm512_sub_epi32(b, c), twice(d));
        }
#pragma GCC unroll 2
        for (int y = 0; y < 2; ++y) {
            const __m512i *row = rows[y], left = _mm512_add_epi32(twice(row[0]), _mm512_add_epi32(row[1], row[2])),
                          right = _mm512_sub_epi32(_mm512_sub_epi32(row[1], row[2]), twice(row[3]));
            _mm512_storeu_si512(args.acc + 2 * y * args.acc_step + i, _mm512_srai_epi32(left, 2));
            _mm512_storeu_si512(args.acc + (2 * y + 1) * args.acc_step + i, _mm512_srai_epi32(right, 2));
        }
    }
}

// Measured in layers, on Zen 5.
constexpr WinogradRow kRow = {{"winograd_u8s32_f2x2_avx512_1x16", "winograd", "f2x2", "avx512", 1, 16, 8, 32},
                              {40, 50, 80},
                              to_bytes,
                              to_words,
                              to_outputs};

}  // namespace

const Rows<WinogradRow> kAvx512Winograd = {&kRow, 1};

}  // namespace intsim
