// What AVX2 has. Nothing of it may run before the processor is known to have it: see setup.py and dispatch.cpp.
#include "avx2.h"

namespace intsim {

const KernelTable kAvx2Kernels = {"avx2",         &kPortableKernels, nullptr,          &kAvx2Gemm,
                                  nullptr,        &kAvx2ByteTiles,   nullptr,          &kAvx2Depthwise,
                                  &kAvx2Strips,   &kAvx2Roof,        &kAvx2Epilogues,  &kAvx2Adds,
                                  &kAvx2Operands, &kAvx2Lookups,     &kAvx2Quantizers, &kAvx2Winograd};

}  // namespace intsim
