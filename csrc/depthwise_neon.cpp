// The depthwise kernels for NEON, 16 channels at a time, exact for any bytes and int16 weights.
#include <cstdint>

#include "neon.h"

namespace intsim {
namespace {

// 8 channels of products, 4 in each register; smlal multiplies 4 of them.
struct Eight {
    int32x4_t low, high;
};
inline void multiply_add(Eight& sum, int16x8_t operand, int16x8_t weights) {
    sum.low = vmlal_s16(sum.low, vget_low_s16(operand), vget_low_s16(weights));
    sum.high = vmlal_high_s16(sum.high, operand, weights);
}
inline Eight load8(const int32_t* from) { return {vld1q_s32(from), vld1q_s32(from + 4)}; }
inline void store8(int32_t* to, const Eight& sum) { vst1q_s32(to, sum.low), vst1q_s32(to + 4, sum.high); }

// A tap pair's weights, [16 channels in kUnpackOrder][2 taps]: ld2 parts the taps, and the halves of both registers put
// the channels in order.
template <int MR>
void depthwise_w16(const Tile& tile) {
    Eight first[MR], second[MR];
#pragma GCC unroll 4
    for (int row = 0; row < MR; ++row) first[row] = load8(tile.bias), second[row] = load8(tile.bias + 8);
    const uint8_t* operand = static_cast<const uint8_t*>(tile.operand);
    const int16_t* panel = static_cast<const int16_t*>(tile.panel);
    for (int64_t pair = 0; pair < tile.run_count / 2; ++pair, panel += 32) {
        const int16x8x2_t outer = vld2q_s16(panel), inner = vld2q_s16(panel + 16);
#pragma GCC unroll 2
        for (int tap = 0; tap < 2; ++tap) {
            const int64x2_t a = vreinterpretq_s64_s16(outer.val[tap]), b = vreinterpretq_s64_s16(inner.val[tap]);
            const int16x8_t low = vreinterpretq_s16_s64(vzip1q_s64(a, b));
            const int16x8_t high = vreinterpretq_s16_s64(vzip2q_s64(a, b));
            const uint8_t* from = operand + tile.runs[2 * pair + tap].offset;
#pragma GCC unroll 4
            for (int row = 0; row < MR; ++row) {
                const uint8x16_t bytes = vld1q_u8(from + row * tile.row_stride);
                multiply_add(first[row], widen(vget_low_u8(bytes)), low);
                multiply_add(second[row], widen(vget_high_u8(bytes)), high);
            }
        }
    }
#pragma GCC unroll 4
    for (int row = 0; row < MR; ++row)
        store8(tile.acc + 16 * row, first[row]), store8(tile.acc + 16 * row + 8, second[row]);
}

// The filter's weights for 8 channels, from the pairs that a strip's panel has for its first row.
struct Filter {
    int16x8_t tap[3][3];  // [y][x]
};
inline Filter load_filter(const int16_t* panel) {
    Filter filter;
#pragma GCC unroll 3
    for (int x = 0; x < 3; ++x) {
        const int16x8x2_t upper = vld2q_s16(panel + 64 * x), lower = vld2q_s16(panel + 64 * x + 16);
        filter.tap[0][x] = upper.val[0], filter.tap[1][x] = upper.val[1], filter.tap[2][x] = lower.val[0];
    }
    return filter;
}

void strip_w16(const Strip& strip) {
    for (int half = 0; half < 2; ++half) {
        const Filter filter = load_filter(static_cast<const int16_t*>(strip.panel) + 192 * half);
        const Eight bias = load8(strip.bias + 8 * half);
        for (int64_t row = 0; row < strip.rows; ++row) {
            const uint8_t* from = strip.operand + row * strip.stride_y * strip.row_stride + 8 * half;
            int32_t* acc = strip.acc + row * kMaxStripPixels * 16 + 8 * half;
            for (int64_t x = 0; x < strip.pixels; ++x, from += strip.stride_x * strip.pixel_stride, acc += 16) {
                Eight sum = bias;
#pragma GCC unroll 3
                for (int tap_y = 0; tap_y < 3; ++tap_y)
#pragma GCC unroll 3
                    for (int tap_x = 0; tap_x < 3; ++tap_x) {
                        const uint8_t* at = from + tap_y * strip.row_stride + tap_x * strip.pixel_stride;
                        multiply_add(sum, widen(vld1_u8(at)), filter.tap[tap_y][tap_x]);
                    }
                store8(acc, sum);
            }
        }
    }
}

constexpr StripRow kStrip = {
    {"strip_u8s8_w16_neon_2x16", "strip", "w16", "neon", 2, 16, 8, 8}, Scheme::kW16, strip_w16};

#define DEPTHWISE_ROW(mr) \
    {{"depthwise_u8s8_w16_neon_" #mr "x16", "depthwise", "w16", "neon", mr, 16, 8, 8}, Scheme::kW16, depthwise_w16<mr>}

constexpr TileRow kRows[] = {DEPTHWISE_ROW(4), DEPTHWISE_ROW(3), DEPTHWISE_ROW(2), DEPTHWISE_ROW(1)};

}  // namespace

const Rows<TileRow> kNeonDepthwise = {kRows, 4};
const Rows<StripRow> kNeonStrips = {&kStrip, 1};

}  // namespace intsim
