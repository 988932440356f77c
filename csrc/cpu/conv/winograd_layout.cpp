#include "cpu/conv/winograd_layout.h"

#include <utility>

#include "cpu/conv/tap_rectangle.h"

namespace ifast::cpu {
namespace {

// Fewer than half of a group's taps are zeros that fill it up.
bool fits(int extent, int taps) {
  const int groups = (extent + taps - 1) / taps;
  return extent > 1 && 2 * (groups * taps - extent) < taps;
}

// Tiles whose rounded operands cost a layer less than five times the error of rounding the weights
// alone (docs/cpu-backend.md).
bool accurate_in_bfloat16(const WinogradSize& size) {
  return size.points <= (size.dimensions == 2 ? 4 : 6);
}

void add_groups(WinogradLayout& layout, const TapRectangle& rectangle) {
  const Pair step = layout.taps(), extent = rectangle.extent;
  for (int y = 0; y < extent.vertical; y += step.vertical) {
    for (int x = 0; x < extent.horizontal; x += step.horizontal) {
      WinogradLayout::Group group;
      group.offset = {rectangle.first.vertical + y, rectangle.first.horizontal + x};
      for (int i = y; i < y + step.vertical; ++i) {
        for (int j = x; j < x + step.horizontal; ++j) {
          const bool inside = i < extent.vertical && j < extent.horizontal;
          group.taps.push_back(inside ? rectangle.taps[i * extent.horizontal + j] : -1);
        }
      }
      layout.groups.push_back(std::move(group));
    }
  }
}

}  // namespace

std::string WinogradLayout::name() const {
  const std::string m = std::to_string(size().outputs), r = std::to_string(size().taps());
  const std::string products = dot ? ", bfloat16 dot products" : "";
  if (size().dimensions == 2) return "F(" + m + "x" + m + ", " + r + "x" + r + ")" + products;
  return "F(" + m + ", " + r + (vertical ? ") vertical" : ") horizontal") + products;
}

std::vector<WinogradLayout> winograd_layouts(const ConvProblem& problem, bool dot) {
  std::vector<WinogradLayout> layouts;
  if (problem.stride.vertical != 1 || problem.stride.horizontal != 1) return layouts;
  const auto rectangle = tap_rectangle(problem.taps);
  if (!rectangle) return layouts;
  const Pair extent = rectangle->extent;
  for (int i = 0; i < kWinogradSizeCount; ++i) {
    const WinogradSize& size = kWinogradSizes[i];
    const bool rows = fits(extent.vertical, size.taps());
    const bool columns = fits(extent.horizontal, size.taps());
    const auto add = [&](bool vertical) {
      WinogradLayout layout;
      layout.size_index = i;
      layout.vertical = vertical;
      add_groups(layout, *rectangle);
      layouts.push_back(layout);
      layout.dot = true;
      if (dot && accurate_in_bfloat16(size)) layouts.push_back(std::move(layout));
    };
    if (size.dimensions == 2 && rows && columns) add(false);
    if (size.dimensions == 1 && columns) add(false);
    if (size.dimensions == 1 && rows) add(true);
  }
  return layouts;
}

}  // namespace ifast::cpu
