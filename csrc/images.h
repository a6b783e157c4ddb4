// Batches of images, channels last, with a halo: what every native operator reads and writes.
//
//     . . . . . . . . . . . . . .   halo.top rows         One pixel is `pixel_stride` elements: its channels, then
//     . . +-------------------+     height rows of        padding up to a multiple of 4 (bytes) or 16 (int32), so that
//     . . | pixel(0, 0)       |     width pixels, each    kernels read whole groups. What the padding holds does not
//     . . |                   |     after a gap of        matter: its weights are zero.
//     . . +-------------------+     max(left, right)
//     . . . . . . . . . . . . . .   halo.bottom rows
//
// The gap in front of a row is its left halo, and also the right halo of the row above; the rows between two images are
// likewise the bottom halo of one and the top halo of the next. A convolution with padding reads its taps straight from
// memory: the producer writes the interior, and the halo holds the pad code. There is no copy to pad and no im2col.
//
// Bytes are codes moved to start at zero: byte = code - type.min. So u4 is stored as it is, and s4 as code + 8, which
// is the unsigned operand that the multiply instructions want. `max_byte` bounds every byte a buffer may hold; a kernel
// whose exactness proof rests on the width checks it against the operand that it is given.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

#include "check.h"

namespace intsim {

struct Halo {
    int64_t top = 0, bottom = 0, left = 0, right = 0;
};

struct Extents {
    int64_t batch, height, width, channels;
};

// Kernels load whole vectors: reading (never writing) this many bytes past the last pixel is legal.
constexpr int64_t kReadableSlack = 64;

// Bytes from one pixel to the next. Pixels of fewer than 4 channels stay dense: padding would be a quarter or more of
// what a convolution multiplies.
constexpr int64_t padded_channels(int64_t channels) { return channels < 4 ? channels : round_up(channels, 4); }

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

// Where in other images some pixels and channels lie: the first of them, and every how many rows and pixels one
// follows.
struct Part {
    int64_t y = 0, x = 0, channel = 0, step_y = 1, step_x = 1;
};

// How far apart elements lie, and where the first image's pixel (0, 0) is.
struct Strides {
    int64_t pixel, row, image, origin, total;
};

// Throws std::invalid_argument for extents and halos out of range, std::bad_alloc where the size overflows.
Strides strides_of(const Extents& extents, const Halo& halo, int64_t pixel);

template <class T>
class Images {
public:
    static constexpr int64_t kSlack = kReadableSlack / static_cast<int64_t>(sizeof(T));
    static Strides strides(const Extents& extents, const Halo& halo) {
        const int64_t channels = extents.channels;
        return strides_of(extents, halo, sizeof(T) == 1 ? padded_channels(channels) : round_up(channels, 16));
    }

    // With memory of their own: every element, halo and channel padding included, starts as `fill`.
    Images(const Extents& extents, const Halo& halo, T fill)
        : Images(extents, halo, fill, allocate_aligned<T>(strides(extents, halo).total)) {
        std::fill_n(memory_.get(), strides(extents, halo).total + kSlack, fill);
    }

    // In memory of others, of strides(extents, halo).total elements and kSlack more; nothing is written.
    Images(const Extents& extents, const Halo& halo, T fill, T* memory)
        : Images(extents, halo, fill, strides(extents, halo), memory) {}

    // Some pixels and channels of these images, in the same memory. They have no halo.
    Images part(const Part& part, const Extents& extents) const {
        const auto inside = [](int64_t start, int64_t step, int64_t count, int64_t size) {
            return start >= 0 && step >= 1 && start < size && count - 1 <= (size - 1 - start) / step;
        };
        require(extents.batch == batch && inside(part.y, part.step_y, extents.height, height) &&
                    inside(part.x, part.step_x, extents.width, width) &&
                    inside(part.channel, 1, extents.channels, channels),
                "images: a part leaves its whole");
        const Strides apart{part.step_x * pixel_stride, part.step_y * row_stride, image_stride, 0, 0};
        return {extents, {}, fill, apart, pixel(0, part.y, part.x) + part.channel};
    }

