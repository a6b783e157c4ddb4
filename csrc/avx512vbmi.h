// The rows of each file for AVX-512 with VBMI, gathered in kernels_avx512vbmi.cpp.
#pragma once

#include "avx512.h"

namespace intsim {

extern const Rows<TileRow> kAvx512VbmiGemm;
extern const Rows<TilePairRow> kAvx512VbmiGemmPairs;
extern const Rows<OperandRow> kAvx512VbmiOperands;

}  // namespace intsim
