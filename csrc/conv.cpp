#include "conv.h"

#include <algorithm>

#include "check.h"
#include "scratch.h"
#include "threads.h"

namespace intsim {
namespace {

// Pixels per task: enough that a panel, once in the first cache, is used often; few enough that their inputs stay in
// the second one.
constexpr int64_t kTaskPixels = 192;

// Pixels whose accumulators wait for their epilogue in the first cache.
constexpr int64_t kSinkPixels = 48;

}  // namespace

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
    if (packed_.operand_bytes != 1) make_operands_ = find_operands(packed_.scheme).run;
    for (const Panel& panel : packed_.panels) outputs_.push_back(panel.outputs);
    panel_channels_ = packed_.panel_channels;
}

// Both images, and the stream, in loops from images to pixels of a row.
template <class T>
Route Conv::route(const ByteImages& in, const Halo& padding, const Images<T>& out, const ByteImages* stream) const {
    return Route(in, in.pixel(0, -padding.top, -padding.left),
                 {{in.batch, in.image_stride, out.image_stride, stream ? stream->image_stride : 0},
                  {out.height, spec_.stride_y * in.row_stride, out.row_stride, stream ? stream->row_stride : 0},
                  {out.width, spec_.stride_x * in.pixel_stride, out.pixel_stride, stream ? stream->pixel_stride : 0}},
                 tiles_.max_rows, spec_, packed_);
}

// Tiles [first, last) of one task and their operands, from byte `base` of them on, counted from the first tap.
struct Conv::Stretch {
    int64_t first, last;
    const char* operands;
    int64_t base;
};

// All operands are prepared at once. Lines may overlap and even step back, as images share their halos, so any of them
// may start first or end last.
Conv::Stretch Conv::stretch_of(const Route& route, int64_t first_tile, int64_t last_tile) const {
    if (make_operands_ == nullptr) return {first_tile, last_tile, reinterpret_cast<const char*>(route.in), 0};
    int64_t first = INT64_MAX, last = INT64_MIN;
    for (int64_t tile = first_tile; tile < last_tile;) {
        const int64_t line = tile / route.tiles_per_line, first_of_line = line * route.tiles_per_line;
        const int64_t end = std::min(last_tile, first_of_line + route.tiles_per_line);
        const int64_t start = route.start_of_line(line).in_step;
        first = std::min(first, start + route.begin(tile - first_of_line) * route.line.in_step);
        last = std::max(last, start + (route.begin(end - first_of_line) - 1) * route.line.in_step);
        tile = end;
    }
    const int64_t bytes = last + route.reach - first;
    const auto [input, operands] = route.ratio;
    char* prepared = scratch(bytes);
    make_operands_(
        {route.in + first / operands * input, prepared, ceil_divide(bytes, operands) * input, spec_.depth(), input});
    return {first_tile, last_tile, prepared, first};
}

// Computes every tile and gives it to sink(panel, acc, pixels, spot), but where there are tiles that end in bytes: these
// are written from `bytes` on.
template <class Sink>
void Conv::run_tiles(const Route& route, uint8_t* bytes, int threads, const Sink& sink) const {
    const int64_t rows_per_tile = ceil_divide(route.line.count, route.tiles_per_line);
    const int64_t panel_count = static_cast<int64_t>(packed_.panels.size());
    int64_t tiles_per_task = std::max<int64_t>(1, kTaskPixels / rows_per_tile);
    if (threads > 1)  // some tasks for every thread, so that none waits long at the end
        tiles_per_task = std::clamp<int64_t>(ceil_divide(route.tile_count, 4 * threads), 1, tiles_per_task);
    const int64_t stretches = ceil_divide(route.tile_count, tiles_per_task);
    const int64_t panel_ranges = threads > 1 ? std::clamp<int64_t>(2 * threads / stretches, 1, panel_count) : 1;

    parallel_for(stretches * panel_ranges, threads, [&](int64_t task) {
        const int64_t first_tile = task / panel_ranges * tiles_per_task, range = task % panel_ranges;
        const Stretch stretch = stretch_of(route, first_tile, std::min(route.tile_count, first_tile + tiles_per_task));
        const int64_t last_panel = (range + 1) * panel_count / panel_ranges;
        for (int64_t panel = range * panel_count / panel_ranges; panel < last_panel;) {
            const bool pair = tiles_.in_pairs() && panel + 1 < last_panel && pairs_with_next(panel);
            run_panels(route, stretch, panel, pair ? 2 : 1, bytes, sink);
            panel += pair ? 2 : 1;
        }
    });
}

