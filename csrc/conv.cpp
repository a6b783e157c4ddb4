#include "conv.h"

#include <algorithm>

#include "check.h"
#include "flush_proof.h"
#include "scratch.h"
#include "threads.h"

namespace intsim {
namespace {

// Pixels per task: enough that a panel, once in the first cache, is used often; few enough that their inputs stay in
// the second one.
constexpr int64_t kTaskPixels = 192;

// Pixels whose accumulators wait for their epilogue in the first cache.
constexpr int64_t kSinkPixels = 48;

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

}  // namespace

// Where everything lies between one input and one output.
struct Conv::Route {
    const uint8_t* in;  // the first tap of the first output pixel
    uint8_t* bytes;     // the first output pixel, where it is of bytes
    std::vector<Loop> outer;
    Loop line;
    int64_t tiles_per_line, tile_count;
    int64_t reach;                       // bytes from a pixel's first tap to the end of its last run
    std::vector<std::vector<Run>> runs;  // of each panel

    // Tile `index` of a line covers pixels [begin(index), begin(index + 1)).
    int64_t begin(int64_t index) const { return begins[static_cast<size_t>(index)]; }
    std::vector<int64_t> begins;

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

// Where the first of some pixels belongs, and how far apart they are: elements of the output, bytes of the stream.
struct Conv::Spot {
    int64_t out, out_step, stream, stream_step;

