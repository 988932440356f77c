#include "cpu/simd/vec_portable.h"
// The Vec comes first: the kernels are written over it.
#include "cpu/simd/table.h"
#include "cpu/tables.h"

namespace ifast::cpu {

Kernels kernels_portable(Dtype dtype) { return make_kernels(dtype); }

}  // namespace ifast::cpu
