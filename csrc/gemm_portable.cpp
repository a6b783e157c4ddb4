// The tiles and strips in plain C++: what runs where no other instruction set does, and their meaning elsewhere.
#include <cstring>

#include "portable.h"

namespace intsim {
namespace {

template <int MR, int NR>
void start_with_bias(const Tile& tile) {
    for (int row = 0; row < MR; ++row) std::memcpy(tile.acc + NR * row, tile.bias, NR * sizeof *tile.acc);
}

// Schemes a16, a32 and dot without 16-bit lanes: products go straight to int32, so `flush` and steps mean nothing here.
template <int MR>
void gemm_bytes(const Tile& tile) {
    start_with_bias<MR, 16>(tile);
    const int8_t* panel = static_cast<const int8_t*>(tile.panel);
    for (int64_t r = 0; r < tile.run_count; ++r) {
        const uint8_t* operand = static_cast<const uint8_t*>(tile.operand) + tile.runs[r].offset;
        for (int64_t quad = 0; quad < tile.runs[r].length; ++quad, operand += 4, panel += 64)
            for (int row = 0; row < MR; ++row) {
                const uint8_t* a = operand + row * tile.row_stride;
                for (int n = 0; n < 16; ++n)
                    for (int k = 0; k < 4; ++k) tile.acc[16 * row + n] += a[k] * panel[4 * n + k];
            }
    }
}

template <int MR>
void gemm_nibbles(const Tile& tile) {
    start_with_bias<MR, 16>(tile);
    const int8_t* panel = static_cast<const int8_t*>(tile.panel);
    for (int64_t r = 0; r < tile.run_count; ++r) {
        const uint8_t* operand = static_cast<const uint8_t*>(tile.operand) + tile.runs[r].offset;
        for (int64_t quad = 0; quad < tile.runs[r].length; ++quad, operand += 4, panel += 32)
            for (int n = 0; n < 16; ++n)
                for (int k = 0; k < 4; ++k) {
                    const int8_t pair = panel[4 * (n % 8) + k];
                    const int32_t weight = n < 8 ? ((pair & 15) ^ 8) - 8 : pair >> 4;
                    for (int row = 0; row < MR; ++row)
                        tile.acc[16 * row + n] += operand[row * tile.row_stride + k] * weight;
                }
    }
}

template <int MR, class Weight>
void gemm_words(const Tile& tile) {
    start_with_bias<MR, 16>(tile);
    const Weight* panel = static_cast<const Weight*>(tile.panel);
    for (int64_t r = 0; r < tile.run_count; ++r) {
        const char* operand = static_cast<const char*>(tile.operand) + tile.runs[r].offset;
        for (int64_t pair = 0; pair < tile.runs[r].length; ++pair, operand += 4, panel += 32)
            for (int row = 0; row < MR; ++row) {
                int16_t a[2];
                std::memcpy(a, operand + row * tile.row_stride, sizeof a);
                for (int k = 0; k < 2; ++k)
                    for (int n = 0; n < 16; ++n) tile.acc[16 * row + n] += a[k] * panel[2 * n + k];
            }
    }
}

template <int MR>
void gemm_w16(const Tile& tile) {
    gemm_words<MR, int16_t>(tile);
}

template <int MR>
void gemm_w16_bytes(const Tile& tile) {
    gemm_words<MR, int8_t>(tile);
}

// As for a16, flushes mean nothing in int32.
template <int MR, int kEntries>
void gemm_planes(const Tile& tile) {
    start_with_bias<MR, 32>(tile);
    const int8_t* planes = static_cast<const int8_t*>(tile.panel);
    const uint8_t* panel = static_cast<const uint8_t*>(tile.panel) + 64;
    for (int64_t r = 0; r < tile.run_count; ++r) {
        const uint8_t* operand = static_cast<const uint8_t*>(tile.operand) + tile.runs[r].offset;
        for (int64_t step = 0; step < tile.runs[r].length; ++step, operand += kEntries, panel += 64)
            for (int row = 0; row < MR; ++row) {
                const uint8_t* table = operand + row * tile.row_stride;
                for (int i = 0; i < 64; ++i) tile.acc[32 * row + i / 2] += planes[i] * table[panel[i]];
            }
    }
}

template <int MR>
void gemm_lut(const Tile& tile) {
    gemm_planes<MR, 16>(tile);
}

template <int MR>
void gemm_lut6(const Tile& tile) {
    gemm_planes<MR, 64>(tile);
}

// An index's top bit says that there is no weight.
inline int32_t entry(const int8_t* table, uint8_t index) { return index & 0x80 ? 0 : table[index]; }

template <int MR>
void gemm_lutodd(const Tile& tile) {
    start_with_bias<MR, 32>(tile);
    const uint8_t* panel = static_cast<const uint8_t*>(tile.panel);
    for (int64_t r = 0; r < tile.run_count; ++r) {
        const int8_t* operand = static_cast<const int8_t*>(tile.operand) + tile.runs[r].offset;
        for (int64_t quad = 0; quad < tile.runs[r].length; ++quad, operand += 16, panel += 64)
            for (int row = 0; row < MR; ++row) {
                const int8_t* table = operand + row * tile.row_stride;
                for (int n = 0; n < 32; ++n)
                    tile.acc[32 * row + n] += entry(table, panel[2 * n]) + 2 * entry(table, panel[2 * n + 1]);
            }
    }
}

template <int MR>
void gemm_lutsign(const Tile& tile) {
    start_with_bias<MR, 32>(tile);
    const uint8_t* panel = static_cast<const uint8_t*>(tile.panel);
    for (int64_t r = 0; r < tile.run_count; ++r) {
        const int8_t* operand = static_cast<const int8_t*>(tile.operand) + tile.runs[r].offset;
        for (int64_t quad = 0; quad < tile.runs[r].length; quad += 2, operand += 32, panel += 64)
            for (int row = 0; row < MR; ++row) {
                const int8_t* tables = operand + row * tile.row_stride;
                for (int n = 0; n < 32; ++n)
                    for (int second = 0; second < 2; ++second)
                        tile.acc[32 * row + n] +=
                            entry(tables + 16 * second, panel[32 * (n / 8 % 2) + 16 * second + 8 * (n / 16) + n % 8]);
            }
    }
}

template <int MR>
void depthwise_w16(const Tile& tile) {
    start_with_bias<MR, 16>(tile);
    const int16_t* panel = static_cast<const int16_t*>(tile.panel);
    for (int64_t r = 0; r < tile.run_count; ++r) {
        const int16_t* weights = panel + 32 * (r / 2) + r % 2;
        const uint8_t* operand = static_cast<const uint8_t*>(tile.operand) + tile.runs[r].offset;
        for (int row = 0; row < MR; ++row)
            for (int i = 0; i < 16; ++i) {
                const int channel = kUnpackOrder[i];
                tile.acc[16 * row + channel] += operand[row * tile.row_stride + channel] * weights[2 * i];
            }
    }
}

// Where a strip's panel has the weight of channel c, filter row y and column x, for the first row of output.
struct StripBytes {
    using Weight = int8_t;
    static int place(int c, int y, int x) { return 128 * x + 32 * (y / 2) + 2 * kUnpackOrder[c] + y % 2; }
};
struct StripWords {
    using Weight = int16_t;
    static int place(int c, int y, int x) { return 192 * (c / 8) + 64 * x + 16 * (y / 2) + 2 * (c % 8) + y % 2; }
};
struct StripQuads {
    using Weight = int8_t;
    static int place(int c, int y, int x) { return 128 * x + 4 * c + y; }
};

template <class Layout>
void strip(const Strip& strip) {
    const auto* panel = static_cast<const typename Layout::Weight*>(strip.panel);
    for (int64_t row = 0; row < strip.rows; ++row)
        for (int64_t x = 0; x < strip.pixels; ++x)
            for (int c = 0; c < 16; ++c) {
                const uint8_t* a = strip.operand + row * strip.stride_y * strip.row_stride +
                                   x * strip.stride_x * strip.pixel_stride + c;
                int32_t sum = strip.bias[c];
                for (int tap_y = 0; tap_y < 3; ++tap_y)
                    for (int tap_x = 0; tap_x < 3; ++tap_x)
                        sum += a[tap_y * strip.row_stride + tap_x * strip.pixel_stride] *
                               panel[Layout::place(c, tap_y, tap_x)];
                strip.acc[(row * kMaxStripPixels + x) * 16 + c] = sum;
            }
}

void float32_roof(const Tile& tile) {
    const float* panel = static_cast<const float*>(tile.panel);
    const float* operand = static_cast<const float*>(tile.operand);
    const int64_t stride = tile.row_stride / 4;
    float acc[4][16] = {};
    for (int64_t k = 0; k < 4 * tile.runs[0].length; ++k)
        for (int row = 0; row < 4; ++row)
            for (int n = 0; n < 16; ++n) acc[row][n] += operand[row * stride + k] * panel[16 * k + n];
    std::memcpy(tile.acc, acc, sizeof acc);
}

#define TILE_ROW(op, weights, scheme, enumerator, mr, nr, run)                                                        \
    {{#op "_u8" weights "_" #scheme "_portable_" #mr "x" #nr, #op, #scheme, "portable", mr, nr, 8, weights[1] - '0'}, \
     Scheme::enumerator,                                                                                              \
     run<mr>}
#define TILE_ROWS(op, weights, scheme, enumerator, nr, run)                                                       \
    TILE_ROW(op, weights, scheme, enumerator, 4, nr, run), TILE_ROW(op, weights, scheme, enumerator, 3, nr, run), \
        TILE_ROW(op, weights, scheme, enumerator, 2, nr, run), TILE_ROW(op, weights, scheme, enumerator, 1, nr, run)

constexpr TileRow kGemm[] = {TILE_ROWS(gemm, "s8", a16, kA16, 16, gemm_bytes),
                             TILE_ROWS(gemm, "s4", a16x4, kA16X4, 16, gemm_nibbles),
                             TILE_ROWS(gemm, "s8", w16, kW16, 16, gemm_w16),
                             TILE_ROWS(gemm, "s8", w16x8, kW16X8, 16, gemm_w16_bytes),
                             TILE_ROWS(gemm, "s2", lut, kLut, 32, gemm_lut),
                             TILE_ROWS(gemm, "s2", lutodd, kLutOdd, 32, gemm_lutodd),
                             TILE_ROWS(gemm, "s1", lutsign, kLutSign, 32, gemm_lutsign),
                             TILE_ROWS(gemm, "s2", lut6, kLut6, 32, gemm_lut6),
                             TILE_ROWS(gemm, "s8", a32s1, kA32S1, 16, gemm_bytes),
                             TILE_ROWS(gemm, "s8", a32s2, kA32S2, 16, gemm_bytes),
                             TILE_ROWS(gemm, "s8", a32s4, kA32S4, 16, gemm_bytes),
                             TILE_ROWS(gemm, "s8", dot, kDot, 16, gemm_bytes)};

constexpr TileRow kDepthwise[] = {TILE_ROWS(depthwise, "s8", w16, kW16, 16, depthwise_w16)};

constexpr StripRow kStrips[] = {
    {{"strip_u8s8_a16_portable_2x16", "strip", "a16", "portable", 2, 16, 8, 8}, Scheme::kA16, strip<StripBytes>},
    {{"strip_u8s8_w16_portable_2x16", "strip", "w16", "portable", 2, 16, 8, 8}, Scheme::kW16, strip<StripWords>},
    {{"strip_u8s8_dot_portable_2x16", "strip", "dot", "portable", 2, 16, 8, 8}, Scheme::kDot, strip<StripQuads>}};

constexpr TileRow kRoof = {{"roof_f32f32_float32_portable_4x16", "roof", "float32", "portable", 4, 16, 32, 32},
                           Scheme::kFloat32,
                           float32_roof};

}  // namespace

const Rows<TileRow> kPortableGemm = rows_of(kGemm), kPortableDepthwise = rows_of(kDepthwise);
const Rows<StripRow> kPortableStrips = rows_of(kStrips);
const Rows<TileRow> kPortableRoof = {&kRoof, 1};

}  // namespace intsim
