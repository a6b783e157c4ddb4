#include "elementwise.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "check.h"
#include "scratch.h"
#include "threads.h"
#include "transpose.h"

namespace intsim {
namespace {

// Calls work(image, row) for every row, in tasks of some thousand elements.
template <class Work>
void each_row(int64_t batch, int64_t height, int64_t row_elements, int threads, const Work& work) {
    const int64_t rows = batch * height, per_task = std::max<int64_t>(1, 16384 / std::max<int64_t>(1, row_elements));
    parallel_for(ceil_divide(rows, per_task), threads, [&](int64_t task) {
        for (int64_t row = task * per_task; row < std::min(rows, (task + 1) * per_task); ++row)
            work(row / height, row % height);
    });
}

template <class A, class B>
void require_same_extents(const char* what, const Images<A>& a, const Images<B>& b) {
    require(a.batch == b.batch && a.height == b.height && a.width == b.width && a.channels == b.channels, what, ": ",
            a.batch, "x", a.height, "x", a.width, "x", a.channels, " and ", b.batch, "x", b.height, "x", b.width, "x",
            b.channels, " differ");
}

// Whether pixels follow each other without a gap. In a part of other images a gap may hold channels of others, even one
// as wide as padding would be.
bool dense_pixels(const ByteImages& images) { return images.pixel_stride == images.channels; }

void take_larger(uint8_t* __restrict to, const uint8_t* __restrict from, int64_t count) {
    for (int64_t i = 0; i < count; ++i) to[i] = std::max(to[i], from[i]);
}

// to = rint(clip(from / scale)) - lowest. Clipping to integers commutes with rounding, and once |v| < 2^22 adding 1.5 *
// 2^23 rounds to nearest even.
void quantize_row(const float* __restrict from, uint8_t* __restrict to, int64_t count, float scale, float lowest,
                  float highest) {
    constexpr float kRound = 12582912.0f;
    const int32_t offset = static_cast<int32_t>(lowest);
    for (int64_t i = 0; i < count; ++i) {
        const float v = from[i] / scale;
        const float raised = v > lowest ? v : lowest, clipped = raised < highest ? raised : highest;
        to[i] = static_cast<uint8_t>(static_cast<int32_t>((clipped + kRound) - kRound) - offset);
    }
}

void spread_bytes(const uint8_t* __restrict from, uint8_t* __restrict to, int64_t count, int64_t stride) {
    for (int64_t i = 0; i < count; ++i) to[i * stride] = from[i];
}

// to = from - offset, modulo 256; the bits that any of the results has. `from` and `to` are the same or apart.
uint8_t move_bytes(const uint8_t* from, uint8_t* to, int64_t count, uint8_t offset) {
    uint8_t seen = 0;
    for (int64_t i = 0; i < count; ++i) {
        const uint8_t byte = static_cast<uint8_t>(from[i] - offset);
        to[i] = byte;
        seen = static_cast<uint8_t>(seen | byte);
    }
    return seen;
}

// From [channels][height][width] to pixels or back: visit(planar index, pixel pointer, channel) for each element.
template <class T, class Visit>
void each_planar(const Images<T>& images, int threads, const Visit& visit) {
    const int64_t area = images.height * images.width;
    each_row(images.batch, images.height, images.width * images.channels, threads, [&](int64_t image, int64_t y) {
        for (int64_t c = 0; c < images.channels; ++c) {
            const int64_t start = (image * images.channels + c) * area + y * images.width;
            T* pixel = images.pixel(image, y, 0) + c;
            for (int64_t x = 0; x < images.width; ++x) visit(start + x, pixel[x * images.pixel_stride]);
        }
    });
}

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

void quantize(const float* x, float scale, int64_t low, int64_t high, const ByteImages& out, int threads) {
    require(std::isfinite(scale) && scale > 0, "quantize: scale ", scale, " is not positive");
    require(low >= -(1 << 21) && high <= (1 << 21) && low <= high && high - low <= out.max_byte, "quantize: levels ",
            low, "..", high, " do not fit");
    const int64_t area = out.height * out.width;
    each_row(out.batch, out.height, out.width * out.channels, threads, [=, &out](int64_t image, int64_t y) {
        uint8_t* bytes = reinterpret_cast<uint8_t*>(scratch(out.width));
        for (int64_t c = 0; c < out.channels; ++c) {
            const float* row = x + (image * out.channels + c) * area + y * out.width;
            quantize_row(row, bytes, out.width, scale, static_cast<float>(low), static_cast<float>(high));
            spread_bytes(bytes, out.pixel(image, y, 0) + c, out.width, out.pixel_stride);
        }
    });
}

void import_codes(const uint8_t* codes, int64_t min, const ByteImages& out, int threads) {
    const uint8_t offset = static_cast<uint8_t>(min), beyond = static_cast<uint8_t>(~out.max_byte);
    const int64_t area = out.height * out.width;
    each_row(out.batch, out.height, out.width * out.channels, threads, [=, &out](int64_t image, int64_t y) {
        uint8_t* bytes = reinterpret_cast<uint8_t*>(scratch(out.channels * out.width));
        uint8_t seen = 0;  // max_byte is all ones, so a larger byte has a bit beyond it
        for (int64_t c = 0; c < out.channels; ++c) {
            const uint8_t* from = codes + (image * out.channels + c) * area + y * out.width;
            seen = static_cast<uint8_t>(seen | move_bytes(from, bytes + c * out.width, out.width, offset));
        }
        require((seen & beyond) == 0, "codes leave their type");
        transpose(bytes, out.width, out.pixel(image, y, 0), out.pixel_stride, out.channels, out.width);
    });
}

void export_codes(const ByteImages& in, int64_t min, uint8_t* codes, int threads) {
    const uint8_t offset = static_cast<uint8_t>(min);
    const int64_t area = in.height * in.width;
    each_row(in.batch, in.height, in.width * in.channels, threads, [=, &in](int64_t image, int64_t y) {
        uint8_t* to = codes + image * in.channels * area + y * in.width;
        transpose(in.pixel(image, y, 0), in.pixel_stride, to, area, in.width, in.channels);
        if (offset == 0) return;
        for (int64_t c = 0; c < in.channels; ++c)
            move_bytes(to + c * area, to + c * area, in.width, static_cast<uint8_t>(-offset));
    });
}

void import_accumulators(const int32_t* values, const Int32Images& out, int threads) {
    each_planar(out, threads, [=](int64_t index, int32_t& element) { element = values[index]; });
}

void export_accumulators(const Int32Images& in, int32_t* values, int threads) {
    each_planar(in, threads, [=](int64_t index, const int32_t& element) { values[index] = element; });
}

void lookup(const ByteImages& in, const std::vector<uint8_t>& tables, const ByteImages& out, int threads) {
    require_same_extents("table", in, out);
    const bool per_channel = tables.size() != 256;
    require(!per_channel || static_cast<int64_t>(tables.size()) == 256 * in.channels, "table: ", tables.size(),
            " entries, expected 256 or 256 for each of ", in.channels, " channels");
    for (size_t i = 0; i < tables.size(); ++i)
        require(static_cast<int>(i % 256) > in.max_byte || tables[i] <= out.max_byte, "table: entry ", int{tables[i]},
                " leaves the result's type");
    const LookupKernel kernel = find_lookup().run;
    each_row(in.batch, in.height, in.row_stride, threads, [&](int64_t image, int64_t y) {
        const uint8_t* from = in.pixel(image, y, 0);
        uint8_t* to = out.pixel(image, y, 0);
        if (!per_channel && dense_pixels(in) && dense_pixels(out)) {
            kernel(from, to, in.width * in.pixel_stride, tables.data());
            return;
        }
        if (!per_channel) {
            for (int64_t x = 0; x < in.width; ++x)
                kernel(from + x * in.pixel_stride, to + x * out.pixel_stride, in.channels, tables.data());
            return;
        }
        for (int64_t x = 0; x < in.width; ++x)
            for (int64_t c = 0; c < in.channels; ++c)
                to[x * out.pixel_stride + c] = tables[256 * c + from[x * in.pixel_stride + c]];
    });
}

Requantize::Requantize(const std::string& layer, const EpilogueSpec& spec, int64_t low, int64_t high)
    : layer_(layer), channels_(channels_of(spec)) {
    require(fits_int32(low) && fits_int32(high) && low <= high, "'", layer, "': accumulators ", low, "..", high);
    const Bounds bounds{std::vector<int64_t>(channels_, low), std::vector<int64_t>(channels_, high)};
    epilogue_ = std::make_unique<Epilogue>(layer, spec, bounds, blocks_of_channels(channels_));
}

void Requantize::run(const Int32Images& in, const ByteImages& out, int threads) const {
    require_same_extents(layer_.c_str(), in, out);
    require(in.channels == channels_, "'", layer_, "': input has ", in.channels, " channels, expected ", channels_);
    require(epilogue_->max_byte() <= out.max_byte, "'", layer_, "': results do not fit the output");
    each_row(in.batch, in.height, in.row_stride, threads, [&](int64_t image, int64_t y) {
        for (int64_t block = 0; 16 * block < channels_; ++block)
            epilogue_->apply(static_cast<size_t>(block), in.pixel(image, y, 0) + 16 * block, in.pixel_stride, in.width,
                             out.pixel(image, y, 0) + 16 * block, out.pixel_stride);
    });
}

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

void max_pool(const ByteImages& in, const MaxPoolSpec& spec, const ByteImages& out, int threads) {
    require(in.batch == out.batch && in.channels == out.channels && in.max_byte <= out.max_byte,
            "max_pool: input and output differ");
    // Down the columns first, whole rows at a time; then along the row.
    const int64_t row_bytes = (in.width - 1) * in.pixel_stride + in.channels;
    each_row(out.batch, out.height, out.row_stride * spec.kernel_y * spec.stride_x, threads,
             [&](int64_t image, int64_t y) {
                 uint8_t* columns = reinterpret_cast<uint8_t*>(scratch(row_bytes));
                 std::fill_n(columns, row_bytes, uint8_t{0});
                 for (int64_t i = 0; i < spec.kernel_y; ++i) {
                     const int64_t from_y = y * spec.stride_y - spec.top + i * spec.dilation_y;
                     if (from_y >= 0 && from_y < in.height) take_larger(columns, in.pixel(image, from_y, 0), row_bytes);
                 }
                 for (int64_t x = 0; x < out.width; ++x) {
                     uint8_t* to = out.pixel(image, y, x);
                     std::fill_n(to, out.channels, uint8_t{0});
                     for (int64_t j = 0; j < spec.kernel_x; ++j) {
                         const int64_t from_x = x * spec.stride_x - spec.left + j * spec.dilation_x;
                         if (from_x >= 0 && from_x < in.width)
                             take_larger(to, columns + from_x * in.pixel_stride, out.channels);
                     }
                 }
             });
}

void average_pool(const ByteImages& in, const AveragePoolSpec& spec, const ByteImages& out, int threads) {
    require(in.batch == out.batch && in.channels == out.channels &&
                out.height == static_cast<int64_t>(spec.rows.size()) &&
                out.width == static_cast<int64_t>(spec.columns.size()),
            "average_pool: input, windows and output differ");
    require((int64_t{1} << spec.out.bits) - 1 <= out.max_byte, "average_pool: results do not fit the output");
    require(spec.shift >= -62 && spec.shift <= 62, "average_pool: shift ", spec.shift);
    require(fits_int32(spec.zero_point) && fits_int32(spec.out.min), "average_pool: zero point ", spec.zero_point);
    int64_t most = 1, cells = 1;  // of any window
    for (const auto& axis : {std::pair(&spec.rows, in.height), std::pair(&spec.columns, in.width)}) {
        int64_t most_here = 0, cells_here = 0;
        for (const Window& window : *axis.first) {
            require(0 <= window.low && window.low < window.high && window.high <= axis.second && window.cells >= 1 &&
                        window.cells < (1 << 24),
                    "average_pool: window ", window.low, "..", window.high, " of ", axis.second);
            most_here = std::max(most_here, window.high - window.low);
            cells_here = std::max(cells_here, window.cells);
        }
        most *= most_here, cells *= cells_here;
    }
    // The largest numerator and denominator must fit int64: |level| * cells * |multiplier| * 2^-shift, cells * 2^shift.
    const __int128 level = static_cast<__int128>(std::abs(spec.step)) * in.max_byte + std::abs(spec.level_offset);
    const __int128 limit = INT64_MAX, up = __int128{1} << std::max<int64_t>(-spec.shift, 0);
    require(fits_int32(spec.step) && fits_int32(spec.level_offset) && fits_int32(spec.multiplier) &&
                level * most < (__int128{1} << 62) &&
                level * most <= limit / up / std::max<int64_t>(1, std::abs(spec.multiplier)) &&
                static_cast<__int128>(cells) <= limit >> std::max<int64_t>(spec.shift, 0),
            "average_pool: sums leave int64");

    each_row(out.batch, out.height, out.row_stride * most, threads, [&](int64_t image, int64_t y) {
        const Window& rows = spec.rows[y];
        std::vector<int64_t> sums(out.channels);
        for (int64_t x = 0; x < out.width; ++x) {
            const Window& columns = spec.columns[x];
            std::fill(sums.begin(), sums.end(), 0);
            for (int64_t i = rows.low; i < rows.high; ++i)
                for (int64_t j = columns.low; j < columns.high; ++j) {
                    const uint8_t* from = in.pixel(image, i, j);
                    for (int64_t c = 0; c < out.channels; ++c) sums[c] += from[c];
                }
            const int64_t inside = (rows.high - rows.low) * (columns.high - columns.low);
            const int64_t denominator = rows.cells * columns.cells << std::max<int64_t>(spec.shift, 0);
            uint8_t* to = out.pixel(image, y, x);
            for (int64_t c = 0; c < out.channels; ++c) {
                const int64_t total = spec.step * sums[c] + spec.level_offset * inside;
                const int64_t numerator = total * spec.multiplier * (int64_t{1} << std::max<int64_t>(-spec.shift, 0));
                const int64_t code = round_divide(numerator, denominator, spec.rounding);
                const int64_t low = spec.out.min - spec.zero_point, high = spec.out.max() - spec.zero_point;
                to[c] = static_cast<uint8_t>(std::clamp(code, low, high) - low);
            }
        }
    });
}

void copy_region(const ByteImages& in, const Region& region, const ByteImages& out, int threads) {
    require(in.batch == out.batch && in.max_byte <= out.max_byte, "copy: input and output differ");
    const int64_t in_extent[3] = {in.height, in.width, in.channels};
    const int64_t out_extent[3] = {out.height, out.width, out.channels};
    const auto inside = [](int64_t start, int64_t step, int64_t count, int64_t extent) {
        return start >= 0 && step >= 1 && step < (1ll << 31) && start + (count - 1) * step < extent;
    };
    for (int axis = 0; axis < 3; ++axis)
        require(region.extent[axis] >= 1 && region.extent[axis] < (1ll << 31) &&
                    inside(region.from[axis], region.from_step[axis], region.extent[axis], in_extent[axis]) &&
                    inside(region.to[axis], region.to_step[axis], region.extent[axis], out_extent[axis]),
                "copy: the region leaves axis ", axis, " of its images");
    const int64_t channels = region.extent[2];
    each_row(in.batch, region.extent[0], region.extent[1] * channels, threads, [&](int64_t image, int64_t i) {
        for (int64_t j = 0; j < region.extent[1]; ++j) {
            const uint8_t* from =
                in.pixel(image, region.from[0] + i * region.from_step[0], region.from[1] + j * region.from_step[1]) +
                region.from[2];
            uint8_t* to = out.pixel(image, region.to[0] + i * region.to_step[0], region.to[1] + j * region.to_step[1]) +
                          region.to[2];
            if (region.from_step[2] == 1 && region.to_step[2] == 1)
                std::copy(from, from + channels, to);
            else
                for (int64_t c = 0; c < channels; ++c) to[c * region.to_step[2]] = from[c * region.from_step[2]];
        }
    });
}

}  // namespace intsim
