// Safe steps: how long sums may stay in narrow lanes, proved from the actual weights.
//
// Activations are at most amax = 2^bits - 1 and not negative. So over any stretch of quads every partial sum of a lane,
// in any order, lies between amax * (sum of its negative weights) and amax * (sum of its positive ones):
//
//     a16  int16 lane (n, j): weights 2j and 2j + 1 of every quad of channel n
//     a32  the same, within a step of 1, 2 or 4 quads
//     lut  byte lane (n, plane): the plane's bits of every quad; int16 lane n: all weights of channel n
//     lutodd  the same, with bytes from -128 to 127, as every bit counts +1 or -1
//     lutsign  byte lane (n, parity of the quad), int16 lane n: its weights. Two quads are added at once, so when the
//              first of them comes, the second one's lanes must have room for any
//     lut6  byte lane (n, plane): as lut, but of sextets; int16 lane n: so many flushes of bytes, of any value
//
// The packer gives the quads of a panel in order and is told, before each, which lanes must be flushed first. The proof
// rests on the actual weights, not on the worst that their width allows. For lut6 it gives the sextets of all panels at
// once, which are flushed together, so that pairs of panels go through the same runs.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "kernel_table.h"

namespace intsim {

// Quads that scheme a32 adds up before it widens; 0 for the others.
constexpr int64_t step_quads(Scheme scheme) {
    return scheme == Scheme::kA32S1 ? 1 : scheme == Scheme::kA32S2 ? 2 : scheme == Scheme::kA32S4 ? 4 : 0;
}

constexpr bool is_signed_lut(Scheme scheme) { return scheme == Scheme::kLutOdd || scheme == Scheme::kLutSign; }
constexpr bool is_lut(Scheme scheme) {
    return scheme == Scheme::kLut || scheme == Scheme::kLut6 || is_signed_lut(scheme);
}

// w16 in one form or another: int32 from the first product.
constexpr bool is_w16(Scheme scheme) { return scheme == Scheme::kW16 || scheme == Scheme::kW16X8; }

// What a run's length counts: pairs, sextets or quads.
constexpr int64_t k_per_step(Scheme scheme) { return is_w16(scheme) ? 2 : scheme == Scheme::kLut6 ? 6 : 4; }

// Bytes of operands that a step eats of each row.
constexpr int64_t step_operands(Scheme scheme) { return scheme == Scheme::kLut6 ? 64 : is_lut(scheme) ? 16 : 4; }

using Quad = std::array<std::array<int32_t, 4>, kMaxTileChannels>;  // 4 consecutive weights of each channel

class FlushProof {
public:
    FlushProof(Scheme scheme, int act_bits) : scheme_(scheme), max_activation_((int64_t{1} << act_bits) - 1) {}

    // The next quad is the first of a segment, where a32 starts a step.
    void begin_segment() { in_step_ = 0; }

    // The least flush that must come before the quad; nothing where even alone it overflows a lane. Scheme lut's weights
    // are as their bits have them, -2..1 or 0..3, whatever sign these count with.
    std::optional<Flush> add(const Quad& quad);

private:
    struct Lanes {
        std::array<int32_t, 2 * kMaxTileChannels> low{}, high{};
        void add(size_t lane, int64_t value) { (value < 0 ? low : high)[lane] += static_cast<int32_t>(value); }
        bool within(int64_t least, int64_t most) const;
        Lanes widened(int64_t room) const;  // in the odd lanes
    };
    void tally(const Quad& quad, Lanes& bytes, Lanes& words) const;
    std::optional<Flush> add_products(const Quad& quad);
    std::optional<Flush> add_entries(const Quad& quad);

    const Scheme scheme_;
    const int64_t max_activation_;
    Lanes bytes_, words_;  // lut; else the words are sums of weights alone, of 16 channels
    int64_t in_step_ = 0;  // a32, lutsign: quads so far
};

class SextetProof {
public:
    SextetProof(int act_bits, size_t panels) : most_(255 / ((1 << act_bits) - 1)), set_(panels) {}

    // The least flush that must come before the sextet whose 64 bytes of indices lie so far apart from panel to panel;
    // nothing where even alone it overflows a byte.
    std::optional<Flush> add(const char* indices, int64_t apart);

private:
    using Bits = std::array<int32_t, 64>;  // set in each byte of indices

    const int32_t most_;     // of what a byte holds
    std::vector<Bits> set_;  // since the last flush, of each panel
    int64_t flushes_ = 0;
};

}  // namespace intsim
