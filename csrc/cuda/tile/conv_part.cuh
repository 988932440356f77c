#pragma once

#include "cuda/launch/steps.h"

namespace ifast::cuda {

// Output pixels [begin, end) of all images, the first of which are the tile's, by the tile's output
// channels from `channel` on; of all of K, or of one segment.
struct ConvPart {
  int begin;
  int end;
  int channel;
  int segment = 0;
  int partial = kNoPartials;  // where the segment's sums go
};

}  // namespace ifast::cuda
