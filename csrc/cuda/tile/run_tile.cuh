#pragma once

#include "cuda/tile/conv_tile.cuh"
#include "cuda/tile/pixel_tile.cuh"

namespace ifast::cuda {

// One tile of any step, or one segment of it, by a whole block. wait() returns when what the step
// reads is there. Returns whether the tile is complete.
template <class Format, class Wait>
IFAST_DEVICE bool run_tile(const Step& step, const Frame& frame, const std::byte* constants,
                           int tile, int first_partial, const Wait& wait) {
  if (step.kind == Kind::kConv) {
    // Both give the same bits: a sum's order is that of K.
    if (step.tile_columns == kWideTile) {
      return conv_tile<Format, kWideTile>(step, frame, constants, tile, kNoPartials, wait);
    }
    return conv_tile<Format, kNarrowTile>(step, frame, constants, tile, first_partial, wait);
  }
  wait();
  if (step.kind == Kind::kNormalize) {
    normalize_tile<Format>(step, frame, constants, tile);
  } else {
    PixelTile<Format>(step, frame, constants).run(tile);
  }
  return true;
}

}  // namespace ifast::cuda
