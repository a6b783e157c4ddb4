// Evenly spaced thresholds, as uniform quantizers have them, by one fused multiplication and addition in float32: 5
// cycles for 16 results where counting 15 thresholds takes 18. A multiplier's codes change at such thresholds too.
//
// The straight line is not a model of the thresholds but equal to them, or it is not taken. Converting to float32,
// multiplying and adding, rounding and clipping are all monotone, so a line that gives the right code at the ends of
// the accumulator's range and on both sides of every threshold gives it everywhere; each line is tried there, in the
// same float32 operations, of which fusing leaves one less for the busiest pipes.
#pragma once

#include <optional>
#include <vector>

#include "threshold_buckets.h"

namespace intsim {

// One channel's line within a block, of which `low` and `high` are set: false where there is none. Accumulators are within
// low..high.
bool fill_line_through(LineBlock& block, int channel, const Comparison& comparison, int64_t smallest_code, int64_t low,
                       int64_t high);

// One block of lines for each of `channels`; `low` and `high` bound each channel's accumulators. Nothing where there is
// no such line, or counting is as fast.
std::optional<std::vector<LineBlock>> line_through_thresholds(const std::vector<Comparison>& comparisons,
                                                              const std::vector<ChannelBlock>& channels,
                                                              int64_t smallest_code, const std::vector<int64_t>& low,
                                                              const std::vector<int64_t>& high);

}  // namespace intsim
