// What AVX-512 with VNNI has; the rest is AVX2's. Nothing of it may run before the processor is known to have it: see
// setup.py and dispatch.cpp.
#include "avx512.h"

namespace intsim {
namespace {

// Measured on Zen 5, where AVX2's look-ups are faster than vpdpbusd for weights of one bit alone.
constexpr SchemeCost kCosts[] = {
    {Scheme::kLutSign, 4.9, 22, 44, 44, 0.6}, {Scheme::kDot, 3.3, 0, 0, 0, 0}, {Scheme::kW16, 16, 0, 0, 0, 0}};
constexpr Rows<SchemeCost> kCostRows = {kCosts, sizeof kCosts / sizeof *kCosts};

}  // namespace

const KernelTable kAvx512Kernels = {
    "avx512",          &kAvx2Kernels,         &kCostRows, &kAvx512Gemm,   &kAvx512GemmPairs,
    &kAvx512ByteTiles, &kAvx512ByteTilePairs, nullptr,    &kAvx512Strips, &kAvx512Roof,
    &kAvx512Epilogues, &kAvx512Adds,          nullptr,    nullptr,        &kAvx512Quantizers,
    &kAvx512Winograd};

}  // namespace intsim
