#include "cpu/simd/int8_portable.h"
// The Vec and the unit come first: the kernels are written over them.
#include "cpu/simd/int8.h"
#include "cpu/tables.h"

namespace ifast::cpu {

Kernels int8_kernels_portable() { return make_int8_kernels(); }

}  // namespace ifast::cpu
