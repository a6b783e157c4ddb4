// A multiplier and a shift for each channel as constants of blocks, in the fastest arithmetic that is exact for them.
#pragma once

#include <variant>
#include <vector>

#include "epilogue.h"

namespace intsim {

// kShift, kHighWord, kHighWordSigned, kMultiplier, kWide or kLine, with its blocks.
struct ScaleBlocks {
    EpilogueKind kind;
    std::variant<std::vector<ScaleBlock<int32_t>>, std::vector<ScaleBlock<int64_t>>, std::vector<HighWordBlock>,
                 std::vector<LineBlock>>
        blocks;
};

// Accumulators are within `bounds`; throws std::invalid_argument, naming the layer, for what no kernel can apply.
ScaleBlocks blocks_of_scale(const std::string& layer, const ScaleSpec& spec, const Bounds& bounds,
                            const std::vector<ChannelBlock>& channels);

}  // namespace intsim
