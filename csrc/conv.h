// Convolution and linear layers: packed weights and a fused epilogue, run over batches of images.
//
// A task is a stretch of tiles (route.h) times a range of panels: it walks panel by panel, so that the panel stays in the
// first cache while the stretch's inputs stay in the second.
#pragma once

#include <functional>
#include <memory>

#include "add.h"
#include "pack.h"
#include "route.h"
#include "winograd.h"

namespace intsim {

// How to go about it: directly, by Winograd's transforms, or whichever takes fewer cycles.
enum class Method { kFastest, kDirect, kWinograd };

class Conv {
public:
    // Without an epilogue the result is int32 accumulators. Throws std::invalid_argument, naming the layer, for what no
    // kernel computes exactly; a given scheme is forced (and direct), else the fastest is taken.
    Conv(ConvSpec spec, const EpilogueSpec* epilogue, std::optional<Scheme> scheme, Method method = Method::kFastest);

    // The convolution between two places in memory, checked and laid out once and then run on any number of threads.
    // Pads by reading the input's halo, which must be large enough and hold `pad_byte`. What is bound must outlive it.
    using Bound = std::function<void(int threads)>;
    Bound bind(const ByteImages& in, const Halo& padding, int pad_byte, const ByteImages& out) const;
    Bound bind(const ByteImages& in, const Halo& padding, int pad_byte, const Int32Images& out) const;

    // Without an epilogue: adds the accumulators to `stream`, tile by tile.
    Bound bind(const ByteImages& in, const Halo& padding, int pad_byte, const Add& add, const ByteImages& stream,
               const ByteImages& out) const;

    const ConvSpec& spec() const { return spec_; }
    const Bounds& bounds() const { return bounds_; }
    const KernelInfo& kernel() const {
        return winograd_ ? winograd_->kernel()
               : strip_  ? strip_->info
                         : *(byte_tiles_.info ? byte_tiles_.info : tiles_.info);
    }
    bool by_winograd() const { return winograd_ != nullptr; }
    int64_t flushes() const { return winograd_ ? winograd_->flushes() : packed_.flushes; }
    int64_t quads() const { return winograd_ ? winograd_->quads() : packed_.quads; }
    const Epilogue* epilogue() const { return epilogue_.get(); }

private:
    struct Stretch;
    void choose(std::optional<Scheme> scheme, Method method);
    template <class T, class Sink>
    Bound bind_to(const ByteImages& in, const Halo& padding, int pad_byte, const Images<T>& out,
                  const ByteImages* stream, const Sink& sink) const;
    template <class T>
    Route route(const ByteImages& in, const Halo& padding, const Images<T>& out, const ByteImages* stream) const;
    bool pairs_with_next(int64_t panel) const;
    Stretch stretch_of(const Route& route, int64_t first_tile, int64_t last_tile) const;
    template <class Sink>
    void run_tiles(const Route& route, uint8_t* bytes, int threads, const Sink& sink) const;
    template <class Sink>
    void run_panels(const Route& route, const Stretch& stretch, int64_t panel, int64_t count, uint8_t* bytes,
                    const Sink& sink) const;
    template <class T, class Sink>
    void run_strips(const ByteImages& in, const Halo& padding, const Images<T>& out, const ByteImages* stream,
                    int threads, const Sink& sink) const;

    ConvSpec spec_;
    Bounds bounds_;
    std::unique_ptr<Winograd> winograd_;  // if not null, what follows is not there
    PackedWeights packed_;
    std::vector<ChannelBlock> outputs_;  // of each panel
    int64_t panel_channels_ = 0;
    TileKernels tiles_;
    ByteTileKernels byte_tiles_;             // with the epilogue, for panels of 16 channels; perhaps none
    const StripRow* strip_ = nullptr;        // instead of tiles
    OperandKernel make_operands_ = nullptr;  // where the scheme does not take bytes as they are
    std::unique_ptr<Epilogue> epilogue_;
    std::vector<size_t> first_block_;  // of the epilogue, for each panel
    AlignedArray<int32_t> bias_;       // [panel][panel channels]
};

}  // namespace intsim
