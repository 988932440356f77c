#pragma once

#include "cpu/kernels/generic/rows.h"
#include "cpu/kernels/generic/unroll.h"
#include "cpu/kernels/kernels.h"

namespace ifast::cpu {
namespace {

// Adds a run of taps to the sums of pixels side by side, whose windows are Step columns apart: a
// column is loaded once for all pixels that see it.
template <int Pixels, int Run, int Step, class T, class Load>
inline __attribute__((always_inline)) void add_run(const T* first, const float* weights,
                                                   const DepthwiseCall& call, Load load,
                                                   Vec (&sums)[Pixels]) {
  Vec weight[Run];
  unroll<Run>([&](auto i) { weight[i.value] = load(weights + i.value * call.weight_stride); });
  unroll<(Pixels - 1) * Step + Run>([&](auto column) {
    const Vec x = load(first + column.value * call.column_stride);
    unroll<Pixels>([&](auto i) {
      constexpr int kTap = column.value - i.value * Step;
      if constexpr (kTap >= 0 && kTap < Run) {
        sums[i.value] = fma(x, weight[kTap], sums[i.value]);
      }
    });
  });
}

template <int Pixels, class T, class Load>
inline __attribute__((always_inline)) void add_tap(const T* first, const float* weights,
                                                   const DepthwiseCall& call, Load load,
                                                   Vec (&sums)[Pixels]) {
  const std::ptrdiff_t stride = call.step * call.column_stride;
  const Vec weight = load(weights);
  unroll<Pixels>(
      [&](auto i) { sums[i.value] = fma(load(first + i.value * stride), weight, sums[i.value]); });
}

// Channels from c on of Pixels pixels from the p-th on.
template <class T, int Pixels, int Run, int Step, class Load, class Store>
inline __attribute__((always_inline)) void depthwise_pixels(const DepthwiseCall& call, int p, int c,
                                                            Load load, Store store) {
  const T* source = static_cast<const T*>(call.source) + p * call.step * call.column_stride + c;
  T* out = static_cast<T*>(call.out) + p * call.out_stride + c;
  const Vec start = call.bias ? load(call.bias + c) : broadcast(0.0f);
  Vec sums[Pixels];
  unroll<Pixels>([&](auto i) { sums[i.value] = start; });
  for (int r = 0; r < call.runs; ++r) {
    const T* first = source + call.offsets[r];
    if constexpr (Run == 1) {
      add_tap<Pixels>(first, call.weights[r] + c, call, load, sums);
    } else {
      add_run<Pixels, Run, Step>(first, call.weights[r] + c, call, load, sums);
    }
  }
  const std::ptrdiff_t out_stride = call.out_stride;
  const bool rectify = call.relu;
  unroll<Pixels>([&](auto i) {
    store(out + i.value * out_stride, rectify ? relu(sums[i.value]) : sums[i.value]);
  });
}

// All channels of some pixels before the next ones: their lines are read from one end to the other.
template <class T, int Run, int Step>
void depthwise_row(const DepthwiseCall& call) {
  int p = 0;
  const auto blocks_of = [&](auto pixels) {
    constexpr int kPixels = pixels.value;
    for (; p + kPixels <= call.pixels; p += kPixels) {
      each_vector(call.channels, [&](int c, auto load, auto store) {
        depthwise_pixels<T, kPixels, Run, Step>(call, p, c, load, store);
      });
    }
  };
  blocks_of(Index<6>{});
  blocks_of(Index<2>{});
  blocks_of(Index<1>{});
}

template <class T>
void depthwise(const DepthwiseCall& call) {
  const auto is = [&call](int run, int step) { return call.run == run && call.step == step; };
  if (is(3, 1)) return depthwise_row<T, 3, 1>(call);
  if (is(3, 2)) return depthwise_row<T, 3, 2>(call);
  if (is(5, 1)) return depthwise_row<T, 5, 1>(call);
  if (is(5, 2)) return depthwise_row<T, 5, 2>(call);
  if (is(7, 1)) return depthwise_row<T, 7, 1>(call);
  depthwise_row<T, 1, 1>(call);
}

}  // namespace
}  // namespace ifast::cpu
