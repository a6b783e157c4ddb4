// Tables of lut6's operands by AVX-512 with VBMI.
#include <cstdint>

#include "avx512vbmi.h"

namespace intsim {
namespace {

// Bytes of a register by a formula of their place.
struct Places {
    alignas(64) uint8_t bytes[64];

    template <class Formula>
    explicit Places(const Formula& formula) {
        for (int i = 0; i < 64; ++i) bytes[i] = static_cast<uint8_t>(formula(i));
    }
    __m512i vector() const { return _mm512_load_si512(bytes); }
};

// 4 sextets at a time: first the 8 sums of each half of a sextet, 64 bytes for all; a sextet's 64 are then a look-up in
// its first half's and one in its second half's. A last sextet may read beyond its pixel, for entries that no weight has.
void build_sextets(const OperandArgs& args) {
    __m512i third[3], low[4], high[4];
    __mmask64 counts[3];
    for (int k = 0; k < 3; ++k) {
        third[k] = Places([=](int i) { return 3 * (i / 8) + k; }).vector();
        counts[k] = _mm512_test_epi8_mask(Places([](int i) { return i % 8; }).vector(), _mm512_set1_epi8(1 << k));
    }
    for (int q = 0; q < 4; ++q) {
        low[q] = Places([=](int i) { return 16 * q + i % 8; }).vector();
        high[q] = Places([=](int i) { return 16 * q + 8 + i / 8; }).vector();
    }
    const int64_t sextets = (args.channels + 5) / 6;
    char* to = static_cast<char*>(args.to);
    for (int64_t pixel = 0; pixel < args.count; pixel += args.pixel_stride)
        for (int64_t first = 0; first < sextets; first += 4) {
            const uint8_t* const from = args.from + pixel + 6 * first;
            const __m512i a = _mm512_castsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
            __m512i halves = _mm512_maskz_permutexvar_epi8(counts[0], third[0], a);
            halves = _mm512_add_epi8(halves, _mm512_maskz_permutexvar_epi8(counts[1], third[1], a));
            halves = _mm512_add_epi8(halves, _mm512_maskz_permutexvar_epi8(counts[2], third[2], a));
            for (int64_t q = 0; q < 4 && first + q < sextets; ++q, to += 64)
                _mm512_storeu_si512(to, _mm512_add_epi8(_mm512_permutexvar_epi8(low[q], halves),
                                                        _mm512_permutexvar_epi8(high[q], halves)));
        }
}

constexpr OperandRow kOperand = {
    {"operand_u8s2_sextets_avx512vbmi_1x24", "operand", "sextets", "avx512vbmi", 1, 24, 8, 2},
    Scheme::kLut6,
    build_sextets};

}  // namespace

const Rows<OperandRow> kAvx512VbmiOperands = {&kOperand, 1};

}  // namespace intsim
