#pragma once

#include "cuda/tile/conv_tile.cuh"
#include "cuda/tile/pixel_tile.cuh"

namespace ifast::cuda {

// One tile of any step, or one segment of it, by a whole block. turn.wait() returns when what the
// step reads is there; turn.summed() is called when all of it has been read. Returns whether the
// tile is complete.
template <class Format, class Turn>
IFAST_DEVICE bool run_tile(Record<Step> step, const Frame& frame, const std::byte* constants,
                           int tile, int first_partial, const Turn& turn) {
  const Kind kind = step[&Step::kind];
  if (kind == Kind::kConv) {
    // Both give the same bits: a sum's order is that of K.
    if (step[&Step::tile_columns] == kWideShape.columns) {
      return conv_tile<Format, kWideShape>(step, frame, constants, tile, kNoPartials, turn);
    }
    return conv_tile<Format, kBaseShape>(step, frame, constants, tile, first_partial, turn);
  }
  turn.wait();
  if (kind == Kind::kNormalize) {
    normalize_tile<Format>(step, frame, constants, tile);
  } else {
    PixelTile<Format>(step, frame, constants).run(tile);
  }
  turn.summed();
  return true;
}

}  // namespace ifast::cuda
