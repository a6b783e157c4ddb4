// A convolution or linear layer over whole numbers: its extents, weights and biases, and what its sums can reach.
#pragma once

#include <string>
#include <vector>

#include "epilogue.h"
#include "images.h"

namespace intsim {

struct ConvSpec {
    std::string name;  // the layer, for messages
    int64_t out_channels, in_channels, groups;
    int64_t kernel_height, kernel_width;
    int64_t stride_y, stride_x, dilation_y, dilation_x;
    int act_bits;                  // activation bytes are 0 .. 2^act_bits - 1
    std::vector<int64_t> weights;  // levels [out][in / groups][kernel_height][kernel_width]
    std::vector<int64_t> bias;     // [out], what an all-zero-byte input gives
    bool one_pixel = false;        // of output, for each image: weights are read from memory as often as multiplied

    int64_t depth() const { return in_channels / groups; }
    bool depthwise() const { return groups > 1 && depth() == 1 && out_channels == groups; }
    // Whether a row of the filter is one run, over neighbouring pixels that must then be contiguous.
    bool joins_pixels() const { return groups == 1 && dilation_x == 1 && kernel_width > 1; }
    int64_t weight(int64_t out, int64_t in, int64_t y, int64_t x) const {
        return weights[((out * depth() + in) * kernel_height + y) * kernel_width + x];
    }
    bool weights_within(int64_t low, int64_t high) const;
};

// Throws std::invalid_argument for extents and counts that contradict each other.
void validate(const ConvSpec& spec);

// Accumulators over all inputs of act_bits; std::invalid_argument, naming layer and channel, if one leaves int32.
Bounds accumulator_bounds(const ConvSpec& spec);

// What the convolution of these images has, padded from their halo. Throws std::invalid_argument, naming the layer, for
// images that it is not packed for.
Extents output_of(const ConvSpec& spec, const ByteImages& in, const Halo& padding, int pad_byte);

}  // namespace intsim
