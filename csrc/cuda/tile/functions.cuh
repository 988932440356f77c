#pragma once

#include "cuda/tile/record.cuh"
#include "cuda/tile/tensor.cuh"

// The functions of plan/function.h in float32, by PyTorch's formulas. A NaN stays one: comparisons
// with it are false.
namespace ifast::cuda {

IFAST_DEVICE float at_least(float x, float low) { return x < low ? low : x; }
IFAST_DEVICE float at_most(float x, float high) { return x > high ? high : x; }
IFAST_DEVICE float hard_sigmoid(float x) {
  return at_most(at_least(x + 3.0f, 0.0f), 6.0f) * (1.0f / 6.0f);
}
IFAST_DEVICE float gelu(float x) {
  constexpr float kRootHalf = 0.707106781f;
  return 0.5f * x * (1.0f + ptx::erf(x * kRootHalf));
}
IFAST_DEVICE float gelu_by_tanh(float x) {
  constexpr float kRootOfTwoByPi = 0.797884561f, kCube = 0.044715f;
  return 0.5f * x * (1.0f + ptx::tanh(kRootOfTwoByPi * (x + kCube * x * x * x)));
}

// A target's function of values that begin with the target's channel `channel`, which may be
// negative. Values of other channels become anything.
template <class Format>
IFAST_DEVICE void apply_function(Values<Format>& values, Record<Target> target,
                                 const std::byte* constants, int channel) {
  const float alpha = target[&Target::alpha], beta = target[&Target::beta];
  const Function function = target[&Target::function];
  switch (function) {
    case Function::kSigmoid:
    case Function::kSilu: {
      const bool silu = function == Function::kSilu;
      values.each([=](float x) { return (silu ? x : 1.0f) / (1.0f + ptx::exp(-x)); });
      return;
    }
    case Function::kTanh:
      values.each_in_turn([](float x) { return ptx::tanh(x); });
      return;
    case Function::kGelu:
      values.each_in_turn([](float x) { return gelu(x); });
      return;
    case Function::kGeluTanh:
      values.each_in_turn([](float x) { return gelu_by_tanh(x); });
      return;
    case Function::kHardSigmoid:
      values.each([](float x) { return hard_sigmoid(x); });
      return;
    case Function::kHardSwish:
      values.each([](float x) { return x * hard_sigmoid(x); });
      return;
    case Function::kElu:
      values.each_in_turn([=](float x) { return x > 0.0f ? x : alpha * ptx::exp_minus_1(x); });
      return;
    case Function::kLeakyRelu:
      values.each([=](float x) { return x > 0.0f ? x : alpha * x; });
      return;
    case Function::kPRelu: {
      const auto* slopes = constant<float>(constants, target[&Target::slope]);
      const int channels = target[&Target::view].channels;
      for (int i = 0; i < Values<Format>::kLength; ++i) {
        const int at = channel + i;
        const float slope = at >= 0 && at < channels ? ptx::load_global(slopes + at) : 0.0f;
        float& x = values.value[i];
        x = x > 0.0f ? x : slope * x;
      }
      return;
    }
    case Function::kClamp:
      values.each([=](float x) { return at_most(at_least(x, alpha), beta); });
      return;
    case Function::kClampMin:
      values.each([=](float x) { return at_least(x, alpha); });
      return;
    case Function::kClampMax:
      values.each([=](float x) { return at_most(x, beta); });
      return;
    case Function::kPower:
      values.each_in_turn([=](float x) { return ptx::power(x, alpha); });
      return;
  }
}

}  // namespace ifast::cuda
