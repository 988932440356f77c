#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "plan/plan.h"

namespace ifast::cpu {

// Elements of a constant as float32. dtype: float32, float16, bfloat16 or int8.
std::vector<float> to_floats(std::span<const std::byte> bytes, Dtype dtype);

// Rounded to nearest even, as the bytes of a tensor. dtype: float32, float16 or bfloat16.
std::vector<std::byte> from_floats(std::span<const float> values, Dtype dtype);

// Two values rounded to bfloat16, the first in the lower half, as the bits of a float.
float bfloat16_pair(float first, float second);

// The first of a pair (half 0) or the second (half 1).
float bfloat16_of_pair(float pair, int half);

// n bfloat16, `stride` elements apart, into consecutive halves of `out`; an odd n is padded with
// zero.
void gather_pairs(const void* source, std::ptrdiff_t stride, float* out, int n);

// Small whole numbers as a unit of four int8, or of two int16: the bits of a float, the first
// number in the lowest. channels: 4 or 2.
float integer_unit(const float (&values)[4], int channels);

// A unit of `channels` (4 or 2) elements of the same value.
float zero_unit(int element, int channels);

std::vector<std::int32_t> to_integers(std::span<const std::byte> bytes);

}  // namespace ifast::cpu
