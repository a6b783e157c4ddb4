// Packing for gemm tiles: panels of all layers but depthwise ones, run by run, in the layouts of tiles.h.
#include <algorithm>
#include <numeric>

#include "flush_proof.h"
#include "pack.h"

namespace intsim {
namespace {

// Of the instruction set in use; nothing for a scheme that is only taken where it is forced.
SchemeCost cost_of(Scheme scheme) {
    for (const SchemeCost& cost : scheme_costs())
        if (cost.scheme == scheme) return cost;
    return {scheme, 0, 0, 0, 0, 0};
}

// Of a pixel that are made into tables together, whether they exist or not.
constexpr int64_t kSextetsAtOnce = 4;

// One stretch of contiguous bytes in the input, before it is cut by flushes. For lut6 its pixels are whole sextets.
struct Segment {
    int64_t filter_y, filter_x, bytes;
};

std::vector<Segment> segments_of(const ConvSpec& spec, int64_t pixel) {
    std::vector<Segment> segments;
    const bool contiguous = spec.groups == 1 && spec.dilation_x == 1;
    for (int64_t y = 0; y < spec.kernel_height; ++y) {
        if (contiguous) {
            segments.push_back({y, 0, spec.kernel_width * pixel});
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

// How two bits make a weight: sign * (bit 0 + high * bit 1), in two's complement or as they are.
struct Planes {
    int64_t sign, high;
};

// Of a channel whose weights lie within low..high.
std::optional<Planes> planes_within(int64_t low, int64_t high) {
    for (const Planes& planes : {Planes{1, -2}, {-1, -2}, {1, 2}, {-1, 2}}) {
        const int64_t bits[] = {0, planes.sign, planes.sign * planes.high, planes.sign * (1 + planes.high)};
        const auto [least, most] = std::minmax_element(std::begin(bits), std::end(bits));
        if (*least <= low && high <= *most) return planes;
    }
    return std::nullopt;
}

// For each activation; 0 where it is pixels that have operands.
int operand_bytes(Scheme scheme) {
    if (scheme == Scheme::kLut6) return 0;
    return is_lut(scheme) ? 4 : is_w16(scheme) ? 2 : 1;
}

class DensePacker {
public:
    DensePacker(const ConvSpec& spec, Scheme scheme)
        : spec_(spec),
          scheme_(scheme),
          cost_(cost_of(scheme)),
          pixel_(scheme == Scheme::kLut6 ? round_up(spec.depth(), 6) : padded_channels(spec.depth())),
          packed_(TileOp::kGemm, scheme, is_lut(scheme) ? 32 : 16, operand_bytes(scheme)) {
        if (scheme == Scheme::kLut6) packed_.pixel_operands = pixel_ / 6 * 64;
    }

    std::optional<PackedWeights> pack() {
        if (!fits()) return std::nullopt;
        segments_ = segments_of(spec_, pixel_);
        int64_t quads = 0, steps = 0;
        for (const Segment& segment : segments_) steps += ceil_divide(segment.bytes, k_per_step(scheme_));
        for (const Segment& segment : segments_of(spec_, padded_channels(spec_.depth())))
            quads += ceil_divide(segment.bytes, 4);  // the same for every scheme
        const std::vector<ChannelBlock> outputs = panel_outputs(spec_, packed_.panel_channels);
        const int64_t panel_bytes = header_bytes() + steps * step_bytes() + (scheme_ == Scheme::kDot ? 64 : 0);
        packed_.allocate(panel_bytes * static_cast<int64_t>(outputs.size()));
        for (const ChannelBlock& block : outputs) {
            const int64_t group = block.first / (spec_.out_channels / spec_.groups);
            const Panel& panel = packed_.add_panel({block, group * spec_.depth(), {}, 0}, panel_bytes);
            if (has_planes()) write_planes(panel);
        }
        if (!(scheme_ == Scheme::kLut6 ? fill_sextets(panel_bytes) : fill_quads())) return std::nullopt;
        for (const Panel& panel : packed_.panels) {
            for (const PackedRun& run : panel.runs) packed_.flushes += run.flush != kNoFlush;
            packed_.quads += quads;
            packed_.cycles += cycles_of(panel);
        }
        if (is_lut(scheme_)) packed_.cycles += table_cycles();
        return std::move(packed_);
    }

private:
    bool has_planes() const { return scheme_ == Scheme::kLut || scheme_ == Scheme::kLut6; }

    bool fits() {
        // Neither groups nor dense pixels share tables of quads, nor groups those of sextets.
        const bool has_quads = spec_.depth() % 4 == 0 || (spec_.groups == 1 && spec_.depth() > 4);
        if (is_lut(scheme_) && !(scheme_ == Scheme::kLut6 ? spec_.groups == 1 : has_quads)) return false;
        if (is_signed_lut(scheme_)) return fits_signed_lut();
        if (has_planes()) return find_planes();
        const int64_t limit = scheme_ == Scheme::kA16X4 ? 8 : scheme_ == Scheme::kW16 ? 32768 : 128;
        return spec_.weights_within(-limit, limit - 1);
    }

    // Of every output, if there are.
    bool find_planes() {
        const int64_t per_output = spec_.depth() * spec_.kernel_height * spec_.kernel_width;
        for (auto first = spec_.weights.begin(); first != spec_.weights.end(); first += per_output) {
            const auto [low, high] = std::minmax_element(first, first + per_output);
            const std::optional<Planes> planes = planes_within(*low, *high);
            if (!planes) return false;
            planes_.push_back(*planes);
        }
        return true;
    }

    void write_planes(const Panel& panel) {
        char* const to = packed_.data(panel);
        for (int64_t n = 0; n < panel.outputs.count; ++n) {
            const Planes& planes = planes_[panel.outputs.first + n];
            to[2 * n] = static_cast<char>(planes.sign), to[2 * n + 1] = static_cast<char>(planes.sign * planes.high);
        }
    }

    // Every weight is odd and small, and there is none that padding would have to make zero.
    bool fits_signed_lut() const {
        const bool sign = scheme_ == Scheme::kLutSign;
        const bool odd = std::all_of(spec_.weights.begin(), spec_.weights.end(),
                                     [=](int64_t w) { return w == -1 || w == 1 || (!sign && (w == -3 || w == 3)); });
        return odd && spec_.depth() % (sign ? 8 : 4) == 0 && ((int64_t{4} << spec_.act_bits) - 4 <= 127);
    }

    // The panel's weights at K bytes of a segment, without the sign of planes; zero in all padding.
    template <size_t K>
    std::array<std::array<int32_t, K>, kMaxTileChannels> weights_at(const Panel& panel, const Segment& segment,
                                                                    int64_t position) const {
        const int64_t area = spec_.kernel_height * spec_.kernel_width;
        size_t real = 0;  // what is padding comes last
        int64_t offsets[K];
        for (int64_t byte = position; real < K && byte < segment.bytes && byte % pixel_ < spec_.depth(); ++byte, ++real)
            offsets[real] = (byte % pixel_ * spec_.kernel_height + segment.filter_y) * spec_.kernel_width +
                            segment.filter_x + byte / pixel_;
        const int64_t* weights = &spec_.weights[panel.outputs.first * spec_.depth() * area];
        std::array<std::array<int32_t, K>, kMaxTileChannels> result{};
        for (int64_t n = 0; n < panel.outputs.count; ++n, weights += spec_.depth() * area) {
            const int64_t sign = has_planes() ? planes_[panel.outputs.first + n].sign : 1;
            for (size_t k = 0; k < real; ++k) result[n][k] = static_cast<int32_t>(sign * weights[offsets[k]]);
        }
        return result;
    }

    int64_t header_bytes() const { return has_planes() ? 64 : 0; }
    int64_t step_bytes() const {
        const bool half = scheme_ == Scheme::kLutSign || scheme_ == Scheme::kA16X4 || scheme_ == Scheme::kW16X8;
        return half ? 32 : 64;
    }

    bool fill_quads() {
        return std::all_of(packed_.panels.begin(), packed_.panels.end(), [&](Panel& panel) { return fill(panel); });
    }

    bool fill(Panel& panel) {
        char* to = packed_.data(panel) + header_bytes();
        FlushProof proof(scheme_, spec_.act_bits);
        for (const Segment& segment : segments_) {
            panel.runs.push_back({segment.filter_y, segment.filter_x, 0, 0, kNoFlush});
            proof.begin_segment();
            for (int64_t position = 0; position < segment.bytes; position += 4) {
                const Quad quad = weights_at<4>(panel, segment, position);
                const std::optional<Flush> flush = proof.add(quad);
                if (!flush) return false;
                if (*flush != kNoFlush) cut(panel, segment, position * packed_.operand_bytes, *flush);
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

    // All panels have the same runs.
    bool fill_sextets(int64_t panel_bytes) {
        Panel& first = packed_.panels[0];
        SextetProof proof(spec_.act_bits, packed_.panels.size());
        int64_t at = header_bytes();  // in each panel
        for (const Segment& segment : segments_) {
            first.runs.push_back({segment.filter_y, segment.filter_x, 0, 0, kNoFlush});
            for (int64_t position = 0; position < segment.bytes; position += 6, at += 64) {
                for (const Panel& panel : packed_.panels)
                    write_bits(weights_at<6>(panel, segment, position), packed_.data(panel) + at);
                const std::optional<Flush> flush = proof.add(packed_.data(first) + at, panel_bytes);
                if (!flush) return false;
                if (*flush != kNoFlush) cut(first, segment, position / 6 * 64, *flush);
                first.runs.back().length += 1;
            }
        }
        first.runs.back().flush = kFlushAll;
        for (Panel& panel : packed_.panels) panel.runs = first.runs;
        return true;
    }

    template <size_t K>
    static void write_bits(const std::array<std::array<int32_t, K>, kMaxTileChannels>& weights, char* to) {
        for (size_t n = 0; n < 32; ++n)
            for (size_t plane = 0; plane < 2; ++plane)
                for (size_t k = 0; k < K; ++k)
                    to[2 * n + plane] = static_cast<char>(to[2 * n + plane] | (weights[n][k] >> plane & 1) << k);
    }

    void write_sums(const Panel& panel, int32_t* to) const {
        const int64_t per_output = spec_.depth() * spec_.kernel_height * spec_.kernel_width;
        for (int64_t n = 0; n < panel.outputs.count; ++n) {
            const auto first = spec_.weights.begin() + (panel.outputs.first + n) * per_output;
            to[n] = static_cast<int32_t>(std::accumulate(first, first + per_output, int64_t{0}));
        }
    }

    // Ends the stretch before the segment's operand at `skip`: flush what came before it, and go on in a run of its own.
    void cut(Panel& panel, const Segment& segment, int64_t skip, Flush flush) {
        if (panel.runs.back().length > 0) {
            panel.runs.back().flush = flush;
            panel.runs.push_back({segment.filter_y, segment.filter_x, skip, 0, kNoFlush});
        } else {  // at the start of a segment: the run before it flushes
            panel.runs[panel.runs.size() - 2].flush = flush;
        }
    }

    // Of the quad's steps only the first ones may be there.
    void write(int64_t outputs, const Quad& quad, int64_t parity, int64_t steps, char* to) const {
        if (is_signed_lut(scheme_)) return write_signs(outputs, quad, parity, to);
        if (scheme_ == Scheme::kLut) return write_bits(quad, to);
        const int32_t* weights = quad[0].data();
        if (scheme_ == Scheme::kA16X4) {
            for (int i = 0; i < 32; ++i) to[i] = static_cast<char>((weights[i] & 15) | (weights[32 + i] & 15) << 4);
            return;
        }
        if (!is_w16(scheme_)) {
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
                else
                    to[place] = static_cast<char>(weight);
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
        const int64_t channels = scheme_ == Scheme::kLut6 ? round_up(spec_.in_channels, kSextetsAtOnce * 6)
                                                          : padded_channels(spec_.in_channels);
        return cost_.operand * shared * static_cast<double>(pixels * channels);
    }

    const ConvSpec& spec_;
    const Scheme scheme_;
    const SchemeCost cost_;
    const int64_t pixel_;         // bytes from one pixel of a segment to the next
    std::vector<Planes> planes_;  // of each output, for lut and lut6
    std::vector<Segment> segments_;
    PackedWeights packed_;
};

}  // namespace

std::optional<PackedWeights> pack_dense(const ConvSpec& spec, Scheme scheme) {
    return DensePacker(spec, scheme).pack();
}

}  // namespace intsim
