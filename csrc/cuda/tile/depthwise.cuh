#pragma once

#include "cuda/tile/pixel_source.cuh"

namespace ifast::cuda {

// A convolution of each channel by itself, in float32 also in tf32: nothing of it is a matrix
// product.
template <class Format>
IFAST_DEVICE Values<Format> depthwise(const PixelSource<Format>& source, Pixel at, int channel,
                                      int count) {
  using Vector = Values<Format>;
  constexpr int kLength = Vector::kLength;
  const Step& step = source.step;
  const int top = at.y * step.stride.vertical, left = at.x * step.stride.horizontal;
  const auto* taps = constant<Extent>(source.constants, step.taps);
  // Each tap's weights are whole vectors.
  const std::byte* weight =
      source.constants + step.weight + channel * static_cast<int>(sizeof(typename Format::Element));
  const int tap_bytes = divide_up(step.channels, kLength) * kVectorBytes;
  Vector sum{};
  for (int t = 0; t < step.tap_count; ++t, weight += tap_bytes) {
    const Extent tap = ptx::load_global(taps + t);
    const int y = top + tap.vertical, x = left + tap.horizontal;
    if (y < 0 || y >= step.source.height || x < 0 || x >= step.source.width) continue;
    const Vector v = source.read(at.n, y, x, channel, count);
    const Vector w = Vector::unpack(ptx::load_global_vector(weight));
    for (int i = 0; i < kLength; ++i) sum.value[i] += v.value[i] * w.value[i];
  }
  if (const auto* bias = constant<float>(source.constants, step.bias)) {
    const Vector added = Vector::load(bias + channel, count);
    for (int i = 0; i < kLength; ++i) sum.value[i] += added.value[i];
  }
  return sum;
}

}  // namespace ifast::cuda
