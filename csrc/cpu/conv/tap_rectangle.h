#pragma once

#include <optional>
#include <vector>

#include "plan/plan.h"

namespace ifast::cpu {

// Taps that fill a rectangle without gaps.
struct TapRectangle {
  Pair first;
  Pair extent;            // rows and columns
  std::vector<int> taps;  // [rows][columns], indices of the taps
};

// taps: not empty, all different. Nothing where they leave gaps.
std::optional<TapRectangle> tap_rectangle(const std::vector<Pair>& taps);

}  // namespace ifast::cpu
