#pragma once

#include "cuda/tile/conv_tile.cuh"
#include "cuda/tile/pixel_tile.cuh"

namespace ifast::cuda {

// One tile of a convolution between buffers, of the shape that its cut says.
template <class Format, KernelKind kKernel, int kIndex = 0, class Turn>
IFAST_DEVICE bool conv_tile_of(Record<Step> step, const Cut& cut, const Frame& frame,
                               const std::byte* constants, int tile, int first_partial,
                               const Turn& turn) {
  if constexpr (kIndex == kShapeCount) {
    return true;
  } else {
    if constexpr (offers(kKernel, kShapes[kIndex], Format::kSplits)) {
      if (cut.shape == kIndex) {
        return conv_tile<Format, kShapes[kIndex]>(step, cut, frame, constants, tile, first_partial,
                                                  turn);
      }
    }
    return conv_tile_of<Format, kKernel, kIndex + 1>(step, cut, frame, constants, tile,
                                                     first_partial, turn);
  }
}

// One tile of any step, or one segment of it, by a whole block. turn.wait() returns when what the
// step reads is there; turn.summed() is called when all of it has been read. Returns whether the
// tile is complete.
template <class Format, KernelKind kKernel, class Turn>
IFAST_DEVICE bool run_tile(Record<Step> step, const Cut& cut, const Frame& frame,
                           const std::byte* constants, int tile, int first_partial,
                           const Turn& turn) {
  const Kind kind = step[&Step::kind];
  if (kind == Kind::kConv) {
    return conv_tile_of<Format, kKernel>(step, cut, frame, constants, tile, first_partial, turn);
  }
  if (kind == Kind::kNormalize) {
    turn.wait();
    normalize_tile<Format>(step, frame, constants, tile);
  } else {
    // The step itself is there already, and its fields take a trip to memory.
    const PixelTile<Format> pixels(step, frame, constants);
    turn.wait();
    pixels.run(tile);
  }
  turn.summed();
  return true;
}

}  // namespace ifast::cuda
