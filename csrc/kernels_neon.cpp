// What NEON with dot product has. Nothing of it may run before the processor is known to have it: see setup.py and
// dispatch.cpp.
#include "neon.h"

namespace intsim {
namespace {

// Counted, for two vector instructions a cycle as on Neoverse N1; not measured. Portable kernels are left out, but for
// weights that no other takes.
constexpr SchemeCost kCosts[] = {
    {Scheme::kLutSign, 12, 36, 72, 72, 1.4}, {Scheme::kDot, 13, 0, 0, 0, 0}, {Scheme::kW16, 100, 0, 0, 0, 0}};
constexpr Rows<SchemeCost> kCostRows = {kCosts, 3};

}  // namespace

const KernelTable kNeonKernels = {"neon",         &kPortableKernels, &kCostRows,      &kNeonGemm,
                                  nullptr,        nullptr,           nullptr,         &kNeonDepthwise,
                                  &kNeonStrips,   &kNeonRoof,        &kNeonEpilogues, &kNeonAdds,
                                  &kNeonOperands, &kNeonLookups,     nullptr,         &kNeonWinograd};

}  // namespace intsim
