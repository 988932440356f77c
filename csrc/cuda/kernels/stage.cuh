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

// What a tile of a stage waits for, and what it lets start.
class StageTurn {
 public:
  IFAST_DEVICE explicit StageTurn(Trigger trigger) : trigger_(trigger) {
    // The next stage's blocks may fetch their weights as soon as multiprocessors have room for
    // them.
    if (trigger == Trigger::kEarly) ptx::launch_dependents();
  }

  IFAST_DEVICE void wait() const { ptx::wait_for_earlier_launches(); }
  IFAST_DEVICE void summed() const {
    if (trigger_ == Trigger::kLate) ptx::launch_dependents();
  }

 private:
  const Trigger trigger_;
};

template <class Format>
IFAST_KERNEL(kThreads, Format::kBlocks)
stage_kernel(IFAST_ARGUMENTS StageArguments arguments) {
  const StageTurn turn(arguments.trigger);
  const int index = step_of_block(arguments, ptx::block_index());
  run_tile<Format>(Record<Step>(arguments.steps + index), arguments.frame, arguments.constants,
                   ptx::block_index() - arguments.first_tile[index], arguments.first_partial[index],
                   turn);
}

// A stage with pairs in it, launched in clusters: those of pairs share tiles, in the others each
// block has its own.
template <class Format>
IFAST_KERNEL(kThreads, Format::kNetworkBlocks)
pair_kernel(IFAST_ARGUMENTS StageArguments arguments) {
  const StageTurn turn(arguments.trigger);
  const int block = ptx::block_index();
  // The last cluster may be too large.
  if (block >= arguments.first_tile[arguments.count]) return;
  const int index = step_of_block(arguments, block);
  const Record<Step> step(arguments.steps + index);
  const int tile = block - arguments.first_tile[index];
  if (step[&Step::kind] == Kind::kPair) {
    pair_tile<Format>(step, arguments.frame, arguments.constants, tile >> step[&Step::cluster_log2],
                      turn);
  } else {
    run_tile<Format>(step, arguments.frame, arguments.constants, tile,
                     arguments.first_partial[index], turn);
  }
}

}  // namespace ifast::cuda
