#include "cuda/launch/segments.h"

#include <algorithm>
#include <cstdint>

namespace ifast::cuda {
namespace {

// Chunks of K. Handing sums over takes about as long as ten or twenty; nothing has measured it.
constexpr std::int64_t kShortest = 16;

}  // namespace

void choose_segments(const std::vector<Step*>& steps, int multiprocessors) {
  std::int64_t tiles = 0, chunks = 0;
  for (const Step* step : steps) {
    if (step->kind != Kind::kConv) continue;
    const std::int64_t own = groups_of(*step, 1) * step->group_tiles;
    tiles += own;
    chunks += own * step->chunks;
  }
  if (tiles >= multiprocessors) return;
  const std::int64_t share = std::max(kShortest, (chunks + multiprocessors - 1) / multiprocessors);
  for (Step* step : steps) {
    if (step->kind != Kind::kConv || step->tile_columns != kNarrowTile) continue;
    const int segments = static_cast<int>(std::max<std::int64_t>(1, step->chunks / share));
    step->segment_chunks = divide_up(step->chunks, segments);
    step->segments = divide_up(step->chunks, step->segment_chunks);
  }
}

}  // namespace ifast::cuda
