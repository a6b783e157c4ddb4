// intsim._native: the only file that knows Python.
//
// Operators are objects: their constructors check and pack, run() computes and releases the GIL. Images own their
// memory and are only reached through import_* and export_*, so nothing outside can put a code into them that a kernel
// was not prepared for.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstring>

#include "conv.h"
#include "elementwise.h"
#include "micro_kernel.h"
#include "steps.h"
#include "threads.h"

namespace py = pybind11;
using namespace py::literals;

namespace intsim {
namespace {

using Int64Array = py::array_t<int64_t, py::array::c_style>;
using FloatArray = py::array_t<float, py::array::c_style>;
using ByteArray = py::array_t<uint8_t, py::array::c_style>;
using Int32Array = py::array_t<int32_t, py::array::c_style>;
using Pair = std::array<int64_t, 2>;
using Triple = std::array<int64_t, 3>;
using Sides = std::array<int64_t, 4>;  // top, bottom, left, right
using ReleaseGil = py::call_guard<py::gil_scoped_release>;

std::vector<int64_t> to_vector(const Int64Array& array) {
    return std::vector<int64_t>(array.data(), array.data() + array.size());
}
std::vector<bool> to_flags(const Int64Array& array) {
    return std::vector<bool>(array.data(), array.data() + array.size());
}
Halo to_halo(const Sides& sides) { return {sides[0], sides[1], sides[2], sides[3]}; }

std::optional<Scheme> parse_scheme(const std::optional<std::string>& name) {
    if (!name) return std::nullopt;
    for (const auto& [scheme, known] : {std::pair{Scheme::kA16, "a16"},
                                        {Scheme::kA16X4, "a16x4"},
                                        {Scheme::kW16X8, "w16x8"},
                                        {Scheme::kW16, "w16"},
                                        {Scheme::kLut, "lut"},
                                        {Scheme::kLutOdd, "lutodd"},
                                        {Scheme::kLutSign, "lutsign"},
                                        {Scheme::kA32S1, "a32s1"},
                                        {Scheme::kA32S2, "a32s2"},
                                        {Scheme::kA32S4, "a32s4"},
                                        {Scheme::kDot, "dot"}})
        if (*name == known) return scheme;
    require(false, "no scheme is named '", *name, "'");
    return std::nullopt;
}

// [batch][channels][height][width] of the images, or std::invalid_argument.
template <class Array, class T>
void require_planar(const Array& array, const Images<T>& images) {
    const bool fits = array.ndim() == 4 && array.shape(0) == images.batch && array.shape(1) == images.channels &&
                      array.shape(2) == images.height && array.shape(3) == images.width;
    require(fits, "expected an array of shape (", images.batch, ", ", images.channels, ", ", images.height, ", ",
            images.width, ")");
}

template <class Element, class T>
py::array_t<Element> new_planar(const Images<T>& images) {
    return py::array_t<Element>({images.batch, images.channels, images.height, images.width});
}

std::shared_ptr<Conv> make_conv(const std::string& name, const Int64Array& weights, const Int64Array& bias,
                                int64_t in_channels, const Pair& stride, const Pair& dilation, int64_t groups,
                                int act_bits, const std::optional<EpilogueSpec>& epilogue,
                                const std::optional<std::string>& scheme, bool one_pixel) {
    require(weights.ndim() == 4, "'", name, "': weights have ", weights.ndim(), " dimensions, expected (O, I, KH, KW)");
    ConvSpec spec;
    spec.name = name;
    spec.out_channels = weights.shape(0), spec.in_channels = in_channels, spec.groups = groups;
    spec.kernel_height = weights.shape(2), spec.kernel_width = weights.shape(3);
    spec.stride_y = stride[0], spec.stride_x = stride[1];
    spec.dilation_y = dilation[0], spec.dilation_x = dilation[1];
    spec.act_bits = act_bits, spec.one_pixel = one_pixel;
    spec.weights = to_vector(weights), spec.bias = to_vector(bias);
    const Method method = scheme == "winograd" ? Method::kWinograd : Method::kFastest;
    const std::optional<Scheme> forced = method == Method::kWinograd ? std::nullopt : parse_scheme(scheme);
    py::gil_scoped_release release;
    return std::make_shared<Conv>(std::move(spec), epilogue ? &*epilogue : nullptr, forced, method);
}

ScaleSpec scale_spec(const Int64Array& multiplier, const Int64Array& shift, const std::string& rounding,
                     int64_t zero_point, bool zero_point_first, int64_t low, int64_t high, int out_bits,
                     int64_t out_min) {
    return ScaleSpec{to_vector(multiplier),
                     to_vector(shift),
                     zero_point,
                     zero_point_first,
                     parse_rounding(rounding, Engines::kAccepted),
                     low,
                     high,
                     {out_bits, out_min}};
}

FloatSpec float_spec(const py::array_t<double, py::array::c_style | py::array::forcecast>& scale, bool single,
                     int64_t zero_point, bool zero_point_first, int64_t low, int64_t high, int out_bits,
                     int64_t out_min) {
    return FloatSpec{{scale.data(), scale.data() + scale.size()},
                     single,
                     zero_point,
                     zero_point_first,
                     low,
                     high,
                     {out_bits, out_min}};
}

ThresholdSpec threshold_spec(const Int64Array& thresholds, const Int64Array& base, const Int64Array& strict,
                             const Int64Array& descending, int out_bits, int64_t out_min) {
    require(thresholds.ndim() == 2 && thresholds.shape(0) == base.size(), "thresholds: expected shape (", base.size(),
            ", L)");
    return ThresholdSpec{thresholds.shape(1), to_vector(thresholds), to_vector(base),
                         to_flags(strict),    to_flags(descending),  {out_bits, out_min}};
}

std::shared_ptr<Add> make_add(const std::string& name, const Int64Array& multiplier_a, const Int64Array& multiplier_b,
                              const Int64Array& offset, const Int64Array& shift, const std::string& rounding,
                              int64_t zero_point, bool zero_point_first, int64_t low, int64_t high, int out_bits,
                              int64_t out_min, bool a_is_accumulator, int64_t a_low, int64_t a_high) {
    const RoundingSpec round{parse_rounding(rounding), zero_point, zero_point_first, low, high, {out_bits, out_min}};
    return std::make_shared<Add>(AddSpec{name, to_vector(multiplier_a), to_vector(multiplier_b), to_vector(offset),
                                         to_vector(shift), round, a_low, a_high, a_is_accumulator});
}

std::vector<Window> to_windows(const Int64Array& array) {
    require(array.ndim() == 2 && array.shape(1) == 3, "windows: expected shape (n, 3)");
    std::vector<Window> windows;
    for (py::ssize_t i = 0; i < array.shape(0); ++i)
        windows.push_back({*array.data(i, 0), *array.data(i, 1), *array.data(i, 2)});
    return windows;
}

MaxPoolSpec max_pool_spec(const Pair& kernel, const Pair& stride, const Pair& dilation, const Sides& padding) {
    for (int64_t value : {kernel[0], kernel[1], stride[0], stride[1], dilation[0], dilation[1]})
        require(value >= 1 && value < (1 << 24), "max_pool: kernel, stride and dilation are 1..2^24-1");
    return {kernel[0], kernel[1], stride[0], stride[1], dilation[0], dilation[1], padding[0], padding[2]};
}

Region to_region(const Triple& from, const Triple& from_step, const Triple& to, const Triple& to_step,
                 const Triple& extent) {
    Region region;
    for (int i = 0; i < 3; ++i) {
        region.from[i] = from[i], region.from_step[i] = from_step[i];
        region.to[i] = to[i], region.to_step[i] = to_step[i], region.extent[i] = extent[i];
    }
    return region;
}

void bind_images(py::module_& module) {
    py::class_<ByteImages>(module, "ByteImages", "A batch of NHWC bytes (code - type.min) with a halo of `fill`.")
        .def(py::init([](int64_t batch, int64_t height, int64_t width, int64_t channels, int bits, const Sides& halo,
                         int fill) {
                 return std::make_unique<ByteImages>(Extents{batch, height, width, channels}, bits, to_halo(halo),
                                                     fill);
             }),
             "batch"_a, "height"_a, "width"_a, "channels"_a, "bits"_a, "halo"_a = Sides{}, "fill"_a = 0)
        .def_property_readonly(
            "shape", [](const ByteImages& i) { return py::make_tuple(i.batch, i.height, i.width, i.channels); });
    py::class_<Int32Images>(module, "Int32Images", "A batch of NHWC int32 accumulators.")
        .def(py::init([](int64_t batch, int64_t height, int64_t width, int64_t channels) {
                 return std::make_unique<Int32Images>(Extents{batch, height, width, channels});
             }),
             "batch"_a, "height"_a, "width"_a, "channels"_a)
        .def_property_readonly(
            "shape", [](const Int32Images& i) { return py::make_tuple(i.batch, i.height, i.width, i.channels); });

    module.def(
        "quantize",
        [](const FloatArray& x, float scale, int64_t low, int64_t high, const ByteImages& out, int threads) {
            require_planar(x, out);
            const float* data = x.data();
            py::gil_scoped_release release;
            quantize(data, scale, low, high, out, threads);
        },
        "x"_a.noconvert(), "scale"_a, "low"_a, "high"_a, "out"_a, "threads"_a);
    module.def(
        "import_codes",
        [](const ByteArray& codes, int64_t min, const ByteImages& out, int threads) {
            require_planar(codes, out);
            const uint8_t* data = codes.data();
            py::gil_scoped_release release;
            import_codes(data, min, out, threads);
        },
        "codes"_a.noconvert(), "min"_a, "out"_a, "threads"_a);
    module.def(
        "export_codes",
        [](const ByteImages& in, int64_t min, int threads) {
            auto codes = new_planar<uint8_t>(in);
            uint8_t* data = codes.mutable_data();
            py::gil_scoped_release release;
            export_codes(in, min, data, threads);
            return codes;
        },
        "images"_a, "min"_a, "threads"_a);
    module.def(
        "import_accumulators",
        [](const Int32Array& values, const Int32Images& out, int threads) {
            require_planar(values, out);
            const int32_t* data = values.data();
            py::gil_scoped_release release;
            import_accumulators(data, out, threads);
        },
        "values"_a.noconvert(), "out"_a, "threads"_a);
    module.def(
        "export_accumulators",
        [](const Int32Images& in, int threads) {
            auto values = new_planar<int32_t>(in);
            int32_t* data = values.mutable_data();
            py::gil_scoped_release release;
            export_accumulators(in, data, threads);
            return values;
        },
        "images"_a, "threads"_a);
}

void bind_epilogues(py::module_& module) {
    py::class_<ScaleSpec>(module, "ScaleSpec",
                          "code = clip(round(acc * multiplier / 2^shift) + zero_point, low, high).")
        .def(py::init(&scale_spec), "multiplier"_a, "shift"_a, "rounding"_a, "zero_point"_a, "zero_point_first"_a,
             "low"_a, "high"_a, "out_bits"_a, "out_min"_a);
    py::class_<FloatSpec>(module, "FloatSpec",
                          "code = clip(rint(acc * scale) + zero_point, low, high), in float32 or float64.")
        .def(py::init(&float_spec), "scale"_a, "single"_a, "zero_point"_a, "zero_point_first"_a, "low"_a, "high"_a,
             "out_bits"_a, "out_min"_a);
    py::class_<ThresholdSpec>(module, "ThresholdSpec", "code = base + the number of thresholds that acc reaches.")
        .def(py::init(&threshold_spec), "thresholds"_a, "base"_a, "strict"_a, "descending"_a, "out_bits"_a,
             "out_min"_a);
    py::class_<Requantize, std::shared_ptr<Requantize>>(module, "Requantize",
                                                        "An epilogue for accumulators that stand in memory.")
        .def(py::init<const std::string&, const EpilogueSpec&, int64_t, int64_t>(), "name"_a, "spec"_a,
             "low"_a = std::numeric_limits<int32_t>::min(), "high"_a = std::numeric_limits<int32_t>::max())
        .def("run", &Requantize::run, "in_"_a, "out"_a, "threads"_a, ReleaseGil());
}

void bind_conv(py::module_& module) {
    const auto run = [](const auto& conv, const auto& in, const Sides& padding, int pad_byte, const auto& out,
                        int threads) { conv.bind(in, to_halo(padding), pad_byte, out)(threads); };
    py::class_<Conv, std::shared_ptr<Conv>>(module, "Conv", "A convolution or linear layer, packed once.")
        .def(py::init(&make_conv), "name"_a, "weights"_a, "bias"_a, "in_channels"_a, "stride"_a = Pair{1, 1},
             "dilation"_a = Pair{1, 1}, "groups"_a = 1, "act_bits"_a = 8, "epilogue"_a = py::none(),
             "scheme"_a = py::none(), "one_pixel"_a = false)
        .def(
            "run",
            [run](const Conv& conv, const ByteImages& in, const Sides& padding, int pad_byte, const ByteImages& out,
                  int threads) { run(conv, in, padding, pad_byte, out, threads); },
            "in_"_a, "padding"_a, "pad_byte"_a, "out"_a, "threads"_a, ReleaseGil())
        .def(
            "run",
            [run](const Conv& conv, const ByteImages& in, const Sides& padding, int pad_byte, const Int32Images& out,
                  int threads) { run(conv, in, padding, pad_byte, out, threads); },
            "in_"_a, "padding"_a, "pad_byte"_a, "out"_a, "threads"_a, ReleaseGil())
        .def_property_readonly("scheme", [](const Conv& conv) { return conv.kernel().scheme; })
        .def_property_readonly("winograd", &Conv::by_winograd, "Whether tiles of transformed numbers are multiplied.")
        .def_property_readonly(
            "kernel",
            [](const Conv& conv) { return (conv.by_winograd() ? "winograd_" : "") + std::string(conv.kernel().name); })
        .def_property_readonly(
            "epilogue_kernel",
            [](const Conv& conv) { return conv.epilogue() ? conv.epilogue()->kernel().name : nullptr; })
        .def_property_readonly(
            "flushes", [](const Conv& conv) { return conv.flushes(); },
            "Times that narrow lanes are widened, over all panels.")
        .def_property_readonly(
            "quads", [](const Conv& conv) { return conv.quads(); }, "Steps of 4 k, over all panels.")
        .def_property_readonly("acc_low", [](const Conv& conv) { return conv.bounds().low; })
        .def_property_readonly("acc_high", [](const Conv& conv) { return conv.bounds().high; });
}

void bind_elementwise(py::module_& module) {
    py::class_<Add, std::shared_ptr<Add>>(module, "Add", "Residual addition with one rounding.")
        .def(py::init(&make_add), "name"_a, "multiplier_a"_a, "multiplier_b"_a, "offset"_a, "shift"_a, "rounding"_a,
             "zero_point"_a, "zero_point_first"_a, "low"_a, "high"_a, "out_bits"_a, "out_min"_a, "a_is_accumulator"_a,
             "a_low"_a, "a_high"_a)
        .def("run",
             py::overload_cast<const ByteImages&, const ByteImages&, const ByteImages&, int>(&Add::run, py::const_),
             "a"_a, "b"_a, "out"_a, "threads"_a, ReleaseGil())
        .def("run",
             py::overload_cast<const Int32Images&, const ByteImages&, const ByteImages&, int>(&Add::run, py::const_),
             "a"_a, "b"_a, "out"_a, "threads"_a, ReleaseGil())
        .def_property_readonly("kernel", [](const Add& add) { return add.kernel().name; });
    module.def(
        "lookup",
        [](const ByteImages& in, const ByteArray& tables, const ByteImages& out, int threads) {
            const std::vector<uint8_t> copy(tables.data(), tables.data() + tables.size());
            py::gil_scoped_release release;
            lookup(in, copy, out, threads);
        },
        "in_"_a, "tables"_a, "out"_a, "threads"_a);
    module.def(
        "max_pool",
        [](const ByteImages& in, const Pair& kernel, const Pair& stride, const Pair& dilation, const Sides& padding,
           const ByteImages& out, int threads) {
            const MaxPoolSpec spec = max_pool_spec(kernel, stride, dilation, padding);
            py::gil_scoped_release release;
            max_pool(in, spec, out, threads);
        },
        "in_"_a, "kernel"_a, "stride"_a, "dilation"_a, "padding"_a, "out"_a, "threads"_a);
    module.def(
        "average_pool",
        [](const ByteImages& in, const Int64Array& rows, const Int64Array& columns, int64_t step, int64_t level_offset,
           int64_t multiplier, int64_t shift, int64_t zero_point, const std::string& rounding, int out_bits,
           int64_t out_min, const ByteImages& out, int threads) {
            const AveragePoolSpec spec{
                to_windows(rows),         to_windows(columns), step, level_offset, multiplier, shift, zero_point,
                parse_rounding(rounding), {out_bits, out_min}};
            py::gil_scoped_release release;
            average_pool(in, spec, out, threads);
        },
        "in_"_a, "rows"_a, "columns"_a, "step"_a, "level_offset"_a, "multiplier"_a, "shift"_a, "zero_point"_a,
        "rounding"_a, "out_bits"_a, "out_min"_a, "out"_a, "threads"_a);
    module.def(
        "copy_region",
        [](const ByteImages& in, const Triple& from, const Triple& from_step, const Triple& to, const Triple& to_step,
           const Triple& extent, const ByteImages& out, int threads) {
            const Region region = to_region(from, from_step, to, to_step, extent);
            py::gil_scoped_release release;
            copy_region(in, region, out, threads);
        },
        "in_"_a, "from_"_a, "from_step"_a, "to"_a, "to_step"_a, "extent"_a, "out"_a, "threads"_a);
}

// --- plans ----------------------------------------------------------------------------------------------------------

bool has_element(const py::array& array, Element element) {
    switch (element) {
        case Element::kFloat32:
            return py::isinstance<py::array_t<float>>(array);
        case Element::kByte:
            return py::isinstance<py::array_t<uint8_t>>(array);
        case Element::kInt32:
            return py::isinstance<py::array_t<int32_t>>(array);
    }
    return false;
}

py::array new_array(const ArraySpec& spec, int64_t batch) {
    const std::vector<py::ssize_t> shape{batch, spec.image.channels, spec.image.height, spec.image.width};
    return spec.element == Element::kByte ? py::array(py::array_t<uint8_t>(shape)) : py::array_t<int32_t>(shape);
}

// Calls work(inputs, outputs) on the arrays' memory, without the GIL; returns new arrays for the outputs.
template <class Work>
py::list with_arrays(const Plan& plan, const std::vector<py::array>& inputs, int64_t batch, const Work& work) {
    require(inputs.size() == plan.inputs().size(), "plan: ", inputs.size(), " arrays, expected ", plan.inputs().size());
    require(batch >= 1, "plan: a batch of ", batch);
    std::vector<const void*> from;
    for (size_t i = 0; i < inputs.size(); ++i) {
        const ArraySpec& spec = plan.inputs()[i];
        const auto [one, height, width, channels] = spec.image;
        require(has_element(inputs[i], spec.element) && (inputs[i].flags() & py::array::c_style), "plan: array ", i,
                " is of another type or not contiguous");
        require(inputs[i].size() == batch * height * width * channels, "plan: array ", i, " has ", inputs[i].size(),
                " elements, expected ", batch, "x", channels, "x", height, "x", width);
        from.push_back(inputs[i].data());
    }
    py::list results;
    std::vector<void*> to;
    for (const ArraySpec& spec : plan.outputs()) {
        py::array result = new_array(spec, batch);
        to.push_back(result.mutable_data());
        results.append(std::move(result));
    }
    py::gil_scoped_release release;
    work(from, to);
    return results;
}

py::list run_plan(Plan& plan, const std::vector<py::array>& inputs, int64_t batch, int threads) {
    return with_arrays(plan, inputs, batch,
                       [&](const auto& from, const auto& to) { plan.run(from, to, batch, threads); });
}

py::tuple profile_plan(Plan& plan, const std::vector<py::array>& inputs, int64_t batch, int threads) {
    std::vector<int64_t> step_ns;
    py::list results = with_arrays(plan, inputs, batch, [&](const auto& from, const auto& to) {
        step_ns = plan.profile(from, to, batch, threads);
    });
    py::list steps;
    for (size_t i = 0; i < step_ns.size(); ++i) steps.append(py::make_tuple(plan.steps()[i].name, step_ns[i]));
    return py::make_tuple(results, steps);
}

void bind_plan(py::module_& module) {
    const auto padding = [](const Sides& sides, int byte) { return Padding{to_halo(sides), byte}; };
    py::class_<Plan>(module, "Plan", "A graph compiled once; values are known by their numbers.")
        .def(py::init<>())
        .def(
            "bytes",
            [](Plan& plan, int64_t height, int64_t width, int64_t channels, int bits, const Sides& halo, int fill) {
                return plan.add_value({{1, height, width, channels}, bits, to_halo(halo), fill});
            },
            "height"_a, "width"_a, "channels"_a, "bits"_a, "halo"_a = Sides{}, "fill"_a = 0)
        .def(
            "accumulators",
            [](Plan& plan, int64_t height, int64_t width, int64_t channels) {
                return plan.add_value({{1, height, width, channels}, 32, {}});
            },
            "height"_a, "width"_a, "channels"_a)
        .def(
            "part",
            [](Plan& plan, int64_t whole, const Triple& place, const Pair& apart, int64_t height, int64_t width,
               int64_t channels, int bits) {
                const Part part{place[0], place[1], place[2], apart[0], apart[1]};
                return plan.add_value({{1, height, width, channels}, bits, {}, 0, whole, part});
            },
            "whole"_a, "place"_a, "apart"_a, "height"_a, "width"_a, "channels"_a, "bits"_a)
        .def(
            "quantize",
            [](Plan& plan, const std::string& name, float scale, int64_t low, int64_t high, int64_t out) {
                const int64_t input = plan.add_input(Element::kFloat32, out);
                plan.add_step(quantize_step(name, input, scale, low, high, out));
            },
            "name"_a, "scale"_a, "low"_a, "high"_a, "out"_a)
        .def(
            "import_codes",
            [](Plan& plan, const std::string& name, int64_t min, int64_t out) {
                plan.add_step(import_codes_step(name, plan.add_input(Element::kByte, out), min, out));
            },
            "name"_a, "min"_a, "out"_a)
        .def(
            "import_accumulators",
            [](Plan& plan, const std::string& name, int64_t out) {
                plan.add_step(import_accumulators_step(name, plan.add_input(Element::kInt32, out), out));
            },
            "name"_a, "out"_a)
        .def(
            "export_codes",
            [](Plan& plan, const std::string& name, int64_t in, int64_t min) {
                plan.add_step(export_codes_step(name, in, min, plan.add_output(Element::kByte, in)));
            },
            "name"_a, "in_"_a, "min"_a)
        .def(
            "export_accumulators",
            [](Plan& plan, const std::string& name, int64_t in) {
                plan.add_step(export_accumulators_step(name, in, plan.add_output(Element::kInt32, in)));
            },
            "name"_a, "in_"_a)
        .def(
            "conv",
            [padding](Plan& plan, std::shared_ptr<Conv> conv, int64_t in, const Sides& sides, int pad_byte,
                      int64_t out) { plan.add_step(conv_step(conv, padding(sides, pad_byte), in, out)); },
            "conv"_a, "in_"_a, "padding"_a, "pad_byte"_a, "out"_a)
        .def(
            "conv_add",
            [padding](Plan& plan, std::shared_ptr<Conv> conv, std::shared_ptr<Add> add, int64_t in, const Sides& sides,
                      int pad_byte, int64_t stream, int64_t out) {
                plan.add_step(conv_add_step(conv, padding(sides, pad_byte), add, in, stream, out));
            },
            "conv"_a, "add"_a, "in_"_a, "padding"_a, "pad_byte"_a, "stream"_a, "out"_a)
        .def(
            "add",
            [](Plan& plan, std::shared_ptr<Add> add, int64_t a, int64_t b, int64_t out) {
                plan.add_step(add_step(add, a, b, out));
            },
            "add"_a, "a"_a, "b"_a, "out"_a)
        .def(
            "requantize",
            [](Plan& plan, std::shared_ptr<Requantize> requantize, int64_t in, int64_t out) {
                plan.add_step(requantize_step(requantize, in, out));
            },
            "requantize"_a, "in_"_a, "out"_a)
        .def(
            "lookup",
            [](Plan& plan, const std::string& name, const ByteArray& tables, int64_t in, int64_t out) {
                std::vector<uint8_t> copy(tables.data(), tables.data() + tables.size());
                plan.add_step(lookup_step(name, std::move(copy), in, out));
            },
            "name"_a, "tables"_a, "in_"_a, "out"_a)
        .def(
            "max_pool",
            [](Plan& plan, const std::string& name, const Pair& kernel, const Pair& stride, const Pair& dilation,
               const Sides& sides, int64_t in, int64_t out) {
                plan.add_step(max_pool_step(name, max_pool_spec(kernel, stride, dilation, sides), in, out));
            },
            "name"_a, "kernel"_a, "stride"_a, "dilation"_a, "padding"_a, "in_"_a, "out"_a)
        .def(
            "average_pool",
            [](Plan& plan, const std::string& name, const Int64Array& rows, const Int64Array& columns, int64_t step,
               int64_t level_offset, int64_t multiplier, int64_t shift, int64_t zero_point, const std::string& rounding,
               int out_bits, int64_t out_min, int64_t in, int64_t out) {
                plan.add_step(average_pool_step(name,
                                                {to_windows(rows),
                                                 to_windows(columns),
                                                 step,
                                                 level_offset,
                                                 multiplier,
                                                 shift,
                                                 zero_point,
                                                 parse_rounding(rounding),
                                                 {out_bits, out_min}},
                                                in, out));
            },
            "name"_a, "rows"_a, "columns"_a, "step"_a, "level_offset"_a, "multiplier"_a, "shift"_a, "zero_point"_a,
            "rounding"_a, "out_bits"_a, "out_min"_a, "in_"_a, "out"_a)
        .def(
            "copy",
            [](Plan& plan, const std::string& name, const Triple& from, const Triple& from_step, const Triple& to,
               const Triple& to_step, const Triple& extent, int64_t in, int64_t out) {
                plan.add_step(copy_step(name, to_region(from, from_step, to, to_step, extent), in, out));
            },
            "name"_a, "from_"_a, "from_step"_a, "to"_a, "to_step"_a, "extent"_a, "in_"_a, "out"_a)
        .def(
            "fill", [](Plan& plan, const std::string& name, int64_t out) { plan.add_step(fill_step(name, out)); },
            "name"_a, "out"_a)
        .def("run", &run_plan, "inputs"_a, "batch"_a, "threads"_a)
        .def("profile", &profile_plan, "inputs"_a, "batch"_a, "threads"_a,
             "What run returns, and the name of every step with the nanoseconds that it took.")
        .def_property_readonly("arena_bytes", &Plan::arena_bytes, "For one image, halos and padding included.")
        .def_property_readonly("live_bytes", &Plan::live_bytes, "The most that is alive at one step, values alone.");
}

PYBIND11_MODULE(_native, module) {
    module.doc() = "Packed low-bit kernels: what intsim.backends.native is made of.";
    bind_images(module);
    bind_epilogues(module);
    bind_conv(module);
    bind_elementwise(module);
    bind_plan(module);

    py::class_<KernelInfo>(module, "Kernel", "A row of the kernel table.")
        .def_readonly("name", &KernelInfo::name)
        .def_readonly("op", &KernelInfo::op)
        .def_readonly("scheme", &KernelInfo::scheme)
        .def_readonly("isa", &KernelInfo::isa)
        .def_readonly("mr", &KernelInfo::mr)
        .def_readonly("nr", &KernelInfo::nr)
        .def_readonly("act_bits", &KernelInfo::act_bits)
        .def_readonly("weight_bits", &KernelInfo::weight_bits)
        .def("__repr__", [](const KernelInfo& kernel) { return std::string(kernel.name); });
    module.def("kernels", &list_kernels, "Every kernel that this processor can run.");
    py::class_<MicroKernel>(module, "MicroKernel", "One tile of a kernel, over and over, for benchmarks.")
        .def(py::init<const std::string&, int, int, int64_t>(), "name"_a, "weight_bits"_a, "act_bits"_a, "depth"_a)
        .def("run", &MicroKernel::run, "times"_a, ReleaseGil())
        .def_property_readonly("macs", &MicroKernel::macs);
    module.def("dependent_adds", &dependent_adds, "count"_a, ReleaseGil());
    module.def("active_isa", [] { return active_table().isa; }, "The instruction set in use; see INTSIM_ISA.");
    module.def("available_threads", &available_threads);
}

}  // namespace
}  // namespace intsim
