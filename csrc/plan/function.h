#pragma once

namespace ifast {

// Functions of one number that follow a layer, as inception_fast/activation.py defines them; in the
// order of their names in fields.h.
enum class Function {
  kSigmoid,
  kTanh,
  kSilu,
  kGelu,
  kGeluTanh,
  kHardSigmoid,
  kHardSwish,
  kElu,
  kLeakyRelu,
  kPRelu,
  kClamp,
  kClampMin,
  kClampMax,
  kPower,
};

}  // namespace ifast
