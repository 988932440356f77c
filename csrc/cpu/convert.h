#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "plan/plan.h"

namespace ifast::cpu {

// Elements of a constant as float32. dtype: float32, float16 or bfloat16.
std::vector<float> to_floats(std::span<const std::byte> bytes, Dtype dtype);

// Rounded to nearest even, as the bytes of a tensor. dtype: float32, float16 or bfloat16.
std::vector<std::byte> from_floats(std::span<const float> values, Dtype dtype);

// Two values rounded to bfloat16, the first in the lower half, as the bits of a float.
float bfloat16_pair(float first, float second);

// n bfloat16, `stride` elements apart, into consecutive halves of `out`; an odd n is padded with
// zero.
void gather_pairs(const void* source, std::ptrdiff_t stride, float* out, int n);

}  // namespace ifast::cpu
