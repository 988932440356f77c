#include "cpu/simd/vec_avx512.h"
// The Vec comes first: the kernels are written over it.
#include "cpu/simd/table.h"
#include "cpu/tables.h"

namespace ifast::cpu {

Kernels kernels_avx512(Dtype dtype) { return make_kernels(dtype); }

}  // namespace ifast::cpu
