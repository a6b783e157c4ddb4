// Epilogues, residual additions and look-ups, number by number.
#include <algorithm>
#include <cmath>

#include "../../../csrc/add.h"
#include "../../../csrc/elementwise.h"
#include "walk.h"

namespace intsim {
namespace {

constexpr int64_t kRows = 5, kStride = 24, kUntouched = 0xa5;

}  // namespace

// Every channel of some rows, and that nothing is written beyond them.
template <class Plain>
void Walk::apply(const Epilogue& epilogue, int64_t channels, const int32_t* acc, const Plain& plain) {
    uint8_t out[kRows * kStride];
    std::fill(std::begin(out), std::end(out), kUntouched);
    epilogue.apply(0, acc, kStride, kRows, out, kStride);
    for (int64_t i = 0; i < kRows * kStride; ++i) {
        const int64_t c = i % kStride;
        expect(out[i], c < channels ? plain(acc[i], c) : Wide{kUntouched}, epilogue.kernel().name, " of ", acc[i]);
    }
    met(epilogue.kernel());
}

// Each of the kinds in turn, by what it is for; the bounds decide, and finish() sees that all were met.
void Walk::scales() {
    struct Kind {
        int64_t multiplier, shift, largest;
    };
    for (const Kind& kind : {Kind{1, 7, 1 << 20}, Kind{1518500249, 40, INT32_MAX}, Kind{3, 5, INT32_MAX / 4},
                             Kind{-5, 9, 100000}, Kind{INT32_MAX, 0, INT32_MAX}})
        for (int rounding = 0; rounding < kRoundings; ++rounding)
            for (int64_t channels = 1; channels <= 16; ++channels) {
                const bool engine = rounding >= static_cast<int>(Rounding::kRuy);
                if (engine && kind.multiplier < 0) continue;  // which no engine has
                const bool first = !engine && draw(0, 1) == 1;
                ScaleSpec spec{{}, {}, draw(-40, 40), first, static_cast<Rounding>(rounding), -100, 101, {8, -128}};
                Bounds bounds;
                for (int64_t c = 0; c < channels; ++c) {
                    spec.multiplier.push_back(kind.multiplier);
                    spec.shift.push_back(kind.shift + (kind.shift > 0 ? c % 3 : 0));
                    bounds.low.push_back(-kind.largest), bounds.high.push_back(kind.largest);
                }
                int32_t acc[kRows * kStride + kAccumulatorSlack];
                for (int32_t& value : acc)  // both ends, and many that lie near ties
                    value = static_cast<int32_t>(draw(0, 3) ? draw(-3000, 3000) : (draw(0, 1) ? 1 : -1) * kind.largest);
                const Epilogue epilogue("scale", spec, bounds, blocks_of_channels(channels));
                apply(epilogue, channels, acc, [&](int32_t x, int64_t c) {
                    const Wide code = plain_scale(Wide{kind.multiplier} * x, spec.shift[c], spec.rounding,
                                                  spec.zero_point, spec.zero_point_first);
                    return std::clamp<Wide>(code, spec.low, spec.high) + 128;
                });
            }
}

void Walk::floats() {
    for (const bool single : {false, true})
        for (const double scale : {0.5, 0.0123456789, 1e-9, 3e30})
            for (int64_t channels = 1; channels <= 16; ++channels) {
                FloatSpec spec{{}, single, draw(-40, 40), !single && draw(0, 1) == 1, -100, 101, {8, -128}};
                for (int64_t c = 0; c < channels; ++c) spec.scale.push_back(scale / static_cast<double>(c + 1));
                int32_t acc[kRows * kStride + kAccumulatorSlack];
                for (int32_t& value : acc)
                    value = static_cast<int32_t>(draw(0, 3) ? draw(-3000, 3000) : draw(INT32_MIN, INT32_MAX));
                const Bounds bounds{std::vector<int64_t>(16, INT32_MIN), std::vector<int64_t>(16, INT32_MAX)};
                const Epilogue epilogue("float", spec, bounds, blocks_of_channels(channels));
                apply(epilogue, channels, acc, [&](int32_t x, int64_t c) {
                    const double zero = static_cast<double>(spec.zero_point);
                    double level = single ? double{static_cast<float>(x) * static_cast<float>(spec.scale[c])}
                                          : static_cast<double>(x) * spec.scale[c];
                    level = spec.zero_point_first ? std::rint(level + zero) : std::rint(level) + zero;
                    return Wide{static_cast<int64_t>(std::clamp(level, -100.0, 101.0))} + 128;
                });
            }
}

void Walk::thresholds() {
    for (const int64_t far : {1, 1000, 37})  // beyond int16; and evenly spaced
        for (int bits = 1; bits <= 8; ++bits)
            for (int64_t channels = 1; channels <= 16; channels += 3) {
                ThresholdSpec spec{(1 << bits) - 1, {}, {}, {}, {}, {bits, 0}};
                for (int64_t c = 0; c < channels; ++c) {
                    spec.base.push_back(0);
                    spec.strict.push_back(draw(0, 1) == 1), spec.descending.push_back(draw(0, 1) == 1);
                    for (int64_t k = 0; k < spec.count; ++k)
                        spec.thresholds.push_back(far == 37 ? far * k - 2000 : draw(-2000, 2000) * far);
                    std::sort(spec.thresholds.end() - spec.count, spec.thresholds.end());
                }
                int32_t acc[kRows * kStride + kAccumulatorSlack];
                for (int32_t& value : acc)
                    value = static_cast<int32_t>(draw(0, 9)   ? draw(-2100, 2100) * far
                                                 : draw(0, 1) ? INT32_MIN
                                                              : INT32_MAX);
                const Bounds bounds{std::vector<int64_t>(16, INT32_MIN), std::vector<int64_t>(16, INT32_MAX)};
                const Epilogue epilogue("thresholds", spec, bounds, blocks_of_channels(channels));
                apply(epilogue, channels, acc, [&](int32_t x, int64_t c) {
                    Wide reached = 0;
                    for (int64_t k = 0; k < spec.count; ++k) {
                        const int64_t threshold = spec.thresholds[c * spec.count + k];
                        const bool beyond = spec.descending[c] ? x < threshold : x > threshold;
                        reached += beyond || (x == threshold && !spec.strict[c]);
                    }
                    return reached;
                });
            }
}

void Walk::additions() {
    struct Kind {
        int64_t multiplier, shift, offset;
    };
    for (const Kind& kind : {Kind{3, 2, -9}, Kind{1 << 29, 31, 12345}, Kind{1 << 30, 30, 0}, Kind{1 << 30, 2, 77},
                             Kind{12345, 9, 5}, Kind{1 << 20, 17, 0}})
        for (const bool accumulators : {false, true})
            for (int rounding = 0; rounding < static_cast<int>(Rounding::kRuy); ++rounding)
                for (int64_t channels = 1; channels <= 16; ++channels) {
                    const size_t count = static_cast<size_t>(channels);
                    const int64_t low = accumulators ? -1000 : 0, high = accumulators ? 1000 : 255;
                    AddSpec spec{"addition",
                                 std::vector<int64_t>(count, kind.multiplier),
                                 std::vector<int64_t>(count, -kind.multiplier),
                                 std::vector<int64_t>(count, kind.offset),
                                 std::vector<int64_t>(count, kind.shift),
                                 {static_cast<Rounding>(rounding), draw(-9, 9), draw(0, 1) == 1, -120, 119, {8, -128}},
                                 low,
                                 high,
                                 accumulators};
                    const Add add(spec);
                    int32_t words[kRows * kStride + kAccumulatorSlack];
                    uint8_t bytes[kRows * kStride + kReadableSlack], b[kRows * kStride + kReadableSlack];
                    for (int64_t i = 0; i < kRows * kStride; ++i) {
                        words[i] = static_cast<int32_t>(draw(low, high)), bytes[i] = static_cast<uint8_t>(words[i]);
                        b[i] = static_cast<uint8_t>(draw(0, 255));
                    }
                    uint8_t out[kRows * kStride];
                    std::fill(std::begin(out), std::end(out), kUntouched);
                    const void* a = accumulators ? static_cast<const void*>(words) : bytes;
                    add.apply(0, a, kStride, b, kStride, out, kStride, kRows);
                    for (int64_t i = 0; i < kRows * kStride; ++i) {
                        const Wide sum = Wide{kind.multiplier} * (words[i] - b[i]) + kind.offset;
                        const Wide code = plain_scale(sum, kind.shift, spec.rounding.rounding, spec.rounding.zero_point,
                                                      spec.rounding.zero_point_first);
                        const Wide value =
                            i % kStride < channels ? std::clamp<Wide>(code, -120, 119) : kUntouched - 128;
                        expect(out[i], value + 128, add.kernel().name, " of ", words[i], " and ", int{b[i]});
                    }
                    met(add.kernel());
                }
}

void Walk::lookups() {
    for (int i = 0; table_->lookups != nullptr && i < table_->lookups->count; ++i) {
        const LookupRow& row = table_->lookups->first[i];
        uint8_t table[256], from[300], to[301];
        for (uint8_t& byte : table) byte = static_cast<uint8_t>(draw(0, 255));
        for (int64_t k = 0; k < 300; ++k) from[k] = static_cast<uint8_t>(k);
        for (int64_t count : {1, 15, 16, 63, 64, 65, 129, 300}) {
            to[count] = kUntouched;
            row.run(from, to, count, table);
            for (int64_t k = 0; k < count; ++k) expect(to[k], table[from[k]], row.info.name);
            expect(to[count], kUntouched, row.info.name, " beyond ", count);
        }
        met(row.info);
    }
}

void Walk::quantizers() {
    for (int i = 0; table_->quantizers != nullptr && i < table_->quantizers->count; ++i) {
        const QuantizeRow& row = table_->quantizers->first[i];
        float from[100];
        uint8_t to[101];
        for (const auto& [lowest, highest] : {std::pair{0.0f, 255.0f}, {-8.0f, 7.0f}, {-200.0f, 55.0f}})
            for (const int64_t count : {1, 15, 16, 31, 32, 33, 100}) {
                for (float& value : from) value = static_cast<float>(draw(-600, 600)) * 0.15f;  // half of them ties
                from[0] = draw(0, 1) == 1 ? 1e30f : NAN;
                to[count] = kUntouched;
                row.run({from, to, count, 0.3f, lowest, highest});
                for (int64_t k = 0; k < count; ++k) {
                    const float level = std::nearbyint(from[k] / 0.3f);
                    const float clipped = level > lowest ? std::min(level, highest) : lowest;
                    expect(to[k], static_cast<Wide>(clipped - lowest), row.info.name, " of ", from[k]);
                }
                expect(to[count], kUntouched, row.info.name, " beyond ", count);
            }
        met(row.info);
    }
}

}  // namespace intsim
