#pragma once

#include "cuda/tile/pointwise.cuh"

namespace ifast::cuda {

// The input's bytes as numbers.
template <class Format>
IFAST_DEVICE Values<Format> read_bytes(const Bindings& bindings, const View& view, int n, int y,
                                       int x, int channel, int count) {
  const std::int64_t* strides = bindings.input_strides;
  const auto* pixel = reinterpret_cast<const std::uint8_t*>(bindings.bases[view.base]) +
                      n * strides[0] + y * strides[1] + x * strides[2];
  Values<Format> v;
  for (int i = 0; i < Values<Format>::kLength; ++i) {
    const auto* address = pixel + (view.start + channel + i) * strides[3];
    v.value[i] = i < count ? static_cast<float>(ptx::load_global(address)) : 0.0f;
  }
  return v;
}

template <class Format>
IFAST_DEVICE Values<Format> pad(const PixelSource<Format>& source, Pixel at, int channel,
                                int count) {
  const Step& step = source.step;
  const int y = at.y - step.padding.vertical, x = at.x - step.padding.horizontal;
  Values<Format> result;
  if (y < 0 || y >= step.source.height || x < 0 || x >= step.source.width) {
    for (int i = 0; i < Values<Format>::kLength; ++i) result.value[i] = step.value;
    return result;
  }
  result = step.bytes ? read_bytes<Format>(source.bindings, step.source, at.n, y, x, channel, count)
                      : source.read(at.n, y, x, channel, count);
  scale_and_shift(result, source, channel, count);
  return result;
}

}  // namespace ifast::cuda
