// What stands between convolutions, on NHWC bytes, so that a whole network stays in one layout.
//
// Anything that maps a code of a tensor to a code, whatever its arithmetic (requantization, ReLU, clamp, sigmoid), is
// a table of 256 bytes made by the reference itself: exact by construction.
#pragma once

#include <memory>
#include <vector>

#include "epilogue.h"
#include "images.h"

namespace intsim {

// byte = clip(rint(x / scale), low, high) - low, in float32, ties to even, with low and high relative to the zero
// point and of at most 2^21 in magnitude. x is [batch][channels][height][width].
void quantize(const float* x, float scale, int64_t low, int64_t high, const ByteImages& out, int threads);

// Between [batch][channels][height][width] codes of 8 bits (two's complement if signed) and bytes = code - min.
// Throws std::invalid_argument if a code leaves the bytes that `out` may hold.
void import_codes(const uint8_t* codes, int64_t min, const ByteImages& out, int threads);
void export_codes(const ByteImages& in, int64_t min, uint8_t* codes, int threads);
void import_accumulators(const int32_t* values, const Int32Images& out, int threads);
void export_accumulators(const Int32Images& in, int32_t* values, int threads);

// out = table[in]; `tables` is one table of 256 entries, or one per channel.
void lookup(const ByteImages& in, const std::vector<uint8_t>& tables, const ByteImages& out, int threads);

// An epilogue for accumulators that stand in memory.
class Requantize {
public:
    // Every accumulator lies within low..high.
    Requantize(const std::string& layer, const EpilogueSpec& spec, int64_t low, int64_t high);
    void run(const Int32Images& in, const ByteImages& out, int threads) const;
    const std::string& name() const { return layer_; }

private:
    const std::string layer_;
    const int64_t channels_;
    std::unique_ptr<Epilogue> epilogue_;
};

// code = clip(round((multiplier_a * a + multiplier_b * b + offset) / 2^shift) + zero_point, low, high), per channel,
// where a is a byte or an accumulator within a_low..a_high, and b is a byte.
struct AddSpec {
    std::string name;
    std::vector<int64_t> multiplier_a, multiplier_b, offset, shift;  // one per channel; shift 0..62
    RoundingSpec rounding;
    int64_t a_low, a_high;
    bool a_is_accumulator;
};

class Add {
public:
    explicit Add(const AddSpec& spec);
    void run(const ByteImages& a, const ByteImages& b, const ByteImages& out, int threads) const;
    void run(const Int32Images& a, const ByteImages& b, const ByteImages& out, int threads) const;

    // One block of 16 channels of `pixels` pixels; strides in elements. The caller has checked what it adds up.
    void apply(int64_t block, const void* a, int64_t a_stride, const uint8_t* b, int64_t b_stride, uint8_t* out,
               int64_t out_stride, int64_t pixels) const {
        const size_t i = static_cast<size_t>(block);
        kernel_({block_bytes_ + i * block_size_, a, b, out, a_stride, b_stride, out_stride, pixels, blocks_[i].count});
    }
    // Throws std::invalid_argument unless accumulators can be added to such images without being stored.
    void check_accumulators(const ByteImages& b, const ByteImages& out) const;
    const KernelInfo& kernel() const { return *info_; }
    const std::string& name() const { return name_; }

private:
    template <class Block>
    void use(AddKind kind, std::vector<Block> blocks);
    void check(const ByteImages& b, const ByteImages& out) const;
    template <class A>
    void run_rows(const Images<A>& a, const ByteImages& b, const ByteImages& out, int threads) const;

    const std::string name_;
    const bool a_is_accumulator_;
    const int64_t a_high_;
    const int max_byte_;
    const std::vector<ChannelBlock> blocks_;
    std::variant<std::vector<AddBlock<int32_t>>, std::vector<AddHighWordBlock>, std::vector<AddBlock<int64_t>>> data_;
    const char* block_bytes_ = nullptr;
    size_t block_size_ = 0;
    AddKernel kernel_ = nullptr;
    const KernelInfo* info_ = nullptr;
};

// Largest byte of each window; cells outside the image do not count.
struct MaxPoolSpec {
    int64_t kernel_y, kernel_x, stride_y, stride_x, dilation_y, dilation_x, top, left;
};
void max_pool(const ByteImages& in, const MaxPoolSpec& spec, const ByteImages& out, int threads);

// Cells low..high-1 of an axis, and what their number counts as in the division.
struct Window {
    int64_t low, high, cells;
};

// code = clip(round(sum of levels * multiplier / (cells * 2^shift)) + zero_point), level = step * byte + level_offset.
struct AveragePoolSpec {
    std::vector<Window> rows, columns;
    int64_t step, level_offset, multiplier, shift, zero_point;
    Rounding rounding;
    CodeType out;
};
void average_pool(const ByteImages& in, const AveragePoolSpec& spec, const ByteImages& out, int threads);

// out[to + i * to_step] = in[from + i * from_step] for i in 0 <= i < extent, over (y, x, channel).
struct Region {
    int64_t from[3], from_step[3], to[3], to_step[3], extent[3];
};
void copy_region(const ByteImages& in, const Region& region, const ByteImages& out, int threads);

}  // namespace intsim
