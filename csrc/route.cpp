#include "route.h"

#include <algorithm>

#include "check.h"
#include "flush_proof.h"

namespace intsim {
namespace {

// Loops over operands in place of the input.
std::vector<Loop> merged(const std::vector<Loop>& loops, const OperandRatio& ratio) {
    std::vector<Loop> result;
    for (Loop loop : loops) {
        if (loop.count == 1) continue;
        loop.in_step = loop.in_step / ratio.input * ratio.operands;
        Loop* outer = result.empty() ? nullptr : &result.back();
        const auto continues = [&](int64_t Loop::* step) { return outer->*step == loop.*step * loop.count; };
        if (outer && continues(&Loop::in_step) && continues(&Loop::out_step) && continues(&Loop::stream_step))
            *outer = {outer->count * loop.count, loop.in_step, loop.out_step, loop.stream_step};
        else
            result.push_back(loop);
    }
    if (result.empty()) result.push_back({1, 0, 0, 0});
    return result;
}

}  // namespace

Route::Route(const ByteImages& in, const uint8_t* first, const std::vector<Loop>& loops, int max_rows,
             const ConvSpec& spec, const PackedWeights& packed)
    : in(first), ratio(packed.operand_ratio(in.pixel_stride)), outer_(merged(loops, ratio)) {
    require(in.row_stride % ratio.input == 0 && in.image_stride % ratio.input == 0, "'", spec.name,
            "': rows of the input are no whole number of pixels apart, as look-ups of six activations need them");
    line = outer_.back();
    outer_.pop_back();
    tiles_per_line = ceil_divide(line.count, max_rows);
    for (int64_t i = 0; i <= tiles_per_line; ++i) begins_.push_back(i * line.count / tiles_per_line);
    tile_count = tiles_per_line;
    for (const Loop& loop : outer_) tile_count *= loop.count;

    for (const Panel& panel : packed.panels) {
        std::vector<Run>& of_panel = runs.emplace_back();
        for (const PackedRun& run : panel.runs) {
            const int64_t tap = run.filter_y * spec.dilation_y * in.row_stride +
                                run.filter_x * spec.dilation_x * in.pixel_stride + panel.first_input;
            const int64_t offset = tap / ratio.input * ratio.operands + run.skip;
            of_panel.push_back({offset, run.length, run.flush});
            reach = std::max(reach, offset + step_operands(packed.scheme) * run.length);
        }
    }
}

Loop Route::start_of_line(int64_t index) const {
    Loop start{1, 0, 0, 0};
    for (auto loop = outer_.rbegin(); loop != outer_.rend(); ++loop) {
        const int64_t step = index % loop->count;
        start.in_step += step * loop->in_step, start.out_step += step * loop->out_step;
        start.stream_step += step * loop->stream_step;
        index /= loop->count;
    }
    return start;
}

}  // namespace intsim