    // Pixels from (y, x) on, every `apart`-th of a row.
    template <class T>
    Spot(const Images<T>& to, const ByteImages* from, int64_t image, int64_t y, int64_t x, int64_t apart)
        : out(to.pixel(image, y, x) - to.pixel(0, 0, 0)),
          out_step(apart * to.pixel_stride),
          stream(from ? from->pixel(image, y, x) - from->pixel(0, 0, 0) : 0),
          stream_step(from ? apart * from->pixel_stride : 0) {}
    Spot(const Loop& line, const Loop& start, int64_t pixel)
        : out(start.out_step + pixel * line.out_step),
          out_step(line.out_step),
          stream(start.stream_step + pixel * line.stream_step),
          stream_step(line.stream_step) {}
};

Conv::Conv(ConvSpec spec, const EpilogueSpec* epilogue, std::optional<Scheme> scheme, Method method)
    : spec_(std::move(spec)) {
    validate(spec_);
    bounds_ = accumulator_bounds(spec_);
    choose(scheme, method);
    std::vector<ChannelBlock> blocks;
    for (const ChannelBlock& outputs : outputs_) {
        first_block_.push_back(blocks.size());
        for (const ChannelBlock& block : blocks_of_channels(outputs.count))
            blocks.push_back({outputs.first + block.first, block.count});
    }
    if (epilogue != nullptr) epilogue_ = std::make_unique<Epilogue>(spec_.name, *epilogue, bounds_, blocks);
    const bool flushes_once = packed_.flushes == static_cast<int64_t>(outputs_.size());
    if (epilogue_ && tiles_.info && flushes_once) byte_tiles_ = find_byte_tiles(packed_.scheme, epilogue_->kind());

    bias_ = allocate_aligned<int32_t>(panel_channels_ * static_cast<int64_t>(outputs_.size()));
    int32_t* bias = bias_.get();
    for (const ChannelBlock& outputs : outputs_)
        for (int64_t n = 0; n < panel_channels_; ++n)
            *bias++ = n < outputs.count ? static_cast<int32_t>(spec_.bias[outputs.first + n]) : 0;
}

void Conv::choose(std::optional<Scheme> scheme, Method method) {
    const bool either = method == Method::kFastest && !scheme;
    if (method == Method::kWinograd || either) winograd_ = Winograd::make(spec_, bounds_);
    require(winograd_ || method != Method::kWinograd, "'", spec_.name,
            "': Winograd's transforms do not fit this layer");
    if (!winograd_ || either) {
        if (scheme) {
            auto packed = pack(spec_, *scheme);
            require(packed.has_value(), "'", spec_.name, "': the forced scheme is not exact for these weights");
            packed_ = std::move(*packed);
        } else {
            packed_ = pack_fastest(spec_);
        }
        if (winograd_ && packed_.cycles <= winograd_->cycles()) winograd_.reset();
    }
    if (winograd_) {
        packed_ = {};
        outputs_ = winograd_->outputs(), panel_channels_ = 16;
        return;
    }
    if (packed_.op == TileOp::kStrip)
        strip_ = &find_strip(packed_.scheme);
    else
        tiles_ = find_tiles(packed_.op, packed_.scheme);
    if (packed_.operand_bytes > 1) make_operands_ = find_operands(packed_.scheme).run;
    for (const Panel& panel : packed_.panels) outputs_.push_back(panel.outputs);
    panel_channels_ = packed_.panel_channels;
}

template <class T>
void Conv::check(const ByteImages& in, const Halo& padding, int pad_byte, const Images<T>& out) const {
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
    require(!spec_.joins_pixels() || in.pixel_stride == padded_channels(in.channels), "'", name, "': input pixels are ",
            in.pixel_stride, " bytes apart, expected ", padded_channels(in.channels));
}

template <class T>
Conv::Route Conv::route(const ByteImages& in, const Halo& padding, const Images<T>& out,
                        const ByteImages* stream) const {
    Route route;
    route.in = in.pixel(0, -padding.top, -padding.left), route.bytes = nullptr;
    if constexpr (sizeof(T) == 1) route.bytes = out.pixel(0, 0, 0);
    route.outer =
        merged({{in.batch, in.image_stride, out.image_stride, stream ? stream->image_stride : 0},
                {out.height, spec_.stride_y * in.row_stride, out.row_stride, stream ? stream->row_stride : 0},
                {out.width, spec_.stride_x * in.pixel_stride, out.pixel_stride, stream ? stream->pixel_stride : 0}});
    route.line = route.outer.back();
    route.outer.pop_back();
    route.tiles_per_line = ceil_divide(route.line.count, tiles_.max_rows);
    for (int64_t i = 0; i <= route.tiles_per_line; ++i)
        route.begins.push_back(i * route.line.count / route.tiles_per_line);
    route.tile_count = route.tiles_per_line;
    for (const Loop& loop : route.outer) route.tile_count *= loop.count;

    route.reach = 0;
    for (const Panel& panel : packed_.panels) {
        std::vector<Run>& runs = route.runs.emplace_back();
        for (const PackedRun& run : panel.runs) {
            const int64_t offset = run.filter_y * spec_.dilation_y * in.row_stride +
                                   run.filter_x * spec_.dilation_x * in.pixel_stride + run.skip + panel.first_input;
            runs.push_back({offset * packed_.operand_bytes, run.length, run.flush});
            route.reach = std::max(route.reach, offset + k_per_step(packed_.scheme) * run.length);
        }
    }
    return route;
}

// Operands of tiles [first_tile, last_tile): where byte `base` of the input, counted from the first tap, has its own.
struct Conv::Operands {
    const char* bytes;
    int64_t base;
};

// All of them are prepared at once. Lines may overlap and even step back, as images share their halos, so any of them
// may start first or end last.
Conv::Operands Conv::operands_of(const Route& route, int64_t first_tile, int64_t last_tile) const {
    if (make_operands_ == nullptr) return {reinterpret_cast<const char*>(route.in), 0};
    int64_t first = INT64_MAX, last = INT64_MIN;
    for (int64_t tile = first_tile; tile < last_tile;) {
        const int64_t line = tile / route.tiles_per_line, first_of_line = line * route.tiles_per_line;
        const int64_t end = std::min(last_tile, first_of_line + route.tiles_per_line);
        const int64_t start = route.start_of_line(line).in_step;
        first = std::min(first, start + route.begin(tile - first_of_line) * route.line.in_step);
        last = std::max(last, start + (route.begin(end - first_of_line) - 1) * route.line.in_step);
        tile = end;
    }
    const int64_t count = last + route.reach - first;
    char* prepared = scratch(count * packed_.operand_bytes);
    make_operands_(route.in + first, prepared, count);
    return {prepared, first};
}

// Computes every tile and gives it to sink(panel, acc, pixels, spot).
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

        const Operands operands = operands_of(route, first_tile, last_tile);

