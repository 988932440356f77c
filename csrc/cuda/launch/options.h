#pragma once

#include <stdexcept>
#include <string>

#include "cuda/launch/machine_constants.h"
#include "cuda/launch/steps.h"

// What a user may choose about launches, for measurements. Where neither `shortest` nor `waves` is
// chosen, the time model cuts sums.
namespace ifast::cuda {

inline constexpr int kUsualShortest = 384;
inline constexpr int kUsualWaves = 2;

struct LaunchOptions {
  bool overlap = true;                // programmatic dependent launch, where the device has it
  Trigger trigger = Trigger::kEarly;  // when the next launch may start
  int shortest = 0;                   // bytes of K, of a segment; rounded up to chunks
  int waves = 0;                      // of one image's segments, in blocks for each multiprocessor
  int shape = -1;                     // of kShapes, for all that it can serve; -1: the best
  int blocks = 0;                     // of the network driver on a multiprocessor; 0: all that fit
  MachineConstants machine;  // what the model goes by, but for the number of multiprocessors
};

// The option that a text got wrong.
class OptionError : public std::invalid_argument {
 public:
  OptionError(const std::string& name, const std::string& value, const std::string& wanted)
      : std::invalid_argument(name + ": got " + value + ", expected " + wanted),
        option(name),
        got(value),
        expected(wanted) {}

  const std::string option, got, expected;
};

// "key=value,key=value", or nothing. Throws OptionError.
LaunchOptions parse_options(const std::string& text);

}  // namespace ifast::cuda
