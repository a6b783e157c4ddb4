// Winograd transforms, 8 channels at a time.
#include "neon.h"

namespace intsim {
namespace {

// Four vectors of a row or a column, as B' has it.
inline void transform_four(const int16x8_t* from, int from_step, int16x8_t* to, int to_step) {
    const int16x8_t a = from[0], b = from[from_step], c = from[2 * from_step], d = from[3 * from_step];
    to[0] = vsubq_s16(a, c), to[to_step] = vaddq_s16(b, c);
    to[2 * to_step] = vsubq_s16(c, b), to[3 * to_step] = vsubq_s16(b, d);
}

// Calls put(place, first channel, 8 int16) for every place of all channels, rounded up to 16.
template <class Put>
inline void winograd_input(const WinogradInput& args, const Put& put) {
    for (int64_t channel = 0; channel < (args.channels + 15) / 16 * 16; channel += 8) {
        int16x8_t patch[16], rows[16], places[16];
#pragma GCC unroll 16
        for (int i = 0; i < 16; ++i) patch[i] = widen(vld1_u8(args.pixels[i / 4][i % 4] + channel));
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
    winograd_input(args, [=](int place, int64_t channel, int16x8_t words) {
        vst1q_s16(reinterpret_cast<int16_t*>(out + place * args.step) + channel, words);
    });
}

void to_bytes(const WinogradInput& args) {
    uint8_t* out = static_cast<uint8_t*>(args.out);
    const int16x8_t move = vdupq_n_s16(static_cast<int16_t>(args.move));
    winograd_input(args, [=](int place, int64_t channel, int16x8_t words) {
        if (place != 5) words = vaddq_s16(words, move);
        vst1_u8(out + place * args.step + channel, vqmovun_s16(words));
    });
}

inline int32x4_t twice(int32x4_t x) { return vshlq_n_s32(x, 1); }

void to_outputs(const WinogradOutput& args) {
    for (int64_t i = 0; i < 16 * args.rows; i += 4) {
        int32x4_t rows[2][4];
#pragma GCC unroll 4
        for (int x = 0; x < 4; ++x) {
            const int32_t* from = args.sums + x * args.step + i;
            const int32x4_t a = vld1q_s32(from), b = vld1q_s32(from + 4 * args.step),
                            c = vld1q_s32(from + 8 * args.step), d = vld1q_s32(from + 12 * args.step);
            rows[0][x] = vaddq_s32(twice(a), vaddq_s32(b, c));
            rows[1][x] = vsubq_s32(vsubq_s32(b, c), twice(d));
        }
#pragma GCC unroll 2
        for (int y = 0; y < 2; ++y) {
            const int32x4_t *row = rows[y], left = vaddq_s32(twice(row[0]), vaddq_s32(row[1], row[2])),
                            right = vsubq_s32(vsubq_s32(row[1], row[2]), twice(row[3]));
            vst1q_s32(args.acc + 2 * y * args.acc_step + i, vshrq_n_s32(left, 2));
            vst1q_s32(args.acc + (2 * y + 1) * args.acc_step + i, vshrq_n_s32(right, 2));
        }
    }
}

// Counted: 144 instructions for 8 channels of a patch, 33 for 4 of its sums, two a cycle.
constexpr WinogradRow kRow = {{"winograd_u8s32_f2x2_neon_1x16", "winograd", "f2x2", "neon", 1, 16, 8, 32},
                              {80, 144, 88},
                              to_bytes,
                              to_words,
                              to_outputs};

}  // namespace

const Rows<WinogradRow> kNeonWinograd = {&kRow, 1};

}  // namespace intsim
