#include "scale_blocks.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <optional>

#include "check.h"
#include "even_thresholds.h"

namespace intsim {
namespace {

constexpr int64_t kMaxMultiplier = int64_t{1} << 31;

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

bool rounds_twice(const ScaleSpec& spec) {
    return spec.rounding == Rounding::kRuy || spec.rounding == Rounding::kGemmlowpDouble;
}

// How one channel rounds: up to a shift of 31 engines that round twice do it once.
RoundingSpec rounding_at(const ScaleSpec& spec, int64_t shift) {
    return {rounds_twice(spec) && shift <= 31 ? Rounding::kHalfUp : spec.rounding,
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

struct Factor {
    int64_t multiplier, shift;  // multiplier / 2^shift
};

// One channel's, in lowest terms and without left shifts.
Factor factor_of(const std::string& layer, const ScaleSpec& spec, int64_t channel) {
    int64_t multiplier = spec.multiplier[channel], shift = spec.shift[channel];
    require(multiplier > -kMaxMultiplier && multiplier < kMaxMultiplier, "'", layer, "': multiplier ", multiplier,
            " of channel ", channel, " has more than 31 bits");
    require(shift >= -31 && shift <= 62, "'", layer, "': shift ", shift, " of channel ", channel, " is not in -31..62");
    const bool twice = rounds_twice(spec);
    require(!twice || multiplier >= 0, "'", layer, "': multiplier ", multiplier, " of channel ", channel,
            " is negative, which no engine has");
    if (shift < 0) {  // an exact left shift, which int64 holds for any 32-bit accumulator
        require(multiplier == 1, "'", layer, "': a multiplier and a left shift in channel ", channel);
        return {int64_t{1} << -shift, 0};
    }
    // Beyond 31 an engine's bit 31 must stay where it is.
    while ((!twice || shift <= 31) && shift > 0 && multiplier != 0 && multiplier % 2 == 0) multiplier /= 2, --shift;
    return {multiplier, shift};
}

// Multipliers of 1, rounded in int32.
std::vector<ScaleBlock<int32_t>> shifts_of(const std::vector<ScaleBlock<int64_t>>& wide) {
    std::vector<ScaleBlock<int32_t>> narrow(wide.size());
    for (size_t b = 0; b < wide.size(); ++b) {
        for (int32_t& multiplier : narrow[b].multiplier) multiplier = 1;
        narrow[b].rounding = narrowed(wide[b].rounding);
    }
    return narrow;
}

}  // namespace

ScaleBlocks blocks_of_scale(const std::string& layer, const ScaleSpec& spec, const Bounds& bounds,
                            const std::vector<ChannelBlock>& channels) {
    require(spec.multiplier.size() == spec.shift.size(), "'", layer, "': ", spec.multiplier.size(), " multipliers for ",
            spec.shift.size(), " shifts");
    require(fits_int32(spec.zero_point), "'", layer, "': zero point ", spec.zero_point, " leaves int32");
    require(!rounds_twice(spec) || !spec.zero_point_first, "'", layer,
            "': an engine that rounds twice adds the zero point last");

    std::vector<ScaleBlock<int64_t>> wide(channels.size());
    std::vector<HighWordBlock> high_word(channels.size());
    bool in_int32 = true, simple = true, in_high_words = true, multiplier_in_int32 = true;
    for (size_t b = 0; b < channels.size(); ++b) {
        wide[b] = {}, high_word[b] = {};
        wide[b].rounding.simple = wide[b].rounding.even = 1;
        for (int c = 0; c < channels[b].count; ++c) {
            const int64_t channel = channels[b].first + c, least = bounds.low[channel], most = bounds.high[channel];
            const auto [multiplier, shift] = factor_of(layer, spec, channel);
            const RoundingSpec rounding = rounding_at(spec, shift);
            wide[b].multiplier[c] = multiplier;
            fill_rounding(wide[b].rounding, c, rounding, shift);
            fold_zero_point(wide[b].rounding, c);
            const auto [low, high] = std::minmax({multiplier * least, multiplier * most});
            in_high_words = in_high_words && fill_high_word(high_word[b], c, rounding, multiplier, shift, least, most);
            in_int32 = in_int32 && multiplier == 1 && rounds_in_int32(wide[b].rounding, c, low, high);
            multiplier_in_int32 =
                multiplier_in_int32 && multiplier < kMaxMultiplier && result_in_int32(wide[b].rounding, c, low, high);
        }
        simple = simple && wide[b].rounding.simple;
    }
    if (in_int32 && simple) return {EpilogueKind::kShift, shifts_of(wide)};
    if (auto lines = lines_of(spec, wide, channels, bounds)) return {EpilogueKind::kLine, std::move(*lines)};
    if (in_int32) return {EpilogueKind::kShift, shifts_of(wide)};
    if (in_high_words)
        return {spec.rounding == Rounding::kGemmlowpDouble ? EpilogueKind::kHighWordSigned : EpilogueKind::kHighWord,
                std::move(high_word)};
    return {multiplier_in_int32 ? EpilogueKind::kMultiplier : EpilogueKind::kWide, std::move(wide)};
}

}  // namespace intsim
