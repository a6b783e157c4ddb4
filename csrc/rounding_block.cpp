#include "rounding_block.h"

#include <algorithm>

#include "check.h"

namespace intsim {

void fill_rounding(RoundingBlock<int64_t>& block, int channel, const RoundingSpec& spec, int64_t shift) {
    const RoundingTerms terms = rounding_terms(spec.rounding, shift);
    block.shift[channel] = shift;
    block.base[channel] = terms.base;
    block.sign_term[channel] = terms.sign_term;
    block.odd_term[channel] = terms.odd_term;
    block.zero_before[channel] = spec.zero_point_first ? spec.zero_point : 0;
    block.zero[channel] = spec.zero_point - spec.out.min;
    block.low = static_cast<int32_t>(spec.low - spec.out.min);
    block.high = static_cast<int32_t>(spec.high - spec.out.min);
    if (terms.sign_term != 0 || terms.odd_term != 0) block.simple = 0;
    if (terms.sign_term != 0 || block.zero_before[channel] != 0) block.even = 0;
}

bool rounds_in_int32(const RoundingBlock<int64_t>& block, int channel, int64_t low, int64_t high) {
    if (block.shift[channel] > 31) return false;
    const int64_t base = block.base[channel], sign = block.sign_term[channel], before = block.zero_before[channel];
    const int64_t smallest = low + std::min<int64_t>({0, base, base + sign});
    const int64_t largest = high + std::max<int64_t>({0, base, base + sign}) + block.odd_term[channel];
    for (int64_t x : {smallest, largest}) {
        const int64_t shifted = x >> block.shift[channel];
        if (!fits_int32(x) || !fits_int32(shifted + before) || !fits_int32(shifted + block.zero[channel])) return false;
    }
    return fits_int32(base) && fits_int32(sign) && fits_int32(block.zero[channel]);
}

bool result_in_int32(const RoundingBlock<int64_t>& block, int channel, int64_t low, int64_t high) {
    // Rounding moves the floor up by at most one.
    return fits_int32((low >> block.shift[channel]) + block.zero[channel]) &&
           fits_int32((high >> block.shift[channel]) + 1 + block.zero[channel]);
}

RoundingBlock<int32_t> narrowed(const RoundingBlock<int64_t>& block) {
    RoundingBlock<int32_t> result{};
    for (int c = 0; c < 16; ++c) {
        result.shift[c] = static_cast<int32_t>(block.shift[c]);
        result.base[c] = static_cast<int32_t>(block.base[c]);
        result.sign_term[c] = static_cast<int32_t>(block.sign_term[c]);
        result.odd_term[c] = static_cast<int32_t>(block.odd_term[c]);
        result.zero_before[c] = static_cast<int32_t>(block.zero_before[c]);
        result.zero[c] = static_cast<int32_t>(block.zero[c]);
    }
    result.low = block.low, result.high = block.high, result.simple = block.simple, result.even = block.even;
    return result;
}

}  // namespace intsim
