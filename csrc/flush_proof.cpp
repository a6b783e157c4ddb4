#include "flush_proof.h"

#include <algorithm>

namespace intsim {

bool FlushProof::Lanes::within(int64_t least, int64_t most) const {
    return *std::min_element(low.begin(), low.end()) >= least && *std::max_element(high.begin(), high.end()) <= most;
}

FlushProof::Lanes FlushProof::Lanes::widened(int64_t room) const {
    Lanes result = *this;
    for (size_t lane = 1; lane < low.size(); lane += 2)
        result.low[lane] -= static_cast<int32_t>(room), result.high[lane] += static_cast<int32_t>(room);
    return result;
}

void FlushProof::tally(const Quad& quad, Lanes& bytes, Lanes& words) const {
    for (size_t n = 0; n < quad.size(); ++n)
        for (size_t k = 0; k < 4; ++k) {
            const int64_t weight = quad[n][k];
            if (scheme_ == Scheme::kLutSign) {
                const size_t lane = 2 * n + static_cast<size_t>(in_step_);
                words.add(n, max_activation_ * weight), bytes.add(lane, max_activation_ * weight);
                continue;
            }
            words.add(n, max_activation_ * weight);
            for (size_t plane = 0; plane < 2; ++plane) {
                const int64_t code = scheme_ == Scheme::kLutOdd ? (weight + 3) / 2 : weight, bit = code >> plane & 1;
                const bool counts = scheme_ == Scheme::kLut || weight != 0;  // a channel that is padding has no bits
                if (counts) bytes.add(2 * n + plane, max_activation_ * (scheme_ == Scheme::kLut ? bit : 2 * bit - 1));
            }
        }
}

std::optional<Flush> FlushProof::add(const Quad& quad) {
    if (is_w16(scheme_) || scheme_ == Scheme::kDot) return kNoFlush;
    return is_lut(scheme_) ? add_entries(quad) : add_products(quad);
}

// a16 and a32. Most of the time that loading a network takes goes by here, so its loop is one that compilers vectorise:
// no branch, and no multiplication, as amax * sum >= -32768 is sum >= -floor(32768 / amax).
std::optional<Flush> FlushProof::add_products(const Quad& quad) {
    constexpr size_t kLanes = 32;
    const int32_t* weights = quad[0].data();
    const int32_t least = -static_cast<int32_t>(32768 / max_activation_);
    const int32_t most = static_cast<int32_t>(32767 / max_activation_);
    const int64_t step = step_quads(scheme_);
    if (step > 0 && in_step_ == 0) words_ = {};
    for (const Flush flush : {kNoFlush, kFlushAll}) {
        if (step > 0 && flush != kNoFlush) break;  // its kernels widen by themselves, and only there
        if (flush == kFlushAll) words_ = {};
        Lanes next;
        int32_t beyond = 0;  // negative once a lane is
        for (size_t lane = 0; lane < kLanes; ++lane) {
            const int32_t first = weights[2 * lane], second = weights[2 * lane + 1];
            next.low[lane] = words_.low[lane] + (first & first >> 31) + (second & second >> 31);
            next.high[lane] = words_.high[lane] + (first & ~(first >> 31)) + (second & ~(second >> 31));
            beyond |= (next.low[lane] - least) | (most - next.high[lane]);
        }
        if (beyond < 0) continue;
        std::copy_n(next.low.begin(), kLanes, words_.low.begin());
        std::copy_n(next.high.begin(), kLanes, words_.high.begin());
        if (step > 0) in_step_ = (in_step_ + 1) % step;
        return flush;
    }
    return std::nullopt;
}

std::optional<Flush> FlushProof::add_entries(const Quad& quad) {
    const bool sign = scheme_ == Scheme::kLutSign;
    // The second quad of a pair is not known yet when the first one comes, and cannot be flushed for.
    const int64_t room = sign && in_step_ == 0 ? 4 * max_activation_ : 0;
    const int64_t least = is_signed_lut(scheme_) ? -128 : 0, most = is_signed_lut(scheme_) ? 127 : 255;
    for (Flush flush : {kNoFlush, kFlushBytes, kFlushAll}) {
        if (in_step_ > 0 && flush != kNoFlush) break;  // a pair is added at once
        if (flush >= kFlushBytes) bytes_ = {};
        if (flush == kFlushAll) words_ = {};
        Lanes bytes = bytes_, words = words_;
        tally(quad, bytes, words);
        if (!bytes.widened(room).within(least, most) || !words.within(-32767 + room, 32767 - room)) continue;
        bytes_ = bytes, words_ = words;
        if (sign) in_step_ = (in_step_ + 1) % 2;
        return flush;
    }
    return std::nullopt;
}

std::optional<Flush> SextetProof::add(const char* indices, int64_t apart) {
    // Each adds 255 at most of one plane, and twice that of the other, to an int16.
    constexpr int64_t kMostFlushes = 32767 / (3 * 255);
    int32_t sums = 0, alone = 0;
    for (Bits& set : set_) {
        for (size_t lane = 0; lane < set.size(); ++lane) {
            const int32_t bits = __builtin_popcount(static_cast<uint8_t>(indices[lane]));
            set[lane] += bits;
            sums = std::max(sums, set[lane]), alone = std::max(alone, bits);
        }
        indices += apart;
    }
    if (alone > most_) return std::nullopt;
    if (sums <= most_) return kNoFlush;
    indices -= apart * static_cast<int64_t>(set_.size());
    for (Bits& set : set_) {
        for (size_t lane = 0; lane < set.size(); ++lane)
            set[lane] = __builtin_popcount(static_cast<uint8_t>(indices[lane]));
        indices += apart;
    }
    return ++flushes_ % kMostFlushes == 0 ? kFlushAll : kFlushBytes;
}

}  // namespace intsim
