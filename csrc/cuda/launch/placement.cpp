#include "cuda/launch/placement.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>
#include <stdexcept>
#include <string>

#include "cuda/launch/segments.h"

namespace ifast::cuda {
namespace {

// Of pixels and blocks; they are ints, and rounded up to tiles.
constexpr std::int64_t kMostIndices = std::numeric_limits<int>::max() - kMostRows;

// Of one image, the larger of the output and a pair's intermediate.
std::int64_t pixels_of(const Step& step) {
  const std::int64_t output = std::int64_t{step.height} * step.width;
  const std::int64_t middle = std::int64_t{step.source.height} * step.source.width;
  return step.kind == Kind::kPair ? std::max(output, middle) : output;
}

// A group of a pair is one tile, whatever its parts, and a cluster's.
std::int64_t blocks_of(const Step& step, const Cut& cut, int batch) {
  const bool pair = step.kind == Kind::kPair;
  return groups_of(step, cut, batch) * (pair ? 1 << step.cluster_log2 : cut.group_tiles);
}

}  // namespace

Placement place_blocks(const Program& program, const StageLaunch& launch, int batch) {
  const std::span steps(program.steps.data() + launch.first_step,
                        static_cast<std::size_t>(launch.count));
  Placement placement;
  placement.cuts = choose_cuts(steps, batch, program.choice);
  std::int64_t segments = 0;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const Step& step = steps[i];
    const TileShape& shape = kShapes[placement.cuts[i].shape];
    if (step.kind == Kind::kConv) {
      segments += blocks_of(step, placement.cuts[i], batch) * step.segments;
      placement.throughput |= shape.throughput;
      placement.shared_bytes = std::max(placement.shared_bytes, shape.shared_bytes());
    }
  }
  const bool room = has_room(static_cast<double>(segments),
                             static_cast<int>(program.choice.machine.multiprocessors));
  std::int64_t blocks = 0;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const Step& step = steps[i];
    const Cut& cut = placement.cuts[i];
    const bool spread = step.kind == Kind::kConv && step.segments > 1 && room;
    const std::int64_t own = blocks_of(step, cut, batch) * (spread ? step.segments : 1);
    placement.first_block.push_back(static_cast<int>(blocks));
    placement.first_partial.push_back(spread ? placement.partials : kNoPartials);
    blocks += own;
    if (std::max(blocks, batch * pixels_of(step)) > kMostIndices) {
      throw std::invalid_argument("batch: got " + std::to_string(batch) + ", too many for " +
                                  program.names[launch.first_step + i]);
    }
    if (spread) placement.partials += static_cast<int>(own) * partials_of(kShapes[cut.shape]);
  }
  placement.first_block.push_back(static_cast<int>(blocks));
  return placement;
}

}  // namespace ifast::cuda
