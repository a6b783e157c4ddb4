#include "micro_kernel.h"

#include <algorithm>
#include <random>

#include "check.h"
#include "dispatch.h"
#include "pack.h"

namespace intsim {

MicroKernel::MicroKernel(const std::string& name, int weight_bits, int act_bits, int64_t depth) : depth_(depth) {
    for (const KernelTable* table : runnable_tables()) {
        take(table->gemm, name, &MicroKernel::run_), take(table->roof, name, &MicroKernel::run_);
        take(table->tile_pairs, name, &MicroKernel::run_pair_);
    }
    require(info_ != nullptr, "no tile kernel is named '", name, "'");
    require(depth >= 4 && depth % 4 == 0 && depth <= 1 << 16, "'", name, "': a depth of ", depth,
            ", expected a multiple of 4 up to 65536");
    require(weight_bits >= 1 && weight_bits <= 8, "'", name, "': weights of ", weight_bits, " bits, expected 1..8");
    acc_ = allocate_aligned<int32_t>(info_->mr * info_->nr);
    scheme_ == Scheme::kFloat32 ? prepare_roof() : prepare_integers(weight_bits, act_bits);
}

template <class Row>
void MicroKernel::take(const Rows<Row>* rows, const std::string& name, decltype(Row::run) MicroKernel::* kernel) {
    for (int i = 0; rows != nullptr && i < rows->count; ++i)
        if (const Row& row = rows->first[i]; name == row.info.name)
            info_ = &row.info, scheme_ = row.scheme, this->*kernel = row.run;
}

void MicroKernel::prepare_roof() {
    runs_ = {{0, depth_ / 4, kFlushAll}};
    row_stride_ = 4 * depth_;
    operands_ = allocate_aligned<char>(info_->mr * row_stride_);
    panel_ = allocate_aligned<char>(info_->nr * row_stride_);
    std::fill_n(reinterpret_cast<float*>(operands_.get()), info_->mr * depth_, 1.0f);
    std::fill_n(reinterpret_cast<float*>(panel_.get()), info_->nr * depth_, 1.0f);
}

void MicroKernel::prepare_integers(int weight_bits, int act_bits) {
    ConvSpec spec{info_->name, info_->nr, depth_, 1, 1, 1, 1, 1, 1, 1, act_bits, {}, {}};
    const bool odd = scheme_ == Scheme::kLutOdd || scheme_ == Scheme::kLutSign;  // -3, -1, 1, 3
    std::mt19937 random(1);
    const auto below = [&](int bits) { return static_cast<int64_t>(random() >> (32 - bits)); };
    for (int64_t i = 0; i < spec.out_channels * depth_; ++i)
        spec.weights.push_back(odd ? 2 * below(weight_bits) + 1 - (int64_t{1} << weight_bits)
                                   : below(weight_bits) - (int64_t{1} << (weight_bits - 1)));
    spec.bias.assign(static_cast<size_t>(spec.out_channels), 0);
    validate(spec);
    std::optional<PackedWeights> packed = pack(spec, scheme_);
    require(packed.has_value(), "'", spec.name, "': not exact for weights of ", weight_bits,
            " bits and activations of ", act_bits);
    for (const PackedRun& run : packed->panels[0].runs) runs_.push_back({run.skip, run.length, run.flush});
    if (run_pair_ != nullptr) second_panel_ = packed->panels[1].data;
    panel_ = packed->take_data();

    const int64_t count = info_->mr * depth_;
    const OperandRatio ratio = packed->operand_ratio(depth_);
    row_stride_ = depth_ / ratio.input * ratio.operands;
    AlignedArray<uint8_t> bytes = allocate_aligned<uint8_t>(count);
    for (int64_t i = 0; i < count; ++i) bytes[i] = static_cast<uint8_t>(below(act_bits));
    operands_ = allocate_aligned<char>(info_->mr * row_stride_);
    if (row_stride_ == depth_)
        std::copy_n(bytes.get(), count, operands_.get());
    else
        find_operands(scheme_).run({bytes.get(), operands_.get(), count, depth_, depth_});
}

void MicroKernel::run(int64_t times) const {
    alignas(64) const int32_t bias[kMaxTileChannels] = {};
    const Tile tile{operands_.get(), row_stride_, runs_.data(), static_cast<int64_t>(runs_.size()),
                    panel_.get(),    bias,        acc_.get()};
    Tile second = tile;
    second.panel = panel_.get() + second_panel_, second.acc = acc_.get() + info_->mr * info_->nr / 2;
    for (int64_t i = 0; i < times; ++i) run_pair_ != nullptr ? run_pair_(tile, second) : run_(tile);
}

void dependent_adds(int64_t count) {
    int64_t x = 0;
    for (int64_t i = 0; i < count; i += 10)
#pragma GCC unroll 10
        for (int k = 0; k < 10; ++k) {
            x += 1;
            __asm__ volatile("" : "+r"(x));  // or the compiler would add ten at once
        }
}

}  // namespace intsim
