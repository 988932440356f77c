#pragma once

#include "cuda/tile/pair_tile.cuh"
#include "cuda/tile/run_tile.cuh"

// One launch runs every tile of the steps of a stage, a block a tile, so that the branches of an
// Inception block run side by side.
namespace ifast::cuda {

// The step that a block works on.
IFAST_DEVICE int step_of_block(const StageArguments& arguments, int block) {
  int index = 0;
  while (index + 1 < arguments.count && block >= arguments.first_tile[index + 1]) ++index;
  return index;
}

template <class Format>
IFAST_KERNEL(kThreads, Format::kBlocks)
stage_kernel(IFAST_ARGUMENTS StageArguments arguments) {
  // The next stage's blocks may fetch their weights as soon as multiprocessors have room for them.
  ptx::launch_dependents();
  const int index = step_of_block(arguments, ptx::block_index());
  run_tile<Format>(arguments.steps[index], arguments.frame, arguments.constants,
                   ptx::block_index() - arguments.first_tile[index], arguments.first_partial[index],
                   [] { ptx::wait_for_earlier_launches(); });
}

// A stage with pairs in it, launched in clusters: those of pairs share tiles, in the others each
// block has its own.
template <class Format>
IFAST_KERNEL(kThreads, Format::kBlocks)
pair_kernel(IFAST_ARGUMENTS StageArguments arguments) {
  ptx::launch_dependents();
  const int block = ptx::block_index();
  // The last cluster may be too large.
  if (block >= arguments.first_tile[arguments.count]) return;
  const int index = step_of_block(arguments, block);
  const Step& step = arguments.steps[index];
  const int tile = block - arguments.first_tile[index];
  const auto wait = [] { ptx::wait_for_earlier_launches(); };
  if (step.kind == Kind::kPair) {
    pair_tile<Format>(step, arguments.frame, arguments.constants, tile >> step.cluster_log2, wait);
  } else {
    run_tile<Format>(step, arguments.frame, arguments.constants, tile,
                     arguments.first_partial[index], wait);
  }
}

}  // namespace ifast::cuda
