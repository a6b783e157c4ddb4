// Operators as objects: their constructors check and pack, run() computes and releases the GIL. Images own their memory
// and are only reached through import_* and export_*, so nothing outside can put a code into them that a kernel was not
// prepared for.
#include "bindings.h"

namespace intsim {
namespace {

std::vector<bool> to_flags(const Int64Array& array) {
    return std::vector<bool>(array.data(), array.data() + array.size());
}

std::optional<Scheme> parse_scheme(const std::optional<std::string>& name) {
    if (!name) return std::nullopt;
    for (const auto& [scheme, known] : {std::pair{Scheme::kA16, "a16"},
                                        {Scheme::kA16X4, "a16x4"},
                                        {Scheme::kW16X8, "w16x8"},
                                        {Scheme::kW16, "w16"},
                                        {Scheme::kLut, "lut"},
                                        {Scheme::kLutOdd, "lutodd"},
                                        {Scheme::kLutSign, "lutsign"},
                                        {Scheme::kLut6, "lut6"},
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

}  // namespace

void bind_operators(py::module_& module) {
    bind_images(module);
    bind_epilogues(module);
    bind_conv(module);
    bind_elementwise(module);
}

}  // namespace intsim
