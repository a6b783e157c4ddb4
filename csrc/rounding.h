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
};

// The rounding that "half_even", ..., "away_from_zero" names; std::invalid_argument for any other text.
Rounding parse_rounding(const std::string& name);

struct RoundingTerms {
    int64_t base, sign_term, odd_term;
};

// shift 0..62: all terms are 0 at shift 0 and below 2^shift in magnitude.
RoundingTerms rounding_terms(Rounding rounding, int64_t shift);

// round(numerator / denominator), exact; denominator > 0.
int64_t round_divide(int64_t numerator, int64_t denominator, Rounding rounding);

}  // namespace intsim