    // The interior pixel (y, x) of an image; coordinates down to -halo.top and -halo.left address the halo.
    T* pixel(int64_t image, int64_t y, int64_t x) const {
        return origin_ + image * image_stride + y * row_stride + x * pixel_stride;
    }

    // Writes `fill` all around the interior of every image.
    void fill_halo() const;

    const int64_t batch, height, width, channels;
    const Halo halo;
    const T fill;
    const int64_t pixel_stride, row_stride, image_stride;  // in elements

private:
    Images(const Extents& extents, const Halo& halo, T fill, AlignedArray<T> memory)
        : Images(extents, halo, fill, memory.get()) {
        memory_ = std::move(memory);
    }
    Images(const Extents& extents, const Halo& halo, T fill, const Strides& strides, T* memory)
        : batch(extents.batch),
          height(extents.height),
          width(extents.width),
          channels(extents.channels),
          halo(halo),
          fill(fill),
          pixel_stride(strides.pixel),
          row_stride(strides.row),
          image_stride(strides.image),
          origin_(memory + strides.origin) {}

    AlignedArray<T> memory_;
    T* origin_;
};

class ByteImages : public Images<uint8_t> {
public:
    ByteImages(const Extents& extents, int bits, const Halo& halo, int fill)
        : Images(extents, halo, checked(bits, fill)), max_byte((1 << bits) - 1) {}
    ByteImages(const Extents& extents, int bits, const Halo& halo, int fill, uint8_t* memory)
        : Images(extents, halo, checked(bits, fill), memory), max_byte((1 << bits) - 1) {}

    ByteImages part(const Part& part, const Extents& extents) const { return {Images::part(part, extents), max_byte}; }

    const int max_byte;

private:
    ByteImages(Images&& images, int max_byte) : Images(std::move(images)), max_byte(max_byte) {}
    static uint8_t checked(int bits, int fill) {
        require(bits >= 1 && bits <= 8, "images: codes have 1 to 8 bits, got ", bits);
        require(fill >= 0 && fill < 1 << bits, "images: fill byte ", fill, " leaves ", bits, " bits");
        return static_cast<uint8_t>(fill);
    }
};

class Int32Images : public Images<int32_t> {
public:
    explicit Int32Images(const Extents& extents) : Images(extents, {}, 0) {}
    Int32Images(const Extents& extents, int32_t* memory) : Images(extents, {}, 0, memory) {}
};

inline Strides strides_of(const Extents& extents, const Halo& halo, int64_t pixel) {
    const auto [batch, height, width, channels] = extents;
    for (int64_t extent : {batch, height, width, channels})
        require(extent >= 1 && extent < (1ll << 31), "images: extents must be 1..2^31-1, got ", batch, "x", height, "x",
                width, "x", channels);
    for (int64_t extent : {halo.top, halo.bottom, halo.left, halo.right})
        require(extent >= 0 && extent < (1ll << 20), "images: halo of ", extent, " pixels");
    // Extents below 2^31 keep every sum in range; the products are checked.
    const auto times = [](int64_t a, int64_t b) {
        int64_t product = 0;
        if (__builtin_mul_overflow(a, b, &product) || product > (1ll << 60)) throw std::bad_alloc();
        return product;
    };
    Strides strides{};
    strides.pixel = pixel;
    strides.row = times(width + std::max(halo.left, halo.right), strides.pixel);
    strides.image = times(height + std::max(halo.top, halo.bottom), strides.row);
    strides.origin = times(halo.top, strides.row) + halo.left * strides.pixel;
    strides.total = strides.origin + times(batch - 1, strides.image) + times(height - 1 + halo.bottom, strides.row) +
                    (width + halo.right) * strides.pixel;
    return strides;
}

template <class T>
void Images<T>::fill_halo() const {
    if (halo.top + halo.bottom + halo.left + halo.right == 0) return;
    for (int64_t image = 0; image < batch; ++image) {
        std::fill(pixel(image, -halo.top, -halo.left), pixel(image, 0, 0), fill);
        for (int64_t y = 1; y < height; ++y) std::fill(pixel(image, y - 1, width), pixel(image, y, 0), fill);
        std::fill(pixel(image, height - 1, width), pixel(image, height - 1 + halo.bottom, width + halo.right), fill);
    }
}

}  // namespace intsim
