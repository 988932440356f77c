#pragma once

#include <vector>

#include "cuda/launch/options.h"
#include "cuda/launch/steps.h"

// Split-K. A sum over K is made of segments, each from zero, added in their order: a property of
// the step, chosen for one image, so that an image's bits are the same in any batch and with any
// driver. Where a launch has few of them, each has a block, and the one that comes last at a tile
// adds them; elsewhere one block goes through all of a tile's.
namespace ifast::cuda {

// Sets the segments of steps that run side by side: more than one where they have fewer tiles than
// options.waves blocks for each multiprocessor.
void choose_segments(const std::vector<Step*>& steps, int multiprocessors,
                     const LaunchOptions& options);

}  // namespace ifast::cuda
