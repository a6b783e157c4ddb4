#include "elementwise.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "check.h"
#include "rows.h"
#include "scratch.h"
#include "transpose.h"

namespace intsim {
namespace {

// Whether pixels follow each other without a gap. In a part of other images a gap may hold channels of others, even one
// as wide as padding would be.
bool dense_pixels(const ByteImages& images) { return images.pixel_stride == images.channels; }

// A row of pixels from that of each plane of channels, one behind the other.
void fill_row(const uint8_t* planes, const ByteImages& out, int64_t image, int64_t y) {
    uint8_t* const pixels = out.pixel(image, y, 0);
    if (out.channels == 3 && dense_pixels(out))
        interleave_three(planes, pixels, out.width);
    else
        transpose(planes, out.width, pixels, out.pixel_stride, out.channels, out.width);
}

// to = from - offset, modulo 256; the bits that any of the results has. `from` and `to` are the same or apart.
uint8_t move_bytes(const uint8_t* from, uint8_t* to, int64_t count, uint8_t offset) {
    uint8_t seen = 0;
    for (int64_t i = 0; i < count; ++i) {
        const uint8_t byte = static_cast<uint8_t>(from[i] - offset);
        to[i] = byte;
        seen = static_cast<uint8_t>(seen | byte);
    }
    return seen;
}

// From [channels][height][width] to pixels or back: visit(planar index, pixel pointer, channel) for each element.
template <class T, class Visit>
void each_planar(const Images<T>& images, int threads, const Visit& visit) {
    const int64_t area = images.height * images.width;
    each_row(images.batch, images.height, images.width * images.channels, threads, [&](int64_t image, int64_t y) {
        for (int64_t c = 0; c < images.channels; ++c) {
            const int64_t start = (image * images.channels + c) * area + y * images.width;
            T* pixel = images.pixel(image, y, 0) + c;
            for (int64_t x = 0; x < images.width; ++x) visit(start + x, pixel[x * images.pixel_stride]);
        }
    });
}

}  // namespace

void quantize(const float* x, float scale, int64_t low, int64_t high, const ByteImages& out, int threads) {
    require(std::isfinite(scale) && scale > 0, "quantize: scale ", scale, " is not positive");
    require(low >= -(1 << 21) && high <= (1 << 21) && low <= high && high - low <= out.max_byte, "quantize: levels ",
            low, "..", high, " do not fit");
    const int64_t area = out.height * out.width;
    const QuantizeKernel kernel = find_quantizer().run;
    each_row(out.batch, out.height, out.width * out.channels, threads, [=, &out](int64_t image, int64_t y) {
        uint8_t* bytes = reinterpret_cast<uint8_t*>(scratch(out.channels * out.width));
        for (int64_t c = 0; c < out.channels; ++c)
            kernel({x + (image * out.channels + c) * area + y * out.width, bytes + c * out.width, out.width, scale,
                    static_cast<float>(low), static_cast<float>(high)});
        fill_row(bytes, out, image, y);
    });
}

void import_codes(const uint8_t* codes, int64_t min, const ByteImages& out, int threads) {
    const uint8_t offset = static_cast<uint8_t>(min), beyond = static_cast<uint8_t>(~out.max_byte);
    const int64_t area = out.height * out.width;
    each_row(out.batch, out.height, out.width * out.channels, threads, [=, &out](int64_t image, int64_t y) {
        uint8_t* bytes = reinterpret_cast<uint8_t*>(scratch(out.channels * out.width));
        uint8_t seen = 0;  // max_byte is all ones, so a larger byte has a bit beyond it
        for (int64_t c = 0; c < out.channels; ++c) {
            const uint8_t* from = codes + (image * out.channels + c) * area + y * out.width;
            seen = static_cast<uint8_t>(seen | move_bytes(from, bytes + c * out.width, out.width, offset));
        }
        require((seen & beyond) == 0, "codes leave their type");
        fill_row(bytes, out, image, y);
    });
}

void export_codes(const ByteImages& in, int64_t min, uint8_t* codes, int threads) {
    const uint8_t offset = static_cast<uint8_t>(min);
    const int64_t area = in.height * in.width;
    each_row(in.batch, in.height, in.width * in.channels, threads, [=, &in](int64_t image, int64_t y) {
        uint8_t* to = codes + image * in.channels * area + y * in.width;
        transpose(in.pixel(image, y, 0), in.pixel_stride, to, area, in.width, in.channels);
        if (offset == 0) return;
        for (int64_t c = 0; c < in.channels; ++c)
            move_bytes(to + c * area, to + c * area, in.width, static_cast<uint8_t>(-offset));
    });
}

void import_accumulators(const int32_t* values, const Int32Images& out, int threads) {
    each_planar(out, threads, [=](int64_t index, int32_t& element) { element = values[index]; });
}

void export_accumulators(const Int32Images& in, int32_t* values, int threads) {
    each_planar(in, threads, [=](int64_t index, const int32_t& element) { values[index] = element; });
}

void lookup(const ByteImages& in, const std::vector<uint8_t>& tables, const ByteImages& out, int threads) {
    require_same_extents("table", in, out);
    const bool per_channel = tables.size() != 256;
    require(!per_channel || static_cast<int64_t>(tables.size()) == 256 * in.channels, "table: ", tables.size(),
            " entries, expected 256 or 256 for each of ", in.channels, " channels");
    for (size_t i = 0; i < tables.size(); ++i)
        require(static_cast<int>(i % 256) > in.max_byte || tables[i] <= out.max_byte, "table: entry ", int{tables[i]},
                " leaves the result's type");
    const LookupKernel kernel = find_lookup().run;
    each_row(in.batch, in.height, in.row_stride, threads, [&](int64_t image, int64_t y) {
        const uint8_t* from = in.pixel(image, y, 0);
        uint8_t* to = out.pixel(image, y, 0);
        if (!per_channel && dense_pixels(in) && dense_pixels(out)) {
            kernel(from, to, in.width * in.pixel_stride, tables.data());
            return;
        }
        if (!per_channel) {
            for (int64_t x = 0; x < in.width; ++x)
                kernel(from + x * in.pixel_stride, to + x * out.pixel_stride, in.channels, tables.data());
            return;
        }
        for (int64_t x = 0; x < in.width; ++x)
            for (int64_t c = 0; c < in.channels; ++c)
                to[x * out.pixel_stride + c] = tables[256 * c + from[x * in.pixel_stride + c]];
    });
}

Requantize::Requantize(const std::string& layer, const EpilogueSpec& spec, int64_t low, int64_t high)
    : layer_(layer), channels_(channels_of(spec)) {
    require(fits_int32(low) && fits_int32(high) && low <= high, "'", layer, "': accumulators ", low, "..", high);
    const Bounds bounds{std::vector<int64_t>(channels_, low), std::vector<int64_t>(channels_, high)};
    epilogue_ = std::make_unique<Epilogue>(layer, spec, bounds, blocks_of_channels(channels_));
}

void Requantize::run(const Int32Images& in, const ByteImages& out, int threads) const {
    require_same_extents(layer_.c_str(), in, out);
    require(in.channels == channels_, "'", layer_, "': input has ", in.channels, " channels, expected ", channels_);
    require(epilogue_->max_byte() <= out.max_byte, "'", layer_, "': results do not fit the output");
    each_row(in.batch, in.height, in.row_stride, threads, [&](int64_t image, int64_t y) {
        for (int64_t block = 0; 16 * block < channels_; ++block)
            epilogue_->apply(static_cast<size_t>(block), in.pixel(image, y, 0) + 16 * block, in.pixel_stride, in.width,
                             out.pixel(image, y, 0) + 16 * block, out.pixel_stride);
    });
}

void copy_region(const ByteImages& in, const Region& region, const ByteImages& out, int threads) {
    require(in.batch == out.batch && in.max_byte <= out.max_byte, "copy: input and output differ");
    const int64_t in_extent[3] = {in.height, in.width, in.channels};
    const int64_t out_extent[3] = {out.height, out.width, out.channels};
    const auto inside = [](int64_t start, int64_t step, int64_t count, int64_t extent) {
        return start >= 0 && step >= 1 && step < (1ll << 31) && start + (count - 1) * step < extent;
    };
    for (int axis = 0; axis < 3; ++axis)
        require(region.extent[axis] >= 1 && region.extent[axis] < (1ll << 31) &&
                    inside(region.from[axis], region.from_step[axis], region.extent[axis], in_extent[axis]) &&
                    inside(region.to[axis], region.to_step[axis], region.extent[axis], out_extent[axis]),
                "copy: the region leaves axis ", axis, " of its images");
    const int64_t channels = region.extent[2];
    each_row(in.batch, region.extent[0], region.extent[1] * channels, threads, [&](int64_t image, int64_t i) {
        for (int64_t j = 0; j < region.extent[1]; ++j) {
            const uint8_t* from =
                in.pixel(image, region.from[0] + i * region.from_step[0], region.from[1] + j * region.from_step[1]) +
                region.from[2];
            uint8_t* to = out.pixel(image, region.to[0] + i * region.to_step[0], region.to[1] + j * region.to_step[1]) +
                          region.to[2];
            if (region.from_step[2] == 1 && region.to_step[2] == 1)
                std::copy(from, from + channels, to);
            else
                for (int64_t c = 0; c < channels; ++c) to[c * region.to_step[2]] = from[c * region.from_step[2]];
        }
    });
}

}  // namespace intsim
