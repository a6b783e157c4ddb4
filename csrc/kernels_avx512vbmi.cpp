// What AVX-512 with VBMI has beside VNNI; the rest is kernels_avx512.cpp's. Nothing of it may run before the processor is
// known to have it: see setup.py and dispatch.cpp.
#include "avx512vbmi.h"

namespace intsim {
namespace {

// Measured on Zen 5.
constexpr SchemeCost kCosts[] = {
    {Scheme::kLut6, 2.9, 10, 50, 50, 0.4}, {Scheme::kDot, 3.3, 0, 0, 0, 0}, {Scheme::kW16, 16, 0, 0, 0, 0}};
constexpr Rows<SchemeCost> kCostRows = {kCosts, sizeof kCosts / sizeof *kCosts};

}  // namespace

const KernelTable kAvx512VbmiKernels = {
    "avx512vbmi", &kAvx512Kernels, &kCostRows, &kAvx512VbmiGemm, &kAvx512VbmiGemmPairs, nullptr, nullptr, nullptr,
    nullptr,      nullptr,         nullptr,    nullptr,          &kAvx512VbmiOperands,  nullptr, nullptr, nullptr};

}  // namespace intsim
