#pragma once

#include "cpu/kernels.h"
#include "cpu/simd/rows.h"
#include "cpu/simd/unroll.h"

namespace ifast::cpu {
namespace {

// Pixels whose sums are in registers together; they share the loads of the weights.
constexpr int kDepthwisePixels = 6;

// Channels from c on of Pixels pixels from the p-th on.
template <class T, int Pixels, class Load, class Store>
inline __attribute__((always_inline)) void depthwise_pixels(const DepthwiseCall& call, int p, int c,
                                                            Load load, Store store) {
  const Vec start = call.bias ? load(call.bias + c) : broadcast(0.0f);
  const T* source = static_cast<const T*>(call.source) + p * call.window_stride + c;
  T* out = static_cast<T*>(call.out) + p * call.out_stride + c;
  const std::ptrdiff_t stride = call.window_stride, out_stride = call.out_stride;
  Vec sums[Pixels];
  unroll<Pixels>([&](auto i) { sums[i.value] = start; });
  for (int t = 0; t < call.taps; ++t) {
    const Vec weight = load(call.weights[t] + c);
    const T* tap = source + call.offsets[t];
    unroll<Pixels>(
        [&](auto i) { sums[i.value] = fma(load(tap + i.value * stride), weight, sums[i.value]); });
  }
  const bool rectify = call.relu;
  unroll<Pixels>([&](auto i) {
    store(out + i.value * out_stride, rectify ? relu(sums[i.value]) : sums[i.value]);
  });
}

template <class T>
void depthwise(const DepthwiseCall& call) {
  each_vector(call.channels, [&](int c, auto load, auto store) {
    int p = 0;
    for (; p + kDepthwisePixels <= call.pixels; p += kDepthwisePixels) {
      depthwise_pixels<T, kDepthwisePixels>(call, p, c, load, store);
    }
    for (; p < call.pixels; ++p) depthwise_pixels<T, 1>(call, p, c, load, store);
  });
}

}  // namespace
}  // namespace ifast::cpu
