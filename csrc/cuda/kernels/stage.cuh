#pragma once

#include "cuda/tile/run_tile.cuh"

// One launch runs every tile of the steps of a stage, a block a tile, so that the branches of an
// Inception block run side by side.
namespace ifast::cuda {

template <class Format>
IFAST_KERNEL(kThreads)
stage_kernel(IFAST_ARGUMENTS StageArguments arguments) {
  // The next stage's blocks may fetch their weights as soon as multiprocessors have room for them.
  ptx::launch_dependents();
  const int tile = ptx::block_index();
  int index = 0;
  while (index + 1 < arguments.count && tile >= arguments.first_tile[index + 1]) ++index;
  run_tile<Format>(arguments.steps[index], arguments.frame, arguments.constants,
                   tile - arguments.first_tile[index], [] { ptx::wait_for_earlier_launches(); });
}

}  // namespace ifast::cuda
