// What the kernels of epilogues and additions are given: parameters of 16 channels, and the formula of each kind.
//
// Plain structs only, as in tiles.h.
#pragma once

#include <cstdint>

namespace intsim {

// Epilogues may read so many elements past the last accumulator of a block.
constexpr int kAccumulatorSlack = 16;

// An epilogue turns accumulators of 16 channels into bytes. Parameters are per channel, in blocks of 16.
struct EpilogueArgs {
    const void* block;  // ScaleBlock<int32_t>, ScaleBlock<int64_t>, HighWordBlock, FloatBlock<T> or ThresholdBlock
    const int32_t* acc;
    int64_t acc_stride;  // elements from one row to the next
    int64_t rows;
    uint8_t* out;
    int64_t out_stride;  // bytes
    int64_t channels;    // 1..16: only so many bytes are written per row
};
using EpilogueKernel = void (*)(const EpilogueArgs&);

// rounding.h: byte = clip(((x + base + (f < 0 ? sign_term : 0) + (f & odd_term)) >> shift) + zero, low, high)
template <class T>
struct RoundingBlock {
    T shift[16], base[16], sign_term[16], odd_term[16];
    T zero_before[16];  // of f
    T zero[16];         // both zero points, less the smallest code of the output type
    int32_t low, high;  // bytes
    int32_t simple;     // every sign_term and odd_term is zero
    int32_t even;       // every sign_term and zero_before is zero
};

template <class T>
struct alignas(64) ScaleBlock {  // x = multiplier * acc
    T multiplier[16];
    RoundingBlock<T> rounding;
};

// byte = clip(((multiplier * acc + base) >> shift), low, high), where the shift is at least 32, so only the high words
// of the sums count. The zero point is in the base; the last multiplier is one past the 16, for a load that starts
// at 1.
struct alignas(64) HighWordBlock {
    int32_t multiplier[17];
    int32_t shift[16];         // less 32
    int64_t base[2][8];        // of channels 0, 2, ... and of 1, 3, ...
    int64_t below_zero[2][8];  // subtracted from the sums of negative accumulators: 0 or 2^31
    int32_t low, high;         // bytes
};

// byte = rint(clip(T(acc) * scale + before, lowest, highest)) + zero, ties to even; every operation rounds to T.
template <class T>
struct alignas(64) FloatBlock {
    T scale[16];
    T before, lowest, highest;  // of magnitude at most 2^21
    int32_t zero;
};

// byte = clip(rint(fma(float(acc), scale, offset)), low, high), ties to even: product and sum are rounded to float
// once, and int32 holds what is clipped.
struct alignas(64) LineBlock {
    float scale[16], offset[16];
    int32_t low, high;  // bytes
};

// byte = base + (descending ? -1 : 1) * #{ k : acc > thresholds[k] }
struct alignas(64) ThresholdBlock {
    int32_t base[16];
    int32_t descending[16];       // 0 or -1
    const int32_t* thresholds;    // [count][16]
    const int16_t* thresholds16;  // [count][16] in kUnpackOrder, for kernels that compare saturated 16-bit values
    int64_t count;
};

// byte = base + (descending ? -1 : 1) * sum over planes k: (entry_k >> 24) + (x mod 2^shift > entry_k mod 2^24)
// where x = clip(acc, first, last) - first and entry_k = entries[k * plane + start + (x >> shift)]; entries are
// unsigned.
struct alignas(64) BucketBlock {
    int32_t first[16], last[16];
    int32_t shift[16], place[16];  // place = 2^shift - 1; at most 24 bits
    int32_t start[16];
    int32_t base[16];
    int32_t descending[16];  // 0 or -1
    const int32_t* entries;
    int64_t plane, depth;  // elements of a plane, number of planes
};

// kShift: ScaleBlock<int32_t> whose multipliers are 1; where its rounding is simple, every zero is 0. kHighWord:
// HighWordBlock. kMultiplier: ScaleBlock<int64_t> with 32-bit multipliers and results that fit int32 before clipping.
// kWide: any ScaleBlock<int64_t>. kFloat32 and kFloat64: FloatBlock of float, whose `before` is 0, and of double.
// kThreshold16: every threshold in -32768..32766. kHighWord: nothing is subtracted below zero. kBuckets: BucketBlock.
// kLine: LineBlock.
enum class EpilogueKind {
    kShift,
    kHighWord,
    kHighWordSigned,
    kMultiplier,
    kWide,
    kFloat32,
    kFloat64,
    kThreshold16,
    kThreshold32,
    kBuckets,
    kLine,
};

// Residual addition: x = multiplier_a * a + multiplier_b * b + offset, rounded as above.
template <class T>
struct alignas(64) AddBlock {
    T multiplier_a[16], multiplier_b[16], offset[16];
    RoundingBlock<T> rounding;
};

// The same by high words, where every shift is at least 32 and no rounding asks for the sign. To raise it, operands
// are shifted left where multipliers have no more room: x = multiplier_a * (a << left_a) + ... + offset;
// byte = clip((x + base + ((x >> shift) & odd_term)) >> shift, low, high); the zero point is in the base.
struct alignas(64) AddHighWordBlock {
    int32_t multiplier_a[17], multiplier_b[17];
    int32_t left_a[16], left_b[16];
    int32_t shift[16];                                // less 32
    int64_t offset[2][8], base[2][8], shift64[2][8];  // of channels 0, 2, ... and of 1, 3, ...
    int32_t low, high;                                // bytes
    int32_t odd_term;                                 // 0 or 1, for all channels
};

struct AddArgs {
    const void* block;  // AddBlock<int32_t>, AddBlock<int64_t> or AddHighWordBlock
    const void* a;      // bytes or int32
    const uint8_t* b;
    uint8_t* out;
    int64_t a_stride, b_stride, out_stride;  // elements from one pixel to the next
    int64_t pixels;
    int64_t channels;  // 1..16
};
using AddKernel = void (*)(const AddArgs&);

// What a is, and whether int32 holds x and everything on the way to the byte (32), or the result before clipping (64).
enum class AddKind {
    kBytes32,
    kBytesHighWord,
    kBytes64,
    kBytesWide,
    kAccumulators32,
    kAccumulatorsHighWord,
    kAccumulators64,
    kAccumulatorsWide,
};

}  // namespace intsim
