#pragma once

#include <vector>

#include "cuda/launch/pack.h"
#include "cuda/launch/tile_shape.h"
#include "cuda/launch/time_model.h"

namespace ifast::cuda {

// The loop of a tile of `shape` over sources of whole vectors, as nvcc makes it for sm_90a: counts
// that follow from the shape, and a few that were read from SASS.
TileCode tile_code(const TileShape& shape, Precision precision);

// Of every shape.
std::vector<TileCode> tile_codes(Precision precision);

}  // namespace ifast::cuda
