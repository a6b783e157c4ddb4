// intsim._native: this file and its neighbours of the same name are the only ones that know Python.
#include "bindings.h"
#include "micro_kernel.h"
#include "threads.h"

namespace intsim {

PYBIND11_MODULE(_native, module) {
    module.doc() = "Packed low-bit kernels: what intsim.backends.native is made of.";
    bind_operators(module);
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

}  // namespace intsim
