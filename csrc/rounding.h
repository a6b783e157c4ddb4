// The nine roundings of intsim/arithmetic/rounding.py as one branch-free formula.
//
// With f = (x >> s) + zero_before (an arithmetic shift, so the floor of the value), every one of them is
//
//     round(x / 2^s + zero_before) = ((x + base + (f < 0 ? sign_term : 0) + (f & odd_term)) >> s) + zero_before
//
// where base, sign_term and odd_term depend on the rounding and on s alone. A kernel needs no switch, and channels with
// different shifts share a vector. That f has the sign and the parity of the value's floor is what makes a zero point
// added *before* rounding come out right too: it may turn an even quotient odd, or a negative one positive.
#pragma once

#include <cstdint>
#include <string>

namespace intsim {

enum class Rounding {
    kHalfEven,
    kHalfUp,
    kHalfDown,
    kHalfAway,
    kHalfToZero,
    kFloor,
    kCeil,
    kTowardZero,
    kAwayFromZero,
    // Engines that round twice, at bit 31 half up and then half up or half away: see rounding_terms.
    kRuy,
    kGemmlowpDouble,
};

// The rounding that "half_even", ..., "away_from_zero" names, or "ruy" or "gemmlowp_double" if an engine's may be
// meant; std::invalid_argument for any other text.
enum class Engines { kRefused, kAccepted };
Rounding parse_rounding(const std::string& name, Engines engines = Engines::kRefused);

struct RoundingTerms {
    int64_t base, sign_term, odd_term;
};

// shift 0..62: all terms are 0 at shift 0 and below 2^shift in magnitude.
//
// The engines' rounding of floor((x + 2^30) / 2^31) =: h by the rest of the shift, r = shift - 31 > 0, is one shift
// too:
//
//     (h + 2^(r-1) + (h < 0 ? -1 : 0)) >> r = (x + 2^30 + 2^(shift-1) + (x + 2^30 < 0 ? -2^31 : 0)) >> shift
//
// and f < 0 may stand for x + 2^30 < 0: for x in -2^30..-1 both give 0. Up to a shift of 31 they round once, half up.
RoundingTerms rounding_terms(Rounding rounding, int64_t shift);

// round(numerator / denominator), exact; denominator > 0.
int64_t round_divide(int64_t numerator, int64_t denominator, Rounding rounding);

}  // namespace intsim
