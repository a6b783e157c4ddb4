// Residual addition: two operands on their own grids, one rounding.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "epilogue.h"
#include "images.h"

namespace intsim {

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

}  // namespace intsim
