#pragma once

#include <vector>

#include "cuda/launch/options.h"
#include "cuda/launch/pack.h"
#include "cuda/launch/steps.h"

// Split-K. A sum over K is made of segments, each from zero, added in their order: a property of
// the step, chosen for one image, so that an image's bits are the same in any batch and with any
// driver. Where a launch has few of them, each has a block, and the one that comes last at a tile
// adds them; elsewhere one block goes through all of a tile's.
namespace ifast::cuda {

// Blocks for each multiprocessor up to which segments have one each: one image's always do, and
// there is room for all at once.
inline constexpr int kSpread = 4;

// Whether every segment of a launch that has so many may have a block.
constexpr bool has_room(double segments, int multiprocessors) {
  return segments <= double{kSpread} * multiprocessors;
}

// Sets the segments of steps that run side by side: those with which, by the time model, one image
// takes the shortest; or where options say it, as many as fill options.waves blocks for each
// multiprocessor.
void choose_segments(const std::vector<Step*>& steps, int multiprocessors, Precision precision,
                     const LaunchOptions& options);

}  // namespace ifast::cuda
