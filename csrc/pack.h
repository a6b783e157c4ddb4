// Weights in the order in which a tile kernel eats them, with the proof that its arithmetic is exact.
//
// Weights arrive as levels, so zero points and odd grids are already in them: {-3, -1, 1, 3} and an asymmetric u4 are
// plain small integers here, and no kernel needs row sums of activations. (What an activation's zero point contributes
// is a constant per channel, folded into the bias by the caller.)
//
// Panels. Outputs are cut into panels of 16 (lut: 32), within each group; the last one of a group is filled up with
// zero weights. A panel goes through K in runs (tiles.h). For a dense convolution one row of the filter is one
// run, because KW neighbouring pixels are contiguous, channel padding included (its weights are zero):
//
//     filter row 0: [kw 0: c0 c1 c2 -][kw 1: c0 c1 c2 -][kw 2: c0 c1 c2 -]     one run of 3 quads for C = 3
//     filter row 1: ...
//
// Safe steps. Schemes a16, a32 and lut sum in narrow lanes. The packer walks K and cuts a run, with `flush`, before the
// first quad where a lane of the panel could overflow (flush_proof.h). A quad that cannot even stand alone makes the
// layer unfit for the scheme.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "epilogue.h"
#include "images.h"
#include "kernel_table.h"

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
};

// Throws std::invalid_argument for extents and counts that contradict each other.
void validate(const ConvSpec& spec);

// Accumulators over all inputs of act_bits; std::invalid_argument, naming layer and channel, if one leaves int32.
Bounds accumulator_bounds(const ConvSpec& spec);

// A run before it is known how far apart the input's rows are.
struct PackedRun {
    int64_t filter_y, filter_x;  // tap at which it starts
    int64_t skip;                // bytes from that tap's first channel
    int64_t length, flush;
};

struct Panel {
    ChannelBlock outputs;  // at most panel_channels
    int64_t first_input;   // channel, hence byte of a pixel
    std::vector<PackedRun> runs;
    int64_t data;  // offset of its weights, in bytes
};

class PackedWeights {
public:
    TileOp op;
    Scheme scheme;
    int64_t panel_channels;  // 16 or 32
    int operand_bytes;       // for each activation: 1 as it is, 2 widened to int16, 4 as part of a quad's table
    std::vector<Panel> panels;
    int64_t flushes = 0, quads = 0;  // over all panels
    double cycles = 0;               // estimated, for 6 output pixels

    const void* data(const Panel& panel) const { return data_.get() + panel.data; }
    int64_t bytes() const { return bytes_; }
    AlignedArray<char> take_data() { return std::move(data_); }

private:
    friend class Packer;
    AlignedArray<char> data_;
    int64_t bytes_ = 0;
};

// Packed for the scheme, or nothing where the weights do not fit it. A depthwise convolution has its own kernel (w16).
std::optional<PackedWeights> pack(const ConvSpec& spec, Scheme scheme);

// Packed for that of some schemes, the cheapest first, which takes the fewest cycles; nothing if none is exact.
std::optional<PackedWeights> pack_fastest(const ConvSpec& spec, const std::vector<SchemeCost>& costs);

// The same of all schemes that the instruction set chooses from; std::invalid_argument if none is exact.
PackedWeights pack_fastest(const ConvSpec& spec);

}  // namespace intsim
