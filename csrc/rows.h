// Work on images, row by row.
#pragma once

#include <algorithm>

#include "check.h"
#include "images.h"
#include "threads.h"

namespace intsim {

// Calls work(image, row) for every row, in tasks of some thousand elements.
template <class Work>
void each_row(int64_t batch, int64_t height, int64_t row_elements, int threads, const Work& work) {
    const int64_t rows = batch * height, per_task = std::max<int64_t>(1, 16384 / std::max<int64_t>(1, row_elements));
    parallel_for(ceil_divide(rows, per_task), threads, [&](int64_t task) {
        for (int64_t row = task * per_task; row < std::min(rows, (task + 1) * per_task); ++row)
            work(row / height, row % height);
    });
}

template <class A, class B>
void require_same_extents(const char* what, const Images<A>& a, const Images<B>& b) {
    require(a.batch == b.batch && a.height == b.height && a.width == b.width && a.channels == b.channels, what, ": ",
            a.batch, "x", a.height, "x", a.width, "x", a.channels, " and ", b.batch, "x", b.height, "x", b.width, "x",
            b.channels, " differ");
}

}  // namespace intsim
