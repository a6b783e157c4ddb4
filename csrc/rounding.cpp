#include "rounding.h"

#include <iterator>

#include "check.h"

namespace intsim {

Rounding parse_rounding(const std::string& name, Engines engines) {
    static const char* const kNames[] = {"half_even",      "half_up", "half_down",      "half_away",
                                         "half_to_zero",   "floor",   "ceil",           "toward_zero",
                                         "away_from_zero", "ruy",     "gemmlowp_double"};
    const size_t exact = static_cast<size_t>(Rounding::kAwayFromZero) + 1;
    for (size_t i = 0; i < (engines == Engines::kAccepted ? std::size(kNames) : exact); ++i)
        if (name == kNames[i]) return static_cast<Rounding>(i);
    require(false, "no rounding is named '", name, "'");
    return Rounding::kFloor;
}

RoundingTerms rounding_terms(Rounding rounding, int64_t shift) {
    if (shift == 0) return {0, 0, 0};
    const int64_t half = int64_t{1} << (shift - 1), all = 2 * half - 1;
    constexpr int64_t kFirstHalf = int64_t{1} << 30;  // of the engines' first rounding, at bit 31
    switch (rounding) {
        case Rounding::kHalfEven:
            return {half - 1, 0, 1};
        case Rounding::kHalfUp:
            return {half, 0, 0};
        case Rounding::kHalfDown:
            return {half - 1, 0, 0};
        case Rounding::kHalfAway:
            return {half, -1, 0};
        case Rounding::kHalfToZero:
            return {half - 1, 1, 0};
        case Rounding::kFloor:
            return {0, 0, 0};
        case Rounding::kCeil:
            return {all, 0, 0};
        case Rounding::kTowardZero:
            return {0, all, 0};
        case Rounding::kAwayFromZero:
            return {all, -all, 0};
        case Rounding::kRuy:
            return {half + (shift > 31 ? kFirstHalf : 0), 0, 0};
        case Rounding::kGemmlowpDouble:
            return {half + (shift > 31 ? kFirstHalf : 0), shift > 31 ? -2 * kFirstHalf : 0, 0};
    }
    return {0, 0, 0};
}

int64_t round_divide(int64_t numerator, int64_t denominator, Rounding rounding) {
    int64_t quotient = numerator / denominator, remainder = numerator % denominator;
    if (remainder < 0) --quotient, remainder += denominator;
    if (remainder == 0) return quotient;
    const int64_t rest = denominator - remainder;
    const bool above = remainder > rest, tie = remainder == rest, negative = quotient < 0;
    switch (rounding) {
        case Rounding::kHalfEven:
            return quotient + (above || (tie && (quotient & 1)));
        case Rounding::kHalfUp:
            return quotient + (above || tie);
        case Rounding::kHalfDown:
            return quotient + above;
        case Rounding::kHalfAway:
            return quotient + (above || (tie && !negative));
        case Rounding::kHalfToZero:
            return quotient + (above || (tie && negative));
        case Rounding::kFloor:
            return quotient;
        case Rounding::kCeil:
            return quotient + 1;
        case Rounding::kTowardZero:
            return quotient + negative;
        case Rounding::kAwayFromZero:
            return quotient + !negative;
        case Rounding::kRuy:
        case Rounding::kGemmlowpDouble:
            break;  // of a product by a multiplier in Q31, not of a quotient
    }
    return quotient;
}

}  // namespace intsim
