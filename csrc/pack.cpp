#include "pack.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "check.h"
#include "dispatch.h"
#include "flush_proof.h"

namespace intsim {
namespace {

// Of the instruction set in use; nothing for a scheme that is only taken where it is forced.
SchemeCost cost_of(Scheme scheme) {
    for (const SchemeCost& cost : scheme_costs())
        if (cost.scheme == scheme) return cost;
    return {scheme, 0, 0, 0, 0, 0};
}

// Panels of so many bytes do not stay in the second cache: reading them takes longer than widening denser ones.
constexpr int64_t kStreamed = 1 << 18;

// Whether an instruction set that has tiles of one scheme has the other, so that the second one is not the portable
// kernel.
bool same_isa(Scheme a, Scheme b) {
    const auto isa = [](Scheme scheme) { return std::string(find_tiles(TileOp::kGemm, scheme).info->isa); };
    return isa(a) == isa(b);
}

// One stretch of contiguous bytes in the input, before it is cut by flushes.
struct Segment {
    int64_t filter_y, filter_x, bytes;
};

std::vector<Segment> segments_of(const ConvSpec& spec) {
    std::vector<Segment> segments;
    const bool contiguous = spec.groups == 1 && spec.dilation_x == 1;
    for (int64_t y = 0; y < spec.kernel_height; ++y) {
        if (contiguous) {
            segments.push_back({y, 0, spec.kernel_width * padded_channels(spec.depth())});
            continue;
        }
        for (int64_t x = 0; x < spec.kernel_width; ++x) segments.push_back({y, x, spec.depth()});
    }
    return segments;
}

std::vector<ChannelBlock> panel_outputs(const ConvSpec& spec, int64_t size) {
    const int64_t per_group = spec.out_channels / spec.groups;
    std::vector<ChannelBlock> panels;
    for (int64_t group = 0; group < spec.groups; ++group)
        for (const ChannelBlock& block : blocks_of_channels(per_group, size))
            panels.push_back({group * per_group + block.first, block.count});
    return panels;
}

bool fits_strips(const ConvSpec& spec) {
    return spec.depthwise() && spec.kernel_height == 3 && spec.kernel_width == 3 && spec.dilation_y == 1 &&
           spec.dilation_x == 1 && spec.stride_y <= 2 && spec.stride_x <= 2;
}

}  // namespace

class Packer {
public:
    Packer(const ConvSpec& spec, Scheme scheme) : spec_(spec), scheme_(scheme), cost_(cost_of(scheme)) {}

    std::optional<PackedWeights> dense() {
        const bool lut = is_lut(scheme_);
        const bool words = is_w16(scheme_);
        const int64_t limit = lut ? 2 : scheme_ == Scheme::kA16X4 ? 8 : scheme_ == Scheme::kW16 ? 32768 : 128;
        if (is_signed_lut(scheme_)) {
            if (!fits_signed_lut()) return std::nullopt;
        } else if (!weights_within(-limit, limit - 1)) {
            return std::nullopt;
        }
        // Neither groups nor dense pixels share tables.
        if (lut && spec_.depth() % 4 != 0 && (spec_.groups > 1 || spec_.depth() < 4)) return std::nullopt;
        packed_.op = TileOp::kGemm, packed_.scheme = scheme_;
        packed_.operand_bytes = lut ? 4 : words ? 2 : 1;
        packed_.panel_channels = lut ? 32 : 16;

        segments_ = segments_of(spec_);
        int64_t quads = 0, steps = 0;
        for (const Segment& segment : segments_)
            quads += ceil_divide(segment.bytes, 4), steps += ceil_divide(segment.bytes, k_per_step(scheme_));
        const std::vector<ChannelBlock> outputs = panel_outputs(spec_, packed_.panel_channels);
        const int64_t panel_bytes = steps * step_bytes() + (scheme_ == Scheme::kDot ? 64 : 0);
        allocate(panel_bytes * static_cast<int64_t>(outputs.size()));
        for (size_t i = 0; i < outputs.size(); ++i) {
            const int64_t group = outputs[i].first / (spec_.out_channels / spec_.groups);
            Panel panel{outputs[i], group * spec_.depth(), {}, static_cast<int64_t>(i) * panel_bytes};
            if (!fill_dense(panel)) return std::nullopt;
            for (const PackedRun& run : panel.runs) packed_.flushes += run.flush != kNoFlush;
            packed_.quads += quads;
            packed_.cycles += cycles_of(panel);
            packed_.panels.push_back(std::move(panel));
        }
        if (lut) packed_.cycles += table_cycles();
        return std::move(packed_);
    }

