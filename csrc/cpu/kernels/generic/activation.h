#pragma once

#include "cpu/kernels/channel_calls.h"
#include "cpu/kernels/generic/functions.h"
#include "cpu/kernels/generic/power.h"

namespace ifast::cpu {
namespace {

// body(f), f(x, c, load) being the function of a Vec x of the channels from c on, which `load`
// reads; a ReLU or nothing where there is no function. Loops inside of `body` are compiled for
// each.
template <class Body>
inline void with_function(const ElementFunction* function, bool rectify, Body body) {
  const auto plain = [&](auto f) { body([f](Vec x, int, auto) { return f(x); }); };
  if (!function) {
    if (rectify) return plain([](Vec x) { return relu(x); });
    return plain([](Vec x) { return x; });
  }
  const double alpha = function->alpha;
  const float a = static_cast<float>(alpha), b = static_cast<float>(function->beta);
  switch (function->function) {
    case Function::kSigmoid:
      return plain([](Vec x) { return sigmoid(x); });
    case Function::kTanh:
      return plain([](Vec x) { return tanh(x); });
    case Function::kSilu:
      return plain([](Vec x) { return silu(x); });
    case Function::kGelu:
      return plain([](Vec x) { return gelu(x); });
    case Function::kGeluTanh:
      return plain([](Vec x) { return gelu_tanh(x); });
    case Function::kHardSigmoid:
      return plain([](Vec x) { return hard_sigmoid(x); });
    case Function::kHardSwish:
      return plain([](Vec x) { return hard_swish(x); });
    case Function::kElu:
      return plain([a](Vec x) { return elu(x, a); });
    case Function::kLeakyRelu:
      return plain([a](Vec x) { return leaky_relu(x, broadcast(a)); });
    case Function::kPRelu:
      return body([slope = function->slope](Vec x, int c, auto load) {
        return leaky_relu(x, load(slope + c));
      });
    case Function::kClamp:
      return plain([a, b](Vec x) { return at_most(at_least(x, a), b); });
    case Function::kClampMin:
      return plain([a](Vec x) { return at_least(x, a); });
    case Function::kClampMax:
      return plain([b](Vec x) { return at_most(x, b); });
    case Function::kPower:
      return plain([alpha](Vec x) { return power(x, alpha); });
  }
}

}  // namespace
}  // namespace ifast::cpu
