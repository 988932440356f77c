#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "cpu/base/dtypes.h"
#include "cpu/kernels/generic/rows.h"

namespace ifast::cpu {
namespace {

// Of all three formats the bits without the sign have the order of the magnitudes as integers, NaN
// beyond infinity; a maximum of floats would lose a NaN. One does not mind the same channel twice,
// so the last vector of a pixel may reach back over the one before.
template <class T>
float peak(const void* from, std::ptrdiff_t stride, int pixels, int channels) {
  using Bits = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int16_t>;
  constexpr int kBytes = Vec::kLanes * sizeof(float), kLanes = kBytes / sizeof(T);
  typedef Bits Lanes __attribute__((vector_size(kBytes)));
  constexpr Bits kMagnitude = std::numeric_limits<Bits>::max();
  Lanes best = {};
  Bits rest = 0;
  const T* pixel = static_cast<const T*>(from);
  for (int i = 0; i < pixels; ++i, pixel += stride) {
    const auto look = [&](int c) {
      Lanes x;
      __builtin_memcpy(&x, pixel + c, sizeof(x));
      x &= kMagnitude;
      best = x > best ? x : best;
    };
    int c = 0;
    for (; c + kLanes <= channels; c += kLanes) look(c);
    if (c < channels && channels >= kLanes) look(channels - kLanes);
    for (; c < channels && channels < kLanes; ++c) {
      Bits x;
      __builtin_memcpy(&x, pixel + c, sizeof(x));
      x &= kMagnitude;
      rest = x > rest ? x : rest;
    }
  }
  for (int i = 0; i < kLanes; ++i) rest = best[i] > rest ? best[i] : rest;
  T value;
  __builtin_memcpy(&value, &rest, sizeof(value));
  const float largest = element(&value);
  return largest <= std::numeric_limits<float>::max() ? largest
                                                      : std::numeric_limits<float>::infinity();
}

}  // namespace
}  // namespace ifast::cpu