    // Each filter column's rows, once as they are and once moved down by one, in pairs or quads (tiles.h).
    std::optional<PackedWeights> strips() {
        const bool words = scheme_ == Scheme::kW16, quads = scheme_ == Scheme::kDot;
        const bool fits = words   ? weights_within(-32768, 32767)
                          : quads ? weights_within(-128, 127)
                                  : scheme_ == Scheme::kA16 && filters_fit_int16();
        if (!fits) return std::nullopt;
        packed_.op = TileOp::kStrip, packed_.scheme = scheme_, packed_.operand_bytes = 1;
        packed_.panel_channels = 16;
        const int64_t panel_bytes = (words ? 2 : 1) * 3 * 4 * 32;
        const auto place = [=](int64_t channel, int64_t y, int64_t x, int64_t moved) {
            const int64_t row = y + moved, pair = 2 * moved + row / 2;
            return quads   ? 128 * x + 64 * moved + 4 * channel + row
                   : words ? 192 * (channel / 8) + 64 * x + 16 * pair + 2 * (channel % 8) + row % 2
                           : 128 * x + 32 * pair + 2 * kUnpackOrder[channel] + row % 2;
        };
        const std::vector<ChannelBlock> outputs = blocks_of_channels(spec_.out_channels);
        allocate(panel_bytes * static_cast<int64_t>(outputs.size()));
        for (size_t i = 0; i < outputs.size(); ++i) {
            const Panel panel{outputs[i], outputs[i].first, {}, static_cast<int64_t>(i) * panel_bytes};
            char* const to = packed_.data_.get() + panel.data;
            for (int64_t n = 0; n < outputs[i].count; ++n)
                for (int64_t x = 0; x < 3; ++x)
                    for (int64_t y = 0; y < 3; ++y)
                        for (int64_t moved = 0; moved < 2; ++moved) {
                            const int64_t weight = spec_.weight(outputs[i].first + n, 0, y, x);
                            if (words)
                                reinterpret_cast<int16_t*>(to)[place(n, y, x, moved)] = static_cast<int16_t>(weight);
                            else
                                to[place(n, y, x, moved)] = static_cast<char>(weight);
                        }
            packed_.flushes += scheme_ == Scheme::kA16, packed_.quads += 6;
            packed_.panels.push_back(panel);
        }
        return std::move(packed_);
    }

    std::optional<PackedWeights> depthwise() {
        if (scheme_ != Scheme::kW16 || !weights_within(-32768, 32767)) return std::nullopt;
        packed_.op = TileOp::kDepthwise, packed_.scheme = scheme_, packed_.operand_bytes = 1;
        packed_.panel_channels = 16;
        const int64_t taps = spec_.kernel_height * spec_.kernel_width, pairs = ceil_divide(taps, 2);
        const std::vector<ChannelBlock> outputs = blocks_of_channels(spec_.out_channels);
        allocate(pairs * 64 * static_cast<int64_t>(outputs.size()));
        for (size_t i = 0; i < outputs.size(); ++i) {
            Panel panel{outputs[i], outputs[i].first, {}, static_cast<int64_t>(i) * pairs * 64};
            int16_t* to = reinterpret_cast<int16_t*>(packed_.data_.get() + panel.data);
            for (int64_t tap = 0; tap < 2 * pairs; ++tap) {
                const int64_t real = std::min(tap, taps - 1), y = real / spec_.kernel_width,
                              x = real % spec_.kernel_width;
                panel.runs.push_back({y, x, 0, 1, tap == 2 * pairs - 1 ? kFlushAll : kNoFlush});
                for (int lane = 0; lane < 16; ++lane) {
                    const int channel = kUnpackOrder[lane];
                    const bool exists = tap < taps && channel < outputs[i].count;
                    to[32 * (tap / 2) + 2 * lane + tap % 2] =
                        exists ? static_cast<int16_t>(spec_.weight(outputs[i].first + channel, 0, y, x)) : int16_t{0};
                }
            }
            packed_.flushes += 1, packed_.quads += pairs;
            packed_.panels.push_back(std::move(panel));
        }
        return std::move(packed_);
    }

private:
    bool weights_within(int64_t low, int64_t high) const {
        return std::all_of(spec_.weights.begin(), spec_.weights.end(),
                           [=](int64_t w) { return low <= w && w <= high; });
    }

