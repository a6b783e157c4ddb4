// Winograd's transforms in plain C++.
#include "portable.h"

namespace intsim {
namespace {

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

constexpr WinogradRow kWinograd = {{"winograd_u8s32_f2x2_portable_1x16", "winograd", "f2x2", "portable", 1, 16, 8, 32},
                                   {80, 70, 70},
                                   winograd_input<uint8_t>,
                                   winograd_input<int16_t>,
                                   winograd_output};

}  // namespace

const Rows<WinogradRow> kPortableWinograd = {&kWinograd, 1};

}  // namespace intsim
