#pragma once

#include "cpu/kernels.h"

// One function per file that is compiled for an instruction set of its own.
namespace ifast::cpu {

Kernels kernels_portable(Dtype dtype);
Kernels kernels_avx2(Dtype dtype);
Kernels kernels_avx512(Dtype dtype);
void add_dot_kernels_avx512bf16(Kernels& kernels);

}  // namespace ifast::cpu
