#pragma once

#include "cuda/tile/conv_tile.cuh"
#include "cuda/tile/pixel_tile.cuh"
#include "cuda/tile/whole_pixel.cuh"

namespace ifast::cuda {

// One tile of a convolution between buffers, of the shape that its cut says.
template <class Format, KernelKind kKernel, int kIndex = 0, class Turn>
IFAST_DEVICE bool conv_tile_of(Record<Step> step, const Cut& cut, const Bindings& bindings,
                               const std::byte* constants, int tile, int first_partial,
                               const Turn& turn) {
  if constexpr (kIndex == kShapeCount) {
    return true;
  } else {
    if constexpr (offers(kKernel, kShapes[kIndex], Format::kSplits)) {
      if (cut.shape == kIndex) {
        return conv_tile<Format, kShapes[kIndex]>(step, cut, bindings, constants, tile,
                                                  first_partial, turn);
      }
    }
    return conv_tile_of<Format, kKernel, kIndex + 1>(step, cut, bindings, constants, tile,
                                                     first_partial, turn);
  }
}

// The step itself is there before what it reads is, and its fields take a trip to memory.
template <class Tile, class Turn>
IFAST_DEVICE void run_pixels(Record<Step> step, const Bindings& bindings,
                             const std::byte* constants, int tile, const Turn& turn) {
  const Tile pixels(step, bindings, constants);
  turn.wait();
  pixels.run(tile);
}

// One tile of any step, or one segment of it, by a whole block. turn.wait() returns when what the
// step reads is there; turn.summed() is called when all of it has been read. Returns whether the
// tile is complete.
template <class Format, KernelKind kKernel, class Turn>
IFAST_DEVICE bool run_tile(Record<Step> step, const Cut& cut, const Bindings& bindings,
                           const std::byte* constants, int tile, int first_partial,
                           const Turn& turn) {
  switch (step[&Step::kind]) {
    case Kind::kConv:
      return conv_tile_of<Format, kKernel>(step, cut, bindings, constants, tile, first_partial,
                                           turn);
    case Kind::kPair:
      // pair_tile()'s alone.
      ptx::trap();
      break;
    case Kind::kNormalize:
    case Kind::kSoftmax:
      run_pixels<WholePixel<Format>>(step, bindings, constants, tile, turn);
      break;
    case Kind::kDepthwise:
    case Kind::kMaxPool:
    case Kind::kAveragePool:
    case Kind::kPointwise:
    case Kind::kPad:
    case Kind::kGate:
    case Kind::kResize:
    case Kind::kLocalResponse:
      run_pixels<PixelTile<Format>>(step, bindings, constants, tile, turn);
      break;
  }
  turn.summed();
  return true;
}

}  // namespace ifast::cuda