        // Tiles of a line follow each other in acc, so that one call of the sink serves many; those of the second panel
        // of a pair come behind all of the first one's.
        alignas(64) int32_t acc[kSinkPixels * kMaxTileChannels + kAccumulatorSlack] = {};
        const int64_t channels = panel_channels_;
        for (int64_t p = first_panel, together; p < last_panel; p += together) {
            together = tiles_.in_pairs() && p + 1 < last_panel && pairs_with_next(p) ? 2 : 1;
            const bool to_bytes = byte_tiles_.info != nullptr && outputs_[p + together - 1].count == 16;
            ByteTile of_panel[2];
            for (int64_t i = 0; i < together; ++i)
                of_panel[i] = {{nullptr, route.line.in_step * packed_.operand_bytes, route.runs[p + i].data(),
                                static_cast<int64_t>(route.runs[p + i].size()), packed_.data(packed_.panels[p + i]),
                                &bias_[channels * (p + i)], acc},
                               to_bytes ? epilogue_->block(first_block_[p + i]) : nullptr,
                               nullptr,
                               route.line.out_step};
            auto& [first, second] = of_panel;
            for (int64_t index = first_tile; index < last_tile;) {
                const int64_t line = index / route.tiles_per_line, first_of_line = line * route.tiles_per_line;
                const Loop start = route.start_of_line(line);
                const int64_t end_of_line = std::min(last_tile, first_of_line + route.tiles_per_line);
                const int64_t first_pixel = route.begin(index - first_of_line);
                int64_t pixel = first_pixel;
                for (int64_t i = 0; i < together; ++i) of_panel[i].tile.acc = acc + channels * kSinkPixels * i;
                for (; index < end_of_line && pixel + tiles_.max_rows <= first_pixel + kSinkPixels; ++index) {
                    const int64_t rows = route.begin(index + 1 - first_of_line) - pixel;
                    const int64_t offset = start.in_step + pixel * route.line.in_step - operands.base;
                    first.tile.operand = operands.bytes + offset * packed_.operand_bytes;
                    if (to_bytes) {
                        uint8_t* const out = route.bytes + start.out_step + pixel * route.line.out_step;
                        first.out = out + outputs_[p].first, second.out = first.out + 16;
                        together == 2 ? byte_tiles_.pair[rows](first, second) : byte_tiles_.run[rows](first);
                    } else {
                        together == 2 ? tiles_.pair[rows](first.tile, second.tile) : tiles_.run[rows](first.tile);
                    }
                    for (int64_t i = 0; i < together; ++i) of_panel[i].tile.acc += channels * rows;
                    pixel += rows;
                }
                for (int64_t i = 0; i < together && !to_bytes; ++i)
                    sink(p + i, acc + channels * kSinkPixels * i, pixel - first_pixel,
                         Spot(route.line, start, first_pixel));
            }
        }
    });
}

// Panels of one group go through the same runs where no flush cuts them: only such schemes have tiles for pairs.
bool Conv::pairs_with_next(int64_t panel) const {
    return packed_.panels[panel].first_input == packed_.panels[panel + 1].first_input;
}

// The same for strips: two rows of some pixels at a time, all panels in turn while their inputs are in the first cache.
template <class T, class Sink>
void Conv::run_strips(const ByteImages& in, const Halo& padding, const Images<T>& out, const ByteImages* stream,
                      int threads, const Sink& sink) const {
    const int64_t row_pairs = ceil_divide(out.height, 2),
                  strips = ceil_divide(out.width, kMaxStripPixels / spec_.stride_x);
    parallel_for(out.batch * row_pairs, threads, [&](int64_t task) {
        alignas(64) int32_t acc[2 * kMaxStripPixels * 16 + kAccumulatorSlack];
        const int64_t image = task / row_pairs, y = task % row_pairs * 2;
        for (int64_t index = 0; index < strips; ++index) {
            const int64_t x = index * out.width / strips, end = (index + 1) * out.width / strips;
            const uint8_t* from = in.pixel(image, y * spec_.stride_y - padding.top, x * spec_.stride_x - padding.left);
            Strip strip{from, in.row_stride, in.pixel_stride, spec_.stride_y, spec_.stride_x,
                        0,    end - x,       nullptr,         bias_.get(),    acc};
            strip.rows = std::min<int64_t>(2, out.height - y);
            for (size_t p = 0; p < packed_.panels.size(); ++p, strip.operand += 16, strip.bias += 16) {
                strip.panel = packed_.data(packed_.panels[p]);
                strip_->run(strip);
                for (int64_t row = 0; row < strip.rows; ++row)
                    sink(static_cast<int64_t>(p), acc + row * kMaxStripPixels * 16, strip.pixels,
                         Spot(out, stream, image, y + row, x, 1));
            }
        }
    });
}

