// Memory that each thread keeps from call to call, for operands that only live within one task.
#pragma once

#include "images.h"

namespace intsim {

// At least `count` bytes, aligned to a cache line; what the thread's last call returned is then gone.
inline char* scratch(int64_t count) {
    thread_local AlignedArray<char> memory;
    thread_local int64_t size = 0;
    if (size < count) {
        memory.reset();
        size = 0;
        memory = allocate_aligned<char>(count);
        size = count;
    }
    return memory.get();
}

}  // namespace intsim
