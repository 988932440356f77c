#pragma once

#include "cpu/kernels/kernels.h"

// One function per file that is compiled for an instruction set of its own.
namespace ifast::cpu {

Kernels kernels_portable(Dtype dtype);
Kernels kernels_avx2(Dtype dtype);
Kernels kernels_avx512(Dtype dtype);
Kernels int8_kernels_portable();
Kernels int8_kernels_avx2();
Kernels int8_kernels_avx512_vnni();
void add_dot_kernels_avx512_bf16(Kernels& kernels);

}  // namespace ifast::cpu