template <class T, class Sink>
Conv::Bound Conv::bind_to(const ByteImages& in, const Halo& padding, int pad_byte, const Images<T>& out,
                          const ByteImages* stream, const Sink& sink) const {
    check(in, padding, pad_byte, out);
    if (strip_ != nullptr) return [=, &in, &out](int threads) { run_strips(in, padding, out, stream, threads, sink); };
    if (!winograd_)
        return [this, sink, route = route(in, padding, out, stream)](int threads) { run_tiles(route, threads, sink); };
    return [=, &in, &out](int threads) {
        const auto at_pixel = [&](int64_t panel, const int32_t* acc, int64_t rows, int64_t image, int64_t y,
                                  int64_t x) { sink(panel, acc, rows, Spot(out, stream, image, y, x, 2)); };
        winograd_->run(in, padding, out.height, out.width, threads, at_pixel);
    };
}

Conv::Bound Conv::bind(const ByteImages& in, const Halo& padding, int pad_byte, const ByteImages& out) const {
    require(epilogue_ != nullptr, "'", spec_.name, "': byte results need an epilogue");
    require(epilogue_->max_byte() <= out.max_byte, "'", spec_.name, "': results up to ", epilogue_->max_byte(),
            " do not fit an output of up to ", out.max_byte);
    const auto sink = [this, base = out.pixel(0, 0, 0)](int64_t panel, const int32_t* acc, int64_t rows,
                                                        const Spot& spot) {
        uint8_t* to = base + spot.out + outputs_[panel].first;
        for (int64_t n = 0; n < outputs_[panel].count; n += 16)
            epilogue_->apply(first_block_[panel] + n / 16, acc + n, panel_channels_, rows, to + n, spot.out_step);
    };
    return bind_to(in, padding, pad_byte, out, nullptr, sink);
}

Conv::Bound Conv::bind(const ByteImages& in, const Halo& padding, int pad_byte, const Int32Images& out) const {
    require(epilogue_ == nullptr, "'", spec_.name, "': accumulators cannot be had from behind an epilogue");
    const auto sink = [this, base = out.pixel(0, 0, 0)](int64_t panel, const int32_t* acc, int64_t rows,
                                                        const Spot& spot) {
        int32_t* to = base + spot.out + outputs_[panel].first;
        for (int64_t row = 0; row < rows; ++row)
            std::copy_n(acc + panel_channels_ * row, outputs_[panel].count, to + row * spot.out_step);
    };
    return bind_to<int32_t>(in, padding, pad_byte, out, nullptr, sink);
}

Conv::Bound Conv::bind(const ByteImages& in, const Halo& padding, int pad_byte, const Add& add,
                       const ByteImages& stream, const ByteImages& out) const {
    require(epilogue_ == nullptr, "'", spec_.name, "': an epilogue and an addition");
    require(spec_.groups == 1 || spec_.depthwise(), "'", spec_.name,
            "': panels of a grouped convolution are not the addition's blocks");
    add.check_accumulators(stream, out);
    const auto sink = [this, &add, base = out.pixel(0, 0, 0), other = stream.pixel(0, 0, 0)](
                          int64_t panel, const int32_t* acc, int64_t rows, const Spot& spot) {
        for (int64_t n = 0; n < outputs_[panel].count; n += 16) {
            const int64_t channel = outputs_[panel].first + n;
            add.apply(channel / 16, acc + n, panel_channels_, other + spot.stream + channel, spot.stream_step,
                      base + spot.out + channel, spot.out_step, rows);
        }
    };
    return bind_to(in, padding, pad_byte, out, &stream, sink);
}

}  // namespace intsim
