#include "epilogue.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <optional>

#include "check.h"
#include "even_thresholds.h"
#include "portable.h"
#include "threshold_buckets.h"

namespace intsim {
namespace {

constexpr int64_t kMaxMultiplier = int64_t{1} << 31;

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

// multiplier * acc / 2^shift in lowest terms, so that a multiplier that is a power of two becomes a plain shift.
void reduce(int64_t& multiplier, int64_t& shift) {
    while (shift > 0 && multiplier != 0 && multiplier % 2 == 0) multiplier /= 2, --shift;
}

// Whether multiplier * acc is an odd multiple of 2^(shift-1) for some acc in low..high, whose result is not clipped
// whichever way it is rounded. The least such result, of both signs, is half of the multiplier without its factors of 2.
bool tie_matters(const RoundingSpec& spec, int64_t multiplier, int64_t shift, int64_t low, int64_t high) {
    if (multiplier == 0 || shift == 0) return false;
    const int64_t twos = __builtin_ctzll(static_cast<unsigned long long>(multiplier));
    const int64_t zeros = shift - 1 - twos;  // that acc ends in
    const int64_t most = std::max(std::abs(spec.low - spec.zero_point), std::abs(spec.high - spec.zero_point));
    return zeros >= 0 && zeros < 32 && std::max(std::abs(low), std::abs(high)) >= int64_t{1} << zeros &&
           std::abs(multiplier) >> twos < 2 * most;
}

// What is added before the shift, zero point included; nothing where it depends on the sum's sign or parity, other than
// by what an engine subtracts below zero.
std::optional<__int128> constant_base(const RoundingSpec& spec, int64_t shift, bool ties) {
    const bool nearest = spec.rounding <= Rounding::kHalfToZero;
    const RoundingTerms terms = rounding_terms(nearest && !ties ? Rounding::kHalfUp : spec.rounding, shift);
    if ((terms.sign_term != 0 && spec.rounding != Rounding::kGemmlowpDouble) || terms.odd_term != 0)
        return std::nullopt;
    return terms.base + static_cast<__int128>(spec.zero_point - spec.out.min) * (int64_t{1} << shift);
}

// One channel of a block by high words alone; false where the sums leave int64 or the shift cannot be raised to 32.
bool fill_high_word(HighWordBlock& block, int channel, const RoundingSpec& spec, int64_t multiplier, int64_t shift,
                    int64_t low, int64_t high) {
    const bool ties = tie_matters(spec, multiplier, shift, low, high);
    const int64_t raised = std::max<int64_t>(32, shift);
    const int64_t most = (kMaxMultiplier - 1) >> (raised - shift);
    if (multiplier < -most || multiplier > most) return false;
    multiplier *= int64_t{1} << (raised - shift);
    const std::optional<__int128> base = constant_base(spec, raised, ties);
    if (!base) return false;
    const bool twice = spec.rounding == Rounding::kGemmlowpDouble;
    const int64_t below_zero = twice ? -rounding_terms(spec.rounding, raised).sign_term : 0;
    for (const int64_t acc : {low, high}) {
        const __int128 sum = static_cast<__int128>(multiplier) * acc + *base - (acc < 0 ? below_zero : 0);
        if (sum < INT64_MIN || sum > INT64_MAX || *base < INT64_MIN || *base > INT64_MAX) return false;
    }
    block.multiplier[channel] = static_cast<int32_t>(multiplier);
    block.shift[channel] = static_cast<int32_t>(raised - 32);
    block.base[channel % 2][channel / 2] = static_cast<int64_t>(*base);
    block.below_zero[channel % 2][channel / 2] = below_zero;
    block.low = static_cast<int32_t>(spec.low - spec.out.min);
    block.high = static_cast<int32_t>(spec.high - spec.out.min);
    return true;
}

// One channel in float32, whose conversion to integers rounds half to even; false where that is another rounding, or
// where a sum would not be exact.
bool fill_line(LineBlock& block, int channel, const RoundingSpec& spec, int64_t multiplier, int64_t shift, int64_t low,
               int64_t high) {
    constexpr __int128 kExact = 1 << 24;
    const int64_t offset = spec.zero_point - spec.out.min, after = spec.zero_point_first ? -spec.out.min : offset;
    if (tie_matters(spec, multiplier, shift, low, high) && (spec.rounding != Rounding::kHalfEven || after % 2 != 0))
        return false;
    const __int128 largest = static_cast<__int128>(std::abs(multiplier)) * std::max(std::abs(low), std::abs(high));
    if (spec.rounding > Rounding::kHalfToZero || shift > 24 || std::abs(offset) > kExact ||
        largest + (static_cast<__int128>(std::abs(offset)) << shift) > kExact)
        return false;
    block.scale[channel] = std::ldexp(static_cast<float>(multiplier), -static_cast<int>(shift));
    block.offset[channel] = static_cast<float>(offset);
    block.low = static_cast<int32_t>(spec.low - spec.out.min);
    block.high = static_cast<int32_t>(spec.high - spec.out.min);
    return true;
}

// Where the codes of one channel's scale change, as thresholds; nothing where they change by more than one.
std::optional<Comparison> thresholds_of(const ScaleBlock<int64_t>& block, int channel, int64_t smallest_code,
                                        int64_t low, int64_t high) {
    const auto code_at = [&](int64_t acc) {
        return int64_t{round_to_byte(block.multiplier[channel] * acc, block.rounding, channel)};
    };
    const int64_t first = code_at(low), last = code_at(high), step = last < first ? -1 : 1;
    Comparison result{{}, first + smallest_code, last < first};
    for (int64_t code = first, from = low; code != last; code += step) {
        int64_t to = high;  // has another code, and `from` has this one
        while (to - from > 1) {
            const int64_t middle = from + (to - from) / 2;
            (code_at(middle) == code ? from : to) = middle;
        }
        if (code_at(to) != code + step) return std::nullopt;
        result.above.push_back(from);
        from = to;
    }
    return result;
}

// The same for any multiplier and rounding, where a line can be found that has all its codes.
bool fit_line(LineBlock& block, int channel, const ScaleBlock<int64_t>& scale, int64_t smallest_code, int64_t low,
              int64_t high) {
    block.low = scale.rounding.low, block.high = scale.rounding.high;
    const std::optional<Comparison> thresholds = thresholds_of(scale, channel, smallest_code, low, high);
    return thresholds && fill_line_through(block, channel, *thresholds, smallest_code, low, high);
}

// How one channel rounds: up to a shift of 31 engines that round twice do it once.
RoundingSpec rounding_at(const ScaleSpec& spec, int64_t shift) {
    const bool twice = spec.rounding == Rounding::kRuy || spec.rounding == Rounding::kGemmlowpDouble;
    return {twice && shift <= 31 ? Rounding::kHalfUp : spec.rounding,
            spec.zero_point,
            spec.zero_point_first,
            spec.low,
            spec.high,
            spec.out};
}

// A line for every channel of the scale, whose multipliers and shifts are in `wide`.
std::optional<std::vector<LineBlock>> lines_of(const ScaleSpec& spec, const std::vector<ScaleBlock<int64_t>>& wide,
                                               const std::vector<ChannelBlock>& channels, const Bounds& bounds) {
    std::vector<LineBlock> lines(wide.size());
    for (size_t b = 0; b < wide.size(); ++b) {
        lines[b] = {};
        for (int c = 0; c < channels[b].count; ++c) {
            const int64_t shift = wide[b].rounding.shift[c], channel = channels[b].first + c;
            const int64_t low = bounds.low[channel], high = bounds.high[channel];
            if (!fill_line(lines[b], c, rounding_at(spec, shift), wide[b].multiplier[c], shift, low, high) &&
                !fit_line(lines[b], c, wide[b], spec.out.min, low, high))
                return std::nullopt;
        }
    }
    return lines;
}

// Without terms that depend on the sum the zero point may come before the shift.
void fold_zero_point(RoundingBlock<int64_t>& block, int channel) {
    if (block.sign_term[channel] != 0 || block.odd_term[channel] != 0 || block.shift[channel] > 31) return;
    block.base[channel] += block.zero[channel] * (int64_t{1} << block.shift[channel]);
    block.zero[channel] = 0;
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
    require(spec.multiplier.size() == spec.shift.size(), "'", layer_, "': ", spec.multiplier.size(),
            " multipliers for ", spec.shift.size(), " shifts");
    require(fits_int32(spec.zero_point), "'", layer_, "': zero point ", spec.zero_point, " leaves int32");
    check_clipping(layer_, spec.low, spec.high, spec.out);
    const bool twice = spec.rounding == Rounding::kRuy || spec.rounding == Rounding::kGemmlowpDouble;
    require(!twice || !spec.zero_point_first, "'", layer_, "': an engine that rounds twice adds the zero point last");

    std::vector<ScaleBlock<int64_t>> wide(blocks_.size());
    std::vector<HighWordBlock> high_word(blocks_.size());
    bool in_int32 = true, simple = true, in_high_words = true, multiplier_in_int32 = true;
    for (size_t b = 0; b < blocks_.size(); ++b) {
        wide[b] = {}, high_word[b] = {};
        wide[b].rounding.simple = wide[b].rounding.even = 1;
        for (int c = 0; c < blocks_[b].count; ++c) {
            const int64_t channel = blocks_[b].first + c;
            int64_t multiplier = spec.multiplier[channel], shift = spec.shift[channel];
            require(multiplier > -kMaxMultiplier && multiplier < kMaxMultiplier, "'", layer_, "': multiplier ",
                    multiplier, " of channel ", channel, " has more than 31 bits");
            require(shift >= -31 && shift <= 62, "'", layer_, "': shift ", shift, " of channel ", channel,
                    " is not in -31..62");
            if (shift < 0) {  // an exact left shift, which int64 holds for any 32-bit accumulator
                require(multiplier == 1, "'", layer_, "': a multiplier and a left shift in channel ", channel);
                multiplier = int64_t{1} << -shift, shift = 0;
            }
            const RoundingSpec rounding = rounding_at(spec, shift);
            require(!twice || multiplier >= 0, "'", layer_, "': multiplier ", multiplier, " of channel ", channel,
                    " is negative, which no engine has");
            if (!twice || shift <= 31) reduce(multiplier, shift);  // beyond, bit 31 must stay where it is
            wide[b].multiplier[c] = multiplier;
            fill_rounding(wide[b].rounding, c, rounding, shift);
            fold_zero_point(wide[b].rounding, c);
            const auto [low, high] = std::minmax({multiplier * bounds.low[channel], multiplier * bounds.high[channel]});
            in_high_words = in_high_words && fill_high_word(high_word[b], c, rounding, multiplier, shift,
                                                            bounds.low[channel], bounds.high[channel]);
            in_int32 = in_int32 && multiplier == 1 && rounds_in_int32(wide[b].rounding, c, low, high);
            multiplier_in_int32 =
                multiplier_in_int32 && multiplier < kMaxMultiplier && result_in_int32(wide[b].rounding, c, low, high);
        }
        simple = simple && wide[b].rounding.simple;
    }
    const bool shifts = in_int32 && simple;
    if (auto lines = shifts ? std::nullopt : lines_of(spec, wide, blocks_, bounds)) {
        data_ = std::move(*lines);
        use(EpilogueKind::kLine, std::get<std::vector<LineBlock>>(data_));
        return;
    }
    if (!in_int32 && in_high_words) {
        data_ = std::move(high_word);
        use(spec.rounding == Rounding::kGemmlowpDouble ? EpilogueKind::kHighWordSigned : EpilogueKind::kHighWord,
            std::get<std::vector<HighWordBlock>>(data_));
        return;
    }
    if (!in_int32) {
        data_ = std::move(wide);
        use(multiplier_in_int32 ? EpilogueKind::kMultiplier : EpilogueKind::kWide,
            std::get<std::vector<ScaleBlock<int64_t>>>(data_));
        return;
    }
    std::vector<ScaleBlock<int32_t>> narrow(wide.size());
    for (size_t b = 0; b < wide.size(); ++b) {
        for (int32_t& multiplier : narrow[b].multiplier) multiplier = 1;
        narrow[b].rounding = narrowed(wide[b].rounding);
    }
    data_ = std::move(narrow);
    use(EpilogueKind::kShift, std::get<std::vector<ScaleBlock<int32_t>>>(data_));
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
