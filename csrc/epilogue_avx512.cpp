// The epilogues for AVX-512; those that are missing are AVX2's.
#include <cstdint>

#include "avx512.h"

namespace intsim {
namespace {

constexpr int kRowsAtOnce = 4;

template <class Epilogue, int kRows>
inline void some_rows(const Epilogue& epilogue, const int32_t* acc, int64_t acc_stride, uint8_t* out,
                      int64_t out_stride, int64_t channels) {
    __m512i rows[kRows];
#pragma GCC unroll 4
    for (int row = 0; row < kRows; ++row) rows[row] = load(acc + row * acc_stride);
    epilogue.to_codes(rows);
#pragma GCC unroll 4
    for (int row = 0; row < kRows; ++row) store_bytes(out + row * out_stride, rows[row], channels);
}

template <class Epilogue>
void all_rows(const EpilogueArgs& args) {
    const Epilogue epilogue(*static_cast<const typename Epilogue::Block*>(args.block));
    const int64_t acc_stride = args.acc_stride, out_stride = args.out_stride, channels = args.channels;
    const int32_t* acc = args.acc;
    uint8_t* out = args.out;
    int64_t left = args.rows;
    for (; left >= kRowsAtOnce; left -= kRowsAtOnce, acc += kRowsAtOnce * acc_stride, out += kRowsAtOnce * out_stride)
        some_rows<Epilogue, kRowsAtOnce>(epilogue, acc, acc_stride, out, out_stride, channels);
    for (; left > 0; --left, acc += acc_stride, out += out_stride)
        some_rows<Epilogue, 1>(epilogue, acc, acc_stride, out, out_stride, channels);
}

void shift(const EpilogueArgs& args) {
    const bool simple = static_cast<const Shift<true>::Block*>(args.block)->rounding.simple;
    simple ? all_rows<Shift<true>>(args) : all_rows<Shift<false>>(args);
}

#define EPILOGUE_ROW(scheme, kind, run) \
    {{"epilogue_u8s32_" scheme "_avx512_4x16", "epilogue", scheme, "avx512", 4, 16, 8, 32}, EpilogueKind::kind, run}

constexpr EpilogueRow kRows[] = {
    EPILOGUE_ROW("line", kLine, all_rows<Line>),
    EPILOGUE_ROW("shift", kShift, shift),
    EPILOGUE_ROW("highword", kHighWord, all_rows<HighWord<false>>),
    EPILOGUE_ROW("highwordsigned", kHighWordSigned, all_rows<HighWord<true>>),
    EPILOGUE_ROW("float32", kFloat32, all_rows<Float32>),
    EPILOGUE_ROW("threshold16", kThreshold16, all_rows<Thresholds>),
    EPILOGUE_ROW("threshold32", kThreshold32, all_rows<Thresholds>),
};

}  // namespace

const Rows<EpilogueRow> kAvx512Epilogues = {kRows, sizeof kRows / sizeof *kRows};

}  // namespace intsim
