// The registry of kernels, and what each kind of kernel is given.
//
// A kernel is a plain function and one row in the table of its instruction set (kernels_portable.cpp, gemm_avx2.cpp,
// ...). Nothing else has to be told about it: packing and dispatch look rows up here, tests run every row against plain
// integers, and benchmarks time every row. A row's name is
//
//     <op>_u<act>s<weight>_<scheme>_<isa>_<MRxNR>          gemm_u8s8_a16_avx2_6x16
//
// with the widest operands that the kernel's registers hold. This header is included by files that are compiled for an
// instruction set which the processor may lack, so it holds plain structs only: no functions, nothing to instantiate.
//
// Tiles. A convolution is a sum over *runs*: stretches of activation bytes that lie contiguous in memory. For a dense
// convolution one row of the filter is one run (KW pixels of C channels each), a linear layer is a single run, and with
// groups or dilation every tap is one. A tile kernel computes MR output pixels, whose inputs lie `row_stride` bytes
// apart, times NR output channels, 16 or 32:
//
//     acc[row][channel] = bias[channel] + sum over runs, over k:  operand[row * row_stride + run.offset + k] *
//     panel[...]
//
// Panels hold the weights in the order in which the kernel eats them, one
// *quad* (4 consecutive k) of NR channels at a time:
//
//     a16, a32 (gemm)  [quad][2][8 channels][4 k] int8      vpmaddubsw eats 4 k of 8 channels
//     a16x4 (gemm)     [quad][8 channels][4 k] bytes        the same in 4 bits: channels 0..7 below, 8..15 above
//     dot (gemm)       as a16, and after all quads the sum of each channel's weights, [16 channels] int32: vpdpbusd
//                      multiplies unsigned by signed bytes, but sdot signed ones, and what moving activations by 128
//                      takes away is 128 times that sum
//     w16x8 (gemm)     [pair][16 channels][2 k] int8        w16 in bytes
//     w16 (gemm)       [pair][16 channels][2 k] int16       vpmaddwd eats 2 k of 8 channels; operands widened to int16
//     lut (gemm)       [quad][32 channels][2 planes] uint8  bit k is weight k's bit in the plane; weights are -2..1
//     lutodd (gemm)    the same, but a bit counts +1 or -1 in plane 0, +2 or -2 in plane 1; weights are -3, -1, 1, 3
//     lutsign (gemm)   [quad pair][2][2 quads][2][8 channels] uint8  one plane, a bit counts +1 or -1; weights are
//     -1, 1.
//                      Channels 0..7 and 16..23 come first, then 8..15 and 24..31
//     float32 (roof)   [k][16 channels] float               so are its operands and its accumulators; for each 16
//     w16 (depthwise)  [tap pair][16 channels in kUnpackOrder][2 taps] int16
//     w16 (strip)      [8 channels each][filter column][w0 w1, w2 0, 0 w0, w1 w2][8 channels][2 taps] int16
//     a16 (strip)      [filter column][w0 w1, w2 0, 0 w0, w1 w2][16 channels in kUnpackOrder][2 taps] int8
//     dot (strip)      [filter column][w0 w1 w2 0, 0 w0 w1 w2][16 channels][4 taps] int8
//
// Operands are activation bytes, or what an operand kernel makes of them once for many tiles: int16 for w16; for lut,
// 16 bytes for each quad of activations, its *table*: entry i is the sum of those of the four whose bit is set in i,
// and for lutodd and lutsign less those whose bit is not. An index of 0x80 gives zero.
//
// A depthwise tile multiplies each of 16 channels with its own weights: each run is one tap of 16 channels, and the
// runs come in pairs (the last one doubled, with zero weights, where the taps are odd in number).
//
// A strip kernel is for depthwise filters of 3x3 alone: it computes one or two rows of many output pixels, so that
// input rows are taken in pairs, each pair once, for both rows and for all three columns of the filter. In scheme a16
// the 16-bit sums of all nine taps never overflow.
//
// Narrow lanes. Scheme a16 adds products in 16-bit lanes, lut adds table entries in bytes and these in 16-bit lanes,
// for as long as the actual weights prove that no lane can overflow: a run's `flush` says which lanes the packer found
// to be full after it. Schemes a32s1, s2 and s4 widen after every step of so many quads, counted from the start of a
// run, and keep int32 in registers: for widths where a16 would have to flush all the time. Scheme dot, for instruction
// sets that add four products of bytes to an int32 at once, has no narrow lanes: it is exact for all bytes.
#pragma once

