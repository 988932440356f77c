#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "cuda/launch/choose_shape.h"
#include "cuda/launch/options.h"
#include "cuda/launch/pack.h"
#include "cuda/launch/runtime.h"
#include "cuda/launch/steps.h"
#include "plan/plan.h"

namespace ifast::cuda {

// Steps [first_step, first_step + count).
struct StageLaunch {
  int first_step = 0;
  int count = 0;
  int cluster_log2 = 0;  // blocks in a cluster
  int shared_bytes = kSharedBytes;
};

// A Plan as the kernels want it.
struct Program {
  std::vector<Step> steps;
  std::vector<std::string> names;
  std::vector<StageLaunch> launches;
  std::vector<std::byte> constants;
  std::int64_t arena = 0;    // elements per image
  std::vector<int> outputs;  // the Plan's output buffers, in the order of their bases
  std::set<int> aligned;     // bases that steps read whole vectors of
  ShapeChoice choice;
};

// Where pairs stay together, their intermediates are in shared memory; elsewhere, and where they do
// not fit, they are two steps with the intermediate in the arena.
enum class Driver {
  kStage,    // one launch a stage
  kPair,     // the same, with pairs together
  kNetwork,  // one launch; buffers do not share memory, as nothing says when one is free
};

// Throws EngineError where the Plan's dtype is float64, it has more outputs than a launch can take,
// or the constants are not those of the Plan. `limits` decide how large tiles are, which no result
// depends on, and with `options` into how many segments sums are cut, which is a matter of their
// rounding.
Program build_program(const Plan& plan, const ConstantBytes& constants, Precision precision,
                      Driver driver, const DeviceLimits& limits, const LaunchOptions& options);

}  // namespace ifast::cuda
