// Many thresholds by look-up: the range of a channel's thresholds is cut into buckets of 2^shift accumulators, so small
// that few thresholds share one. The accumulator's bucket has how many thresholds lie below it, and where within it
// those few are, which leaves one comparison for each of them; counting all costs one comparison for each of 255.
#pragma once

#include <optional>
#include <vector>

#include "epilogue.h"

namespace intsim {

// Comparing by `acc > t` alone: the constants that make it equal to a spec's comparison, over the reachable range.
struct Comparison {
    std::vector<int64_t> above;  // finite: low <= t < high
    int64_t base;                // code where acc exceeds none of them
    bool descending;
};

struct ThresholdBuckets {
    std::vector<BucketBlock> blocks;
    std::vector<int32_t> entries;
};

// Nothing where counting is faster, or where a channel's thresholds lie too far apart or too many in one place.
// `comparison_cost`: of one comparison, relative to one of 16-bit lanes.
std::optional<ThresholdBuckets> bucket_thresholds(const std::vector<Comparison>& comparisons,
                                                  const std::vector<ChannelBlock>& blocks, int64_t smallest_code,
                                                  int comparison_cost);

}  // namespace intsim
