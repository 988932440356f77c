#include "cuda/launch/pair_shape.h"

#include <algorithm>
#include <cstdint>
#include <utility>

namespace ifast::cuda {
namespace {

// More would leave most multiprocessors idle.
constexpr int kMostRowTiles = 16;

std::int64_t ceil_divide(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// The most pixels of the intermediate that a run of `pixels` output pixels sees, wherever it begins
// and in how many images it lies.
std::int64_t most_middle_pixels(const Step& first, const Step& second, int pixels) {
  const auto line = [&](std::int64_t at, int offset) {
    const std::int64_t y = at % second.height * second.stride.vertical + offset;
    return at / second.height * first.height + std::clamp<std::int64_t>(y, 0, first.height - 1);
  };
  const int lines = (pixels + second.width - 2) / second.width + 1;
  std::int64_t most = 0;
  for (int begin = 0; begin < second.height; ++begin) {
    const std::int64_t last = line(begin + lines - 1, second.highest_tap);
    most = std::max(most, last - line(begin, second.lowest_tap) + 1);
  }
  return most * first.width;
}

// The quickest for clusters of 2^cluster_log2 blocks.
std::optional<PairShape> pair_shape(const PairOfSteps& pair, int cluster_log2,
                                    std::size_t element_size, const DeviceLimits& limits) {
  const auto& [first, second] = pair;
  const int blocks = 1 << cluster_log2;
  const std::int64_t image = std::int64_t{second.height} * second.width;
  const std::int64_t middle_image = std::int64_t{first.height} * first.width;
  std::optional<PairShape> best;
  for (int rows = 1;
       rows <= std::min<std::int64_t>(kMostRowTiles, ceil_divide(image, kPairShape.rows)); ++rows) {
    const std::int64_t pixels = most_middle_pixels(first, second, rows * kPairShape.rows);
    const auto units = [&](std::int64_t of_pixels) {
      return ceil_divide(ceil_divide(of_pixels, kPairShape.rows) * first.cut.group_tiles, blocks);
    };
    const std::int64_t shared =
        kPairShape.shared_bytes() + units(pixels) * pair_unit_bytes(element_size);
    if (shared > limits.shared_bytes) break;
    const std::int64_t tiles = ceil_divide(image, rows * kPairShape.rows);
    const std::int64_t parts = ceil_divide(rows * second.cut.group_tiles, blocks);
    const std::int64_t duration =
        ceil_divide(tiles * blocks, limits.multiprocessors) *
        (units(std::min(pixels, middle_image)) * first.chunks + parts * second.chunks);
    if (!best || duration < best->duration) {
      best = {rows * kPairShape.rows, static_cast<int>(shared), duration};
    }
  }
  return best;
}

}  // namespace

std::optional<PairShapes> choose_pair_shapes(const std::vector<PairOfSteps>& pairs,
                                             std::size_t element_size, const DeviceLimits& limits) {
  std::optional<PairShapes> best;
  std::int64_t shortest = 0;
  for (int cluster = 0; cluster <= limits.cluster_log2; ++cluster) {
    PairShapes candidate{cluster, {}};
    std::int64_t duration = 0;
    for (const PairOfSteps& pair : pairs) {
      const auto shape = pair_shape(pair, cluster, element_size, limits);
      if (!shape) break;
      candidate.shapes.push_back(*shape);
      duration += shape->duration;
    }
    if (candidate.shapes.size() < pairs.size() || (best && duration >= shortest)) continue;
    best = std::move(candidate);
    shortest = duration;
  }
  return best;
}

}  // namespace ifast::cuda
