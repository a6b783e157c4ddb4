#include "flush_proof.h"

#include <algorithm>

namespace intsim {

bool FlushProof::Lanes::within(int64_t least, int64_t most) const {
    return *std::min_element(low.begin(), low.end()) >= least && *std::max_element(high.begin(), high.end()) <= most;
}

void FlushProof::tally(const Quad& quad, Lanes& bytes, Lanes& words) const {
    if (scheme_ == Scheme::kW16) return;  // int32 from the first product
    for (size_t n = 0; n < quad.size(); ++n)
        for (size_t k = 0; k < 4; ++k) {
            const int64_t weight = quad[n][k];
            words.add(scheme_ == Scheme::kLut ? n : 2 * n + k / 2, max_activation_ * weight);
            if (scheme_ != Scheme::kLut) continue;
            for (size_t plane = 0; plane < 2; ++plane)
                bytes.add(2 * n + plane, max_activation_ * (weight >> plane & 1));
        }
}

std::optional<Flush> FlushProof::add(const Quad& quad) {
    const int64_t step = step_quads(scheme_);
    if (step > 0 && in_step_ == 0) words_ = {};
    for (Flush flush : {kNoFlush, kFlushBytes, kFlushAll}) {
        if (step > 0 && flush != kNoFlush) break;  // its kernels widen by themselves, and only there
        if (flush >= kFlushBytes) bytes_ = {};
        if (flush == kFlushAll) words_ = {};
        Lanes bytes = bytes_, words = words_;
        tally(quad, bytes, words);
        if (!bytes.within(0, 255) || !words.within(-32768, 32767)) continue;
        bytes_ = bytes, words_ = words;
        if (step > 0) in_step_ = (in_step_ + 1) % step;
        return flush;
    }
    return std::nullopt;
}

}  // namespace intsim
