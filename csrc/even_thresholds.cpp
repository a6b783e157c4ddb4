#include "even_thresholds.h"

#include <algorithm>
#include <cmath>

namespace intsim {
namespace {

constexpr size_t kFewest = 2;     // below, counting is as fast
constexpr size_t kMost = 63;      // float32 rarely separates more
constexpr int kSlopeTrials = 24;  // each leaves two thirds of the slopes

struct Line {
    float scale, offset;
};

// What a channel's line has to do: cross from one code to the next between each threshold and the accumulator after it,
// and nowhere else in low..high, but for where the next code is clipped.
struct Channel {
    std::vector<int64_t> thresholds;  // ascending
    int64_t base, step;               // the code below them all; 1, or -1 if they descend
    int64_t low, high;
    bool clips_below, clips_above;  // the thresholds
};

// The k-th crossing is to be at slope * k + start: where it may start, and the middle of that.
struct Start {
    double room, middle;
};
Start start_of(const Channel& channel, double slope) {
    const double beyond = static_cast<double>(channel.high) - slope * static_cast<double>(channel.thresholds.size());
    double least = channel.clips_above ? -HUGE_VAL : beyond;
    double most = channel.clips_below ? HUGE_VAL : static_cast<double>(channel.low) + slope;
    for (size_t k = 0; k < channel.thresholds.size(); ++k) {
        const double start = static_cast<double>(channel.thresholds[k]) - slope * static_cast<double>(k);
        least = std::max(least, start), most = std::min(most, start + 1);
    }
    return {most - least, (least + most) / 2};
}

// The line with the most room to either side, which is a concave function of the slope.
Line best_line(const Channel& channel) {
    const double base = static_cast<double>(channel.base), step = static_cast<double>(channel.step);
    if (channel.thresholds.empty()) return {0, static_cast<float>(base)};
    double slope = static_cast<double>(channel.high - channel.low) + 1;  // a single threshold has any slope
    if (channel.thresholds.size() > 1) {
        const double steps = static_cast<double>(channel.thresholds.size() - 1);
        const double span = static_cast<double>(channel.thresholds.back() - channel.thresholds.front());
        double least = (span - 1) / steps, most = (span + 1) / steps;
        for (int trial = 0; trial < kSlopeTrials; ++trial) {
            const double third = (most - least) / 3;
            if (start_of(channel, least + third).room > start_of(channel, most - third).room)
                most -= third;
            else
                least += third;
        }
        slope = (least + most) / 2;
    }
    const double crossing = start_of(channel, slope).middle;
    return {static_cast<float>(step / slope), static_cast<float>(base + step * (0.5 - crossing / slope))};
}

// The kernel's operations, one by one; the fused one is rounded once everywhere.
int64_t code_at(const Line& line, int64_t acc, const LineBlock& block) {
    const float level = std::fma(static_cast<float>(static_cast<int32_t>(acc)), line.scale, line.offset);
    if (!(std::abs(level) < 1e9f)) return INT64_MIN;  // int32 must hold it
    return std::clamp<int64_t>(std::lrint(level), block.low, block.high);
}

bool equals(const Line& line, const Channel& channel, const LineBlock& block) {
    int64_t code = channel.base;
    bool equal = code_at(line, channel.low, block) == code;
    for (int64_t threshold : channel.thresholds) {
        equal = equal && code_at(line, threshold, block) == code;
        code += channel.step;
        equal = equal && code_at(line, threshold + 1, block) == code;
    }
    return equal && code_at(line, channel.high, block) == code;
}

}  // namespace

bool fill_line_through(LineBlock& block, int channel, const Comparison& comparison, int64_t smallest_code, int64_t low,
                       int64_t high) {
    Channel wanted{
        comparison.above, comparison.base - smallest_code, comparison.descending ? -1 : 1, low, high, false, false};
    std::sort(wanted.thresholds.begin(), wanted.thresholds.end());
    const int64_t last = wanted.base + wanted.step * static_cast<int64_t>(wanted.thresholds.size());
    wanted.clips_below = wanted.base == (comparison.descending ? block.high : block.low);
    wanted.clips_above = last == (comparison.descending ? block.low : block.high);
    const Line line = best_line(wanted);
    if (!equals(line, wanted, block)) return false;
    block.scale[channel] = line.scale, block.offset[channel] = line.offset;
    return true;
}

std::optional<std::vector<LineBlock>> line_through_thresholds(const std::vector<Comparison>& comparisons,
                                                              const std::vector<ChannelBlock>& channels,
                                                              int64_t smallest_code, const std::vector<int64_t>& low,
                                                              const std::vector<int64_t>& high) {
    size_t most = 0;
    int64_t least_code = 255, greatest_code = 0;
    for (const Comparison& comparison : comparisons) {
        const int64_t first = comparison.base - smallest_code, count = static_cast<int64_t>(comparison.above.size());
        const int64_t last = comparison.descending ? first - count : first + count;
        most = std::max(most, comparison.above.size());
        least_code = std::min({least_code, first, last}), greatest_code = std::max({greatest_code, first, last});
    }
    if (most < kFewest || most > kMost) return std::nullopt;

    std::vector<LineBlock> blocks;
    for (const ChannelBlock& block_channels : channels) {
        LineBlock block{};
        block.low = static_cast<int32_t>(least_code), block.high = static_cast<int32_t>(greatest_code);
        for (int c = 0; c < block_channels.count; ++c) {
            const size_t index = static_cast<size_t>(block_channels.first + c);
            if (!fill_line_through(block, c, comparisons[index], smallest_code, low[index], high[index]))
                return std::nullopt;
        }
        blocks.push_back(block);
    }
    return blocks;
}

}  // namespace intsim
