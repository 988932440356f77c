#include "cpu/kernels/portable/vec.h"
// The Vec comes first: the kernels are written over it.
#include "cpu/kernels/generic/table.h"
#include "cpu/kernels/tables.h"

namespace ifast::cpu {

Kernels kernels_portable(Dtype dtype) { return make_kernels(dtype); }

}  // namespace ifast::cpu
