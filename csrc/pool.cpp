#include "pool.h"

#include <algorithm>
#include <cstdlib>

#include "check.h"
#include "rows.h"
#include "scratch.h"

namespace intsim {
namespace {

void take_larger(uint8_t* __restrict to, const uint8_t* __restrict from, int64_t count) {
    for (int64_t i = 0; i < count; ++i) to[i] = std::max(to[i], from[i]);
}

}  // namespace

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

}  // namespace intsim
