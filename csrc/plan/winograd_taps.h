#pragma once

#include <optional>

#include "plan/plan.h"

namespace ifast {

// The taps of a convolution that Winograd's F(2, 3) computes along an axis: lines of consecutive
// taps along it, cut into threes, and one or two single ones at the end of each line.
struct WinogradTaps {
  Axis axis = Axis::kHorizontal;
  Pair first;
  int lines = 0;
  int triples = 0;
  int singles = 0;

  // In a line: four of each triple, one of each single tap.
  int line_weights() const { return 4 * triples + singles; }
  int weights() const { return lines * line_weights(); }
};

// Nothing where the taps are not a rectangle in the order of rows, then columns, three or more long
// along the axis, or the stride is not 1. conv.taps: not empty, all different, within bounds.
std::optional<WinogradTaps> winograd_taps(const Convolution& conv, Axis axis);

}  // namespace ifast
