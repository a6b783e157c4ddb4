// 3x3 convolutions of stride 1 with 16 products for every 2x2 outputs where the direct way takes 36, in exact integers.
//
// Winograd's F(2x2, 3x3) (Lavin and Gray 2016) turns a 4x4 patch d of an input channel and a 3x3 filter g into 4x4
// numbers each, multiplies them one by one, sums over the channels, and turns the 4x4 sums M into the 2x2 outputs:
//
//     D = B' d B      rows of B':  1  0 -1  0 |  0  1  1  0 |  0 -1  1  0 |  0  1  0 -1
//     W = G g G'      rows of G:   1  0  0    | 1/2 1/2 1/2 | 1/2 -1/2 1/2 |  0  0  1
//     y = A' M A      rows of A':  1  1  1  0 |  0  1 -1 -1
//
// With floats that rounds; with integers it is exact, and cheap to prove. The halves in G are left out, W = (2 G) g
// (2 G)' but for the first and last row and column, which keep their 1, and A' has 2 in their place: y is then 4 times
// the convolution, whose two lowest bits are zero. D and W are a few bits wider than the codes that they come from:
//
//     |D| <= 4 amax   D lies in 0..4 amax for the product of two sums, else in -2 amax..2 amax
//     |W| <= 9 wmax   W holds sums of 9, 3 or 1 weights
//
// Codes of up to 6 bits keep D, moved by 2 amax where it can be negative, in an unsigned byte, and the actual weights
// decide whether every W fits a signed one: then the byte kernels (a16, a32) multiply, with the packer's proof for each
// of the 16 places, and what the move adds is a constant per output channel. Everything else multiplies as int16 (w16).
// Sums wrap modulo 2**32 wherever they like: only 4 times the result has to fit int32.
//
// So each of the 16 places is a 1x1 convolution of its own, of D by W, by the tile kernels that there are.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <vector>

#include "pack.h"

namespace intsim {

class Winograd {
public:
    static constexpr int kPlaces = 16;

    // Nothing for a layer of another shape, or whose transformed weights or sums do not fit.
    static std::unique_ptr<Winograd> make(const ConvSpec& spec, const Bounds& bounds);

    // Estimated, for 6 output pixels, as PackedWeights::cycles.
    double cycles() const { return cycles_; }
    const KernelInfo& kernel() const { return *tiles_[5].info; }  // of the product of two sums, the widest numbers
    const std::vector<ChannelBlock>& outputs() const { return outputs_; }  // of each panel
    int64_t flushes() const;
    int64_t quads() const;

    // Takes accumulators: panel, [row][16 channels], rows, and the output pixel of the first row; the others follow at
    // every second pixel of its line.
    using Sink =
        std::function<void(int64_t panel, const int32_t* acc, int64_t rows, int64_t image, int64_t y, int64_t x)>;

    // The output has `height` x `width` pixels. The input's halo holds the padding.
    void run(const ByteImages& in, const Halo& padding, int64_t height, int64_t width, int threads,
             const Sink& sink) const;

private:
    Winograd() = default;
    bool pack_places(const ConvSpec& spec, bool words);
    double estimate() const;
    const char* panel(int place, int64_t panel) const {
        return static_cast<const char*>(packed_[place].data(packed_[place].panels[panel]));
    }
    void transform_inputs(const ByteImages& in, const Halo& padding, int64_t tile_rows, int64_t tiles_per_row,
                          int64_t first, int64_t last, char* to, int64_t place_bytes) const;

    int64_t in_channels_ = 0;
    bool words_ = false;     // D is int16
    bool streams_ = false;   // the panels do not stay in the second cache from one image to the next
    bool in_pairs_ = false;  // two panels at a time
    int64_t move_ = 0;       // what is added to D where it can be negative
    std::array<PackedWeights, kPlaces> packed_;
    std::array<TileKernels, kPlaces> tiles_;
    std::array<std::vector<std::vector<Run>>, kPlaces> runs_;  // of each panel
    std::vector<ChannelBlock> outputs_;
    AlignedArray<int32_t> start_;  // of sums, [place][panel][16]: the bias, and what undoes the move
    const WinogradRow* transforms_ = nullptr;
    double cycles_ = 0;
};

}  // namespace intsim
