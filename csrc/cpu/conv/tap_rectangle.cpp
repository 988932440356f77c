#include "cpu/conv/tap_rectangle.h"

#include <algorithm>
#include <cstdint>

namespace ifast::cpu {

std::optional<TapRectangle> tap_rectangle(const std::vector<Pair>& taps) {
  Pair first = taps.front(), last = taps.front();
  for (const Pair& tap : taps) {
    first = {std::min(first.vertical, tap.vertical), std::min(first.horizontal, tap.horizontal)};
    last = {std::max(last.vertical, tap.vertical), std::max(last.horizontal, tap.horizontal)};
  }
  const Pair extent{last.vertical - first.vertical + 1, last.horizontal - first.horizontal + 1};
  // The taps are distinct, so as many as the rectangle has places fill it.
  if (std::int64_t{extent.vertical} * extent.horizontal != static_cast<std::int64_t>(taps.size())) {
    return std::nullopt;
  }
  TapRectangle rectangle{first, extent, std::vector<int>(taps.size())};
  for (std::size_t i = 0; i < taps.size(); ++i) {
    const int row = taps[i].vertical - first.vertical;
    rectangle.taps[row * extent.horizontal + taps[i].horizontal - first.horizontal] =
        static_cast<int>(i);
  }
  return rectangle;
}

}  // namespace ifast::cpu
