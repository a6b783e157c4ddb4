// What the modules of the arrays share: the registers that describe a layer, and the positions that a walk visits.
//
// A layer is `groups` products of an (m, k) by a (k, n) matrix. The activation matrix is never stored: its element
// (m, k) is the level at pixel m displaced by tap k, and two odometers walk the pixels and the taps. Three memories hold
//
//     activations   images one after the other; in each the positions by rows, then one more that holds the padding;
//                   in each position the levels of all channels
//     weights       groups x k x n levels
//     results       m x (groups x n) codes: positions by rows, channels innermost, as activations are stored
//
// All registers are words, in the order in which registers.hex holds them (intsim/exporters/registers.py writes it).

package systolic_pkg;

    typedef logic signed [31:0] word_t;

    // Three nested loops, x innermost: over output columns, output rows and images, or over kernel columns, kernel rows
    // and channels. Coordinates say whether a place is inside the image; addresses grow along with them, so that
    // nothing is ever multiplied.
    typedef struct packed {
        word_t count_x;
        word_t count_y;
        word_t start_x;
        word_t start_y;
        word_t start_address;
        word_t step_x;      // coordinates from one place to the next
        word_t step_y;
        word_t stride_x;    // addresses from one place to the next
        word_t stride_y;
        word_t stride_z;
        word_t stride_row;  // addresses from one row to the next of the matrix that is walked along: results or weights
    } walk_t;

    // One place of a walk. A pixel and a tap add up, coordinate by coordinate, to where the activation is.
    typedef struct packed {
        word_t x;
        word_t y;
        word_t address;
        word_t plane;  // the address where this image, or this channel, begins
    } place_t;

    typedef enum logic [31:0] {
        HALF_EVEN,
        HALF_UP,
        HALF_DOWN,
        HALF_AWAY,
        HALF_TO_ZERO,
        FLOOR,
        CEIL,
        TOWARD_ZERO,
        AWAY_FROM_ZERO
    } rounding_t;

    // How sums become codes, for the whole layer.
    typedef struct packed {
        word_t threshold;         // count thresholds; else multiply, shift and clamp
        rounding_t rounding;
        word_t two_step;          // round the product half up at bit 31 first, as gemmlowp and ruy do
        word_t zero_point;
        word_t zero_point_first;  // added before rounding
        word_t low;
        word_t high;
    } epilogue_t;

    // How sums become codes, for one output channel.
    typedef struct packed {
        word_t bias;
        word_t multiplier;
        word_t shift;       // -31..62, negative shifts left
        word_t base;        // the code where no threshold is reached
        word_t levels;      // thresholds in use
        word_t strict;      // > in place of >=, < in place of <=
        word_t descending;  // count the thresholds that the sum is at or below
    } channel_t;

    typedef struct packed {
        word_t groups;
        word_t m;
        word_t k;
        word_t n;
        word_t group_weights;   // k * n
        word_t group_channels;  // input channels of one group
        word_t height;
        word_t width;
        word_t pad_offset;      // from the beginning of an image to its padding
        walk_t pixels;
        walk_t taps;
        epilogue_t epilogue;
    } layer_t;

    // The piece of the product that the array works on: extents, and the addresses where its columns begin.
    typedef struct packed {
        word_t m;
        word_t k;
        word_t n;
        logic first_k;  // first of the folds that add up to the same results
        logic last_k;
        logic last_m;
        word_t channel;         // output channel of the first column
        word_t weights;
        word_t input_channels;  // first input channel of the group
    } fold_t;

    // Where the activation of a pixel and a tap is stored.
    function automatic word_t activation_at(place_t pixel, place_t tap, word_t height, word_t width, word_t pad_offset);
        word_t x, y;
        x = pixel.x + tap.x;
        y = pixel.y + tap.y;
        if (x >= 0 && x < width && y >= 0 && y < height) return pixel.address + tap.address;
        return pixel.plane + pad_offset + tap.plane;
    endfunction

endpackage
