#include "pack.h"

#include <cstring>

#include "check.h"

namespace intsim {
namespace {

// Panels of so many bytes do not stay in the second cache: reading them takes longer than widening denser ones.
constexpr int64_t kStreamed = 1 << 18;

// Whether an instruction set that has tiles of one scheme has the other, so that the second one is not the portable
// kernel.
bool same_isa(Scheme a, Scheme b) {
    const auto isa = [](Scheme scheme) { return std::string(find_tiles(TileOp::kGemm, scheme).info->isa); };
    return isa(a) == isa(b);
}

}  // namespace

void PackedWeights::allocate(int64_t bytes) {
    data_ = allocate_aligned<char>(bytes), bytes_ = bytes;
    std::memset(data_.get(), 0, static_cast<size_t>(bytes));
}

Panel& PackedWeights::add_panel(Panel panel, int64_t bytes) {
    panel.data = bytes * static_cast<int64_t>(panels.size());
    return panels.emplace_back(std::move(panel));
}

std::optional<PackedWeights> pack(const ConvSpec& spec, Scheme scheme) {
    if (fits_strips(spec)) return pack_strips(spec, scheme);
    return spec.depthwise() ? pack_depthwise(spec, scheme) : pack_dense(spec, scheme);
}

std::optional<PackedWeights> pack_fastest(const ConvSpec& spec, const std::vector<SchemeCost>& costs) {
    std::optional<PackedWeights> fastest;
    for (const SchemeCost& cost : costs) {
        if (fastest) {  // without any flush this scheme and those after it take at least as long?
            const int64_t panels = spec.groups * ceil_divide(spec.out_channels / spec.groups, 16);
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
