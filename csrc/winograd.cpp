#include "winograd.h"

#include <algorithm>
#include <cstdlib>

#include "check.h"
#include "flush_proof.h"
#include "scratch.h"
#include "threads.h"

namespace intsim {
namespace {

constexpr int kProductOfSums = 5;            // place (1, 1)
constexpr int64_t kStripBytes = 288 << 10;   // of transformed inputs: half of the second cache
constexpr int64_t kCachedBytes = 512 << 10;  // of all panels: as large as the second cache
constexpr int64_t kMostTiles = 64;           // of a strip: its sums of one panel are then 64 KiB

// W of one filter, row-major. The first and last row and column lack the factors that to_outputs has for them.
std::array<int64_t, Winograd::kPlaces> transform_filter(const ConvSpec& spec, int64_t out, int64_t in) {
    int64_t rows[4][3];
    for (int x = 0; x < 3; ++x) {
        const int64_t a = spec.weight(out, in, 0, x), b = spec.weight(out, in, 1, x), c = spec.weight(out, in, 2, x);
        rows[0][x] = a, rows[1][x] = a + b + c, rows[2][x] = a - b + c, rows[3][x] = c;
    }
    std::array<int64_t, Winograd::kPlaces> places;
    for (int y = 0; y < 4; ++y) {
        const auto [a, b, c] = rows[y];
        places[4 * y] = a, places[4 * y + 1] = a + b + c, places[4 * y + 2] = a - b + c, places[4 * y + 3] = c;
    }
    return places;
}

// Bytes in an odd number of cache lines: what is that far apart, 16 times, falls into different sets of the first
// cache.
int64_t odd_lines(int64_t bytes) { return ceil_divide(bytes, 64) * 64 | 64; }

}  // namespace

std::unique_ptr<Winograd> Winograd::make(const ConvSpec& spec, const Bounds& bounds) {
    const bool shape = spec.groups == 1 && spec.kernel_height == 3 && spec.kernel_width == 3 && spec.stride_y == 1 &&
                       spec.stride_x == 1 && spec.dilation_y == 1 && spec.dilation_x == 1;
    if (!shape) return nullptr;
    for (int64_t out = 0; out < spec.out_channels; ++out)
        if (!fits_int32(4 * bounds.low[out]) || !fits_int32(4 * bounds.high[out])) return nullptr;

    std::unique_ptr<Winograd> winograd(new Winograd);
    winograd->in_channels_ = spec.in_channels;
    winograd->transforms_ = &find_winograd();
    const bool bytes = spec.act_bits <= 6 && winograd->pack_places(spec, false);
    if (!bytes && !winograd->pack_places(spec, true)) return nullptr;
    winograd->cycles_ = winograd->estimate();
    return winograd;
}

// One 1x1 convolution for each place; false where some weight or sum of one does not fit.
bool Winograd::pack_places(const ConvSpec& spec, bool words) {
    const int64_t amax = (int64_t{1} << spec.act_bits) - 1;
    words_ = words, move_ = words ? 0 : 2 * amax;
    std::vector<SchemeCost> costs;  // of those that multiply words, or bytes as they are
    for (const SchemeCost& cost : scheme_costs())
        if (!is_lut(cost.scheme) && (cost.scheme == Scheme::kW16) == words) costs.push_back(cost);

    std::array<std::vector<int64_t>, kPlaces> weights;
    for (auto& of_place : weights) of_place.resize(static_cast<size_t>(spec.out_channels * spec.in_channels));
    size_t filter = 0;
    for (int64_t out = 0; out < spec.out_channels; ++out)
        for (int64_t in = 0; in < spec.in_channels; ++in, ++filter) {
            const auto places = transform_filter(spec, out, in);
            for (int place = 0; place < kPlaces; ++place) weights[place][filter] = places[place];
        }

    outputs_ = blocks_of_channels(spec.out_channels);
    const int64_t panels = static_cast<int64_t>(outputs_.size());
    start_ = allocate_aligned<int32_t>(kPlaces * panels * 16);
    std::fill_n(start_.get(), kPlaces * panels * 16, 0);
    for (int place = 0; place < kPlaces; ++place) {
        for (int64_t out = 0; out < spec.out_channels; ++out) {
            const int64_t* row = &weights[place][out * spec.in_channels];
            int64_t sum = 0, magnitude = 0;
            for (int64_t in = 0; in < spec.in_channels; ++in) sum += row[in], magnitude += std::abs(row[in]);
            if (!fits_int32(magnitude * 4 * amax * 2)) return false;  // portable kernels must not overflow either
            // The product of two sums is never moved, and goes into all four outputs once: it starts with the bias.
            const int64_t start = place == kProductOfSums ? 4 * spec.bias[out] : -move_ * sum;
            start_[16 * panels * place + out] = static_cast<int32_t>(static_cast<uint32_t>(start));
        }
        const ConvSpec product{spec.name,
                               spec.out_channels,
                               spec.in_channels,
                               1,
                               1,
                               1,
                               1,
                               1,
                               1,
                               1,
                               words ? 8 : spec.act_bits + 2,
                               std::move(weights[place]),
                               std::vector<int64_t>(static_cast<size_t>(spec.out_channels))};
        std::optional<PackedWeights> best = pack_fastest(product, costs);
        if (!best) return false;
        tiles_[place] = find_tiles(TileOp::kGemm, best->scheme);
        runs_[place].clear();
        for (const Panel& panel : best->panels) {
            std::vector<Run>& runs = runs_[place].emplace_back();
            for (const PackedRun& run : panel.runs) runs.push_back({run.skip, run.length, run.flush});
        }
        packed_[place] = std::move(*best);
    }
    in_pairs_ = std::all_of(tiles_.begin(), tiles_.end(), [](const TileKernels& tiles) { return tiles.in_pairs(); });
    int64_t bytes = 0;
    for (const PackedWeights& packed : packed_) bytes += packed.bytes();
    streams_ = bytes >= kCachedBytes;
    return true;
}

double Winograd::estimate() const {
    const WinogradCost& cost = transforms_->cost;
    const double panels = static_cast<double>(outputs_.size());
    const double vectors = static_cast<double>(ceil_divide(in_channels_, 16));
    double cycles = 6 * vectors * cost.input + panels * (kPlaces * cost.tile + 6 * cost.output);
    for (const PackedWeights& packed : packed_) cycles += packed.cycles;
    return cycles / 4;  // 6 tiles are 24 pixels
}

int64_t Winograd::flushes() const {
    int64_t sum = 0;
    for (const PackedWeights& packed : packed_) sum += packed.flushes;
    return sum;
}

int64_t Winograd::quads() const {
    int64_t sum = 0;
    for (const PackedWeights& packed : packed_) sum += packed.quads;
    return sum;
}

// D of tiles first..last, [place][tile][channels].
void Winograd::transform_inputs(const ByteImages& in, const Halo& padding, int64_t tile_rows, int64_t tiles_per_row,
                                int64_t first, int64_t last, char* to, int64_t place_bytes) const {
    const auto transform = words_ ? transforms_->to_words : transforms_->to_bytes;
    const int64_t row_bytes = round_up(in_channels_, 16) * (words_ ? 2 : 1);
    // The last tile of an odd extent reaches beyond the halo, where outputs that do not exist take any pixel.
    const int64_t last_y = in.height + in.halo.bottom - 1, last_x = in.width + in.halo.right - 1;
    for (int64_t tile = first; tile < last; ++tile, to += row_bytes) {
        const int64_t image = tile / (tile_rows * tiles_per_row);
        const int64_t top = tile / tiles_per_row % tile_rows * 2 - padding.top;
        const int64_t left = tile % tiles_per_row * 2 - padding.left;
        WinogradInput args{{}, in_channels_, static_cast<int32_t>(move_), to, place_bytes};
        int64_t columns[4];
        for (int x = 0; x < 4; ++x) columns[x] = std::min(left + x, last_x) * in.pixel_stride;
        for (int y = 0; y < 4; ++y) {
            const uint8_t* row = in.pixel(image, std::min(top + y, last_y), 0);
            for (int x = 0; x < 4; ++x) args.pixels[y][x] = row + columns[x];
        }
        transform(args);
    }
}

void Winograd::run(const ByteImages& in, const Halo& padding, int64_t height, int64_t width, int threads,
                   const Sink& sink) const {
    const int64_t tile_rows = ceil_divide(height, 2), tiles_per_row = ceil_divide(width, 2);
    const int64_t tiles = in.batch * tile_rows * tiles_per_row;
    const int64_t row_bytes = round_up(in_channels_, 16) * (words_ ? 2 : 1);
    const int64_t panels = static_cast<int64_t>(outputs_.size());

    int64_t strip = std::clamp<int64_t>(kStripBytes / (kPlaces * row_bytes), tiles_[0].max_rows, kMostTiles);
    if (threads > 1) strip = std::clamp<int64_t>(ceil_divide(tiles, 4 * threads), std::min<int64_t>(strip, 12), strip);
    const int64_t strips = ceil_divide(tiles, strip);
    const int64_t panel_ranges = threads > 1 ? std::clamp<int64_t>(2 * threads / strips, 1, panels) : 1;

    parallel_for(strips * panel_ranges, threads, [&](int64_t task) {
        const int64_t first = task / panel_ranges * tiles / strips, last = (task / panel_ranges + 1) * tiles / strips;
        const int64_t range = task % panel_ranges, count = last - first;
        const int64_t place_bytes = odd_lines(count * row_bytes), sums_step = odd_lines(16 * count * 4) / 4;
        const int64_t sums_bytes = kPlaces * sums_step * 4, acc_bytes = 4 * sums_step * 4;
        char* memory = scratch(2 * sums_bytes + acc_bytes + kPlaces * place_bytes + kReadableSlack);
        int32_t* sums = reinterpret_cast<int32_t*>(memory);  // of both panels of a pair
        int32_t* acc = reinterpret_cast<int32_t*>(memory + 2 * sums_bytes);
        char* inputs = memory + 2 * sums_bytes + acc_bytes;
        transform_inputs(in, padding, tile_rows, tiles_per_row, first, last, inputs, place_bytes);

        const int64_t last_panel = (range + 1) * panels / panel_ranges;
        for (int64_t p = range * panels / panel_ranges, together; p < last_panel; p += together) {
            together = in_pairs_ && p + 1 < last_panel ? 2 : 1;
            for (int place = 0; place < kPlaces; ++place) {
                const TileKernels& kernels = tiles_[place];
                const std::vector<Run>& runs = runs_[place][p];
                const int64_t groups = ceil_divide(count, kernels.max_rows);
                const char* weights = panel(place, p);
                const bool last_place = place + 1 == kPlaces;
                const char* next = last_place ? panel(0, std::min(p + together, panels - 1)) : panel(place + 1, p);
                for (int64_t group = 0; group < groups; ++group) {
                    const int64_t begin = group * count / groups, rows = (group + 1) * count / groups - begin;
                    const Tile tile{inputs + place * place_bytes + begin * row_bytes,
                                    row_bytes,
                                    runs.data(),
                                    static_cast<int64_t>(runs.size()),
                                    weights,
                                    &start_[16 * (panels * place + p)],
                                    sums + place * sums_step + 16 * begin,
                                    streams_ ? next - weights : 0};
                    if (together == 1) {
                        kernels.run[rows](tile);
                        continue;
                    }
                    Tile beside = tile;
                    beside.panel = panel(place, p + 1), beside.bias += 16, beside.acc += kPlaces * sums_step;
                    kernels.pair[rows](tile, beside);
                }
            }
            for (int64_t i = 0; i < together; ++i) {
                transforms_->to_outputs({sums + i * kPlaces * sums_step, sums_step, count, acc, sums_step});
                for (int64_t tile = first; tile < last;) {  // line by line
                    const int64_t tile_x = tile % tiles_per_row, tile_y = tile / tiles_per_row % tile_rows;
                    const int64_t image = tile / (tile_rows * tiles_per_row);
                    const int64_t end = std::min(last, tile - tile_x + tiles_per_row);
                    for (int output = 0; output < 4; ++output) {
                        const int64_t y = 2 * tile_y + output / 2, x = 2 * tile_x + output % 2;
                        const int64_t rows = std::min(end - tile, ceil_divide(width - x, 2));
                        if (y < height && rows > 0)
                            sink(p + i, acc + output * sums_step + 16 * (tile - first), rows, image, y, x);
                    }
                    tile = end;
                }
            }
        }
    });
}

}  // namespace intsim
