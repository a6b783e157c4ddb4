// What the files of intsim._native share: types of arguments, and what they become.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "conv.h"
#include "elementwise.h"
#include "pool.h"

namespace intsim {

namespace py = pybind11;
using namespace py::literals;

using Int64Array = py::array_t<int64_t, py::array::c_style>;
using FloatArray = py::array_t<float, py::array::c_style>;
using ByteArray = py::array_t<uint8_t, py::array::c_style>;
using Int32Array = py::array_t<int32_t, py::array::c_style>;
using Pair = std::array<int64_t, 2>;
using Triple = std::array<int64_t, 3>;
using Sides = std::array<int64_t, 4>;  // top, bottom, left, right
using ReleaseGil = py::call_guard<py::gil_scoped_release>;

inline std::vector<int64_t> to_vector(const Int64Array& array) {
    return std::vector<int64_t>(array.data(), array.data() + array.size());
}
inline Halo to_halo(const Sides& sides) { return {sides[0], sides[1], sides[2], sides[3]}; }

inline std::vector<Window> to_windows(const Int64Array& array) {
    require(array.ndim() == 2 && array.shape(1) == 3, "windows: expected shape (n, 3)");
    std::vector<Window> windows;
    for (py::ssize_t i = 0; i < array.shape(0); ++i)
        windows.push_back({*array.data(i, 0), *array.data(i, 1), *array.data(i, 2)});
    return windows;
}

inline MaxPoolSpec max_pool_spec(const Pair& kernel, const Pair& stride, const Pair& dilation, const Sides& padding) {
    for (int64_t value : {kernel[0], kernel[1], stride[0], stride[1], dilation[0], dilation[1]})
        require(value >= 1 && value < (1 << 24), "max_pool: kernel, stride and dilation are 1..2^24-1");
    return {kernel[0], kernel[1], stride[0], stride[1], dilation[0], dilation[1], padding[0], padding[2]};
}

inline Region to_region(const Triple& from, const Triple& from_step, const Triple& to, const Triple& to_step,
                        const Triple& extent) {
    Region region;
    for (int i = 0; i < 3; ++i) {
        region.from[i] = from[i], region.from_step[i] = from_step[i];
        region.to[i] = to[i], region.to_step[i] = to_step[i], region.extent[i] = extent[i];
    }
    return region;
}

// Images and operators one by one; then whole graphs.
void bind_operators(py::module_& module);
void bind_plan(py::module_& module);

}  // namespace intsim
