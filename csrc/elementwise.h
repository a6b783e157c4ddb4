// What stands between convolutions, on NHWC bytes, so that a whole network stays in one layout.
//
// Anything that maps a code of a tensor to a code, whatever its arithmetic (requantization, ReLU, clamp, sigmoid), is
// a table of 256 bytes made by the reference itself: exact by construction.
#pragma once

#include <memory>
#include <vector>

#include "epilogue.h"
#include "images.h"

namespace intsim {

// byte = clip(rint(x / scale), low, high) - low, in float32, ties to even, with low and high relative to the zero
// point and of at most 2^21 in magnitude. x is [batch][channels][height][width].
void quantize(const float* x, float scale, int64_t low, int64_t high, const ByteImages& out, int threads);

// Between [batch][channels][height][width] codes of 8 bits (two's complement if signed) and bytes = code - min.
// Throws std::invalid_argument if a code leaves the bytes that `out` may hold.
void import_codes(const uint8_t* codes, int64_t min, const ByteImages& out, int threads);
void export_codes(const ByteImages& in, int64_t min, uint8_t* codes, int threads);
void import_accumulators(const int32_t* values, const Int32Images& out, int threads);
void export_accumulators(const Int32Images& in, int32_t* values, int threads);

// out = table[in]; `tables` is one table of 256 entries, or one per channel.
void lookup(const ByteImages& in, const std::vector<uint8_t>& tables, const ByteImages& out, int threads);

// An epilogue for accumulators that stand in memory.
class Requantize {
public:
    // Every accumulator lies within low..high.
    Requantize(const std::string& layer, const EpilogueSpec& spec, int64_t low, int64_t high);
    void run(const Int32Images& in, const ByteImages& out, int threads) const;
    const std::string& name() const { return layer_; }

private:
    const std::string layer_;
    const int64_t channels_;
    std::unique_ptr<Epilogue> epilogue_;
};

// out[to + i * to_step] = in[from + i * from_step] for i in 0 <= i < extent, over (y, x, channel).
struct Region {
    int64_t from[3], from_step[3], to[3], to_step[3], extent[3];
};
void copy_region(const ByteImages& in, const Region& region, const ByteImages& out, int threads);

}  // namespace intsim
