#pragma once

#include <cstddef>

#include "plan/plan.h"

// Arguments of the kernels behind depthwise convolutions and of those that look along a pixel's
// channels; kernels.h says what all of them have in common.
namespace ifast::cpu {

// A function of each element of some channels.
struct ElementFunction {
  Function function = Function::kSigmoid;
  double alpha = 0;
  double beta = 0;
  const float* slope = nullptr;  // of the channels, for a prelu
};

// Output pixels side by side whose windows have the same taps inside the image, each channel by
// itself: bias[c] + sum over t of weights[t][c] * tap t, summed in the order of the taps.
struct DepthwiseCall {
  const void* source = nullptr;
  int taps = 0;
  const std::ptrdiff_t* offsets = nullptr;  // of the first pixel's taps from the source
  const float* const* weights = nullptr;    // [taps], each [channels]
  std::ptrdiff_t window_stride = 0;         // from one pixel's window to the next one's
  const float* bias = nullptr;
  bool relu = false;
  void* out = nullptr;
  std::ptrdiff_t out_stride = 0;
  int pixels = 0;
  int channels = 0;
};

// exp(x) / sum(exp(x)) over a pixel's channels, or the logarithm of it.
struct SoftmaxCall {
  const void* source = nullptr;
  int channels = 0;
  bool log = false;
  bool relu = false;
  float* exponentials = nullptr;  // [channels], written
  void* out = nullptr;
};

// x[c] / (k + factor * sum of x[j]^2 for j from c - before to c + after)^beta over a pixel's
// channels.
struct LocalResponseCall {
  const void* source = nullptr;
  int channels = 0;
  int before = 0;
  int after = 0;
  float factor = 0;
  double beta = 0;
  float k = 0;
  bool relu = false;
  float* squares = nullptr;  // [before + channels + after + lanes], written
  void* out = nullptr;
};

// source * gate over pixels.
struct GateCall {
  const void* source = nullptr;
  std::ptrdiff_t source_stride = 0;
  const void* gate = nullptr;
  std::ptrdiff_t gate_stride = 0;  // 0: one pixel for all
  bool one_channel = false;        // of the gate, for all channels
  bool relu = false;
  void* out = nullptr;
  std::ptrdiff_t out_stride = 0;
  int pixels = 0;
  int channels = 0;
};

}  // namespace ifast::cpu
