#include "cpu/conv/extreme_tiles.h"

#include <algorithm>
#include <cmath>

namespace ifast::cpu {
namespace {

// Far above what the tiles of ordinary activations show, which is about 5 at most in every family;
// an output is then wrong by less than 32 times what it is anyway. Rounded operands leave less
// room.
constexpr float kRatio = 32;
constexpr float kDotRatio = 16;

// The transforms multiply by up to 2^20, weights and long sums come on top.
constexpr float kLargest = 0x1p90f;

double norm(const std::vector<float>& values) {
  double squares = 0;
  for (double x : values) squares += x * x;
  return std::sqrt(squares);
}

}  // namespace

ExtremeTiles::ExtremeTiles(const ConvProblem& problem, const WinogradLayout& layout,
                           const Kernels& kernels)
    : source_(problem.source),
      height_(problem.height()),
      width_(problem.width()),
      outputs_(layout.outputs()),
      first_(layout.groups.front().offset),
      reach_(layout.groups.back().offset),
      window_(problem.taps.front()),
      ratio_(layout.dot ? kDotRatio : kRatio),
      peak_(kernels.peak) {
  reach_.vertical += layout.taps().vertical - first_.vertical;
  reach_.horizontal += layout.taps().horizontal - first_.horizontal;
  for (const Pair& tap : problem.taps) {
    window_.vertical = std::max(window_.vertical, tap.vertical);
    window_.horizontal = std::max(window_.horizontal, tap.horizontal);
  }
  window_.vertical += 1 - first_.vertical;
  window_.horizontal += 1 - first_.horizontal;
  const double weights = norm(problem.weights);
  if (weights > 0) bias_magnitude_ = static_cast<float>(norm(problem.bias) / weights);
}

ExtremeTiles::Strip ExtremeTiles::strip_of(const TileRun& run) const {
  return {run.y + first_.vertical, run.x + first_.horizontal,
          outputs_.vertical + reach_.vertical - 1,
          run.tiles * outputs_.horizontal + reach_.horizontal - 1};
}

std::size_t ExtremeTiles::scratch(int tiles) const {
  const Strip strip = strip_of({0, 0, 0, tiles});
  return static_cast<std::size_t>(strip.rows) * strip.columns;
}

void ExtremeTiles::mark(const Bindings& bindings, const TileRun& run, float* scratch,
                        std::uint8_t* marks) const {
  const Strip strip = strip_of(run);
  const std::ptrdiff_t stride = bindings.strides[source_.buffer].column;
  const int top = std::max(strip.y, 0), bottom = std::min(strip.y + strip.rows, source_.height);
  const int left = std::max(strip.x, 0), right = std::min(strip.x + strip.columns, source_.width);
  std::fill_n(marks, run.tiles, std::uint8_t{0});
  if (left >= right) return;
  // Mostly no pixel is large beside the bias, and no tile needs a closer look.
  float largest = 0;
  for (int y = top; y < bottom; ++y) {
    const std::byte* row = bindings.at(source_, run.n, y, left);
    largest = std::max(largest, peak_(row, stride, right - left, source_.channels));
  }
  if (largest <= std::min(ratio_ * bias_magnitude_, kLargest)) return;

  std::fill_n(scratch, static_cast<std::size_t>(strip.rows) * strip.columns, 0.0f);
  for (int y = top; y < bottom; ++y) {
    float* magnitudes = scratch + static_cast<std::ptrdiff_t>(y - strip.y) * strip.columns;
    for (int x = left; x < right; ++x) {
      magnitudes[x - strip.x] = peak_(bindings.at(source_, run.n, y, x), 0, 1, source_.channels);
    }
  }
  const int rows = std::min(outputs_.vertical, height_ - run.y);
  for (int t = 0; t < run.tiles; ++t) {
    const int first = t * outputs_.horizontal;
    const int columns = std::min(outputs_.horizontal, width_ - run.x - first);
    marks[t] = is_extreme(scratch + first, strip.columns, rows, columns) ? 1 : 0;
  }
}

// magnitudes: of the pixels that one tile reads, rows `stride` apart. rows, columns: of its outputs
// in the image.
bool ExtremeTiles::is_extreme(const float* magnitudes, int stride, int rows, int columns) const {
  const auto most = [&](int y, int x, int height, int width) {
    float result = 0;
    for (int i = y; i < y + height; ++i) {
      const float* row = magnitudes + static_cast<std::ptrdiff_t>(i) * stride;
      result = std::max(result, *std::max_element(row + x, row + x + width));
    }
    return result;
  };
  const float largest = most(0, 0, outputs_.vertical + reach_.vertical - 1,
                             outputs_.horizontal + reach_.horizontal - 1);
  if (largest > kLargest) return true;
  for (int y = 0; y < rows; ++y) {
    for (int x = 0; x < columns; ++x) {
      const float own = most(y, x, window_.vertical, window_.horizontal);
      if (largest > ratio_ * std::max(own, bias_magnitude_)) return true;
    }
  }
  return false;
}

}  // namespace ifast::cpu
