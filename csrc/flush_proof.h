// Safe steps: how long sums may stay in narrow lanes, proved from the actual weights.
//
// Activations are at most amax = 2^bits - 1 and not negative. So over any stretch of quads every partial sum of a lane,
// in any order, lies between amax * (sum of its negative weights) and amax * (sum of its positive ones):
//
//     a16  int16 lane (n, j): weights 2j and 2j + 1 of every quad of channel n
//     a32  the same, within a step of 1, 2 or 4 quads
//     lut  byte lane (n, plane): the plane's bits of every quad; int16 lane n: all weights of channel n
//
// The packer gives the quads of a panel in order and is told, before each, which lanes must be flushed first. The proof
// rests on the actual weights, not on the worst that their width allows.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "kernel_table.h"

namespace intsim {

// Quads that scheme a32 adds up before it widens; 0 for the others.
constexpr int64_t step_quads(Scheme scheme) {
    return scheme == Scheme::kA32S1 ? 1 : scheme == Scheme::kA32S2 ? 2 : scheme == Scheme::kA32S4 ? 4 : 0;
}

using Quad = std::array<std::array<int32_t, 4>, kMaxTileChannels>;  // 4 consecutive weights of each channel

class FlushProof {
public:
    FlushProof(Scheme scheme, int act_bits) : scheme_(scheme), max_activation_((1 << act_bits) - 1) {}

    // The next quad is the first of a segment, where a32 starts a step.
    void begin_segment() { in_step_ = 0; }

    // The least flush that must come before the quad; nothing where even alone it overflows a lane.
    std::optional<Flush> add(const Quad& quad);

private:
    struct Lanes {
        std::array<int32_t, 2 * kMaxTileChannels> low{}, high{};
        // Adds others if every lane stays in least..most.
        bool add_within(const Lanes& others, int32_t least, int32_t most);
    };
    Lanes words_of(const Quad& quad) const;
    Lanes bytes_of(const Quad& quad) const;

    const Scheme scheme_;
    const int32_t max_activation_;
    Lanes bytes_, words_;
    int64_t in_step_ = 0;  // a32: quads so far
};

}  // namespace intsim
