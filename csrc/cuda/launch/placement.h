#pragma once

#include <vector>

#include "cuda/launch/program.h"

namespace ifast::cuda {

// Which blocks a launch gives to each of its steps, for one batch size.
struct Placement {
  std::vector<Cut> cuts;           // of each step
  std::vector<int> first_block;    // of each step, and the end
  std::vector<int> first_partial;  // where its segments leave their sums, kNoPartials for a block
                                   // that goes through them alone
  int partials = 0;
  bool throughput = false;          // whether a step has a shape for it
  int shared_bytes = kSharedBytes;  // of a block without a pair
};

// Throws std::invalid_argument where pixels or blocks are too many for an int.
Placement place_blocks(const Program& program, const StageLaunch& launch, int batch);

}  // namespace ifast::cuda
