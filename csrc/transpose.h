// Bytes of a matrix the other way round, 16 by 16 where there is room: between planes of channels and pixels.
#pragma once

#include <cstdint>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace intsim {

#if defined(__SSE2__)
inline void transpose_block(const uint8_t* from, int64_t from_stride, uint8_t* to, int64_t to_stride) {
    __m128i rows[16], next[16];
    for (int i = 0; i < 16; ++i) rows[i] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i * from_stride));
    // Interleaving row i with row i + 8, four times, sends the bits of the column to the row: a perfect shuffle.
    for (int round = 0; round < 4; ++round) {
        for (int i = 0; i < 8; ++i) {
            next[2 * i] = _mm_unpacklo_epi8(rows[i], rows[i + 8]);
            next[2 * i + 1] = _mm_unpackhi_epi8(rows[i], rows[i + 8]);
        }
        for (int i = 0; i < 16; ++i) rows[i] = next[i];
    }
    for (int i = 0; i < 16; ++i) _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i * to_stride), rows[i]);
}
#else
inline void transpose_block(const uint8_t* from, int64_t from_stride, uint8_t* to, int64_t to_stride) {
    for (int i = 0; i < 16; ++i)
        for (int j = 0; j < 16; ++j) to[j * to_stride + i] = from[i * from_stride + j];
}
#endif

// to[column][row] = from[row][column]; strides in bytes.
inline void transpose(const uint8_t* from, int64_t from_stride, uint8_t* to, int64_t to_stride, int64_t rows,
                      int64_t columns) {
    for (int64_t i = 0; i < rows; i += 16)
        for (int64_t j = 0; j < columns; j += 16) {
            const uint8_t* corner = from + i * from_stride + j;
            uint8_t* target = to + j * to_stride + i;
            if (i + 16 <= rows && j + 16 <= columns) {
                transpose_block(corner, from_stride, target, to_stride);
                continue;
            }
            for (int64_t row = 0; row < rows - i && row < 16; ++row)
                for (int64_t column = 0; column < columns - j && column < 16; ++column)
                    target[column * to_stride + row] = corner[row * from_stride + column];
        }
}

}  // namespace intsim
