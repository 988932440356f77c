#pragma once

#include <span>
#include <vector>

#include "cuda/launch/steps.h"

// Which shape the tiles of a convolution have, by layer and batch.
namespace ifast::cuda {

struct ShapeChoice {
  int multiprocessors = 1;
  int shared_bytes = 0;  // of a block on the device
  bool splits = false;   // fp32
  KernelKind kernel = KernelKind::kThroughput;
  int fixed = -1;  // the one shape for all that it can serve, or -1
};

// Whether tiles of a shape can serve a convolution between buffers.
bool serves(const TileShape& shape, const Step& step, const ShapeChoice& choice);

// The shape, of kShapes, with the least cost: the longer of rounds of blocks, each as long as a
// block alone, and of the bytes that a multiprocessor's blocks read through L2. Nothing has
// measured its constants.
int choose_shape(const Step& step, int batch, const ShapeChoice& choice);

// Of steps that run side by side, perhaps with pairs.
std::vector<Cut> choose_cuts(std::span<const Step> steps, int batch, const ShapeChoice& choice);

}  // namespace ifast::cuda
