#include "threshold_buckets.h"

#include <algorithm>
#include <limits>

namespace intsim {
namespace {

constexpr int kMostShift = 24;         // a place within a bucket has the low bits of an entry
constexpr int64_t kMostBuckets = 512;  // of a channel: 2 KiB; evenly spaced thresholds need at most two for each
constexpr int32_t kNowhere = (1 << kMostShift) - 1;  // the place that no accumulator in a bucket exceeds

// What 16 results by look-up cost for each threshold that may share a bucket, and in all, in comparisons of 16 bits.
constexpr int64_t kDepthCost = 28, kFixedCost = 16;

// The largest buckets in which no more than `depth` thresholds lie; ascending ones, at least one.
std::optional<int> largest_shift(const std::vector<int64_t>& thresholds, size_t depth) {
    const int64_t first = thresholds.front(), span = thresholds.back() + 1 - first;
    for (int shift = kMostShift; shift >= 0 && span >> shift < kMostBuckets; --shift) {
        bool fits = true;
        for (size_t i = 0; fits && i + depth < thresholds.size(); ++i)
            fits = (thresholds[i] - first) >> shift != (thresholds[i + depth] - first) >> shift;
        if (fits) return shift;
    }
    return std::nullopt;
}

// One channel's buckets appended to each of the planes, of which plane k has the k-th threshold of every bucket.
void append_channel(const std::vector<int64_t>& thresholds, int shift, std::vector<std::vector<int32_t>>& planes) {
    const size_t start = planes[0].size();
    const int64_t first = thresholds.front(), span = thresholds.back() + 1 - first;
    for (auto& plane : planes) plane.resize(start + static_cast<size_t>((span >> shift) + 1), kNowhere);
    size_t below = 0;
    for (size_t bucket = start; bucket < planes[0].size(); ++bucket) {
        const uint32_t count = static_cast<uint32_t>(below) << kMostShift;
        const int64_t begin = static_cast<int64_t>(bucket - start) << shift, end = begin + (int64_t{1} << shift);
        planes[0][bucket] = static_cast<int32_t>(count | kNowhere);
        for (size_t k = 0; below < thresholds.size() && thresholds[below] - first < end; ++below, ++k)
            planes[k][bucket] =
                static_cast<int32_t>((k == 0 ? count : 0) | static_cast<uint32_t>(thresholds[below] - first - begin));
    }
}

std::optional<ThresholdBuckets> with_depth(const std::vector<Comparison>& comparisons,
                                           const std::vector<ChannelBlock>& blocks, int64_t smallest_code,
                                           size_t depth) {
    ThresholdBuckets result;
    std::vector<std::vector<int32_t>> planes(depth, {kNowhere});  // bucket 0 is for channels without thresholds
    for (const ChannelBlock& channels : blocks) {
        BucketBlock block{};
        for (int c = 0; c < channels.count; ++c) {
            const Comparison& comparison = comparisons[static_cast<size_t>(channels.first + c)];
            block.base[c] = static_cast<int32_t>(comparison.base - smallest_code);
            block.descending[c] = comparison.descending ? -1 : 0;
            if (comparison.above.empty()) continue;
            std::vector<int64_t> thresholds = comparison.above;
            std::sort(thresholds.begin(), thresholds.end());
            if (thresholds.back() - thresholds.front() >= std::numeric_limits<int32_t>::max()) return std::nullopt;
            const std::optional<int> shift = largest_shift(thresholds, depth);
            if (!shift) return std::nullopt;
            block.first[c] = static_cast<int32_t>(thresholds.front());
            block.last[c] = static_cast<int32_t>(thresholds.back() + 1);
            block.shift[c] = *shift, block.place[c] = (1 << *shift) - 1;
            block.start[c] = static_cast<int32_t>(planes[0].size());
            append_channel(thresholds, *shift, planes);
        }
        result.blocks.push_back(block);
    }
    const int64_t plane = static_cast<int64_t>(planes[0].size());
    for (const auto& entries : planes) result.entries.insert(result.entries.end(), entries.begin(), entries.end());
    for (BucketBlock& block : result.blocks)
        block.entries = result.entries.data(), block.plane = plane, block.depth = static_cast<int64_t>(depth);
    return result;
}

}  // namespace

std::optional<ThresholdBuckets> bucket_thresholds(const std::vector<Comparison>& comparisons,
                                                  const std::vector<ChannelBlock>& blocks, int64_t smallest_code,
                                                  int comparison_cost) {
    size_t most = 0;
    for (const Comparison& comparison : comparisons) most = std::max(most, comparison.above.size());
    const int64_t counting = static_cast<int64_t>(most) * comparison_cost;
    for (int64_t depth = 1; kFixedCost + kDepthCost * depth < counting; ++depth)
        if (auto buckets = with_depth(comparisons, blocks, smallest_code, static_cast<size_t>(depth))) return buckets;
    return std::nullopt;
}

}  // namespace intsim
