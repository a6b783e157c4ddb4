// Every kernel in plain C++: what runs where no other instruction set does, and the meaning of the rows elsewhere.
#include <cmath>
#include <cstring>

#include "kernel_table.h"

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

// Bit-planes of two's complement, so the second one counts -2. As for a16, flushes mean nothing in int32.
template <int MR>
void gemm_lut(const Tile& tile) {
    start_with_bias<MR, 32>(tile);
    const uint8_t* panel = static_cast<const uint8_t*>(tile.panel);
    for (int64_t r = 0; r < tile.run_count; ++r) {
        const uint8_t* operand = static_cast<const uint8_t*>(tile.operand) + tile.runs[r].offset;
        for (int64_t quad = 0; quad < tile.runs[r].length; ++quad, operand += 16, panel += 64)
            for (int row = 0; row < MR; ++row) {
                const uint8_t* table = operand + row * tile.row_stride;
                for (int n = 0; n < 32; ++n)
                    tile.acc[32 * row + n] += table[panel[2 * n]] - 2 * table[panel[2 * n + 1]];
            }
    }
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

// Four numbers of a row or a column, as B' has it.
template <class T>
void transform_four(const T* from, int64_t from_step, T* to, int64_t to_step) {
    const T a = from[0], b = from[from_step], c = from[2 * from_step], d = from[3 * from_step];
    to[0] = a - c, to[to_step] = b + c, to[2 * to_step] = c - b, to[3 * to_step] = b - d;
}

template <class T>
void winograd_input(const WinogradInput& args) {
    for (int64_t channel = 0; channel < args.channels; ++channel) {
        int32_t patch[16], rows[16], places[16];
        for (int i = 0; i < 16; ++i) patch[i] = args.pixels[i / 4][i % 4][channel];
        for (int x = 0; x < 4; ++x) transform_four(patch + x, 4, rows + x, 4);
        for (int y = 0; y < 4; ++y) transform_four(rows + 4 * y, 1, places + 4 * y, 1);
        for (int i = 0; i < 16; ++i) {
            const int32_t move = i == 5 ? 0 : args.move;
            reinterpret_cast<T*>(static_cast<char*>(args.out) + i * args.step)[channel] =
                static_cast<T>(places[i] + move);
        }
    }
}

// Unsigned, because sums may wrap on their way to a result that fits.
void winograd_output(const WinogradOutput& args) {
    for (int64_t i = 0; i < 16 * args.rows; ++i) {
        uint32_t sums[16], rows[8];
        for (int place = 0; place < 16; ++place) sums[place] = static_cast<uint32_t>(args.sums[place * args.step + i]);
        for (int x = 0; x < 4; ++x) {
            rows[x] = 2 * sums[x] + sums[4 + x] + sums[8 + x];
            rows[4 + x] = sums[4 + x] - sums[8 + x] - 2 * sums[12 + x];
        }
        for (int y = 0; y < 2; ++y) {
            const uint32_t* row = rows + 4 * y;
            args.acc[2 * y * args.acc_step + i] = static_cast<int32_t>(2 * row[0] + row[1] + row[2]) >> 2;
            args.acc[(2 * y + 1) * args.acc_step + i] = static_cast<int32_t>(row[1] - row[2] - 2 * row[3]) >> 2;
        }
    }
}

template <class T>
uint8_t round_to_byte(T x, const RoundingBlock<T>& block, int channel) {
    const T f = (x >> block.shift[channel]) + block.zero_before[channel];
    x += block.base[channel] + (f < 0 ? block.sign_term[channel] : 0) + (f & block.odd_term[channel]);
    const T value = (x >> block.shift[channel]) + block.zero[channel];
    return static_cast<uint8_t>(value < block.low ? block.low : value > block.high ? block.high : value);
}

template <class T>
void scale(const EpilogueArgs& args) {
    const ScaleBlock<T>& block = *static_cast<const ScaleBlock<T>*>(args.block);
    for (int64_t row = 0; row < args.rows; ++row)
        for (int64_t c = 0; c < args.channels; ++c)
            args.out[row * args.out_stride + c] =
                round_to_byte<T>(block.multiplier[c] * args.acc[row * args.acc_stride + c], block.rounding, c);
}

void high_word(const EpilogueArgs& args) {
    const HighWordBlock& block = *static_cast<const HighWordBlock*>(args.block);
    for (int64_t row = 0; row < args.rows; ++row)
        for (int64_t c = 0; c < args.channels; ++c) {
            const int32_t acc = args.acc[row * args.acc_stride + c];
            const int64_t base = block.base[c % 2][c / 2] - (acc < 0 ? block.below_zero[c % 2][c / 2] : 0);
            const int64_t sum = int64_t{block.multiplier[c]} * acc + base;
            const int64_t value = sum >> (32 + block.shift[c]);
            args.out[row * args.out_stride + c] = static_cast<uint8_t>(value < block.low    ? block.low
                                                                       : value > block.high ? block.high
                                                                                            : value);
        }
}

// Clipping to integers commutes with rounding, and once |v| < 2^22 adding 1.5 * 2^(mantissa bits) rounds to nearest
// even.
template <class T>
void scale_float(const EpilogueArgs& args) {
    constexpr T kRound = static_cast<T>(sizeof(T) == 4 ? 12582912.0 : 6755399441055744.0);
    const FloatBlock<T>& block = *static_cast<const FloatBlock<T>*>(args.block);
    for (int64_t row = 0; row < args.rows; ++row)
        for (int64_t c = 0; c < args.channels; ++c) {
            const T v = static_cast<T>(args.acc[row * args.acc_stride + c]) * block.scale[c] + block.before;
            const T clipped = v > block.lowest ? (v < block.highest ? v : block.highest) : block.lowest;
            const T rounded = (clipped + kRound) - kRound;
            args.out[row * args.out_stride + c] = static_cast<uint8_t>(static_cast<int32_t>(rounded) + block.zero);
        }
}

void line(const EpilogueArgs& args) {
    constexpr float kRound = 12582912.0f;
    const LineBlock& block = *static_cast<const LineBlock*>(args.block);
    const float low = static_cast<float>(block.low), high = static_cast<float>(block.high);
    for (int64_t row = 0; row < args.rows; ++row)
        for (int64_t c = 0; c < args.channels; ++c) {
            const float v =
                std::fma(static_cast<float>(args.acc[row * args.acc_stride + c]), block.scale[c], block.offset[c]);
            const float clipped = v > low ? (v < high ? v : high) : low;
            args.out[row * args.out_stride + c] = static_cast<uint8_t>((clipped + kRound) - kRound);
        }
}

void threshold(const EpilogueArgs& args) {
    const ThresholdBlock& block = *static_cast<const ThresholdBlock*>(args.block);
    for (int64_t row = 0; row < args.rows; ++row) {
        const int32_t* acc = args.acc + row * args.acc_stride;
        int32_t reached[16] = {};
        for (int64_t k = 0; k < block.count; ++k)
            for (int c = 0; c < 16; ++c) reached[c] += acc[c] > block.thresholds[16 * k + c];
        for (int64_t c = 0; c < args.channels; ++c)
            args.out[row * args.out_stride + c] =
                static_cast<uint8_t>(block.base[c] + (block.descending[c] ? -reached[c] : reached[c]));
    }
}

void buckets(const EpilogueArgs& args) {
    const BucketBlock& block = *static_cast<const BucketBlock*>(args.block);
    for (int64_t row = 0; row < args.rows; ++row)
        for (int64_t c = 0; c < args.channels; ++c) {
            const int32_t acc = args.acc[row * args.acc_stride + c];
            const int32_t clipped = acc < block.first[c] ? block.first[c] : acc > block.last[c] ? block.last[c] : acc;
            const int32_t x = clipped - block.first[c];
            const int32_t* entry = block.entries + block.start[c] + (x >> block.shift[c]);
            int32_t reached = 0;
            for (int64_t k = 0; k < block.depth; ++k, entry += block.plane) {
                const uint32_t bits = static_cast<uint32_t>(*entry);
                reached +=
                    static_cast<int32_t>(bits >> 24) + ((x & block.place[c]) > static_cast<int32_t>(bits & 0xffffff));
            }
            args.out[row * args.out_stride + c] =
                static_cast<uint8_t>(block.base[c] + (block.descending[c] ? -reached : reached));
        }
}

template <class A, class T>
void add(const AddArgs& args) {
    const AddBlock<T>& block = *static_cast<const AddBlock<T>*>(args.block);
    const A* a = static_cast<const A*>(args.a);
    for (int64_t pixel = 0; pixel < args.pixels; ++pixel)
        for (int64_t c = 0; c < args.channels; ++c) {
            const T x = block.multiplier_a[c] * a[pixel * args.a_stride + c] +
                        block.multiplier_b[c] * args.b[pixel * args.b_stride + c] + block.offset[c];
            args.out[pixel * args.out_stride + c] = round_to_byte<T>(x, block.rounding, c);
        }
}

template <class A>
void add_high_word(const AddArgs& args) {
    const AddHighWordBlock& block = *static_cast<const AddHighWordBlock*>(args.block);
    const A* a = static_cast<const A*>(args.a);
    for (int64_t pixel = 0; pixel < args.pixels; ++pixel)
        for (int64_t c = 0; c < args.channels; ++c) {
            const int64_t offset = block.offset[c % 2][c / 2];
            const int64_t base = block.base[c % 2][c / 2];
            const int64_t x =
                int64_t{block.multiplier_a[c]} * a[pixel * args.a_stride + c] * (1 << block.left_a[c]) +
                int64_t{block.multiplier_b[c]} * args.b[pixel * args.b_stride + c] * (1 << block.left_b[c]) + offset;
            const int shift = 32 + block.shift[c];
            const int64_t value = (x + base + ((x >> shift) & block.odd_term)) >> shift;
            args.out[pixel * args.out_stride + c] = static_cast<uint8_t>(value < block.low    ? block.low
                                                                         : value > block.high ? block.high
                                                                                              : value);
        }
}

void widen(const uint8_t* from, void* to, int64_t count) {
    int16_t* words = static_cast<int16_t*>(to);
    for (int64_t i = 0; i < count; ++i) words[i] = from[i];
}

template <bool kSigned>
void build_tables(const uint8_t* from, void* to, int64_t count) {
    uint8_t* table = static_cast<uint8_t*>(to);
    for (int64_t i = 0; i < count; i += 4, table += 16)
        for (int entry = 0; entry < 16; ++entry) {
            table[entry] = 0;
            for (int k = 0; k < 4; ++k)
                table[entry] += static_cast<uint8_t>(entry >> k & 1 ? from[i + k] : kSigned ? -from[i + k] : 0);
        }
}

// Clipping to integers commutes with rounding, and once |v| < 2^22 adding 1.5 * 2^23 rounds to nearest even.
void quantize(const QuantizeArgs& args) {
    constexpr float kRound = 12582912.0f;
    const float* __restrict from = args.from;
    uint8_t* __restrict to = args.to;
    const float scale = args.scale, lowest = args.lowest, highest = args.highest;
    const int32_t offset = static_cast<int32_t>(lowest);
    for (int64_t i = 0; i < args.count; ++i) {
        const float v = from[i] / scale;
        const float raised = v > lowest ? v : lowest, clipped = raised < highest ? raised : highest;
        to[i] = static_cast<uint8_t>(static_cast<int32_t>((clipped + kRound) - kRound) - offset);
    }
}

void lookup(const uint8_t* from, uint8_t* to, int64_t count, const uint8_t* table) {
    for (int64_t i = 0; i < count; ++i) to[i] = table[from[i]];
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
                             TILE_ROWS(gemm, "s8", a32s1, kA32S1, 16, gemm_bytes),
                             TILE_ROWS(gemm, "s8", a32s2, kA32S2, 16, gemm_bytes),
                             TILE_ROWS(gemm, "s8", a32s4, kA32S4, 16, gemm_bytes),
                             TILE_ROWS(gemm, "s8", dot, kDot, 16, gemm_bytes)};
// Those of AVX2, measured in layers on Zen 3: portable kernels go the ways of the others, for which they stand in.
constexpr SchemeCost kCosts[] = {{Scheme::kLutSign, 3.7, 22, 44, 44, 0.6}, {Scheme::kLut, 7.4, 14, 44, 44, 0.6},
                                 {Scheme::kLutOdd, 7.4, 14, 44, 44, 0.6},  {Scheme::kA16, 8, 0, 12, 6, 0},
                                 {Scheme::kA32S4, 9.6, 0, 0, 0, 0},        {Scheme::kA32S2, 11.2, 0, 0, 0, 0},
                                 {Scheme::kA32S1, 12.6, 0, 0, 0, 0},       {Scheme::kW16, 16, 0, 0, 0, 0}};
constexpr TileRow kDepthwise[] = {TILE_ROWS(depthwise, "s8", w16, kW16, 16, depthwise_w16)};

constexpr StripRow kStrips[] = {
    {{"strip_u8s8_a16_portable_2x16", "strip", "a16", "portable", 2, 16, 8, 8}, Scheme::kA16, strip<StripBytes>},
    {{"strip_u8s8_w16_portable_2x16", "strip", "w16", "portable", 2, 16, 8, 8}, Scheme::kW16, strip<StripWords>},
    {{"strip_u8s8_dot_portable_2x16", "strip", "dot", "portable", 2, 16, 8, 8}, Scheme::kDot, strip<StripQuads>}};

constexpr TileRow kRoof = {{"roof_f32f32_float32_portable_4x16", "roof", "float32", "portable", 4, 16, 32, 32},
                           Scheme::kFloat32,
                           float32_roof};

constexpr EpilogueRow kEpilogues[] = {
    {{"epilogue_u8s32_shift_portable_1x16", "epilogue", "shift", "portable", 1, 16, 8, 32},
     EpilogueKind::kShift,
     scale<int32_t>},
    {{"epilogue_u8s32_highword_portable_1x16", "epilogue", "highword", "portable", 1, 16, 8, 32},
     EpilogueKind::kHighWord,
     high_word},
    {{"epilogue_u8s32_highwordsigned_portable_1x16", "epilogue", "highwordsigned", "portable", 1, 16, 8, 32},
     EpilogueKind::kHighWordSigned,
     high_word},
    {{"epilogue_u8s32_multiplier_portable_1x16", "epilogue", "multiplier", "portable", 1, 16, 8, 32},
     EpilogueKind::kMultiplier,
     scale<int64_t>},
    {{"epilogue_u8s32_wide_portable_1x16", "epilogue", "wide", "portable", 1, 16, 8, 32},
     EpilogueKind::kWide,
     scale<int64_t>},
    {{"epilogue_u8s32_float32_portable_1x16", "epilogue", "float32", "portable", 1, 16, 8, 32},
     EpilogueKind::kFloat32,
     scale_float<float>},
    {{"epilogue_u8s32_float64_portable_1x16", "epilogue", "float64", "portable", 1, 16, 8, 32},
     EpilogueKind::kFloat64,
     scale_float<double>},
    {{"epilogue_u8s32_threshold16_portable_1x16", "epilogue", "threshold16", "portable", 1, 16, 8, 32},
     EpilogueKind::kThreshold16,
     threshold},
    {{"epilogue_u8s32_threshold32_portable_1x16", "epilogue", "threshold32", "portable", 1, 16, 8, 32},
     EpilogueKind::kThreshold32,
     threshold},
    {{"epilogue_u8s32_buckets_portable_1x16", "epilogue", "buckets", "portable", 1, 16, 8, 32},
     EpilogueKind::kBuckets,
     buckets},
    {{"epilogue_u8s32_line_portable_1x16", "epilogue", "line", "portable", 1, 16, 8, 32}, EpilogueKind::kLine, line},
};

constexpr AddRow kAdds[] = {
    {{"add_u8s8_int32_portable_1x16", "add", "int32", "portable", 1, 16, 8, 8},
     AddKind::kBytes32,
     add<uint8_t, int32_t>},
    {{"add_u8s8_highword_portable_1x16", "add", "highword", "portable", 1, 16, 8, 8},
     AddKind::kBytesHighWord,
     add_high_word<uint8_t>},
    {{"add_u8s8_int64_portable_1x16", "add", "int64", "portable", 1, 16, 8, 8},
     AddKind::kBytes64,
     add<uint8_t, int64_t>},
    {{"add_u8s8_wide_portable_1x16", "add", "wide", "portable", 1, 16, 8, 8},
     AddKind::kBytesWide,
     add<uint8_t, int64_t>},
    {{"add_u8s32_int32_portable_1x16", "add", "int32", "portable", 1, 16, 8, 32},
     AddKind::kAccumulators32,
     add<int32_t, int32_t>},
    {{"add_u8s32_highword_portable_1x16", "add", "highword", "portable", 1, 16, 8, 32},
     AddKind::kAccumulatorsHighWord,
     add_high_word<int32_t>},
    {{"add_u8s32_int64_portable_1x16", "add", "int64", "portable", 1, 16, 8, 32},
     AddKind::kAccumulators64,
     add<int32_t, int64_t>},
    {{"add_u8s32_wide_portable_1x16", "add", "wide", "portable", 1, 16, 8, 32},
     AddKind::kAccumulatorsWide,
     add<int32_t, int64_t>},
};

constexpr OperandRow kOperands[] = {
    {{"operand_u8s16_widen_portable_1x1", "operand", "widen", "portable", 1, 1, 8, 16}, Scheme::kW16, widen},
    {{"operand_u8s2_tables_portable_1x4", "operand", "tables", "portable", 1, 4, 8, 2},
     Scheme::kLut,
     build_tables<false>},
    {{"operand_u8s2_oddtables_portable_1x4", "operand", "tables", "portable", 1, 4, 8, 2},
     Scheme::kLutOdd,
     build_tables<true>},
    {{"operand_u8s1_signtables_portable_1x4", "operand", "tables", "portable", 1, 4, 8, 1},
     Scheme::kLutSign,
     build_tables<true>},
};
constexpr LookupRow kLookup = {{"lookup_u8s8_table_portable_1x1", "lookup", "table", "portable", 1, 1, 8, 8}, lookup};
constexpr QuantizeRow kQuantizer = {
    {"quantize_u8f32_float32_portable_1x1", "quantize", "float32", "portable", 1, 1, 8, 32}, quantize};

constexpr WinogradRow kWinograd = {{"winograd_u8s32_f2x2_portable_1x16", "winograd", "f2x2", "portable", 1, 16, 8, 32},
                                   {80, 70, 70},
                                   winograd_input<uint8_t>,
                                   winograd_input<int16_t>,
                                   winograd_output};

template <class Row, int N>
constexpr Rows<Row> rows_of(const Row (&rows)[N]) {
    return {rows, N};
}

constexpr Rows<SchemeCost> kCostRows = rows_of(kCosts);
constexpr Rows<TileRow> kGemmRows = rows_of(kGemm), kDepthwiseRows = rows_of(kDepthwise);
constexpr Rows<StripRow> kStripRows = rows_of(kStrips);
constexpr Rows<TileRow> kRoofRows = {&kRoof, 1};
constexpr Rows<EpilogueRow> kEpilogueRows = rows_of(kEpilogues);
constexpr Rows<AddRow> kAddRows = rows_of(kAdds);
constexpr Rows<OperandRow> kOperandRows = rows_of(kOperands);
constexpr Rows<LookupRow> kLookupRows = {&kLookup, 1};
constexpr Rows<QuantizeRow> kQuantizerRows = {&kQuantizer, 1};
constexpr Rows<WinogradRow> kWinogradRows = {&kWinograd, 1};

}  // namespace

const KernelTable kPortableKernels = {
    "portable",  nullptr,    &kCostRows,     &kGemmRows, nullptr,       nullptr,      nullptr,         &kDepthwiseRows,
    &kStripRows, &kRoofRows, &kEpilogueRows, &kAddRows,  &kOperandRows, &kLookupRows, &kQuantizerRows, &kWinogradRows};

}  // namespace intsim