    // Whether all sums over a filter of one channel, in any order, stay in int16.
    bool filters_fit_int16() const {
        const int64_t taps = spec_.kernel_height * spec_.kernel_width, amax = (int64_t{1} << spec_.act_bits) - 1;
        if (!weights_within(-128, 127) || taps > 9) return false;
        for (auto filter = spec_.weights.begin(); filter != spec_.weights.end(); filter += taps) {
            int64_t low = 0, high = 0;
            for (auto weight = filter; weight != filter + taps; ++weight) (*weight < 0 ? low : high) += *weight * amax;
            if (low < INT16_MIN || high > INT16_MAX) return false;
        }
        return true;
    }

    // Every weight is odd and small, and there is none that padding would have to make zero.
    bool fits_signed_lut() const {
        const bool sign = scheme_ == Scheme::kLutSign;
        const bool odd = std::all_of(spec_.weights.begin(), spec_.weights.end(),
                                     [=](int64_t w) { return w == -1 || w == 1 || (!sign && (w == -3 || w == 3)); });
        return odd && spec_.depth() % (sign ? 8 : 4) == 0 && ((int64_t{4} << spec_.act_bits) - 4 <= 127);
    }

    void allocate(int64_t bytes) {
        packed_.data_ = allocate_aligned<char>(bytes), packed_.bytes_ = bytes;
        std::memset(packed_.data_.get(), 0, static_cast<size_t>(bytes));
    }

    // The panel's weights at 4 bytes of a segment; zero in all padding.
    Quad quad_at(const Panel& panel, const Segment& segment, int64_t position) const {
        const int64_t pixel = padded_channels(spec_.depth()), area = spec_.kernel_height * spec_.kernel_width;
        int64_t real = 0, offsets[4];  // what is padding comes last
        for (int64_t byte = position; real < 4 && byte < segment.bytes && byte % pixel < spec_.depth(); ++byte, ++real)
            offsets[real] = (byte % pixel * spec_.kernel_height + segment.filter_y) * spec_.kernel_width +
                            segment.filter_x + byte / pixel;
        const int64_t* weights = &spec_.weights[panel.outputs.first * spec_.depth() * area];
        Quad quad{};
        for (int64_t n = 0; n < panel.outputs.count; ++n, weights += spec_.depth() * area)
            for (int64_t k = 0; k < real; ++k) quad[n][k] = static_cast<int32_t>(weights[offsets[k]]);
        return quad;
    }

    int64_t step_bytes() const {
        const bool half = scheme_ == Scheme::kLutSign || scheme_ == Scheme::kA16X4 || scheme_ == Scheme::kW16X8;
        return half ? 32 : 64;
    }

    bool fill_dense(Panel& panel) {
        char* to = packed_.data_.get() + panel.data;
        FlushProof proof(scheme_, spec_.act_bits);
        for (const Segment& segment : segments_) {
            panel.runs.push_back({segment.filter_y, segment.filter_x, 0, 0, kNoFlush});
            proof.begin_segment();
            for (int64_t position = 0; position < segment.bytes; position += 4) {
                const Quad quad = quad_at(panel, segment, position);
                const std::optional<Flush> flush = proof.add(quad);
                if (!flush) return false;
                if (*flush != kNoFlush) cut(panel, segment, position, *flush);
                const int64_t k = k_per_step(scheme_),
                              steps = std::min(4 / k, ceil_divide(segment.bytes - position, k));
                write(panel.outputs.count, quad, position / 4 % 2, steps, to);
                panel.runs.back().length += steps, to += steps * step_bytes();
            }
        }
        panel.runs.back().flush = kFlushAll;
        if (scheme_ == Scheme::kDot) write_sums(panel, reinterpret_cast<int32_t*>(to));
        return true;
    }

    void write_sums(const Panel& panel, int32_t* to) const {
        const int64_t per_output = spec_.depth() * spec_.kernel_height * spec_.kernel_width;
        for (int64_t n = 0; n < panel.outputs.count; ++n) {
            const auto first = spec_.weights.begin() + (panel.outputs.first + n) * per_output;
            to[n] = static_cast<int32_t>(std::accumulate(first, first + per_output, int64_t{0}));
        }
    }

