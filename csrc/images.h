// Batches of images, channels last, with a halo: what every native operator reads and writes.
//
//   . . . . . . . . . . . . . . . . .   halo.top rows             One pixel is `pixel_stride` elements: its channels,
//   . . +-----------------------+ . .                             then padding up to a multiple of 4 (bytes) or 16
//   . . | pixel(0,0)            | . .   height rows of            (int32), so that kernels read whole groups.
//   . . |                       | . .   width pixels
//   . . +-----------------------+ . .
//   . . . . . . . . . . . . . . . . .   halo.bottom rows
//       ^ halo.left             ^ halo.right
//
// A convolution with padding reads its taps straight from memory: the producer wrote the interior, and the halo holds
// the pad code since the buffer was made. There is no copy to pad and no im2col.
//
// Bytes are codes moved to start at zero: byte = code - type.min. So u4 is stored as it is, and s4 as code + 8, which
// is the unsigned operand that the multiply instructions want. `max_byte` bounds every byte a buffer may hold; a kernel
// whose exactness proof rests on the width checks it against the operand that it is given.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

#include "check.h"

namespace intsim {

struct Halo {
    int64_t top = 0, bottom = 0, left = 0, right = 0;
};

// Kernels load whole vectors: reading (never writing) this many bytes past the last pixel is legal.
constexpr int64_t kReadableSlack = 64;

// Elements of the batch that are computed together stay contiguous in memory that is aligned to a cache line.
struct FreeMemory {
    void operator()(void* memory) const { std::free(memory); }
};
template <class T>
using AlignedArray = std::unique_ptr<T[], FreeMemory>;

template <class T>
AlignedArray<T> allocate_aligned(int64_t count) {
    int64_t bytes = 0;
    if (count < 0 || __builtin_mul_overflow(count, static_cast<int64_t>(sizeof(T)), &bytes) || bytes > (1ll << 46))
        throw std::bad_alloc();
    void* memory = std::aligned_alloc(64, static_cast<size_t>(round_up(bytes + kReadableSlack, 64)));
    if (memory == nullptr) throw std::bad_alloc();
    return AlignedArray<T>(static_cast<T*>(memory));
}

template <class T>
class Images {
public:
    static constexpr int64_t kChannelMultiple = sizeof(T) == 1 ? 4 : 16;

    // Every element, halo and channel padding included, starts as `fill`.
    Images(int64_t batch, int64_t height, int64_t width, int64_t channels, const Halo& halo, T fill);

    // The interior pixel (y, x) of an image; coordinates down to -halo.top and -halo.left address the halo.
    T* pixel(int64_t image, int64_t y, int64_t x) const {
        return origin_ + image * image_stride + y * row_stride + x * pixel_stride;
    }

    const int64_t batch, height, width, channels;
    const Halo halo;
    const T fill;
    const int64_t pixel_stride, row_stride;  // in elements
    int64_t image_stride = 0;

private:
    AlignedArray<T> memory_;
    T* origin_;
};

class ByteImages : public Images<uint8_t> {
public:
    ByteImages(int64_t batch, int64_t height, int64_t width, int64_t channels, int bits, const Halo& halo, int fill)
        : Images(batch, height, width, channels, halo, static_cast<uint8_t>(fill)), max_byte((1 << bits) - 1) {
        require(bits >= 1 && bits <= 8, "images: codes have 1 to 8 bits, got ", bits);
        require(fill >= 0 && fill <= max_byte, "images: fill byte ", fill, " leaves ", bits, " bits");
    }
    const int max_byte;
};

using Int32Images = Images<int32_t>;

template <class T>
Images<T>::Images(int64_t batch, int64_t height, int64_t width, int64_t channels, const Halo& halo, T fill)
    : batch(batch),
      height(height),
      width(width),
      channels(channels),
      halo(halo),
      fill(fill),
      pixel_stride(round_up(channels, kChannelMultiple)),
      row_stride((width + halo.left + halo.right) * pixel_stride) {
    // 2^31 for each extent keeps every sum above in range; the products are checked.
    for (int64_t extent : {batch, height, width, channels})
        require(extent >= 1 && extent < (1ll << 31), "images: extents must be 1..2^31-1, got ", batch, "x", height, "x",
                width, "x", channels);
    for (int64_t extent : {halo.top, halo.bottom, halo.left, halo.right})
        require(extent >= 0 && extent < (1ll << 20), "images: halo of ", extent, " pixels");
    int64_t row = 0, total = 0;
    if (__builtin_mul_overflow(width + halo.left + halo.right, pixel_stride, &row) ||
        __builtin_mul_overflow(row, height + halo.top + halo.bottom, &image_stride) ||
        __builtin_mul_overflow(image_stride, batch, &total))
        throw std::bad_alloc();
    memory_ = allocate_aligned<T>(total);
    const int64_t slack = kReadableSlack / static_cast<int64_t>(sizeof(T));
    for (int64_t i = 0; i < total + slack; ++i) memory_[i] = fill;
    origin_ = memory_.get() + halo.top * row_stride + halo.left * pixel_stride;
}

}  // namespace intsim