// One panel or a pair of them. Tiles of a line follow each other in acc, so that one call of the sink serves many; those
// of the second panel come behind all of the first one's.
template <class Sink>
void Conv::run_panels(const Route& route, const Stretch& stretch, int64_t panel, int64_t count, uint8_t* bytes,
                      const Sink& sink) const {
    alignas(64) int32_t acc[2 * kSinkPixels * kMaxTileChannels + kAccumulatorSlack];
    const int64_t channels = panel_channels_;
    const bool to_bytes = byte_tiles_.info != nullptr && outputs_[panel + count - 1].count == 16;
    ByteTile tiles[2];
    for (int64_t i = 0; i < count; ++i) {
        const std::vector<Run>& runs = route.runs[panel + i];
        tiles[i].tile = {nullptr,
                         route.line.in_step,
                         runs.data(),
                         static_cast<int64_t>(runs.size()),
                         packed_.data(packed_.panels[panel + i]),
                         &bias_[channels * (panel + i)],
                         acc};
        if (to_bytes) tiles[i].block = epilogue_->block(first_block_[panel + i]);
        tiles[i].out_stride = route.line.out_step;
    }
    auto& [first, second] = tiles;
    for (int64_t index = stretch.first; index < stretch.last;) {
        const int64_t line = index / route.tiles_per_line, first_of_line = line * route.tiles_per_line;
        const Loop start = route.start_of_line(line);
        const int64_t end_of_line = std::min(stretch.last, first_of_line + route.tiles_per_line);
        const int64_t first_pixel = route.begin(index - first_of_line);
        int64_t pixel = first_pixel;
        for (int64_t i = 0; i < count; ++i) tiles[i].tile.acc = acc + channels * kSinkPixels * i;
        for (; index < end_of_line && pixel + tiles_.max_rows <= first_pixel + kSinkPixels; ++index) {
            const int64_t rows = route.begin(index + 1 - first_of_line) - pixel;
            first.tile.operand = stretch.operands + start.in_step + pixel * route.line.in_step - stretch.base;
            if (to_bytes) {
                uint8_t* const out = bytes + start.out_step + pixel * route.line.out_step;
                first.out = out + outputs_[panel].first, second.out = first.out + 16;
                count == 2 ? byte_tiles_.pair[rows](first, second) : byte_tiles_.run[rows](first);
            } else {
                count == 2 ? tiles_.pair[rows](first.tile, second.tile) : tiles_.run[rows](first.tile);
            }
            for (int64_t i = 0; i < count; ++i) tiles[i].tile.acc += channels * rows;
            pixel += rows;
        }
        for (int64_t i = 0; i < count && !to_bytes; ++i)
            sink(panel + i, acc + channels * kSinkPixels * i, pixel - first_pixel,
                 Spot(route.line, start, first_pixel));
    }
}

// Panels of one group go through the same runs where no flush cuts them, or all at the same places: only such schemes
// have tiles for pairs.
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
    const auto [batch, height, width, channels] = output_of(spec_, in, padding, pad_byte);
    require(out.batch == batch && out.height == height && out.width == width && out.channels == channels, "'",
            spec_.name, "': output is ", out.batch, "x", out.height, "x", out.width, "x", out.channels, ", expected ",
            batch, "x", height, "x", width, "x", channels);
    if (strip_ != nullptr) return [=, &in, &out](int threads) { run_strips(in, padding, out, stream, threads, sink); };
    if (!winograd_) {
        uint8_t* bytes = nullptr;
        if constexpr (sizeof(T) == 1) bytes = out.pixel(0, 0, 0);
        return [this, sink, bytes, route = route(in, padding, out, stream)](int threads) {
            run_tiles(route, bytes, threads, sink);
        };
    }
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
