#include "conv_spec.h"

#include <algorithm>

#include "check.h"

namespace intsim {

bool ConvSpec::weights_within(int64_t low, int64_t high) const {
    return std::all_of(weights.begin(), weights.end(), [=](int64_t weight) { return low <= weight && weight <= high; });
}

void validate(const ConvSpec& spec) {
    const auto positive = [&](int64_t value, const char* what) {
        require(value >= 1 && value < (1 << 24), "'", spec.name, "': ", what, " is ", value, ", expected 1..2^24-1");
    };
    positive(spec.out_channels, "the number of outputs"), positive(spec.in_channels, "the number of inputs");
    positive(spec.groups, "the number of groups");
    positive(spec.kernel_height, "the kernel's height"), positive(spec.kernel_width, "the kernel's width");
    positive(spec.stride_y, "the vertical stride"), positive(spec.stride_x, "the horizontal stride");
    positive(spec.dilation_y, "the vertical dilation"), positive(spec.dilation_x, "the horizontal dilation");
    require(spec.in_channels % spec.groups == 0 && spec.out_channels % spec.groups == 0, "'", spec.name,
            "': ", spec.groups, " groups do not divide ", spec.in_channels, " inputs and ", spec.out_channels,
            " outputs");
    require(spec.act_bits >= 1 && spec.act_bits <= 8, "'", spec.name, "': activations of ", spec.act_bits,
            " bits, expected 1..8");
    int64_t count = spec.out_channels;
    for (int64_t extent : {spec.depth(), spec.kernel_height, spec.kernel_width})
        require(!__builtin_mul_overflow(count, extent, &count), "'", spec.name, "': the weights' size overflows");
    require(static_cast<int64_t>(spec.weights.size()) == count, "'", spec.name, "': ", spec.weights.size(),
            " weights, expected ", count);
    require(static_cast<int64_t>(spec.bias.size()) == spec.out_channels, "'", spec.name, "': ", spec.bias.size(),
            " biases for ", spec.out_channels, " outputs");
}

Bounds accumulator_bounds(const ConvSpec& spec) {
    Bounds bounds;
    const int64_t per_output = spec.depth() * spec.kernel_height * spec.kernel_width;
    const __int128 amax = (int64_t{1} << spec.act_bits) - 1;
    for (int64_t out = 0; out < spec.out_channels; ++out) {
        uint64_t negative = 0, positive = 0;  // which may wrap, where weights are `beyond` any that are packed
        int64_t beyond = 0;
        for (int64_t i = 0; i < per_output; ++i) {
            const int64_t weight = spec.weights[out * per_output + i];
            beyond |= weight ^ weight >> 63;  // the bits of its magnitude
            negative += static_cast<uint64_t>(weight & weight >> 63);
            positive += static_cast<uint64_t>(weight & ~(weight >> 63));
        }
        const bool summed = beyond <= INT32_MAX && per_output <= INT32_MAX;
        const __int128 low = spec.bias[out] + amax * static_cast<int64_t>(negative);
        const __int128 high = spec.bias[out] + amax * static_cast<int64_t>(positive);
        require(summed && low >= INT32_MIN && high <= INT32_MAX, "'", spec.name, "': the accumulator of channel ", out,
                " leaves int32: use fewer bits for weights or activations");
        bounds.low.push_back(static_cast<int64_t>(low)), bounds.high.push_back(static_cast<int64_t>(high));
    }
    return bounds;
}

Extents output_of(const ConvSpec& spec, const ByteImages& in, const Halo& padding, int pad_byte) {
    const std::string& name = spec.name;
    const auto extent = [&](int64_t size, int64_t before, int64_t after, int64_t kernel, int64_t dilation,
                            int64_t stride) {
        const int64_t free = size + before + after - dilation * (kernel - 1) - 1;
        require(free >= 0, "'", name, "': a kernel of ", kernel, " does not fit an image of ", size);
        return free / stride + 1;
    };
    require(in.channels == spec.in_channels, "'", name, "': input has ", in.channels, " channels, expected ",
            spec.in_channels);
    require(in.max_byte < 1 << spec.act_bits, "'", name, "': input codes up to ", in.max_byte, ", packed for ",
            spec.act_bits, " bits");
    require(std::min({padding.top, padding.bottom, padding.left, padding.right}) >= 0, "'", name,
            "': negative padding");
    const bool padded = padding.top + padding.bottom + padding.left + padding.right > 0;
    require(padding.top <= in.halo.top && padding.bottom <= in.halo.bottom && padding.left <= in.halo.left &&
                padding.right <= in.halo.right,
            "'", name, "': the input's halo is smaller than the padding");
    require(!padded || in.fill == pad_byte, "'", name, "': the input's halo holds ", int{in.fill}, ", expected ",
            pad_byte);
    require(!spec.joins_pixels() || in.pixel_stride == padded_channels(in.channels), "'", name, "': input pixels are ",
            in.pixel_stride, " bytes apart, expected ", padded_channels(in.channels));
    const int64_t height =
        extent(in.height, padding.top, padding.bottom, spec.kernel_height, spec.dilation_y, spec.stride_y);
    const int64_t width =
        extent(in.width, padding.left, padding.right, spec.kernel_width, spec.dilation_x, spec.stride_x);
    return {in.batch, height, width, spec.out_channels};
}

}  // namespace intsim
