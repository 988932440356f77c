#pragma once

#include <cstddef>
#include <optional>

#include "cuda/launch/runtime.h"
#include "cuda/launch/steps.h"

namespace ifast::cuda {

// How a pair is cut into tiles, each of which a cluster of blocks shares.
struct PairShape {
  int group_pixels;       // output pixels of a tile
  int shared_bytes;       // of each block
  std::int64_t duration;  // of one image: chunks of K that the busiest multiprocessor goes through
};

// The quickest of those that fit on the device, for clusters of 2^cluster_log2 blocks, or none.
// `second` is a step of Kind::kPair but for the tile, `first` its first convolution.
std::optional<PairShape> pair_shape(const Step& first, const Step& second, int cluster_log2,
                                    std::size_t element_size, const DeviceLimits& limits);

}  // namespace ifast::cuda
