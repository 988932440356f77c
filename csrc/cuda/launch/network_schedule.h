#pragma once

#include <vector>

#include "cuda/launch/program.h"
#include "cuda/launch/steps.h"

// Which tiles of a whole network wait for which. All tiles of all steps are in one list; a block
// takes every n-th of it, in order. A tile waits only for tiles of earlier steps, which are earlier
// in the list, so where all blocks are resident the first unfinished tile can always run: there is
// no deadlock.
namespace ifast::cuda {

struct NetworkSchedule {
  std::vector<Dependency> dependencies;
  std::vector<int> first_dependency;  // of each step, and the end
};

// Throws EngineError where a step reads channels that no earlier step writes. The program's buffers
// must not share memory.
NetworkSchedule schedule_network(const Program& program);

// The tiles and counters of each step for a batch size, and their ends. Throws
// std::invalid_argument where they are too many for an int.
std::vector<NetworkStep> place_tiles(const Program& program, const NetworkSchedule& schedule,
                                     int batch);

}  // namespace ifast::cuda
