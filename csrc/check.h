// Refusing what a kernel cannot handle, in one line that names the layer.
#pragma once

#include <cstdint>
#include <limits>
#include <sstream>
#include <stdexcept>

namespace intsim {

// Throws std::invalid_argument (ValueError in Python) with `parts` joined, unless the condition holds.
template <class... Parts>
void require(bool condition, const Parts&... parts) {
    if (condition) return;
    std::ostringstream message;
    (message << ... << parts);
    throw std::invalid_argument(message.str());
}

inline bool fits_int32(int64_t value) {
    return value >= std::numeric_limits<int32_t>::min() && value <= std::numeric_limits<int32_t>::max();
}

inline int64_t round_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }
inline int64_t ceil_divide(int64_t value, int64_t divisor) { return (value + divisor - 1) / divisor; }

}  // namespace intsim
