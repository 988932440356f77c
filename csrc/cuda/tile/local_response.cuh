#pragma once

#include "cuda/tile/pixel_source.cuh"

namespace ifast::cuda {

// Each channel divided by a power of the mean square of a window of channels around it, those past
// the last or before the first being zero.
template <class Format>
IFAST_DEVICE Values<Format> local_response(const PixelSource<Format>& source, Pixel at, int channel,
                                           int count) {
  constexpr int kLength = Values<Format>::kLength;
  const Step& step = source.step;
  const int before = step.window / 2, after = (step.window - 1) / 2;
  const int first = channel > before ? (channel - before) / kLength * kLength : 0;
  const int last = channel + kLength - 1 + after;
  Values<Format> sum{};
  for (int from = first; from <= last && from < step.channels; from += kLength) {
    const auto v = source.read(at.n, at.y, at.x, from, source.count_at(from));
    IFAST_UNROLL
    for (int k = 0; k < kLength; ++k) {
      IFAST_UNROLL
      for (int i = 0; i < kLength; ++i) {
        const int distance = from + k - (channel + i);
        if (distance >= -before && distance <= after) sum.value[i] += v.value[k] * v.value[k];
      }
    }
  }
  const float share = step.alpha / static_cast<float>(step.window);
  sum.each_in_turn([&](float squares) { return ptx::power(step.k + share * squares, step.beta); });
  Values<Format> result = source.read(at.n, at.y, at.x, channel, count);
  for (int i = 0; i < kLength; ++i) result.value[i] /= sum.value[i];
  return result;
}

}  // namespace ifast::cuda
