#include "cpu/kernels/portable/int8_vec.h"
// The Vec and the unit come first: the kernels are written over them.
#include "cpu/kernels/generic/int8.h"
#include "cpu/kernels/tables.h"

namespace ifast::cpu {

Kernels int8_kernels_portable() { return make_int8_kernels(); }

}  // namespace ifast::cpu
