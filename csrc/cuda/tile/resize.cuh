#pragma once

#include "cuda/tile/pixel_source.cuh"

namespace ifast::cuda {

// The two source positions around an output position, and the weight of the second.
struct Neighbours {
  int first, second;
  float weight;
};

IFAST_DEVICE Neighbours neighbours(int at, int from, int to, bool align_corners) {
  float position = 0.0f;
  if (align_corners) {
    if (to > 1) position = at * (static_cast<float>(from - 1) / static_cast<float>(to - 1));
  } else {
    const float scale = static_cast<float>(from) / static_cast<float>(to);
    position = (static_cast<float>(at) + 0.5f) * scale - 0.5f;
    if (position < 0.0f) position = 0.0f;
  }
  int first = static_cast<int>(position);
  if (first > from - 1) first = from - 1;
  return {first, first + 1 < from ? first + 1 : first, position - static_cast<float>(first)};
}

template <class Format>
IFAST_DEVICE Values<Format> resize(const PixelSource<Format>& source, Pixel at, int channel,
                                   int count) {
  const Step& step = source.step;
  const Neighbours y = neighbours(at.y, step.source.height, step.height, step.align_corners);
  const Neighbours x = neighbours(at.x, step.source.width, step.width, step.align_corners);
  Values<Format> result{};
  for (int corner = 0; corner < 4; ++corner) {
    const bool lower = corner / 2, right = corner % 2;
    const float weight =
        (lower ? y.weight : 1.0f - y.weight) * (right ? x.weight : 1.0f - x.weight);
    const auto v =
        source.read(at.n, lower ? y.second : y.first, right ? x.second : x.first, channel, count);
    for (int i = 0; i < Values<Format>::kLength; ++i) result.value[i] += weight * v.value[i];
  }
  return result;
}

}  // namespace ifast::cuda
