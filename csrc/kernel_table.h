// The registry of kernels. What they are given is in tiles.h and blocks.h, or here.
//
// A kernel is a plain function and one row in the table of its instruction set (gemm_portable.cpp, gemm_avx2.cpp,
// ...). Nothing else has to be told about it: packing and dispatch look rows up here, tests run every row against plain
// integers, and benchmarks time every row. A row's name is
//
//     <op>_u<act>s<weight>_<scheme>_<isa>_<MRxNR>          gemm_u8s8_a16_avx2_6x16
//
// with the widest operands that the kernel's registers hold. This header is included by files that are compiled for an
// instruction set which the processor may lack, so it holds plain structs only: no functions, nothing to instantiate.
#pragma once

#include "blocks.h"
#include "tiles.h"

namespace intsim {

// Operands of a scheme from `count` activation bytes. It may read and write up to the next multiple of 8 bytes, and lut6
// read as much as any kernel. For lut6 alone pixels count: tables are made of the first `channels` bytes of each.
struct OperandArgs {
    const uint8_t* from;
    void* to;
    int64_t count;
    int64_t channels, pixel_stride;
};
using OperandKernel = void (*)(const OperandArgs&);
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
extern const KernelTable kAvx512VbmiKernels;
#elif defined(__aarch64__)
extern const KernelTable kNeonKernels;
#endif

}  // namespace intsim
