// walk ISA: 0 if every kernel of the instruction set is exact, 1 with the first difference, 77 where it cannot run
// here.
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <memory>

#include "walk.h"

namespace intsim {

Walk::Walk(const std::string& isa) {
    setenv("INTSIM_ISA", isa.c_str(), 1);
    table_ = &active_table();
}

void Walk::finish() const {
    for (const KernelInfo& kernel : list_kernels())
        if (std::strcmp(kernel.isa, table_->isa) == 0 &&
            met_.find(std::string(" ") + kernel.name + " ") == std::string::npos)
            throw std::runtime_error(std::string(kernel.name) + " was not met");
}

Wide plain_scale(Wide numerator, int64_t shift, Rounding rounding, int64_t zero_point, bool first) {
    const bool engine = rounding == Rounding::kRuy || rounding == Rounding::kGemmlowpDouble;
    if (engine && shift <= 31) rounding = Rounding::kHalfUp;
    if (engine && shift > 31) {
        const Wide once = plain_scale(numerator, 31, Rounding::kHalfUp, 0, false);
        const Rounding second = rounding == Rounding::kRuy ? Rounding::kHalfUp : Rounding::kHalfAway;
        return plain_scale(once, shift - 31, second, zero_point, false);
    }
    const Wide one = Wide{1} << shift;
    if (first) numerator += zero_point * one;
    Wide floor = numerator / one;
    if (floor * one > numerator) --floor;
    const Wide rest = numerator - floor * one, twice = 2 * rest;
    const bool negative = numerator<0, exact = rest == 0, above = twice> one, tie = twice == one;
    const auto up = [&] {
        switch (rounding) {
            case Rounding::kHalfEven:
                return above || (tie && floor % 2 != 0);
            case Rounding::kHalfUp:
            case Rounding::kRuy:
            case Rounding::kGemmlowpDouble:
                return above || tie;
            case Rounding::kHalfDown:
                return above;
            case Rounding::kHalfAway:
                return above || (tie && !negative);
            case Rounding::kHalfToZero:
                return above || (tie && negative);
            case Rounding::kFloor:
                return false;
            case Rounding::kCeil:
                return !exact;
            case Rounding::kTowardZero:
                return !exact && negative;
            case Rounding::kAwayFromZero:
                return !exact && !negative;
        }
        return false;
    };
    return floor + up() + (first ? 0 : zero_point);
}

}  // namespace intsim

int main(int argc, char** argv) try {
    if (argc != 2) throw std::invalid_argument("usage: walk ISA");
    std::unique_ptr<intsim::Walk> walk;
    try {
        walk = std::make_unique<intsim::Walk>(argv[1]);
    } catch (const std::invalid_argument& error) {
        std::cout << error.what() << "\n";
        return 77;
    }
    walk->tiles();
    walk->byte_tiles();
    walk->transforms();
    walk->roof();
    walk->scales();
    walk->floats();
    walk->thresholds();
    walk->additions();
    walk->lookups();
    walk->quantizers();
    walk->finish();
    std::cout << walk->checked() << " numbers are equal\n";
} catch (const std::exception& error) {
    std::cout << error.what() << "\n";
    return 1;
}
