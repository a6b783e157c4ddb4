#include "epilogue.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <type_traits>

#include "check.h"
#include "even_thresholds.h"
#include "scale_blocks.h"
#include "threshold_buckets.h"

namespace intsim {
namespace {

void check_output(const std::string& layer, const CodeType& out) {
    require(out.bits >= 1 && out.bits <= 8, "'", layer, "': results of ", out.bits,
            " bits are no bytes, expected 1..8");
    require(fits_int32(out.min), "'", layer, "': smallest code ", out.min, " leaves int32");
}

void check_clipping(const std::string& layer, int64_t low, int64_t high, const CodeType& out) {
    require(out.min <= low && low <= high && high <= out.max(), "'", layer, "': clipping to ", low, "..", high,
            " leaves the output type");
}

Comparison reachable_thresholds(const ThresholdSpec& spec, int64_t channel, int64_t low, int64_t high) {
    const bool descending = spec.descending[channel];
    // acc >= T is acc > T - 1, and acc <= T is not(acc > T); a strict comparison moves each by one.
    const int64_t offset = descending == spec.strict[channel] ? -1 : 0;
    Comparison result{{}, spec.base[channel] + (descending ? spec.count : 0), descending};
    for (int64_t k = 0; k < spec.count; ++k) {
        // Rows are filled up with the ends of int64, which stay on their side.
        const int64_t t = std::max(spec.thresholds[channel * spec.count + k], INT64_MIN + 1) + offset;
        if (t < low)
            result.base += descending ? -1 : 1;
        else if (t < high)
            result.above.push_back(t);
    }
    return result;
}

}  // namespace

int64_t channels_of(const EpilogueSpec& spec) {
    if (const auto* scale = std::get_if<ScaleSpec>(&spec)) return static_cast<int64_t>(scale->shift.size());
    if (const auto* scale = std::get_if<FloatSpec>(&spec)) return static_cast<int64_t>(scale->scale.size());
    return static_cast<int64_t>(std::get<ThresholdSpec>(spec).base.size());
}

const CodeType& output_of(const EpilogueSpec& spec) {
    return std::visit([](const auto& s) -> const CodeType& { return s.out; }, spec);
}

std::vector<ChannelBlock> blocks_of_channels(int64_t channels, int64_t size) {
    std::vector<ChannelBlock> blocks;
    for (int64_t first = 0; first < channels; first += size)
        blocks.push_back({first, std::min(size, channels - first)});
    return blocks;
}

Epilogue::Epilogue(const std::string& layer, const EpilogueSpec& spec, const Bounds& bounds,
                   const std::vector<ChannelBlock>& blocks)
    : layer_(layer), blocks_(blocks) {
    const int64_t channels = blocks.empty() ? 0 : blocks.back().first + blocks.back().count;
    require(channels_of(spec) == channels, "'", layer, "': the epilogue is for ", channels_of(spec), " channels, not ",
            channels);
    check_output(layer, output_of(spec));
    max_byte_ = (1 << output_of(spec).bits) - 1;
    std::visit([&](const auto& s) { prepare(s, bounds); }, spec);
}

template <class Block>
void Epilogue::use(EpilogueKind kind, const std::vector<Block>& blocks) {
    row_ = &find_epilogue(kind);
    block_bytes_ = reinterpret_cast<const char*>(blocks.data()), block_size_ = sizeof(Block);
}

void Epilogue::prepare(const ScaleSpec& spec, const Bounds& bounds) {
    check_clipping(layer_, spec.low, spec.high, spec.out);
    ScaleBlocks scales = blocks_of_scale(layer_, spec, bounds, blocks_);
    std::visit(
        [&](auto& blocks) {
            using Blocks = std::decay_t<decltype(blocks)>;
            data_ = std::move(blocks);
            use(scales.kind, std::get<Blocks>(data_));
        },
        scales.blocks);
}

template <class T>
void Epilogue::prepare_float(const FloatSpec& spec, EpilogueKind kind) {
    std::vector<FloatBlock<T>> blocks(blocks_.size());
    for (size_t b = 0; b < blocks_.size(); ++b) {
        blocks[b] = {};
        for (int c = 0; c < blocks_[b].count; ++c)
            blocks[b].scale[c] = static_cast<T>(spec.scale[static_cast<size_t>(blocks_[b].first + c)]);
        const int64_t after = spec.zero_point_first ? 0 : spec.zero_point;
        blocks[b].before = static_cast<T>(spec.zero_point - after);
        blocks[b].lowest = static_cast<T>(spec.low - after), blocks[b].highest = static_cast<T>(spec.high - after);
        blocks[b].zero = static_cast<int32_t>(after - spec.out.min);
    }
    data_ = std::move(blocks);
    use(kind, std::get<std::vector<FloatBlock<T>>>(data_));
}

void Epilogue::prepare(const FloatSpec& spec, const Bounds&) {
    check_clipping(layer_, spec.low, spec.high, spec.out);
    constexpr int64_t kMost = int64_t{1} << 20;  // so that bounds on levels are exact in float32, and sums below 2^22
    require(std::abs(spec.zero_point) <= kMost && std::abs(spec.out.min) <= kMost, "'", layer_, "': zero point ",
            spec.zero_point, " or smallest code ", spec.out.min, " is beyond 2^20");
    require(!spec.single || !spec.zero_point_first, "'", layer_, "': in float32 no zero point comes first");
    for (size_t channel = 0; channel < spec.scale.size(); ++channel)
        require(std::isfinite(spec.single ? static_cast<float>(spec.scale[channel]) : spec.scale[channel]), "'", layer_,
                "': scale ", spec.scale[channel], " of channel ", channel, " is not finite");
    spec.single ? prepare_float<float>(spec, EpilogueKind::kFloat32)
                : prepare_float<double>(spec, EpilogueKind::kFloat64);
}

void Epilogue::prepare(const ThresholdSpec& spec, const Bounds& bounds) {
    const size_t channels = spec.base.size();
    require(spec.thresholds.size() == channels * static_cast<size_t>(spec.count) && spec.strict.size() == channels &&
                spec.descending.size() == channels,
            "'", layer_, "': thresholds, bases and flags differ in their number of channels");
    std::vector<Comparison> comparisons;
    bool in_int16 = true;
    for (size_t channel = 0; channel < channels; ++channel) {
        comparisons.push_back(reachable_thresholds(spec, channel, bounds.low[channel], bounds.high[channel]));
        const Comparison& comparison = comparisons.back();
        const int64_t span = static_cast<int64_t>(comparison.above.size());
        for (int64_t code : {comparison.base, comparison.base + (spec.descending[channel] ? -span : span)})
            require(spec.out.min <= code && code <= spec.out.max(), "'", layer_, "': code ", code, " of channel ",
                    channel, " leaves the output type");
        for (int64_t t : comparison.above) in_int16 = in_int16 && t >= -32768 && t <= 32766;
    }

    if (auto lines = line_through_thresholds(comparisons, blocks_, spec.out.min, bounds.low, bounds.high)) {
        data_ = std::move(*lines);
        use(EpilogueKind::kLine, std::get<std::vector<LineBlock>>(data_));
        return;
    }
    if (auto buckets = bucket_thresholds(comparisons, blocks_, spec.out.min, in_int16 ? 1 : 2)) {
        entries_ = std::move(buckets->entries), data_ = std::move(buckets->blocks);
        use(EpilogueKind::kBuckets, std::get<std::vector<BucketBlock>>(data_));
        return;
    }
    // Channels with fewer thresholds than the block's most are filled up with ones that nothing exceeds.
    std::vector<ThresholdBlock> blocks(blocks_.size());
    std::vector<size_t> first;
    for (size_t b = 0; b < blocks_.size(); ++b) {
        size_t count = 0;
        for (int c = 0; c < blocks_[b].count; ++c)
            count = std::max(count, comparisons[blocks_[b].first + c].above.size());
        blocks[b] = {};
        blocks[b].count = static_cast<int64_t>(count);
        first.push_back(thresholds_.size());
        thresholds_.resize(thresholds_.size() + 16 * count, std::numeric_limits<int32_t>::max());
        for (int c = 0; c < blocks_[b].count; ++c) {
            const int64_t channel = blocks_[b].first + c;
            const Comparison& comparison = comparisons[channel];
            blocks[b].base[c] = static_cast<int32_t>(comparison.base - spec.out.min);
            blocks[b].descending[c] = spec.descending[channel] ? -1 : 0;
            for (size_t k = 0; k < comparison.above.size(); ++k)
                thresholds_[first[b] + 16 * k + c] = static_cast<int32_t>(comparison.above[k]);
        }
    }
    for (size_t i = 0; in_int16 && i < thresholds_.size(); ++i) {
        const int32_t t = thresholds_[i / 16 * 16 + kUnpackOrder[i % 16]];
        thresholds16_.push_back(static_cast<int16_t>(std::min(t, 32767)));
    }
    for (size_t b = 0; b < blocks.size(); ++b) {
        blocks[b].thresholds = thresholds_.data() + first[b];
        blocks[b].thresholds16 = in_int16 ? thresholds16_.data() + first[b] : nullptr;
    }
    data_ = std::move(blocks);
    use(in_int16 ? EpilogueKind::kThreshold16 : EpilogueKind::kThreshold32,
        std::get<std::vector<ThresholdBlock>>(data_));
}

}  // namespace intsim
