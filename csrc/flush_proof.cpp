#include "flush_proof.h"

#include <algorithm>
#include <type_traits>

namespace intsim {

bool FlushProof::Lanes::add_within(const Lanes& others, int32_t least, int32_t most) {
    Lanes sum;
    int32_t smallest = 0, largest = 0;
    for (size_t i = 0; i < low.size(); ++i) {
        sum.low[i] = low[i] + others.low[i], sum.high[i] = high[i] + others.high[i];
        smallest = std::min(smallest, sum.low[i]), largest = std::max(largest, sum.high[i]);
    }
    if (smallest < least || largest > most) return false;
    *this = sum;
    return true;
}

FlushProof::Lanes FlushProof::words_of(const Quad& quad) const {
    Lanes words;
    const auto sum = [&](auto per_lane, auto lanes) {  // constants, for the compiler to make vectors of
        const int32_t* weights = quad[0].data();
        for (size_t lane = 0; lane < lanes; ++lane) {
            int32_t low = 0, high = 0;
            for (size_t k = 0; k < per_lane; ++k) {
                low += std::min(weights[per_lane * lane + k], 0);
                high += std::max(weights[per_lane * lane + k], 0);
            }
            words.low[lane] = max_activation_ * low, words.high[lane] = max_activation_ * high;
        }
    };
    using std::integral_constant;
    if (scheme_ == Scheme::kLut)
        sum(integral_constant<size_t, 4>(), integral_constant<size_t, 32>());
    else
        sum(integral_constant<size_t, 2>(), integral_constant<size_t, 32>());
    return words;
}

FlushProof::Lanes FlushProof::bytes_of(const Quad& quad) const {
    Lanes bytes;
    if (scheme_ != Scheme::kLut) return bytes;
    for (size_t n = 0; n < quad.size(); ++n)
        for (size_t plane = 0; plane < 2; ++plane) {
            int32_t bits = 0;
            for (size_t k = 0; k < 4; ++k) bits += quad[n][k] >> plane & 1;
            bytes.high[2 * n + plane] = max_activation_ * bits;
        }
    return bytes;
}

std::optional<Flush> FlushProof::add(const Quad& quad) {
    if (scheme_ == Scheme::kW16) return kNoFlush;  // int32 from the first product
    const int64_t step = step_quads(scheme_);
    if (step > 0 && in_step_ == 0) words_ = {};
    const Lanes bytes = bytes_of(quad), words = words_of(quad);
    for (Flush flush : {kNoFlush, kFlushBytes, kFlushAll}) {
        if (step > 0 && flush != kNoFlush) break;  // its kernels widen by themselves, and only there
        if (flush == kFlushBytes && scheme_ != Scheme::kLut) continue;
        if (flush >= kFlushBytes) bytes_ = {};
        if (flush == kFlushAll) words_ = {};
        Lanes sum = bytes_;
        if (!sum.add_within(bytes, 0, 255) || !words_.add_within(words, -32768, 32767)) continue;
        bytes_ = sum;
        if (step > 0) in_step_ = (in_step_ + 1) % step;
        return flush;
    }
    return std::nullopt;
}

}  // namespace intsim
