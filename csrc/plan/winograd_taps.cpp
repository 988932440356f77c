#include "plan/winograd_taps.h"

namespace ifast {

std::optional<WinogradTaps> winograd_taps(const Convolution& conv, Axis axis) {
  const Pair first = conv.taps.front(), last = conv.taps.back();
  const std::int64_t rows = std::int64_t{last.vertical} - first.vertical + 1;
  const std::int64_t columns = std::int64_t{last.horizontal} - first.horizontal + 1;
  const bool vertical = axis == Axis::kVertical;
  const std::int64_t length = vertical ? rows : columns;
  if (rows < 1 || columns < 1 || length < 3 || rows * columns != std::ssize(conv.taps) ||
      conv.stride.vertical != 1 || conv.stride.horizontal != 1) {
    return std::nullopt;
  }
  for (std::int64_t i = 0; i < std::ssize(conv.taps); ++i) {
    const Pair& tap = conv.taps[static_cast<std::size_t>(i)];
    if (tap.vertical != first.vertical + i / columns ||
        tap.horizontal != first.horizontal + i % columns) {
      return std::nullopt;
    }
  }
  return WinogradTaps{axis, first, static_cast<int>(vertical ? columns : rows),
                      static_cast<int>(length / 3), static_cast<int>(length % 3)};
}

}  // namespace ifast
