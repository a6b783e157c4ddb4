// From accumulators to bytes: what follows a convolution, fused into its tiles, or on its own.
//
// A spec says what is computed, in codes, as the graph has it. An Epilogue is a spec made ready for blocks of 16
// channels: constants derived, the smallest code of the output type subtracted, and the fastest kernel chosen that is
// exact for every accumulator within the bounds, which the caller knows from the actual weights.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "dispatch.h"
#include "rounding_block.h"

namespace intsim {

// code = clip(round(acc * multiplier / 2^shift) + zero_point, low, high), per channel; a negative shift shifts left.
struct ScaleSpec {
    std::vector<int64_t> multiplier, shift;
    int64_t zero_point;
    bool zero_point_first;  // added before rounding
    Rounding rounding;      // an engine's one has its formula for multipliers >= 0 only
    int64_t low, high;
    CodeType out;
};

// code = clip(rint(acc * scale) + zero_point, low, high), or clip(rint(acc * scale + zero_point), low, high) with the
// zero point first, per channel, ties to even: in float32, or in float64, where every operation rounds.
struct FloatSpec {
    std::vector<double> scale;
    bool single;  // float32, where no zero point comes first
    int64_t zero_point;
    bool zero_point_first;
    int64_t low, high;
    CodeType out;
};

// code = base + #{ k : acc >= thresholds[k] }, per channel; > if strict, <= (or <) if descending.
struct ThresholdSpec {
    int64_t count;                    // thresholds per channel
    std::vector<int64_t> thresholds;  // [channel][count]
    std::vector<int64_t> base;
    std::vector<bool> strict, descending;
    CodeType out;
};

using EpilogueSpec = std::variant<ScaleSpec, FloatSpec, ThresholdSpec>;
int64_t channels_of(const EpilogueSpec& spec);
const CodeType& output_of(const EpilogueSpec& spec);

// Smallest and largest value, per channel.
struct Bounds {
    std::vector<int64_t> low, high;
};

// Consecutive channels that are computed together: at most 16 in an epilogue, at most `size` here.
struct ChannelBlock {
    int64_t first, count;
};
std::vector<ChannelBlock> blocks_of_channels(int64_t channels, int64_t size = 16);

class Epilogue {
public:
    // Throws std::invalid_argument, naming the layer, for parameters that no kernel can apply.
    Epilogue(const std::string& layer, const EpilogueSpec& spec, const Bounds& bounds,
             const std::vector<ChannelBlock>& blocks);
    Epilogue(const Epilogue&) = delete;

    // Bytes of one block's channels, for `rows` pixels; acc has 16 readable elements per pixel.
    void apply(size_t block, const int32_t* acc, int64_t acc_stride, int64_t rows, uint8_t* out,
               int64_t out_stride) const {
        row_->run({this->block(block), acc, acc_stride, rows, out, out_stride, blocks_[block].count});
    }

    int max_byte() const { return max_byte_; }
    const KernelInfo& kernel() const { return row_->info; }
    EpilogueKind kind() const { return row_->kind; }
    const void* block(size_t index) const { return block_bytes_ + index * block_size_; }

private:
    void prepare(const ScaleSpec& spec, const Bounds& bounds);
    void prepare(const FloatSpec& spec, const Bounds& bounds);
    template <class T>
    void prepare_float(const FloatSpec& spec, EpilogueKind kind);
    void prepare(const ThresholdSpec& spec, const Bounds& bounds);
    template <class Block>
    void use(EpilogueKind kind, const std::vector<Block>& blocks);

    std::string layer_;
    std::vector<ChannelBlock> blocks_;
    std::variant<std::vector<ScaleBlock<int32_t>>, std::vector<ScaleBlock<int64_t>>, std::vector<HighWordBlock>,
                 std::vector<FloatBlock<float>>, std::vector<FloatBlock<double>>, std::vector<ThresholdBlock>,
                 std::vector<BucketBlock>, std::vector<LineBlock>>
        data_;
    std::vector<int32_t> thresholds_, entries_;
    std::vector<int16_t> thresholds16_;
    const char* block_bytes_ = nullptr;
    size_t block_size_ = 0;
    const EpilogueRow* row_ = nullptr;
    int max_byte_ = 0;
};

}  // namespace intsim
