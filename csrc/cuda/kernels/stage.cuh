#pragma once

#include "cuda/tile/conv_tile.cuh"
#include "cuda/tile/pixel_tile.cuh"

// One launch runs every tile of the steps of a stage, a block a tile, so that the branches of an
// Inception block run side by side.
namespace ifast::cuda {

inline constexpr int kStageSharedBytes = ConvMemory<kWideTile>::kBytes;

template <class Format>
IFAST_DEVICE void run_tile(const Step& step, const Frame& frame, const std::byte* constants,
                           int tile) {
  if (step.kind == Kind::kConv) {
    // Both give the same bits: a sum's order is that of K.
    if (step.tile_columns == kWideTile) {
      ConvTile<Format, kWideTile>(step, frame, constants, tile).run();
    } else {
      ConvTile<Format, kNarrowTile>(step, frame, constants, tile).run();
    }
    return;
  }
  ptx::wait_for_earlier_launches();
  if (step.kind == Kind::kNormalize) {
    normalize_tile<Format>(step, frame, constants, tile);
  } else {
    PixelTile<Format>(step, frame, constants).run(tile);
  }
}

template <class Format>
IFAST_KERNEL(kThreads)
stage_kernel(IFAST_ARGUMENTS StageArguments arguments) {
  // The next stage's blocks may fetch their weights as soon as multiprocessors have room for them.
  ptx::launch_dependents();
  const int tile = ptx::block_index();
  int index = 0;
  while (index + 1 < arguments.count && tile >= arguments.first_tile[index + 1]) ++index;
  run_tile<Format>(arguments.steps[index], arguments.frame, arguments.constants,
                   tile - arguments.first_tile[index]);
}

}  // namespace ifast::cuda