    // Ends the stretch before `position`: flush what came before it, and go on in a run of its own.
    void cut(Panel& panel, const Segment& segment, int64_t position, Flush flush) {
        if (panel.runs.back().length > 0) {
            panel.runs.back().flush = flush;
            panel.runs.push_back({segment.filter_y, segment.filter_x, position, 0, kNoFlush});
        } else {  // at the start of a segment: the run before it flushes
            panel.runs[panel.runs.size() - 2].flush = flush;
        }
    }

    // The layouts of tiles.h. Of the quad's steps only the first ones may be there.
    void write(int64_t outputs, const Quad& quad, int64_t parity, int64_t steps, char* to) const {
        if (is_signed_lut(scheme_)) return write_signs(outputs, quad, parity, to);
        const int32_t* weights = quad[0].data();
        if (scheme_ == Scheme::kA16X4) {
            for (int i = 0; i < 32; ++i) to[i] = static_cast<char>((weights[i] & 15) | (weights[32 + i] & 15) << 4);
            return;
        }
        if (!is_lut(scheme_) && !is_w16(scheme_)) {
            for (int i = 0; i < 64; ++i) to[i] = static_cast<char>(weights[i]);
            return;
        }
        int16_t* words = reinterpret_cast<int16_t*>(to);
        for (int n = 0; n < packed_.panel_channels; ++n)
            for (int k = 0; k < k_per_step(scheme_) * steps; ++k) {
                const int64_t weight = quad[n][k];
                const int place = 32 * (k / 2) + 2 * n + k % 2;
                if (scheme_ == Scheme::kW16)
                    words[place] = static_cast<int16_t>(weight);
                else if (scheme_ == Scheme::kW16X8)
                    to[place] = static_cast<char>(weight);
                else
                    for (int plane = 0; plane < 2; ++plane)
                        to[2 * n + plane] = static_cast<char>(to[2 * n + plane] | (weight >> plane & 1) << k);
            }
    }

    // A set bit counts for the activation, a clear one against it; 0x80 stands for outputs that do not exist. The
    // second quad of a pair goes behind the first one's 16 channels, wherever these are.
    void write_signs(int64_t outputs, const Quad& quad, int64_t parity, char* to) const {
        const bool sign = scheme_ == Scheme::kLutSign;
        for (int n = 0; n < packed_.panel_channels; ++n)
            for (int plane = 0; plane < (sign ? 1 : 2); ++plane) {
                int index = n < outputs ? 0 : 0x80;
                for (int k = 0; n < outputs && k < 4; ++k)
                    index |= (sign ? quad[n][k] > 0 : (quad[n][k] + 3) / 2 >> plane & 1) << k;
                to[sign ? 32 * (n / 8 % 2) + 8 * (n / 16) + n % 8 - 16 * parity : 2 * n + plane] =
                    static_cast<char>(index);
            }
    }

    double cycles_of(const Panel& panel) const {
        double cycles = cost_.last_flush - cost_.flush_all;
        for (const PackedRun& run : panel.runs)
            cycles += static_cast<double>(run.length * k_per_step(scheme_)) / 4 * cost_.quad +
                      (run.flush == kFlushBytes ? cost_.flush_bytes : 0) +
                      (run.flush == kFlushAll ? cost_.flush_all : 0);
        return cycles;
    }

    // Tables are made of every pixel between those that a tile reads, and neighbouring tasks share rows of them.
    double table_cycles() const {
        const double shared = spec_.kernel_height > 1 ? 1.5 : 1.0;
        const int64_t pixels = 6 * spec_.stride_y * spec_.stride_x;
        return cost_.operand * shared * static_cast<double>(pixels * padded_channels(spec_.in_channels));
    }

