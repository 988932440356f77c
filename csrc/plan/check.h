#pragma once

#include <limits>

#include "plan/plan.h"

namespace ifast {

// Largest height, width, stride, kernel or tap offset: a product of two fits in 31 bits.
inline constexpr int kMaxExtent = 1 << 15;
inline constexpr double kMaxEps = 1 << 15;
inline constexpr double kMostSensitive = 1e30;
// Largest number of an activation or a normalisation, either sign.
inline constexpr double kMaxNumber = std::numeric_limits<float>::max();
inline constexpr int kMaxChannels = 1 << 20;
// Largest buffer, arena or constant, in elements per image.
inline constexpr std::int64_t kMaxElements = (std::int64_t{1} << 31) - 1;
// Largest number of buffers or steps.
inline constexpr std::size_t kMaxCount = 4096;
// Largest number of products in a quantised sum: 255 * 128 times it is less than 2^31.
inline constexpr std::int64_t kMaxQuantizedTerms = 1 << 16;
// Largest bias of a quantised sum, either sign: beside those products it still fits in 32 bits.
inline constexpr std::int32_t kMaxQuantizedBias = (1 << 23) - 1;
// Largest number of pixels in a quantised average: 255 times it is less than 2^31.
inline constexpr std::int64_t kMaxQuantizedWindow = 1 << 23;

// Throws EngineError, naming the first step or buffer that breaks a rule of
// inception_fast/plan/check.py: what passes reads and writes inside its buffers and constants, in
// an order that is valid, and its index arithmetic fits in 32 bits per image.
void check(const Plan& plan);

}  // namespace ifast
