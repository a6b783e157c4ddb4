// Pooling of NHWC bytes.
#pragma once

#include <vector>

#include "epilogue.h"
#include "images.h"

namespace intsim {

// Largest byte of each window; cells outside the image do not count.
struct MaxPoolSpec {
    int64_t kernel_y, kernel_x, stride_y, stride_x, dilation_y, dilation_x, top, left;
};
void max_pool(const ByteImages& in, const MaxPoolSpec& spec, const ByteImages& out, int threads);

// Cells low..high-1 of an axis, and what their number counts as in the division.
struct Window {
    int64_t low, high, cells;
};

// code = clip(round(sum of levels * multiplier / (cells * 2^shift)) + zero_point), level = step * byte + level_offset.
struct AveragePoolSpec {
    std::vector<Window> rows, columns;
    int64_t step, level_offset, multiplier, shift, zero_point;
    Rounding rounding;
    CodeType out;
};
void average_pool(const ByteImages& in, const AveragePoolSpec& spec, const ByteImages& out, int threads);

}  // namespace intsim