    const ConvSpec& spec_;
    const Scheme scheme_;
    const SchemeCost cost_;
    std::vector<Segment> segments_;
    PackedWeights packed_;
};

void validate(const ConvSpec& spec) {
    const auto positive = [&](int64_t value, const char* what) {
        require(value >= 1 && value < (1 << 24), "'", spec.name, "': ", what, " is ", value, ", expected 1..2^24-1");
    };
    positive(spec.out_channels, "the number of outputs"), positive(spec.in_channels, "the number of inputs");
    positive(spec.groups, "the number of groups");
    positive(spec.kernel_height, "the kernel's height"), positive(spec.kernel_width, "the kernel's width");
    positive(spec.stride_y, "the vertical stride"), positive(spec.stride_x, "the horizontal stride");
    positive(spec.dilation_y, "the vertical dilation"), positive(spec.dilation_x, "the horizontal dilation");
    require(spec.in_channels % spec.groups == 0 && spec.out_channels % spec.groups == 0, "'", spec.name,
            "': ", spec.groups, " groups do not divide ", spec.in_channels, " inputs and ", spec.out_channels,
            " outputs");
    require(spec.act_bits >= 1 && spec.act_bits <= 8, "'", spec.name, "': activations of ", spec.act_bits,
            " bits, expected 1..8");
    int64_t count = spec.out_channels;
    for (int64_t extent : {spec.depth(), spec.kernel_height, spec.kernel_width})
        require(!__builtin_mul_overflow(count, extent, &count), "'", spec.name, "': the weights' size overflows");
    require(static_cast<int64_t>(spec.weights.size()) == count, "'", spec.name, "': ", spec.weights.size(),
            " weights, expected ", count);
    require(static_cast<int64_t>(spec.bias.size()) == spec.out_channels, "'", spec.name, "': ", spec.bias.size(),
            " biases for ", spec.out_channels, " outputs");
}

Bounds accumulator_bounds(const ConvSpec& spec) {
    Bounds bounds;
    const int64_t per_output = spec.depth() * spec.kernel_height * spec.kernel_width;
    const __int128 amax = (int64_t{1} << spec.act_bits) - 1;
    for (int64_t out = 0; out < spec.out_channels; ++out) {
        uint64_t negative = 0, positive = 0;  // which may wrap, where weights are `beyond` any that are packed
        int64_t beyond = 0;
        for (int64_t i = 0; i < per_output; ++i) {
            const int64_t weight = spec.weights[out * per_output + i];
            beyond |= weight ^ weight >> 63;  // the bits of its magnitude
            negative += static_cast<uint64_t>(weight & weight >> 63);
            positive += static_cast<uint64_t>(weight & ~(weight >> 63));
        }
        const bool summed = beyond <= INT32_MAX && per_output <= INT32_MAX;
        const __int128 low = spec.bias[out] + amax * static_cast<int64_t>(negative);
        const __int128 high = spec.bias[out] + amax * static_cast<int64_t>(positive);
        require(summed && low >= INT32_MIN && high <= INT32_MAX, "'", spec.name, "': the accumulator of channel ", out,
                " leaves int32: use fewer bits for weights or activations");
        bounds.low.push_back(static_cast<int64_t>(low)), bounds.high.push_back(static_cast<int64_t>(high));
    }
    return bounds;
}

std::optional<PackedWeights> pack(const ConvSpec& spec, Scheme scheme) {
    Packer packer(spec, scheme);
    if (fits_strips(spec)) return packer.strips();
    return spec.depthwise() ? packer.depthwise() : packer.dense();
}

std::optional<PackedWeights> pack_fastest(const ConvSpec& spec, const std::vector<SchemeCost>& costs) {
    std::optional<PackedWeights> fastest;
    for (const SchemeCost& cost : costs) {
        if (fastest) {  // without any flush this scheme and those after it take at least as long?
            const int64_t panels = static_cast<int64_t>(panel_outputs(spec, 16).size());
            const int64_t quads = fastest->quads / static_cast<int64_t>(fastest->panels.size()) * panels;
            if (fastest->cycles <= static_cast<double>(quads) * cost.quad) break;
        }
        std::optional<PackedWeights> packed = pack(spec, cost.scheme);
        if (packed && (!fastest || packed->cycles < fastest->cycles)) fastest = std::move(packed);
    }
    return fastest;
}

PackedWeights pack_fastest(const ConvSpec& spec) {
    if (fits_strips(spec))
        for (const Scheme scheme : strip_schemes())
            if (std::optional<PackedWeights> packed = pack(spec, scheme)) return std::move(*packed);
    std::optional<PackedWeights> fastest = pack_fastest(spec, scheme_costs());
    require(fastest.has_value(), "'", spec.name, "': weight levels leave int16");
    if (!spec.one_pixel || fastest->bytes() < kStreamed) return std::move(*fastest);
    for (const auto& [scheme, dense] : {std::pair{Scheme::kA16, Scheme::kA16X4}, {Scheme::kW16, Scheme::kW16X8}}) {
        if (fastest->scheme != scheme || !same_isa(scheme, dense)) continue;
        if (std::optional<PackedWeights> packed = pack(spec, dense)) return std::move(*packed);
    }
    return std::move(*fastest);
}

}  // namespace intsim
