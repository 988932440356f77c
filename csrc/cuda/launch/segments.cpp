#include "cuda/launch/segments.h"

#include <algorithm>
#include <cstdint>

namespace ifast::cuda {
void choose_segments(const std::vector<Step*>& steps, int multiprocessors,
                     const LaunchOptions& options) {
  std::int64_t tiles = 0, chunks = 0;
  for (const Step* step : steps) {
    if (step->kind != Kind::kConv) continue;
    const std::int64_t own = groups_of(*step, 1) * step->group_tiles;
    tiles += own;
    chunks += own * step->chunks;
  }
  const std::int64_t blocks = std::int64_t{multiprocessors} * options.waves;
  if (tiles >= blocks) return;
  const std::int64_t shortest = divide_up(options.shortest, kChunkBytes);
  const std::int64_t share = std::max(shortest, (chunks + blocks - 1) / blocks);
  for (Step* step : steps) {
    if (step->kind != Kind::kConv || step->tile_columns != kBaseShape.columns) continue;
    const int segments = static_cast<int>(std::max<std::int64_t>(1, step->chunks / share));
    step->segment_chunks = divide_up(step->chunks, segments);
    step->segments = divide_up(step->chunks, step->segment_chunks);
  }
}

}  // namespace ifast::cuda
