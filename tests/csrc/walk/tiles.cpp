// Convolutions through every tile, strip and transform, against the definition.

#include <algorithm>

#include "../../../csrc/conv.h"
#include "walk.h"

namespace intsim {

// What a layer's numbers are: random, or where sums are largest in size.
enum class Numbers { kRandom, kAllLeast, kAllMost, kAlternating };
constexpr Numbers kNumbers[] = {Numbers::kRandom, Numbers::kAllLeast, Numbers::kAllMost, Numbers::kAlternating};

struct Layer {
    int64_t outputs, inputs, groups, kernel_height, kernel_width, stride, height, width;
    int act_bits, weight_bits;
    Numbers numbers;
    std::optional<Scheme> scheme;
    Method method = Method::kFastest;
    const KernelInfo* met = nullptr;  // the row that it is for; without one, the widths decide whether a layer is exact
};

namespace {

bool odd(const Layer& layer) { return layer.scheme == Scheme::kLutSign || layer.scheme == Scheme::kLutOdd; }

// All that fit their widths are exact in these schemes, strips and depthwise tiles.
bool always_exact(const Layer& layer) {
    return layer.groups > 1 || layer.scheme == Scheme::kDot || layer.scheme == Scheme::kW16 ||
           layer.scheme == Scheme::kW16X8;
}

int64_t plain_sum(const ConvSpec& spec, const ByteImages& in, int64_t out, int64_t y, int64_t x) {
    int64_t sum = spec.bias[static_cast<size_t>(out)];
    const int64_t first = out / (spec.out_channels / spec.groups) * spec.depth();
    for (int64_t tap_y = 0; tap_y < spec.kernel_height; ++tap_y)
        for (int64_t tap_x = 0; tap_x < spec.kernel_width; ++tap_x) {
            const uint8_t* pixel = in.pixel(0, y * spec.stride_y + tap_y, x * spec.stride_x + tap_x);
            for (int64_t c = 0; c < spec.depth(); ++c) sum += spec.weight(out, c, tap_y, tap_x) * pixel[first + c];
        }
    return sum;
}

}  // namespace

ConvSpec Walk::spec_of(const Layer& layer) {
    const int64_t most =
        odd(layer) ? (int64_t{1} << layer.weight_bits) - 1 : (int64_t{1} << (layer.weight_bits - 1)) - 1;
    const int64_t least = odd(layer) ? -most : -most - 1;
    ConvSpec spec{"layer",
                  layer.outputs,
                  layer.inputs,
                  layer.groups,
                  layer.kernel_height,
                  layer.kernel_width,
                  layer.stride,
                  layer.stride,
                  1,
                  1,
                  layer.act_bits,
                  {},
                  {}};
    for (int64_t i = 0; i < spec.out_channels * spec.depth() * spec.kernel_height * spec.kernel_width; ++i) {
        int64_t weight = odd(layer) ? 2 * draw(0, most) - most : draw(least, most);
        if (layer.numbers == Numbers::kAllLeast) weight = least;
        if (layer.numbers == Numbers::kAllMost) weight = most;
        if (layer.numbers == Numbers::kAlternating) weight = i / 2 % 2 ? least : most;
        spec.weights.push_back(weight);
    }
    for (int64_t i = 0; i < spec.out_channels; ++i) spec.bias.push_back(draw(-70000, 70000));
    return spec;
}

ByteImages Walk::input_of(const Layer& layer) {
    const int64_t amax = (int64_t{1} << layer.act_bits) - 1;
    ByteImages in({1, layer.height, layer.width, layer.inputs}, layer.act_bits, {}, 0);
    for (int64_t y = 0; y < in.height; ++y)
        for (int64_t i = 0; i < in.width * in.pixel_stride; ++i)  // the channels' padding holds anything
            in.pixel(0, y, 0)[i] = static_cast<uint8_t>(layer.numbers == Numbers::kRandom ? draw(0, amax) : amax);
    return in;
}

void Walk::convolve(const Layer& layer) {
    const ConvSpec spec = spec_of(layer);
    const ByteImages in = input_of(layer);
    std::unique_ptr<Conv> conv;
    try {
        conv = std::make_unique<Conv>(spec, nullptr, layer.scheme, layer.method);
    } catch (const std::invalid_argument& refused) {
        if (always_exact(layer)) throw;
        return;
    }
    Int32Images out({1, (in.height - spec.kernel_height) / layer.stride + 1,
                     (in.width - spec.kernel_width) / layer.stride + 1, spec.out_channels});
    conv->bind(in, {}, 0, out)(1);
    for (int64_t y = 0; y < out.height; ++y)
        for (int64_t x = 0; x < out.width; ++x)
            for (int64_t n = 0; n < spec.out_channels; ++n)
                expect(out.pixel(0, y, x)[n], plain_sum(spec, in, n, y, x), conv->kernel().name, " at ",
                       layer.weight_bits, "/", layer.act_bits, " bits, ", layer.inputs, " to ", layer.outputs,
                       " channels, output ", y, ", ", x, ", ", n);
    if (layer.met == nullptr) return;
    met(*layer.met);
    for (int i = 0; layer.outputs > 2 * layer.met->nr && table_->tile_pairs != nullptr && i < table_->tile_pairs->count;
         ++i) {
        const TilePairRow& pair = table_->tile_pairs->first[i];
        if (pair.scheme == layer.scheme && pair.info.mr == layer.met->mr) met(pair.info);
    }
}

void Walk::tiles() {
    for (const Rows<TileRow>* rows : {table_->gemm, table_->depthwise})
        for (int i = 0; rows != nullptr && i < rows->count; ++i) {
            const TileRow& row = rows->first[i];
            const bool gemm = rows == table_->gemm;
            for (int weight_bits = 1; weight_bits <= row.info.weight_bits; ++weight_bits)
                for (int act_bits = 1; act_bits <= 8; ++act_bits)
                    for (const Numbers numbers : kNumbers) {
                        // A line of as many pixels as the tile has rows; channels and depths beside whole vectors.
                        // Where there are tiles for pairs of panels, two are one, and the third has its own.
                        const int64_t outputs = 2 * row.info.nr + 2;
                        Layer layer{outputs,         24,       1,           1,       3,         1, 1,
                                    row.info.mr + 2, act_bits, weight_bits, numbers, row.scheme};
                        layer.met = &row.info;
                        if (!gemm) layer.outputs = layer.groups = layer.inputs, layer.kernel_height = layer.height = 2;
                        convolve(layer);
                    }
            // Depths of 1 quad to 9, in rows of their own, and so deep that narrow sums overflow again and again.
            const int weight_bits = row.info.weight_bits;
            for (int64_t depth : {1, 4, 7, 8, 12, 16, 24, 33, 2000}) {
                Layer layer{row.info.nr + 1,  depth,     1, 2, 1, 1, 2, row.info.mr, 2, weight_bits,
                            Numbers::kRandom, row.scheme};
                if (!gemm) layer.outputs = layer.groups = depth = std::min<int64_t>(depth, 50), layer.inputs = depth;
                for (layer.act_bits = 2; layer.act_bits <= 8; layer.act_bits += 3)
                    if (gemm || depth > 1) convolve(layer);
            }
            // Dense pixels: runs that end within a quad, and within a pair.
            for (int64_t inputs : {1, 2, 3})
                for (int act_bits : {2, 5, 8}) {
                    Layer layer{row.info.nr + 1, inputs,           1,         2, 7, 2, 3, 2 * row.info.mr + 5, act_bits,
                                weight_bits,     Numbers::kRandom, row.scheme};
                    if (gemm) convolve(layer);
                }
        }
    for (int i = 0; table_->strips != nullptr && i < table_->strips->count; ++i)
        for (int64_t stride : {1, 2})
            for (int64_t width : {3, 4, 35, 70})
                for (const Numbers numbers : kNumbers)
                    for (const int bits : {4, 8}) {  // a16 has no room for 8
                        const StripRow& row = table_->strips->first[i];
                        if (row.scheme == Scheme::kA16 && bits == 8) continue;
                        Layer layer{21, 21, 21, 3, 3, stride, 6, width, bits, bits, numbers, row.scheme};
                        layer.met = &row.info;
                        convolve(layer);
                    }
    for (int i = 0; table_->operands != nullptr && i < table_->operands->count; ++i)
        met(table_->operands->first[i].info);  // by the layers whose scheme needs them
}

namespace {

// What a tile ends in, for sums of `spec`: evenly spaced thresholds, a few uneven ones, or multipliers.
EpilogueSpec epilogue_of(EpilogueKind kind, const ConvSpec& spec) {
    if (kind == EpilogueKind::kHighWord) {
        ScaleSpec scale{{}, {}, 7 - (1518500249 >> 12), false, Rounding::kHalfUp, 0, 15, {4, 0}};
        for (int64_t n = 0; n < spec.out_channels; ++n)
            scale.multiplier.push_back(1518500249 + n), scale.shift.push_back(38);
        return scale;
    }
    const int64_t count = kind == EpilogueKind::kLine ? 15 : 3;
    ThresholdSpec thresholds{count, {}, {}, {}, {}, {4, 0}};
    for (int64_t n = 0; n < spec.out_channels; ++n) {
        thresholds.base.push_back(0), thresholds.strict.push_back(true);
        thresholds.descending.push_back(n % 3 == 0);
        for (int64_t k = 0; k < count; ++k) {
            const int64_t place = kind == EpilogueKind::kLine ? k - count / 2 : k * k - 1;
            thresholds.thresholds.push_back(spec.bias[static_cast<size_t>(n)] + place * 7 * spec.depth() + n);
        }
    }
    return thresholds;
}

int64_t plain_code(const EpilogueSpec& epilogue, int64_t n, int64_t sum) {
    if (const auto* scale = std::get_if<ScaleSpec>(&epilogue)) {
        const size_t channel = static_cast<size_t>(n);
        const Wide code = plain_scale(Wide{scale->multiplier[channel]} * sum, scale->shift[channel], scale->rounding,
                                      scale->zero_point, false);
        return static_cast<int64_t>(std::clamp<Wide>(code, scale->low, scale->high));
    }
    const ThresholdSpec& spec = std::get<ThresholdSpec>(epilogue);
    int64_t reached = 0;
    for (int64_t k = 0; k < spec.count; ++k) {
        const int64_t threshold = spec.thresholds[static_cast<size_t>(spec.count * n + k)];
        reached += spec.descending[static_cast<size_t>(n)] ? sum < threshold : sum > threshold;
    }
    return reached;
}

}  // namespace

// Sums of 4/4 bits in lines of as many pixels as the tile has rows, three panels of which the last one is whole or a
// tail.
void Walk::byte_tiles() {
    for (int i = 0; table_->byte_tiles != nullptr && i < table_->byte_tiles->count; ++i)
        for (const Numbers numbers : kNumbers)
            for (const auto& [depth, outputs] : {std::pair<int64_t, int64_t>{3, 37}, {24, 48}, {67, 37}}) {
                const ByteTileRow& row = table_->byte_tiles->first[i];
                const Layer layer{outputs, depth, 1, 2, 1, 1, 4, row.info.mr, 4, 4, numbers, row.scheme};
                ConvSpec spec = spec_of(layer);
                for (int64_t& bias : spec.bias)  // within or beyond what thresholds of 16 bits or float32 can be
                    bias = row.epilogue == EpilogueKind::kThreshold32 ? bias + (1 << 20)
                           : row.epilogue == EpilogueKind::kHighWord  ? bias / 8 + (1 << 26)
                                                                      : bias / 8;
                const ByteImages in = input_of(layer);
                const EpilogueSpec epilogue = epilogue_of(row.epilogue, spec);
                const Conv conv(spec, &epilogue, row.scheme);
                const ByteImages out({1, 3, in.width, outputs}, 4, {1, 1, 1, 1}, 0);  // so that lines do not merge
                conv.bind(in, {}, 0, out)(1);
                for (int64_t y = 0; y < out.height; ++y)
                    for (int64_t x = 0; x < out.width; ++x)
                        for (int64_t n = 0; n < outputs; ++n)
                            expect(out.pixel(0, y, x)[n], plain_code(epilogue, n, plain_sum(spec, in, n, y, x)),
                                   conv.kernel().name, " of depth ", depth, ", output ", y, ", ", x, ", ", n);
                if (std::string(conv.kernel().op) != row.info.op) continue;
                met(row.info);
                for (int k = 0; table_->byte_tile_pairs != nullptr && k < table_->byte_tile_pairs->count; ++k) {
                    const ByteTilePairRow& pair = table_->byte_tile_pairs->first[k];
                    if (pair.scheme == row.scheme && pair.epilogue == row.epilogue && pair.info.mr == row.info.mr)
                        met(pair.info);
                }
            }
}

void Walk::transforms() {
    for (int i = 0; table_->winograd != nullptr && i < table_->winograd->count; ++i)
        for (int bits : {2, 4, 6, 8})
            for (const Numbers numbers : kNumbers) {
                Layer layer{
                    18, 21, 1, 3, 3, 1, 7, 9, bits, std::min(bits, 5), numbers, std::nullopt, Method::kWinograd};
                layer.met = &table_->winograd->first[i].info;
                convolve(layer);
            }
}

void Walk::roof() {
    for (int i = 0; table_->roof != nullptr && i < table_->roof->count; ++i) {
        const TileRow& row = table_->roof->first[i];
        constexpr int64_t kDepth = 20;
        const Run run{0, kDepth / 4, kFlushAll};
        // One panel of 16 channels behind the other, and so the sums.
        alignas(64) float operand[kMaxTileRows][kDepth], panel[2][kDepth][16], acc[2 * kMaxTileRows][16];
        for (auto& line : operand)
            for (float& value : line) value = static_cast<float>(draw(-9, 9));
        for (auto& of_panel : panel)
            for (auto& line : of_panel)
                for (float& value : line) value = static_cast<float>(draw(-9, 9));
        row.run({operand, sizeof operand[0], &run, 1, panel, nullptr, reinterpret_cast<int32_t*>(acc)});
        for (int64_t at = 0; at < row.info.mr * row.info.nr; ++at) {
            const int64_t line = at / 16 % row.info.mr, of_panel = at / 16 / row.info.mr;
            float sum = 0;
            for (int64_t k = 0; k < kDepth; ++k) sum += operand[line][k] * panel[of_panel][k][at % 16];
            expect(static_cast<Wide>(acc[at / 16][at % 16]), static_cast<Wide>(sum), row.info.name);
        }
        met(row.info);
    }
}

}  // namespace intsim
