// Tile kernels on their own, for benchmarks: what they reach when everything lies in the first cache.
#pragma once

#include <string>
#include <vector>

#include "images.h"
#include "kernel_table.h"

namespace intsim {

// One tile over `depth` products for each of its outputs. The weights are random of a width and packed as a layer's
// are, so lanes are flushed as often as such weights need; the roof, float32 multiply-adds, has neither.
class MicroKernel {
public:
    // Throws std::invalid_argument for a name that is no gemm, gemmpair or roof kernel here, or widths that it cannot
    // compute.
    MicroKernel(const std::string& name, int weight_bits, int act_bits, int64_t depth);

    void run(int64_t times) const;
    int64_t macs() const { return info_->mr * info_->nr * depth_; }  // of one time

private:
    void prepare_roof();
    void prepare_integers(int weight_bits, int act_bits);

    template <class Row>
    void take(const Rows<Row>* rows, const std::string& name, decltype(Row::run) MicroKernel::* kernel);

    const KernelInfo* info_ = nullptr;
    Scheme scheme_{};
    TileKernel run_ = nullptr;
    TilePairKernel run_pair_ = nullptr;  // instead
    const int64_t depth_;
    std::vector<Run> runs_;
    AlignedArray<char> operands_, panel_;
    int64_t second_panel_ = 0;  // of a pair: its place behind the first one
    int64_t row_stride_ = 0;    // bytes
    AlignedArray<int32_t> acc_;
};

// `count` additions (rounded up to tens) that wait for each other: a cycle each on today's processors, so the time says
// how fast the clock runs.
void dependent_adds(int64_t count);

}  // namespace intsim
