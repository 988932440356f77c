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

// Taps side by side that are one run, and with which steps between windows.
inline constexpr bool is_depthwise_run(int taps, int step) {
  return step == 1 ? taps == 3 || taps == 5 || taps == 7 : step == 2 && (taps == 3 || taps == 5);
}

// Output pixels side by side whose windows have the same taps inside the image, each channel by
// itself: bias[c] + sum over the taps of weight[c] * pixel[c], in order. The taps are runs of `run`
// side by side: 1, or as is_depthwise_run() allows.
struct DepthwiseCall {
  const void* source = nullptr;
  std::ptrdiff_t column_stride = 0;
  int step = 1;  // columns from one pixel's window to the next one's
  int runs = 0;
  int run = 1;
  const std::ptrdiff_t* offsets = nullptr;  // [runs], of the first pixel's first taps
  const float* const* weights = nullptr;    // [runs], each [run][channels]
  std::ptrdiff_t weight_stride = 0;         // from one tap of a run to the next
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
