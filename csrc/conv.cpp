#include "conv.h"

#include <algorithm>

#include "check.h"
#include "threads.h"

namespace intsim {
namespace {

// Pixels per task: enough that a panel, once in the first cache, is used often; few enough that their inputs stay in
// the second one.
constexpr int64_t kTaskPixels = 192;

// A loop over output pixels: how far apart its steps are in the input (bytes), in the output (elements), and in the
// stream that is added (bytes).
struct Loop {
    int64_t count, in_step, out_step, stream_step;
};

std::vector<Loop> merged(const std::vector<Loop>& loops) {
    std::vector<Loop> result;
    for (const Loop& loop : loops) {
        if (loop.count == 1) continue;
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

// Memory for operands that are not plain bytes, kept by each thread from call to call.
char* scratch(int64_t count) {
    thread_local AlignedArray<char> memory;
    thread_local int64_t size = 0;
    if (size < count) {
        memory.reset();
        size = 0;
        memory = allocate_aligned<char>(count);
        size = count;
    }
    return memory.get();
}

}  // namespace

// Where everything lies between one input and one output.
struct Conv::Route {
    const uint8_t* in;  // the first tap of the first output pixel
    std::vector<Loop> outer;
    Loop line;
    int64_t tiles_per_line, tile_count;
    int64_t reach;                       // bytes from a pixel's first tap to the end of its last run
    std::vector<std::vector<Run>> runs;  // of each panel

    // Tile `index` of a line covers pixels [begin(index), begin(index + 1)).
    int64_t begin(int64_t index) const { return index * line.count / tiles_per_line; }

    // Offsets of a line's start in the input, the output and the stream: a loop of one step.
    Loop start_of_line(int64_t index) const {
        Loop start{1, 0, 0, 0};
        for (auto loop = outer.rbegin(); loop != outer.rend(); ++loop) {
            const int64_t step = index % loop->count;
            start.in_step += step * loop->in_step, start.out_step += step * loop->out_step;
            start.stream_step += step * loop->stream_step;
            index /= loop->count;
        }
        return start;
    }
};

// Where a tile's first pixel belongs, and how far apart its pixels are: elements of the output, bytes of the stream.
struct Conv::Spot {
    int64_t out, out_step, stream, stream_step;
};

Conv::Conv(ConvSpec spec, const EpilogueSpec* epilogue, std::optional<Scheme> scheme) : spec_(std::move(spec)) {
    validate(spec_);
    bounds_ = accumulator_bounds(spec_);
    if (scheme) {
        auto packed = pack(spec_, *scheme);
        require(packed.has_value(), "'", spec_.name, "': the forced scheme is not exact for these weights");
        packed_ = std::move(*packed);
    } else {
        packed_ = pack_fastest(spec_);
    }
    tiles_ = find_tiles(packed_.op, packed_.scheme);
    if (packed_.operand_bytes > 1) make_operands_ = find_operands(packed_.scheme).run;
    std::vector<ChannelBlock> blocks;
    for (const Panel& panel : packed_.panels) {
        first_block_.push_back(blocks.size());
        for (const ChannelBlock& block : blocks_of_channels(panel.outputs.count))
            blocks.push_back({panel.outputs.first + block.first, block.count});
    }
    if (epilogue != nullptr) epilogue_ = std::make_unique<Epilogue>(spec_.name, *epilogue, bounds_, blocks);

    bias_ = allocate_aligned<int32_t>(packed_.panel_channels * static_cast<int64_t>(packed_.panels.size()));
    int32_t* bias = bias_.get();
    for (const Panel& panel : packed_.panels)
        for (int64_t n = 0; n < packed_.panel_channels; ++n)
            *bias++ = n < panel.outputs.count ? static_cast<int32_t>(spec_.bias[panel.outputs.first + n]) : 0;
}

template <class T>
Conv::Route Conv::route(const ByteImages& in, const Halo& padding, int pad_byte, const Images<T>& out,
                        const ByteImages* stream) const {
    const std::string& name = spec_.name;
    const auto extent = [&](int64_t size, int64_t before, int64_t after, int64_t kernel, int64_t dilation,
                            int64_t stride) {
        const int64_t free = size + before + after - dilation * (kernel - 1) - 1;
        require(free >= 0, "'", name, "': a kernel of ", kernel, " does not fit an image of ", size);
        return free / stride + 1;
    };
    require(in.channels == spec_.in_channels, "'", name, "': input has ", in.channels, " channels, expected ",
            spec_.in_channels);
    require(in.max_byte < 1 << spec_.act_bits, "'", name, "': input codes up to ", in.max_byte, ", packed for ",
            spec_.act_bits, " bits");
    require(std::min({padding.top, padding.bottom, padding.left, padding.right}) >= 0, "'", name,
            "': negative padding");
    const bool padded = padding.top + padding.bottom + padding.left + padding.right > 0;
    require(padding.top <= in.halo.top && padding.bottom <= in.halo.bottom && padding.left <= in.halo.left &&
                padding.right <= in.halo.right,
            "'", name, "': the input's halo is smaller than the padding");
    require(!padded || in.fill == pad_byte, "'", name, "': the input's halo holds ", int{in.fill}, ", expected ",
            pad_byte);
    const int64_t height =
        extent(in.height, padding.top, padding.bottom, spec_.kernel_height, spec_.dilation_y, spec_.stride_y);
    const int64_t width =
        extent(in.width, padding.left, padding.right, spec_.kernel_width, spec_.dilation_x, spec_.stride_x);
    require(out.batch == in.batch && out.height == height && out.width == width && out.channels == spec_.out_channels,
            "'", name, "': output is ", out.batch, "x", out.height, "x", out.width, "x", out.channels, ", expected ",
            in.batch, "x", height, "x", width, "x", spec_.out_channels);

    require(!spec_.joins_pixels() || in.pixel_stride == round_up(in.channels, 4), "'", name, "': input pixels are ",
            in.pixel_stride, " bytes apart, expected ", round_up(in.channels, 4));

    Route route;
    route.in = in.pixel(0, -padding.top, -padding.left);
    route.outer = merged({{in.batch, in.image_stride, out.image_stride, stream ? stream->image_stride : 0},
                         {height, spec_.stride_y * in.row_stride, out.row_stride, stream ? stream->row_stride : 0},
                         {width, spec_.stride_x * in.pixel_stride, out.pixel_stride, stream ? stream->pixel_stride : 0}});
    route.line = route.outer.back();
    route.outer.pop_back();
    route.tiles_per_line = ceil_divide(route.line.count, tiles_.max_rows);
    route.tile_count = route.tiles_per_line;
    for (const Loop& loop : route.outer) route.tile_count *= loop.count;

    route.reach = 0;
    for (const Panel& panel : packed_.panels) {
        std::vector<Run>& runs = route.runs.emplace_back();
        for (const PackedRun& run : panel.runs) {
            const int64_t offset = run.filter_y * spec_.dilation_y * in.row_stride +
                                   run.filter_x * spec_.dilation_x * in.pixel_stride + run.skip + panel.first_input;
            runs.push_back({offset * packed_.operand_bytes, run.quads, run.flush});
            route.reach = std::max(route.reach, offset + 4 * run.quads);
        }
    }
    return route;
}

// Computes every tile and gives it to sink(panel, acc, rows, spot).
template <class Sink>
void Conv::run_tiles(const Route& route, int threads, const Sink& sink) const {
    const int64_t rows_per_tile = ceil_divide(route.line.count, route.tiles_per_line);
    const int64_t panel_count = static_cast<int64_t>(packed_.panels.size());
    int64_t tiles_per_task = std::max<int64_t>(1, kTaskPixels / rows_per_tile);
    if (threads > 1)  // some tasks for every thread, so that none waits long at the end
        tiles_per_task = std::clamp<int64_t>(ceil_divide(route.tile_count, 4 * threads), 1, tiles_per_task);
    const int64_t stretches = ceil_divide(route.tile_count, tiles_per_task);
    const int64_t panel_ranges = threads > 1 ? std::clamp<int64_t>(2 * threads / stretches, 1, panel_count) : 1;

    parallel_for(stretches * panel_ranges, threads, [&](int64_t task) {
        const int64_t first_tile = task / panel_ranges * tiles_per_task;
        const int64_t last_tile = std::min(route.tile_count, first_tile + tiles_per_task);
        const int64_t range = task % panel_ranges;
        const int64_t first_panel = range * panel_count / panel_ranges;
        const int64_t last_panel = (range + 1) * panel_count / panel_ranges;

        // Inputs of the stretch lie between its first pixel and the reach of its last one: all are prepared at once.
        const char* operands = reinterpret_cast<const char*>(route.in);
        int64_t base = 0;
        if (make_operands_ != nullptr) {
            const auto in_offset = [&](int64_t tile, int64_t pixel_of_line) {
                return route.start_of_line(tile / route.tiles_per_line).in_step + pixel_of_line * route.line.in_step;
            };
            base = in_offset(first_tile, route.begin(first_tile % route.tiles_per_line));
            const int64_t last_pixel = route.begin((last_tile - 1) % route.tiles_per_line + 1) - 1;
            const int64_t count = in_offset(last_tile - 1, last_pixel) + route.reach - base;
            char* prepared = scratch(count * packed_.operand_bytes);
            make_operands_(route.in + base, prepared, count);
            operands = prepared;
        }

        alignas(64) int32_t acc[kMaxTileRows * kMaxTileChannels + kAccumulatorSlack] = {};
        const int64_t channels = packed_.panel_channels;
        for (int64_t p = first_panel; p < last_panel; ++p) {
            const void* panel = packed_.data(packed_.panels[p]);
            const Run* runs = route.runs[p].data();
            const int64_t run_count = static_cast<int64_t>(route.runs[p].size());
            int64_t line = first_tile / route.tiles_per_line, index = first_tile % route.tiles_per_line;
            Loop start = route.start_of_line(line);
            for (int64_t tile = first_tile; tile < last_tile; ++tile) {
                const int64_t pixel = route.begin(index), rows = route.begin(index + 1) - pixel;
                for (int64_t row = 0; row < rows; ++row)
                    std::copy_n(&bias_[channels * p], channels, acc + channels * row);
                const int64_t offset = start.in_step + pixel * route.line.in_step - base;
                tiles_.run[rows]({operands + offset * packed_.operand_bytes, route.line.in_step * packed_.operand_bytes,
                                  runs, run_count, panel, acc});
                sink(p, acc, rows,
                     Spot{start.out_step + pixel * route.line.out_step, route.line.out_step,
                          start.stream_step + pixel * route.line.stream_step, route.line.stream_step});
                if (++index == route.tiles_per_line) {
                    index = 0;
                    start = route.start_of_line(++line);
                }
            }
        }
    });
}

template <class Sink>
Conv::Bound Conv::bound(Route route, const Sink& sink) const {
    return [this, route = std::move(route), sink](int threads) { run_tiles(route, threads, sink); };
}

Conv::Bound Conv::bind(const ByteImages& in, const Halo& padding, int pad_byte, const ByteImages& out) const {
    require(epilogue_ != nullptr, "'", spec_.name, "': byte results need an epilogue");
    require(epilogue_->max_byte() <= out.max_byte, "'", spec_.name, "': results up to ", epilogue_->max_byte(),
            " do not fit an output of up to ", out.max_byte);
    return bound(route(in, padding, pad_byte, out, nullptr),
                 [this, base = out.pixel(0, 0, 0)](int64_t panel, const int32_t* acc, int64_t rows, const Spot& spot) {
                     const ChannelBlock& outputs = packed_.panels[panel].outputs;
                     uint8_t* to = base + spot.out + outputs.first;
                     for (int64_t n = 0; n < outputs.count; n += 16)
                         epilogue_->apply(first_block_[panel] + n / 16, acc + n, packed_.panel_channels, rows, to + n,
                                          spot.out_step);
                 });
}

Conv::Bound Conv::bind(const ByteImages& in, const Halo& padding, int pad_byte, const Int32Images& out) const {
    require(epilogue_ == nullptr, "'", spec_.name, "': accumulators cannot be had from behind an epilogue");
    return bound(route(in, padding, pad_byte, out, nullptr),
                 [this, base = out.pixel(0, 0, 0)](int64_t panel, const int32_t* acc, int64_t rows, const Spot& spot) {
                     const ChannelBlock& outputs = packed_.panels[panel].outputs;
                     int32_t* to = base + spot.out + outputs.first;
                     for (int64_t row = 0; row < rows; ++row)
                         std::copy_n(acc + packed_.panel_channels * row, outputs.count, to + row * spot.out_step);
                 });
}

Conv::Bound Conv::bind(const ByteImages& in, const Halo& padding, int pad_byte, const Add& add,
                       const ByteImages& stream, const ByteImages& out) const {
    require(epilogue_ == nullptr, "'", spec_.name, "': an epilogue and an addition");
    require(spec_.groups == 1 || packed_.op == TileOp::kDepthwise, "'", spec_.name,
            "': panels of a grouped convolution are not the addition's blocks");
    add.check_accumulators(stream, out);
    return bound(route(in, padding, pad_byte, out, &stream),
                 [this, &add, base = out.pixel(0, 0, 0), other = stream.pixel(0, 0, 0)](
                     int64_t panel, const int32_t* acc, int64_t rows, const Spot& spot) {
                     const ChannelBlock& outputs = packed_.panels[panel].outputs;
                     for (int64_t n = 0; n < outputs.count; n += 16) {
                         const int64_t channel = outputs.first + n;
                         add.apply(channel / 16, acc + n, packed_.panel_channels, other + spot.stream + channel,
                                   spot.stream_step, base + spot.out + channel, spot.out_step, rows);
                     }
                 });
}

}  // namespace intsim
