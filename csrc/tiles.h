// What kernels of tiles and strips are given: the sums of a convolution, and the orders of weights in panels.
//
// This header is included by files that are compiled for an instruction set which the processor may lack, so it holds
// plain structs only: no functions, nothing to instantiate.
//
// Tiles. A convolution is a sum over *runs*: stretches of activation bytes that lie contiguous in memory. For a dense
// convolution one row of the filter is one run (KW pixels of C channels each), a linear layer is a single run, and with
// groups or dilation every tap is one. A tile kernel computes MR output pixels, whose inputs lie `row_stride` bytes
// apart, times NR output channels, 16 or 32:
//
//     acc[row][channel] = bias[channel]
//                         + sum over runs, over k:  operand[row * row_stride + run.offset + k] * panel[...]
//
// Panels hold the weights in the order in which the kernel eats them, one *quad* (4 consecutive k) of NR channels at a
// time:
//
//     a16, a32 (gemm)  [quad][2][8 channels][4 k] int8      vpmaddubsw eats 4 k of 8 channels
//     a16x4 (gemm)     [quad][8 channels][4 k] bytes        the same in 4 bits: channels 0..7 below, 8..15 above
//     dot (gemm)       as a16, and after all quads the sum of each channel's weights, [16 channels] int32: vpdpbusd
//                      multiplies unsigned by signed bytes, but sdot signed ones, and what moving activations by 128
//                      takes away is 128 times that sum
//     w16x8 (gemm)     [pair][16 channels][2 k] int8        w16 in bytes
//     w16 (gemm)       [pair][16 channels][2 k] int16       vpmaddwd eats 2 k of 8 channels; operands widened to int16
//     lut (gemm)       [32 channels][2 planes] int8: what a set bit of the plane counts, 1 or -1 and 2 or -2, so that a
//                      channel's weights are any four neighbouring numbers with zero among them; and then
//                      [quad][32 channels][2 planes] uint8  bit k is weight k's bit in the plane
//     lutodd (gemm)    the quads alone; a bit counts +1 or -1 in plane 0, +2 or -2 in plane 1; weights are -3, -1, 1, 3
//     lutsign (gemm)   [quad pair][2][2 quads][2][8 channels] uint8  one plane, a bit counts +1 or -1; weights are -1, 1.
//                      Channels 0..7 and 16..23 come first, then 8..15 and 24..31
//     lut6 (gemm)      [sextet][32 channels][2 planes] uint8  as lut, but of 6 consecutive k; each pixel's begin anew
//     float32 (roof)   [k][16 channels] float               so are its operands and its accumulators; 32 channels are two
//     w16 (depthwise)  [tap pair][16 channels in kUnpackOrder][2 taps] int16
//     w16 (strip)      [8 channels each][filter column][w0 w1, w2 0, 0 w0, w1 w2][8 channels][2 taps] int16
//     a16 (strip)      [filter column][w0 w1, w2 0, 0 w0, w1 w2][16 channels in kUnpackOrder][2 taps] int8
//     dot (strip)      [filter column][w0 w1 w2 0, 0 w0 w1 w2][16 channels][4 taps] int8
//
// Operands are activation bytes, or what an operand kernel makes of them once for many tiles: int16 for w16; for lut,
// 16 bytes for each quad of activations, its *table*: entry i is the sum of those of the four whose bit is set in i,
// and for lutodd and lutsign less those whose bit is not. An index of 0x80 gives zero. For lut6 they are tables of 64
// bytes for each sextet of a pixel's activations; entries of what its last sextet has beyond the pixel mean nothing.
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

enum class Scheme {
    kA16,
    kA16X4,
    kW16,
    kW16X8,
    kLut,
    kLutOdd,
    kLutSign,
    kLut6,
    kA32S1,
    kA32S2,
    kA32S4,
    kDot,
    kFloat32
};

constexpr int kMaxTileRows = 14, kMaxTileChannels = 32;

// The order of 16 channels after vpunpck*/vpackss* of two 256-bit registers, which work within 128-bit halves.
constexpr int kUnpackOrder[16] = {0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15};

enum Flush : int64_t {
    kNoFlush = 0,
    kFlushBytes = 1,  // lut: add the bytes to the 16-bit lanes
    kFlushAll = 2,    // add all narrow lanes to acc
};

struct Run {
    int64_t offset;  // bytes from the first operand of a row
    int64_t length;  // in quads; in pairs of k for w16; in sextets for lut6; 1 for a depthwise tap
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

}  // namespace intsim
