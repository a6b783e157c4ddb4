// Walks the kernel table of one instruction set without Python: every row against plain code, for processors that only
// run under emulation. What the walk draws is the same everywhere.
#pragma once

#include <random>
#include <sstream>
#include <string>

#include "../../../csrc/dispatch.h"
#include "../../../csrc/pack.h"
#include "../../../csrc/rounding.h"

namespace intsim {

using Wide = __int128;

// round(numerator / 2^shift + zero_point if it is added first), then the zero point if not, then clipped: by the words
// of the roundings' names.
Wide plain_scale(Wide numerator, int64_t shift, Rounding rounding, int64_t zero_point, bool first);

constexpr int kRoundings = 11;  // Rounding's values, of which the last two are engines', which round twice

class Walk {
public:
    // Its operators use this instruction set from here on; throws std::invalid_argument where it cannot run.
    explicit Walk(const std::string& isa);

    void tiles();       // gemm and depthwise tiles, strips, operands
    void byte_tiles();  // gemm tiles and their epilogues in one
    void transforms();  // Winograd's
    void roof();
    void scales();
    void floats();
    void thresholds();
    void additions();
    void lookups();
    void quantizers();

    // Throws if a row of the table has not been met.
    void finish() const;

    int64_t checked() const { return checked_; }  // numbers

private:
    int64_t draw(int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(random_); }
    void met(const KernelInfo& kernel) { met_ += std::string(" ") + kernel.name + " "; }
    template <class... What>
    void expect(Wide got, Wide expected, const What&... what);
    ConvSpec spec_of(const struct Layer& layer);
    ByteImages input_of(const struct Layer& layer);
    void convolve(const struct Layer& layer);
    template <class Plain>
    void apply(const class Epilogue& epilogue, int64_t channels, const int32_t* acc, const Plain& plain);

    const KernelTable* table_;
    std::mt19937 random_{1};
    std::string met_;
    int64_t checked_ = 0;
};

template <class... What>
void Walk::expect(Wide got, Wide expected, const What&... what) {
    ++checked_;
    if (got == expected) return;
    std::ostringstream message;
    (message << ... << what);
    message << ": " << static_cast<int64_t>(got) << ", expected " << static_cast<int64_t>(expected);
    throw std::runtime_error(message.str());
}

}  // namespace intsim
