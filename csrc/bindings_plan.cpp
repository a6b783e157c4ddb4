// Plans: graphs that are compiled once, and run with one call.
#include "bindings.h"
#include "steps.h"

namespace intsim {
namespace {

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

}  // namespace

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

}  // namespace intsim