#include <cstdint>

namespace intsim {

enum class Scheme { kA16, kA16X4, kW16, kW16X8, kLut, kLutOdd, kLutSign, kA32S1, kA32S2, kA32S4, kDot, kFloat32 };

constexpr int kMaxTileRows = 14, kMaxTileChannels = 32;

// Epilogues may read so many elements past the last accumulator of a block.
constexpr int kAccumulatorSlack = 16;

// The order of 16 channels after vpunpck*/vpackss* of two 256-bit registers, which work within 128-bit halves.
constexpr int kUnpackOrder[16] = {0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15};

enum Flush : int64_t {
    kNoFlush = 0,
    kFlushBytes = 1,  // lut: add the bytes to the 16-bit lanes
    kFlushAll = 2,    // add all narrow lanes to acc
};

struct Run {
    int64_t offset;  // bytes from the first operand of a row
    int64_t length;  // in quads; in pairs of k for w16; 1 for a depthwise tap
    int64_t flush;   // after this run
};

struct Tile {
    const void* operand;  // row 0
    int64_t row_stride;   // bytes
    const Run* runs;
    int64_t run_count;
    const void* panel;    // 64-byte aligned
    const int32_t* bias;  // [NR], 64-byte aligned
    int32_t* acc;         // [MR][NR], 64-byte aligned
    int64_t ahead = 0;    // bytes from this panel to the next one, if that is to be fetched meanwhile
};
using TileKernel = void (*)(const Tile&);

// The same for two panels whose runs are the same, so that each operand is read once for both: of the second tile only
// the panel, bias and acc count.
using TilePairKernel = void (*)(const Tile&, const Tile&);

// The same to the end: 16 channels of each row through an epilogue, in registers, to bytes. The tile's runs have no
// flush but the last one's, its acc is not used, and the epilogue's block follows EpilogueKind. There is one for every
// height that the scheme's gemm tiles have.
struct ByteTile {
    Tile tile;
    const void* block;
    uint8_t* out;
    int64_t out_stride;  // bytes
};
using ByteTileKernel = void (*)(const ByteTile&);
using ByteTilePairKernel = void (*)(const ByteTile&, const ByteTile&);

constexpr int kMaxStripPixels = 32;  // of each of the two rows

struct Strip {
    const uint8_t* operand;            // first tap of the first pixel
    int64_t row_stride, pixel_stride;  // bytes from one input row, or pixel, to the next
    int64_t stride_y, stride_x;        // each 1 or 2
    int64_t rows, pixels;              // of the output; at most 2 and kMaxStripPixels / stride_x
    const void* panel;                 // 64-byte aligned
    const int32_t* bias;               // [16], 64-byte aligned
    int32_t* acc;                      // [rows][kMaxStripPixels][16], 64-byte aligned
};
using StripKernel = void (*)(const Strip&);

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

// Operands of a scheme from `count` activation bytes; it may read and write up to the next multiple of 8 bytes.
using OperandKernel = void (*)(const uint8_t* from, void* to, int64_t count);
using LookupKernel = void (*)(const uint8_t* from, uint8_t* to, int64_t count, const uint8_t* table);

// to = rint(clip(from / scale, lowest, highest)) - lowest, ties to even, in float32; not a number gives 0. Both bounds
// are integers of magnitude at most 2^21, less than 256 apart.
struct QuantizeArgs {
    const float* from;
    uint8_t* to;
    int64_t count;
    float scale, lowest, highest;
};
using QuantizeKernel = void (*)(const QuantizeArgs&);

struct KernelInfo {
    const char* name;
    const char* op;      // gemm, depthwise, epilogue, add, ...
    const char* scheme;  // a16, w16, lut, a32s1, ...; shift, multiplier, threshold32, ...
    const char* isa;
    int mr, nr;
    int act_bits, weight_bits;
};

struct TileRow {
    KernelInfo info;
    Scheme scheme;
    TileKernel run;
};

// For every height that the scheme's gemm tiles have.
struct TilePairRow {
    KernelInfo info;
    Scheme scheme;
    TilePairKernel run;
};

struct StripRow {
    KernelInfo info;
    Scheme scheme;
    StripKernel run;
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
struct ByteTileRow {
    KernelInfo info;
    Scheme scheme;
    EpilogueKind epilogue;
    ByteTileKernel run;
};

struct ByteTilePairRow {
    KernelInfo info;
    Scheme scheme;
    EpilogueKind epilogue;
    ByteTilePairKernel run;
};

struct EpilogueRow {
    KernelInfo info;
    EpilogueKind kind;
    EpilogueKernel run;
};

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
struct AddRow {
    KernelInfo info;
    AddKind kind;
    AddKernel run;
};

struct OperandRow {
    KernelInfo info;
    Scheme scheme;
    OperandKernel run;
};

struct LookupRow {
    KernelInfo info;
    LookupKernel run;
};

struct QuantizeRow {
    KernelInfo info;
    QuantizeKernel run;
};

template <class Row>
struct Rows {
    const Row* first;
    int count;
};

// Transforms of winograd.h for 16 channels at a time. Inputs become int16, or bytes after `move` is added at every
// place but the product of two sums; `step` bytes lie between places, and whole vectors of 16 channels are written.
struct WinogradInput {
    const uint8_t* pixels[4][4];
    int64_t channels;
    int32_t move;
    void* out;
    int64_t step;
};
// Sums [place][row][16] become accumulators [2x2 outputs][row][16]; `step` elements lie between places.
struct WinogradOutput {
    const int32_t* sums;
    int64_t step;
    int64_t rows;
    int32_t* acc;
    int64_t acc_step;  // elements between the four outputs
};
// Estimated cycles beyond those of the products: to start and end a tile of 6 rows, and to transform 16 channels of a
// patch and of its sums.
struct WinogradCost {
    double tile, input, output;
};
struct WinogradRow {
    KernelInfo info;
    WinogradCost cost;
    void (*to_bytes)(const WinogradInput&);
    void (*to_words)(const WinogradInput&);
    void (*to_outputs)(const WinogradOutput&);
};

// Estimated cycles of a gemm tile of 6 rows: of a quad, of a flush of bytes, of a full one, and of that at the end; and
// to make the operand of one activation.
struct SchemeCost {
    Scheme scheme;
    double quad, flush_bytes, flush_all, last_flush, operand;
};

// What one instruction set has. Kinds that a table lacks are taken from its base; the portable table has a row of every
// kind, and no base. Only byte tiles and pairs may be missing: tiles and epilogues then follow each other.
struct KernelTable {
    const char* isa;
    const KernelTable* base;
    const Rows<SchemeCost>* costs;  // of the schemes among which the fastest is chosen, by cycles per quad and channel
    const Rows<TileRow>* gemm;
    const Rows<TilePairRow>* tile_pairs;
    const Rows<ByteTileRow>* byte_tiles;
    const Rows<ByteTilePairRow>* byte_tile_pairs;
    const Rows<TileRow>* depthwise;
    const Rows<StripRow>* strips;
    const Rows<TileRow>* roof;  // float32, what benchmarks compare with
    const Rows<EpilogueRow>* epilogues;
    const Rows<AddRow>* adds;
    const Rows<OperandRow>* operands;
    const Rows<LookupRow>* lookups;
    const Rows<QuantizeRow>* quantizers;
    const Rows<WinogradRow>* winograd;
};

extern const KernelTable kPortableKernels;
#if defined(__x86_64__)
extern const KernelTable kAvx2Kernels;
extern const KernelTable kAvx512Kernels;
#elif defined(__aarch64__)
extern const KernelTable kNeonKernels;
#endif

}  // namespace intsim
