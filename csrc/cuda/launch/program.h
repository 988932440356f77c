#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "cuda/launch/steps.h"
#include "plan/plan.h"

namespace ifast::cuda {

// A Plan as the kernels want it. Pairs are two steps with their intermediate in the arena.
struct Program {
  std::vector<Step> steps;
  std::vector<std::string> names;
  std::vector<int> launches;  // each begins with this step and ends where the next begins
  std::vector<std::byte> constants;
  std::int64_t arena = 0;    // elements per image
  std::vector<int> outputs;  // the Plan's output buffers, in the order of their bases
};

enum class Driver {
  kStage,    // one launch a stage
  kNetwork,  // one launch; buffers do not share memory, as nothing says when one is free
};

// Throws EngineError where the Plan's dtype is float64, it has more outputs than a launch can take,
// or the constants are not those of the Plan. `multiprocessors` decides how wide tiles are, which
// no result depends on.
Program build_program(const Plan& plan, const ConstantBytes& constants, Driver driver,
                      int multiprocessors);

}  // namespace ifast::cuda
