// The gemm tiles for NEON with dot product.
//
// dot: sdot adds 4 products of bytes to each of 4 int32, 16 MAC an instruction with nothing to prove. Its bytes are
// both signed, so activations are moved by 128, and the sums behind the panel put back what that takes away. 4 quads of
// 6 rows take 96 sdot among 136 instructions: 11.3 MAC per instruction.
//
// lutsign: tbl looks up 16 channels' sums of 4 activations, and an addition follows. A pair of quads of 4 rows and 32
// channels takes 16 of each among 48 instructions: 21.3 MAC per instruction. That pays for weights of one bit alone:
// two bit-planes (lut, lutodd) would halve it to less than dot has, so they are portable here.
#include <cstdint>
#include <cstring>

#include "neon.h"

namespace intsim {
namespace {

// What 16 bytes of each row of operands meet: 4 lanes, each with 64 bytes of the panel for 16 channels.
struct Dot {
    using Acc = int32x4_t;
    using Operand = int8x16_t;
    static Operand load(const char* from) {
        return vreinterpretq_s8_u8(veorq_u8(vld1q_u8(reinterpret_cast<const uint8_t*>(from)), vdupq_n_u8(0x80)));
    }
    static Operand load_lane(const char* from) {
        uint32_t quad;
        std::memcpy(&quad, from, sizeof quad);
        return vreinterpretq_s8_u32(vdupq_n_u32(quad ^ 0x80808080u));
    }
    static int8x16_t weights(const char* panel) { return vld1q_s8(reinterpret_cast<const int8_t*>(panel)); }
    template <int kLane>
    static Acc add(Acc acc, int8x16_t weights, Operand operand) {
        return vdotq_laneq_s32(acc, weights, operand, kLane);
    }
};

// Benchmarks' float32 roof: a lane is one k.
struct MultiplyAdd {
    using Acc = float32x4_t;
    using Operand = float32x4_t;
    static Operand load(const char* from) { return vld1q_f32(reinterpret_cast<const float*>(from)); }
    static float32x4_t weights(const char* panel) { return load(panel); }
    template <int kLane>
    static Acc add(Acc acc, float32x4_t weights, Operand operand) {
        return vfmaq_laneq_f32(acc, weights, operand, kLane);
    }
};

template <class Acc, int MR>
inline void set_to_zero(Acc (&acc)[MR][4]) {
#pragma GCC unroll 6
    for (int row = 0; row < MR; ++row)
#pragma GCC unroll 4
        for (int part = 0; part < 4; ++part) acc[row][part] = Acc{};
}

// Or GCC would load all lanes' weights first, and spill a quarter of the accumulators.
inline void keep_order() { __asm__ volatile("" ::: "memory"); }

template <class M, int MR, int kLane>
inline void add_lane(typename M::Acc (&acc)[MR][4], const typename M::Operand (&operand)[MR], const char* panel) {
#pragma GCC unroll 4
    for (int part = 0; part < 4; ++part) {
        const auto weights = M::weights(panel + 16 * part);
        keep_order();
#pragma GCC unroll 6
        for (int row = 0; row < MR; ++row)
            acc[row][part] = M::template add<kLane>(acc[row][part], weights, operand[row]);
    }
}

template <class M, int MR>
inline void add_lanes(typename M::Acc (&acc)[MR][4], const char* from, int64_t stride, const char* panel) {
    typename M::Operand operand[MR];
#pragma GCC unroll 6
    for (int row = 0; row < MR; ++row) operand[row] = M::load(from + row * stride);
    add_lane<M, MR, 0>(acc, operand, panel);
    add_lane<M, MR, 1>(acc, operand, panel + 64);
    add_lane<M, MR, 2>(acc, operand, panel + 128);
    add_lane<M, MR, 3>(acc, operand, panel + 192);
}

template <int MR>
void gemm_dot(const Tile& tile) {
    int32x4_t acc[MR][4];
    set_to_zero(acc);
    const char* panel = static_cast<const char*>(tile.panel);
    for (int64_t r = 0; r < tile.run_count; ++r) {
        const char* from = static_cast<const char*>(tile.operand) + tile.runs[r].offset;
        int64_t quads = tile.runs[r].length;
        for (; quads >= 4; quads -= 4, from += 16, panel += 256) add_lanes<Dot, MR>(acc, from, tile.row_stride, panel);
        for (; quads > 0; --quads, from += 4, panel += 64) {
            int8x16_t operand[MR];
#pragma GCC unroll 6
            for (int row = 0; row < MR; ++row) operand[row] = Dot::load_lane(from + row * tile.row_stride);
            add_lane<Dot, MR, 0>(acc, operand, panel);
        }
    }
    const Sixteen bias = load16(tile.bias), sums = load16(reinterpret_cast<const int32_t*>(panel));
#pragma GCC unroll 4
    for (int part = 0; part < 4; ++part) {
        const int32x4_t start = vaddq_s32(bias.part[part], vshlq_n_s32(sums.part[part], 7));
#pragma GCC unroll 6
        for (int row = 0; row < MR; ++row) vst1q_s32(tile.acc + 16 * row + 4 * part, vaddq_s32(acc[row][part], start));
    }
}

void float32_roof(const Tile& tile) {
    float32x4_t acc[4][4];
    set_to_zero(acc);
    const char *from = static_cast<const char*>(tile.operand), *panel = static_cast<const char*>(tile.panel);
    for (int64_t quad = 0; quad < tile.runs[0].length; ++quad, from += 16, panel += 256)
        add_lanes<MultiplyAdd, 4>(acc, from, tile.row_stride, panel);
    float* to = reinterpret_cast<float*>(tile.acc);
#pragma GCC unroll 4
    for (int row = 0; row < 4; ++row)
#pragma GCC unroll 4
        for (int part = 0; part < 4; ++part) vst1q_f32(to + 16 * row + 4 * part, acc[row][part]);
}

// 32 channels' sums, as the panel has them: channels 0..7 and 16..23, then 8..15 and 24..31, each for the first and the
// second quad of pairs.
struct ByteSums {
    int8x16_t part[4];
};

inline void add_entries(ByteSums& sums, const char* tables, const int8_t* panel) {
    const int8_t* table = reinterpret_cast<const int8_t*>(tables);
    const int8x16_t first = vld1q_s8(table), second = vld1q_s8(table + 16);
#pragma GCC unroll 4
    for (int part = 0; part < 4; ++part) {
        const uint8x16_t index = vreinterpretq_u8_s8(vld1q_s8(panel + 16 * part));  // 0x80 looks up zero
        sums.part[part] = vaddq_s8(sums.part[part], vqtbl1q_s8(part % 2 ? second : first, index));
    }
}

// Bytes of both quads to the words of 32 channels in order.
inline void flush_bytes(ByteSums& sums, int16_t* words) {
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
        const int8x16_t first = sums.part[2 * half], second = sums.part[2 * half + 1];
        int16_t* low = words + 8 * half;
        int16_t* high = low + 16;
        vst1q_s16(low, vaddq_s16(vld1q_s16(low), vaddl_s8(vget_low_s8(first), vget_low_s8(second))));
        vst1q_s16(high, vaddq_s16(vld1q_s16(high), vaddl_high_s8(first, second)));
        sums.part[2 * half] = sums.part[2 * half + 1] = vdupq_n_s8(0);
    }
}

inline void flush_words(int16_t* words, int32_t* acc) {
    for (int n = 0; n < 32; n += 4) vst1q_s32(acc + n, vaddw_s16(vld1q_s32(acc + n), vld1_s16(words + n)));
    std::memset(words, 0, 32 * sizeof *words);
}

template <int MR>
void gemm_lutsign(const Tile& tile) {
    ByteSums sums[MR];
    int16_t words[MR][32] = {};
#pragma GCC unroll 4
    for (int row = 0; row < MR; ++row) {
        std::memcpy(tile.acc + 32 * row, tile.bias, 32 * sizeof *tile.acc);
#pragma GCC unroll 4
        for (int8x16_t& part : sums[row].part) part = vdupq_n_s8(0);
    }
    const int8_t* panel = static_cast<const int8_t*>(tile.panel);
    for (int64_t r = 0; r < tile.run_count; ++r) {
        const char* from = static_cast<const char*>(tile.operand) + tile.runs[r].offset;
        for (int64_t quads = tile.runs[r].length; quads > 0; quads -= 2, from += 32, panel += 64)
#pragma GCC unroll 4
            for (int row = 0; row < MR; ++row) add_entries(sums[row], from + row * tile.row_stride, panel);
        if (tile.runs[r].flush == kNoFlush) continue;
#pragma GCC unroll 4
        for (int row = 0; row < MR; ++row) flush_bytes(sums[row], words[row]);
        if (tile.runs[r].flush == kFlushAll)
            for (int row = 0; row < MR; ++row) flush_words(words[row], tile.acc + 32 * row);
    }
}

#define GEMM_ROW(weight_bits, scheme, enumerator, mr, nr)                                                         \
    {{"gemm_u8s" #weight_bits "_" #scheme "_neon_" #mr "x" #nr, "gemm", #scheme, "neon", mr, nr, 8, weight_bits}, \
     Scheme::enumerator,                                                                                          \
     gemm_##scheme<mr>}
#define DOT_ROW(mr) GEMM_ROW(8, dot, kDot, mr, 16)
#define LUTSIGN_ROW(mr) GEMM_ROW(1, lutsign, kLutSign, mr, 32)

constexpr TileRow kRows[] = {DOT_ROW(6), DOT_ROW(5),     DOT_ROW(4),     DOT_ROW(3),     DOT_ROW(2),
                             DOT_ROW(1), LUTSIGN_ROW(4), LUTSIGN_ROW(3), LUTSIGN_ROW(2), LUTSIGN_ROW(1)};

constexpr TileRow kRoof = {
    {"roof_f32f32_float32_neon_4x16", "roof", "float32", "neon", 4, 16, 32, 32}, Scheme::kFloat32, float32_roof};

}  // namespace

const Rows<TileRow> kNeonRoof = {&kRoof, 1};
const Rows<TileRow> kNeonGemm = {kRows, sizeof kRows / sizeof *kRows};

}  // namespace intsim
