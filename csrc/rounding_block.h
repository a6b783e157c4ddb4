// rounding.h's formula as constants of a block of 16 channels, which integers its arithmetic fits, and the formula.
#pragma once

#include "blocks.h"
#include "rounding.h"

namespace intsim {

// The output type: bits wide, smallest code `min`.
struct CodeType {
    int bits = 8;
    int64_t min = 0;
    int64_t max() const { return min + (int64_t{1} << bits) - 1; }
};

// One channel of rounding.h's formula for the output type; `channel` 0..15.
struct RoundingSpec {
    Rounding rounding;
    int64_t zero_point;
    bool zero_point_first;
    int64_t low, high;
    CodeType out;
};
void fill_rounding(RoundingBlock<int64_t>& block, int channel, const RoundingSpec& spec, int64_t shift);

// Whether the block's arithmetic stays in int32 for x in low..high: every step, or the result alone.
bool rounds_in_int32(const RoundingBlock<int64_t>& block, int channel, int64_t low, int64_t high);
bool result_in_int32(const RoundingBlock<int64_t>& block, int channel, int64_t low, int64_t high);
RoundingBlock<int32_t> narrowed(const RoundingBlock<int64_t>& block);

template <class T>
inline uint8_t clip_to_byte(T value, int32_t low, int32_t high) {
    return static_cast<uint8_t>(value < low ? low : value > high ? high : value);
}

// The formula itself.
template <class T>
inline uint8_t round_to_byte(T x, const RoundingBlock<T>& block, int channel) {
    const T f = (x >> block.shift[channel]) + block.zero_before[channel];
    x += block.base[channel] + (f < 0 ? block.sign_term[channel] : 0) + (f & block.odd_term[channel]);
    return clip_to_byte((x >> block.shift[channel]) + block.zero[channel], block.low, block.high);
}

}  // namespace intsim
