// Packing depthwise filters, for tiles of any filter and for strips of 3x3 (tiles.h).
#include <algorithm>

#include "pack.h"

namespace intsim {
namespace {

// Whether all sums over a filter of one channel, in any order, stay in int16.
bool filters_fit_int16(const ConvSpec& spec) {
    const int64_t taps = spec.kernel_height * spec.kernel_width, amax = (int64_t{1} << spec.act_bits) - 1;
    if (!spec.weights_within(-128, 127) || taps > 9) return false;
    for (auto filter = spec.weights.begin(); filter != spec.weights.end(); filter += taps) {
        int64_t low = 0, high = 0;
        for (auto weight = filter; weight != filter + taps; ++weight) (*weight < 0 ? low : high) += *weight * amax;
        if (low < INT16_MIN || high > INT16_MAX) return false;
    }
    return true;
}

}  // namespace

bool fits_strips(const ConvSpec& spec) {
    return spec.depthwise() && spec.kernel_height == 3 && spec.kernel_width == 3 && spec.dilation_y == 1 &&
           spec.dilation_x == 1 && spec.stride_y <= 2 && spec.stride_x <= 2;
}

// Each filter column's rows, once as they are and once moved down by one, in pairs or quads.
std::optional<PackedWeights> pack_strips(const ConvSpec& spec, Scheme scheme) {
    const bool words = scheme == Scheme::kW16, quads = scheme == Scheme::kDot;
    const bool fits = words   ? spec.weights_within(-32768, 32767)
                      : quads ? spec.weights_within(-128, 127)
                              : scheme == Scheme::kA16 && filters_fit_int16(spec);
    if (!fits) return std::nullopt;
    PackedWeights packed(TileOp::kStrip, scheme, 16, 1);
    const int64_t panel_bytes = (words ? 2 : 1) * 3 * 4 * 32;
    const auto place = [=](int64_t channel, int64_t y, int64_t x, int64_t moved) {
        const int64_t row = y + moved, pair = 2 * moved + row / 2;
        return quads   ? 128 * x + 64 * moved + 4 * channel + row
               : words ? 192 * (channel / 8) + 64 * x + 16 * pair + 2 * (channel % 8) + row % 2
                       : 128 * x + 32 * pair + 2 * kUnpackOrder[channel] + row % 2;
    };
    const std::vector<ChannelBlock> outputs = blocks_of_channels(spec.out_channels);
    packed.allocate(panel_bytes * static_cast<int64_t>(outputs.size()));
    for (const ChannelBlock& block : outputs) {
        const Panel& panel = packed.add_panel({block, block.first, {}, 0}, panel_bytes);
        char* const bytes = packed.data(panel);
        for (int64_t n = 0; n < block.count; ++n)
            for (int64_t x = 0; x < 3; ++x)
                for (int64_t y = 0; y < 3; ++y)
                    for (int64_t moved = 0; moved < 2; ++moved) {
                        const int64_t weight = spec.weight(block.first + n, 0, y, x), to = place(n, y, x, moved);
                        if (words)
                            reinterpret_cast<int16_t*>(bytes)[to] = static_cast<int16_t>(weight);
                        else
                            bytes[to] = static_cast<char>(weight);
                    }
        packed.flushes += scheme == Scheme::kA16, packed.quads += 6;
    }
    return packed;
}

std::optional<PackedWeights> pack_depthwise(const ConvSpec& spec, Scheme scheme) {
    if (scheme != Scheme::kW16 || !spec.weights_within(-32768, 32767)) return std::nullopt;
    PackedWeights packed(TileOp::kDepthwise, scheme, 16, 1);
    const int64_t taps = spec.kernel_height * spec.kernel_width, pairs = ceil_divide(taps, 2);
    const std::vector<ChannelBlock> outputs = blocks_of_channels(spec.out_channels);
    packed.allocate(pairs * 64 * static_cast<int64_t>(outputs.size()));
    for (const ChannelBlock& block : outputs) {
        Panel& panel = packed.add_panel({block, block.first, {}, 0}, pairs * 64);
        int16_t* const to = reinterpret_cast<int16_t*>(packed.data(panel));
        for (int64_t tap = 0; tap < 2 * pairs; ++tap) {
            const int64_t real = std::min(tap, taps - 1), y = real / spec.kernel_width, x = real % spec.kernel_width;
            panel.runs.push_back({y, x, 0, 1, tap == 2 * pairs - 1 ? kFlushAll : kNoFlush});
            for (int lane = 0; lane < 16; ++lane) {
                const int channel = kUnpackOrder[lane];
                const bool exists = tap < taps && channel < block.count;
                to[32 * (tap / 2) + 2 * lane + tap % 2] =
                    exists ? static_cast<int16_t>(spec.weight(block.first + channel, 0, y, x)) : int16_t{0};
            }
        }
        packed.flushes += 1, packed.quads += pairs;
    }
    return packed;
}

}  // namespace intsim
