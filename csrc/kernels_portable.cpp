// What there is in plain C++: a row of every kind.
#include "portable.h"

namespace intsim {
namespace {

// Those of AVX2, measured in layers on Zen 3: portable kernels go the ways of the others, for which they stand in.
constexpr SchemeCost kCosts[] = {{Scheme::kLutSign, 3.7, 22, 44, 44, 0.6}, {Scheme::kLut, 7.4, 14, 44, 44, 0.6},
                                 {Scheme::kLutOdd, 7.4, 14, 44, 44, 0.6},  {Scheme::kA16, 8, 0, 12, 6, 0},
                                 {Scheme::kA32S4, 9.6, 0, 0, 0, 0},        {Scheme::kA32S2, 11.2, 0, 0, 0, 0},
                                 {Scheme::kA32S1, 12.6, 0, 0, 0, 0},       {Scheme::kW16, 16, 0, 0, 0, 0}};
constexpr Rows<SchemeCost> kCostRows = rows_of(kCosts);

}  // namespace

const KernelTable kPortableKernels = {"portable",
                                      nullptr,
                                      &kCostRows,
                                      &kPortableGemm,
                                      nullptr,
                                      nullptr,
                                      nullptr,
                                      &kPortableDepthwise,
                                      &kPortableStrips,
                                      &kPortableRoof,
                                      &kPortableEpilogues,
                                      &kPortableAdds,
                                      &kPortableOperands,
                                      &kPortableLookups,
                                      &kPortableQuantizers,
                                      &kPortableWinograd};

}  // namespace intsim
