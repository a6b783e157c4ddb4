#include "add.h"

#include <algorithm>
#include <cstdlib>
#include <optional>

#include "check.h"
#include "rows.h"

namespace intsim {
namespace {

// What is left of `shift` bits after as many as fit have gone into the multiplier, for values up to `magnitude` to be
// shifted by; nothing where they leave int32.
std::optional<int32_t> shift_into(int64_t& multiplier, int64_t shift, int64_t magnitude) {
    for (; shift > 0 && fits_int32(2 * multiplier); --shift) multiplier *= 2;
    if (magnitude > INT32_MAX >> std::min<int64_t>(shift, 31)) return std::nullopt;
    return static_cast<int32_t>(shift);
}

// One channel of a block by high words; false where a shift cannot be raised to 32, or rounding asks for the sign. The
// sum lies in low..high.
bool fill_high_word(AddHighWordBlock& block, int c, const AddSpec& spec, int64_t channel, int64_t low, int64_t high) {
    const RoundingSpec& rounding = spec.rounding;
    const int64_t shift = std::max<int64_t>(32, spec.shift[channel]);
    const __int128 factor = __int128{1} << (shift - spec.shift[channel]);
    const RoundingTerms terms = rounding_terms(rounding.rounding, shift);
    if (terms.sign_term != 0 || (terms.odd_term != 0 && rounding.zero_point_first && rounding.zero_point % 2 != 0))
        return false;
    const __int128 base =
        terms.base + static_cast<__int128>(rounding.zero_point - rounding.out.min) * (int64_t{1} << shift);
    const __int128 offset = spec.offset[channel] * factor;
    int64_t a = spec.multiplier_a[channel], b = spec.multiplier_b[channel];
    const auto left_a =
        shift_into(a, shift - spec.shift[channel], std::max(std::abs(spec.a_low), std::abs(spec.a_high)));
    const auto left_b = shift_into(b, shift - spec.shift[channel], 255);
    if (!left_a || !left_b) return false;
    // Sums of products alone, with the offset, and with the base: the extremes bound them all.
    const __int128 least = low * factor, most = high * factor;
    for (const __int128 value :
         {offset, base, base + offset, least - offset, most - offset, least, most, least + base, most + base + 1})
        if (value < INT64_MIN || value > INT64_MAX) return false;
    const bool odd = c % 2;
    // Without parity nothing is asked of x alone, so the base takes the offset in.
    const bool parity = terms.odd_term != 0;
    block.multiplier_a[c] = static_cast<int32_t>(a), block.multiplier_b[c] = static_cast<int32_t>(b);
    block.left_a[c] = *left_a, block.left_b[c] = *left_b;
    block.offset[odd][c / 2] = static_cast<int64_t>(parity ? offset : 0);
    block.base[odd][c / 2] = static_cast<int64_t>(parity ? base : base + offset);
    block.shift64[odd][c / 2] = shift;
    block.shift[c] = static_cast<int32_t>(shift - 32);
    block.low = static_cast<int32_t>(rounding.low - rounding.out.min);
    block.high = static_cast<int32_t>(rounding.high - rounding.out.min);
    block.odd_term = static_cast<int32_t>(terms.odd_term);
    return true;
}

}  // namespace

Add::Add(const AddSpec& spec)
    : name_(spec.name),
      a_is_accumulator_(spec.a_is_accumulator),
      a_high_(spec.a_high),
      max_byte_((1 << spec.rounding.out.bits) - 1),
      blocks_(blocks_of_channels(static_cast<int64_t>(spec.shift.size()))) {
    const size_t channels = spec.shift.size();
    require(channels > 0 && spec.multiplier_a.size() == channels && spec.multiplier_b.size() == channels &&
                spec.offset.size() == channels,
            "'", name_, "': multipliers, offsets and shifts differ in their number of channels");
    require(spec.rounding.out.bits >= 1 && spec.rounding.out.bits <= 8, "'", name_, "': results are no bytes");
    require(fits_int32(spec.rounding.zero_point) && fits_int32(spec.rounding.out.min), "'", name_,
            "': the zero point leaves int32");
    require(spec.rounding.out.min <= spec.rounding.low && spec.rounding.low <= spec.rounding.high &&
                spec.rounding.high <= spec.rounding.out.max(),
            "'", name_, "': clipping leaves the output type");
    require(fits_int32(spec.a_low) && fits_int32(spec.a_high), "'", name_, "': accumulators leave int32");

    bool in_int32 = true, in_high_words = true, result_fits = true;
    std::vector<AddBlock<int64_t>> wide(blocks_.size());
    std::vector<AddHighWordBlock> high_word(blocks_.size());
    for (size_t b = 0; b < blocks_.size(); ++b) {
        AddBlock<int64_t>& block = wide[b] = {};
        high_word[b] = {};
        block.rounding.simple = block.rounding.even = 1;
        for (int c = 0; c < blocks_[b].count; ++c) {
            const int64_t channel = blocks_[b].first + c;
            const int64_t ma = spec.multiplier_a[channel], mb = spec.multiplier_b[channel];
            const int64_t offset = spec.offset[channel], shift = spec.shift[channel];
            // 2^62 + 2^39 + 2^61 and a rounding constant below 2^62 stay in int64.
            require(fits_int32(ma) && fits_int32(mb) && offset > -(1ll << 61) && offset < (1ll << 61), "'", name_,
                    "': a multiplier of channel ", channel, " has more than 32 bits");
            require(shift >= 0 && shift <= 61, "'", name_, "': shift ", shift, " of channel ", channel,
                    " is not in 0..61");
            block.multiplier_a[c] = ma, block.multiplier_b[c] = mb, block.offset[c] = offset;
            fill_rounding(block.rounding, c, spec.rounding, shift);
            const auto [a_low, a_high] = std::minmax({ma * spec.a_low, ma * spec.a_high});
            const auto [b_low, b_high] = std::minmax({int64_t{0}, mb * 255});
            const int64_t low = a_low + b_low + offset, high = a_high + b_high + offset;
            // Partial sums in any order must fit as well.
            for (int64_t part : {a_low, a_high, b_low, b_high, a_low + b_low, a_high + b_high, offset})
                in_int32 = in_int32 && fits_int32(part);
            in_int32 = in_int32 && rounds_in_int32(block.rounding, c, low, high);
            in_high_words = in_high_words && fill_high_word(high_word[b], c, spec, channel, low, high);
            result_fits = result_fits && result_in_int32(block.rounding, c, low, high);
        }
    }
    const bool bytes = !spec.a_is_accumulator;
    if (!in_int32 && in_high_words) {
        use(bytes ? AddKind::kBytesHighWord : AddKind::kAccumulatorsHighWord, std::move(high_word));
        return;
    }
    if (!in_int32) {
        const AddKind of_bytes = result_fits ? AddKind::kBytes64 : AddKind::kBytesWide;
        const AddKind of_accumulators = result_fits ? AddKind::kAccumulators64 : AddKind::kAccumulatorsWide;
        use(bytes ? of_bytes : of_accumulators, std::move(wide));
        return;
    }
    std::vector<AddBlock<int32_t>> narrow(wide.size());
    for (size_t b = 0; b < wide.size(); ++b) {
        for (int c = 0; c < 16; ++c) {
            narrow[b].multiplier_a[c] = static_cast<int32_t>(wide[b].multiplier_a[c]);
            narrow[b].multiplier_b[c] = static_cast<int32_t>(wide[b].multiplier_b[c]);
            narrow[b].offset[c] = static_cast<int32_t>(wide[b].offset[c]);
        }
        narrow[b].rounding = narrowed(wide[b].rounding);
    }
    use(bytes ? AddKind::kBytes32 : AddKind::kAccumulators32, std::move(narrow));
}

template <class Block>
void Add::use(AddKind kind, std::vector<Block> blocks) {
    const AddRow& row = find_add(kind);
    kernel_ = row.run, info_ = &row.info;
    data_ = std::move(blocks);
    block_bytes_ = reinterpret_cast<const char*>(std::get<std::vector<Block>>(data_).data());
    block_size_ = sizeof(Block);
}

void Add::check(const ByteImages& b, const ByteImages& out) const {
    require_same_extents(name_.c_str(), b, out);
    require(blocks_.back().first + blocks_.back().count == b.channels, "'", name_, "': input has ", b.channels,
            " channels");
    require(max_byte_ <= out.max_byte, "'", name_, "': results do not fit the output");
}

void Add::check_accumulators(const ByteImages& b, const ByteImages& out) const {
    require(a_is_accumulator_, "'", name_, "': prepared for bytes, not accumulators");
    check(b, out);
}

template <class A>
void Add::run_rows(const Images<A>& a, const ByteImages& b, const ByteImages& out, int threads) const {
    require_same_extents(name_.c_str(), a, b);
    each_row(a.batch, a.height, a.row_stride, threads, [&](int64_t image, int64_t y) {
        for (size_t block = 0; block < blocks_.size(); ++block) {
            const int64_t first = blocks_[block].first;
            apply(static_cast<int64_t>(block), a.pixel(image, y, 0) + first, a.pixel_stride,
                  b.pixel(image, y, 0) + first, b.pixel_stride, out.pixel(image, y, 0) + first, out.pixel_stride,
                  a.width);
        }
    });
}

void Add::run(const ByteImages& a, const ByteImages& b, const ByteImages& out, int threads) const {
    require(!a_is_accumulator_ && a.max_byte <= a_high_, "'", name_, "': prepared for another first operand");
    check(b, out);
    run_rows(a, b, out, threads);
}

void Add::run(const Int32Images& a, const ByteImages& b, const ByteImages& out, int threads) const {
    check_accumulators(b, out);
    run_rows(a, b, out, threads);
}

}  // namespace intsim
