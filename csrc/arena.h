// Where the values of a run lie in one piece of memory: two may share bytes if no step needs both.
#pragma once

#include <cstdint>
#include <vector>

namespace intsim {

constexpr int64_t kArenaAlignment = 64;  // bytes; a cache line

// A block of memory that is in use from its first step to its last one.
struct Lifetime {
    int64_t bytes, first, last;
};

struct Arena {
    std::vector<int64_t> offsets;  // of each block, multiples of kArenaAlignment
    int64_t bytes = 0;
};

// Block by block, each into the smallest gap that is there at all its steps: largest first (Pisarchyk and Lee 2020,
// arXiv:2001.03288) or in order of time, whichever needs less. Throws std::bad_alloc where a sum overflows.
Arena place_in_arena(const std::vector<Lifetime>& blocks);

// The most bytes in use at one step: no placement can do with less.
int64_t most_alive(const std::vector<Lifetime>& blocks);

}  // namespace intsim
