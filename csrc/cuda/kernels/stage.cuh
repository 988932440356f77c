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
  IFAST_DEVICE StageTurn(Trigger trigger, const TileTrace& trace)
      : trigger_(trigger), trace_(trace) {
    // The next stage's blocks may fetch their weights as soon as multiprocessors have room for
    // them.
    if (trigger == Trigger::kEarly) ptx::launch_dependents();
  }

  IFAST_DEVICE void wait() const {
    ptx::wait_for_earlier_launches();
    trace_.mark_first(&TileRecord::ready);
  }
  IFAST_DEVICE void summed() const {
    if (trigger_ == Trigger::kLate) ptx::launch_dependents();
  }
  IFAST_DEVICE const TileTrace& trace() const { return trace_; }

 private:
  const Trigger trigger_;
  const TileTrace trace_;
};

template <class Format, KernelKind kKernel>
IFAST_DEVICE void run_block(const StageArguments& arguments) {
  const int block = ptx::block_index();
  const StageTurn turn(arguments.trigger, TileTrace(arguments.bindings, block));
  const int index = step_of_block(arguments, block);
  const int tile = block - arguments.first_tile[index];
  turn.trace().start(arguments.first_step + index, tile);
  run_tile<Format, kKernel>(Record<Step>(arguments.steps + index), arguments.cuts[index],
                            arguments.bindings, arguments.constants, tile,
                            arguments.first_partial[index], turn);
  turn.trace().finish();
}

template <class Format>
IFAST_KERNEL(kThreads, Format::kBlocks)
stage_kernel(IFAST_ARGUMENTS StageArguments arguments) {
  run_block<Format, KernelKind::kStage>(arguments);
}

// The same with the shapes that want more registers.
template <class Format>
IFAST_KERNEL(kThreads, 2)
throughput_kernel(IFAST_ARGUMENTS StageArguments arguments) {
  run_block<Format, KernelKind::kThroughput>(arguments);
}

// A stage with pairs in it, launched in clusters: those of pairs share tiles, in the others each
// block has its own.
template <class Format>
IFAST_KERNEL(kThreads, Format::kNetworkBlocks)
pair_kernel(IFAST_ARGUMENTS StageArguments arguments) {
  const int block = ptx::block_index();
  const StageTurn turn(arguments.trigger, TileTrace(arguments.bindings, block));
  // The last cluster may be too large.
  if (block >= arguments.first_tile[arguments.count]) return;
  const int index = step_of_block(arguments, block);
  const Record<Step> step(arguments.steps + index);
  const int tile = block - arguments.first_tile[index];
  turn.trace().start(arguments.first_step + index, tile);
  if (step[&Step::kind] == Kind::kPair) {
    pair_tile<Format>(step, arguments.bindings, arguments.constants,
                      tile >> step[&Step::cluster_log2], turn);
  } else {
    run_tile<Format, KernelKind::kPair>(step, arguments.cuts[index], arguments.bindings,
                                        arguments.constants, tile, arguments.first_partial[index],
                                        turn);
  }
  turn.trace().finish();
}

}  // namespace ifast::cuda
