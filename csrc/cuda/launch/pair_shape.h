#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "cuda/launch/runtime.h"
#include "cuda/launch/steps.h"

namespace ifast::cuda {

// How a pair is cut into tiles, each of which a cluster of blocks shares.
struct PairShape {
  int group_pixels;       // output pixels of a tile
  int shared_bytes;       // of each block
  std::int64_t duration;  // of one image: chunks of K that the busiest multiprocessor goes through
};

// `second` is a step of Kind::kPair but for the tile, `first` its first convolution.
struct PairOfSteps {
  Step first;
  Step second;
};

// Of the pairs of one launch, which has clusters of one size.
struct PairShapes {
  int cluster_log2;
  std::vector<PairShape> shapes;
};

// The quickest that fit on the device, or none where one pair does not fit.
std::optional<PairShapes> choose_pair_shapes(const std::vector<PairOfSteps>& pairs,
                                             std::size_t element_size, const DeviceLimits& limits);

}  // namespace ifast::cuda
