// Weights in the order in which a tile kernel eats them, with the proof that its arithmetic is exact.
//
// Weights arrive as levels, so zero points and odd grids are already in them: {-3, -1, 1, 3} and an asymmetric u4 are
// plain small integers here, and no kernel needs row sums of activations. (What an activation's zero point contributes
// is a constant per channel, folded into the bias by the caller.)
//
// Panels. Outputs are cut into panels of 16 (look-ups: 32), within each group; the last one of a group is filled up with
// zero weights. A panel goes through K in runs (tiles.h). For a dense convolution one row of the filter is one
// run, because KW neighbouring pixels are contiguous, channel padding included (its weights are zero):
//
//     filter row 0: [kw 0: c0 .. c4 - - -][kw 1: c0 .. c4 - - -][kw 2: c0 .. c4 - - -]     one run of 6 quads for C = 5
//     filter row 1: ...
//
// Safe steps. Schemes a16, a32 and those that look up sum in narrow lanes. The packer walks K and cuts a run, with
// `flush`, before the first step where a lane of the panel, or for lut6 of any panel, could overflow (flush_proof.h). A
// step that cannot even stand alone makes the layer unfit for the scheme.
#pragma once

#include <optional>
#include <vector>

#include "conv_spec.h"
#include "dispatch.h"
#include "images.h"

namespace intsim {

// A run before it is known how far apart the input's rows are.
struct PackedRun {
    int64_t filter_y, filter_x;  // tap at which it starts
    int64_t skip;                // bytes of operands from that tap's first channel
    int64_t length, flush;
};

struct Panel {
    ChannelBlock outputs;  // at most panel_channels
    int64_t first_input;   // channel, hence byte of a pixel
    std::vector<PackedRun> runs;
    int64_t data;  // offset of its weights, in bytes
};

// So many bytes of an input become so many of operands.
struct OperandRatio {
    int64_t input, operands;
};

class PackedWeights {
public:
    TileOp op{};
    Scheme scheme{};
    int64_t panel_channels = 0;  // 16 or 32
    int operand_bytes = 0;       // for each activation: 1 as it is, 2 widened to int16, 4 as part of a quad's table
    int64_t pixel_operands = 0;  // for all of a pixel's, where tables begin anew with each; then operand_bytes is 0
    std::vector<Panel> panels;
    int64_t flushes = 0, quads = 0;  // over all panels
    double cycles = 0;               // estimated, for 6 output pixels

    PackedWeights(TileOp op, Scheme scheme, int64_t panel_channels, int operand_bytes)
        : op(op), scheme(scheme), panel_channels(panel_channels), operand_bytes(operand_bytes) {}
    PackedWeights() = default;

    // For an input whose pixels are so many bytes apart.
    OperandRatio operand_ratio(int64_t pixel_stride) const {
        return pixel_operands > 0 ? OperandRatio{pixel_stride, pixel_operands} : OperandRatio{1, operand_bytes};
    }

    // Room for all panels, of zeros; then panels come one after the other, each in so many bytes of it.
    void allocate(int64_t bytes);
    Panel& add_panel(Panel panel, int64_t bytes);
    char* data(const Panel& panel) { return data_.get() + panel.data; }
    const char* data(const Panel& panel) const { return data_.get() + panel.data; }
    int64_t bytes() const { return bytes_; }
    AlignedArray<char> take_data() { return std::move(data_); }

private:
    AlignedArray<char> data_;
    int64_t bytes_ = 0;
};

// Packed for the scheme, or nothing where the weights do not fit it: in strips where the filters fit these, depthwise
// where each channel has its own filter, else dense.
std::optional<PackedWeights> pack(const ConvSpec& spec, Scheme scheme);
bool fits_strips(const ConvSpec& spec);
std::optional<PackedWeights> pack_strips(const ConvSpec& spec, Scheme scheme);
std::optional<PackedWeights> pack_depthwise(const ConvSpec& spec, Scheme scheme);
std::optional<PackedWeights> pack_dense(const ConvSpec& spec, Scheme scheme);

// Packed for that of some schemes, the cheapest first, which takes the fewest cycles; nothing if none is exact.
std::optional<PackedWeights> pack_fastest(const ConvSpec& spec, const std::vector<SchemeCost>& costs);

// The same of all schemes that the instruction set chooses from; std::invalid_argument if none is exact.
PackedWeights pack_fastest(const ConvSpec& spec);

}  // namespace intsim
