#pragma once

#include "cuda/tile/pixel_source.cuh"

namespace ifast::cuda {

// value * scale + shift, as far as the step has them.
template <class Format>
IFAST_DEVICE void scale_and_shift(Values<Format>& result, const PixelSource<Format>& source,
                                  int channel, int count) {
  using Vector = Values<Format>;
  constexpr int kLength = Vector::kLength;
  const Step& step = source.step;
  if (const auto* scale = constant<float>(source.constants, step.scale)) {
    const Vector factor = Vector::load(scale + channel, count);
    for (int i = 0; i < kLength; ++i) result.value[i] *= factor.value[i];
  }
  if (const auto* shift = constant<float>(source.constants, step.bias)) {
    const Vector added = Vector::load(shift + channel, count);
    for (int i = 0; i < kLength; ++i) result.value[i] += added.value[i];
  }
}

template <class Format>
IFAST_DEVICE Values<Format> pointwise(const PixelSource<Format>& source, Pixel at, int channel,
                                      int count) {
  using Vector = Values<Format>;
  constexpr int kLength = Vector::kLength;
  const Step& step = source.step;
  Vector result = source.read(at.n, at.y, at.x, channel, count);
  scale_and_shift(result, source, channel, count);
  if (step.other.base >= 0) {
    const Tensor<Format> other(source.bindings, step.other);
    const Vector added = Vector::load(other, other.at(at.n, at.y, at.x), channel, count,
                                      other.access_bytes() == kVectorBytes);
    for (int i = 0; i < kLength; ++i) result.value[i] += added.value[i];
  }
  return result;
}

// The gate is one pixel for all or one for each, of one channel for all or of one for each.
template <class Format>
IFAST_DEVICE Values<Format> gate(const PixelSource<Format>& source, Pixel at, int channel,
                                 int count) {
  const Step& step = source.step;
  Values<Format> result = source.read(at.n, at.y, at.x, channel, count);
  const Tensor<Format> gates(source.bindings, step.other);
  const auto* pixel =
      gates.at(at.n, step.other.height == 1 ? 0 : at.y, step.other.width == 1 ? 0 : at.x);
  if (step.other.channels == 1) {
    const float factor = Format::load(ptx::load_global(pixel));
    result.each([=](float x) { return x * factor; });
    return result;
  }
  const auto factors =
      Values<Format>::load(gates, pixel, channel, count, gates.access_bytes() == kVectorBytes);
  for (int i = 0; i < Values<Format>::kLength; ++i) result.value[i] *= factors.value[i];
  return result;
}

}  // namespace ifast::cuda
