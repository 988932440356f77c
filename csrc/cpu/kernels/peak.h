#pragma once

#include "cpu/kernels/isa.h"

namespace ifast::cpu {

// What a multiply-accumulate takes: float32 with `isa`, or AVX-512's dot products of bfloat16 pairs
// (vdpbf16ps) and of 8-bit quadruples (vpdpbusd), whatever `isa`.
enum class Arithmetic { kFloat32, kBFloat16, kInt8 };

// Operations a second of one thread that does nothing but multiply and add in registers: the best
// of several runs that take about `seconds` together. Zero where the build or the processor has no
// such instruction.
double peak_operations(Isa isa, Arithmetic arithmetic, double seconds);

// Each multiplies and adds in registers and returns the operations of one of its `steps`.
int dot_loop_avx512_bf16(int steps);
int dot_loop_avx512_vnni(int steps);

}  // namespace ifast::cpu
