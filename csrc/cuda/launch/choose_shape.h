#pragma once

#include <span>
#include <vector>

#include "cuda/launch/machine_constants.h"
#include "cuda/launch/pack.h"
#include "cuda/launch/steps.h"

// Which shape the tiles of a convolution have, by layer and batch.
namespace ifast::cuda {

struct ShapeChoice {
  MachineConstants machine;  // with the device's own multiprocessors
  int shared_bytes = 0;      // of a block on the device
  Precision precision = Precision::kFp32;
  KernelKind kernel = KernelKind::kThroughput;
  int fixed = -1;  // the one shape for all that it can serve, or -1
};

// Whether tiles of a shape can serve a convolution between buffers.
bool serves(const TileShape& shape, const Step& step, const ShapeChoice& choice);

// Of steps that run side by side, perhaps with pairs: those with which, by the time model, the
// convolutions of the launch take the shortest.
std::vector<Cut> choose_cuts(std::span<const Step> steps, int batch, const ShapeChoice& choice);

}  // namespace ifast::cuda
