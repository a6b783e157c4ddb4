// Where the tiles of a convolution lie, between one input and one output.
//
// The output pixels of all images form a few nested loops of constant stride. Where memory allows, neighbouring loops
// merge (a 1x1 convolution without halo is one long line of pixels, a linear layer one line of images), so that the
// innermost *line* is as long as can be. Lines are cut into tiles of MR pixels as evenly as possible (7 is 4 + 3).
#pragma once

#include <vector>

#include "images.h"
#include "pack.h"

namespace intsim {

// A loop over output pixels: how far apart its steps are in the input (bytes), or in a route's loops in its operands
// (bytes), in the output (elements), and in the stream that is added (bytes).
struct Loop {
    int64_t count, in_step, out_step, stream_step;
};

class Route {
public:
    // From the input's `first`, the first tap of the first output pixel, over loops from images to pixels of a row; the
    // input's rows and pixels are as far apart as `in` has them.
    Route(const ByteImages& in, const uint8_t* first, const std::vector<Loop>& loops, int max_rows,
          const ConvSpec& spec, const PackedWeights& packed);

    // Tile `index` of a line covers pixels [begin(index), begin(index + 1)).
    int64_t begin(int64_t index) const { return begins_[static_cast<size_t>(index)]; }

    // Offsets of a line's start in the input, the output and the stream: a loop of one step.
    Loop start_of_line(int64_t index) const;

    const uint8_t* in;
    OperandRatio ratio;
    Loop line;
    int64_t tiles_per_line, tile_count;
    int64_t reach = 0;                   // bytes of operands from a pixel's first tap to the end of its last run
    std::vector<std::vector<Run>> runs;  // of each panel

private:
    std::vector<Loop> outer_;
    std::vector<int64_t> begins_;
};

// Where the first of some pixels belongs, and how far apart they are: elements of the output, bytes of the stream.
struct Spot {
    int64_t out, out_step, stream, stream_step;

    // Pixels from (y, x) on, every `apart`-th of a row.
    template <class T>
    Spot(const Images<T>& to, const ByteImages* from, int64_t image, int64_t y, int64_t x, int64_t apart)
        : out(to.pixel(image, y, x) - to.pixel(0, 0, 0)),
          out_step(apart * to.pixel_stride),
          stream(from ? from->pixel(image, y, x) - from->pixel(0, 0, 0) : 0),
          stream_step(from ? apart * from->pixel_stride : 0) {}

    // Pixels of a line from `pixel` on.
    Spot(const Loop& line, const Loop& start, int64_t pixel)
        : out(start.out_step + pixel * line.out_step),
          out_step(line.out_step),
          stream(start.stream_step + pixel * line.stream_step),
          stream_step(line.stream_step) {}
};

}  // namespace intsim
