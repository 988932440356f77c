#pragma once

#include "cuda/tile/conv_tile.cuh"
#include "cuda/tile/pixel_tile.cuh"

namespace ifast::cuda {

// One tile of any step, by a whole block. wait() returns when what the step reads is there.
template <class Format, class Wait>
IFAST_DEVICE void run_tile(const Step& step, const Frame& frame, const std::byte* constants,
                           int tile, const Wait& wait) {
  if (step.kind == Kind::kConv) {
    // Both give the same bits: a sum's order is that of K.
    if (step.tile_columns == kWideTile) {
      conv_tile<Format, kWideTile>(step, frame, constants, tile, wait);
    } else {
      conv_tile<Format, kNarrowTile>(step, frame, constants, tile, wait);
    }
    return;
  }
  wait();
  if (step.kind == Kind::kNormalize) {
    normalize_tile<Format>(step, frame, constants, tile);
  } else {
    PixelTile<Format>(step, frame, constants).run(tile);
  }
}

}  // namespace ifast::cuda
