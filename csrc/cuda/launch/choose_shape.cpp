#include "cuda/launch/choose_shape.h"

#include <algorithm>
#include <cstdint>

#include "cuda/launch/segments.h"

namespace ifast::cuda {
namespace {

// Clocks, all guesses: what an instruction of a warp takes where nothing else runs beside it, the
// instructions of a chunk besides those of a warp's 16 x 8 of sums and of those, and a block's
// prologue and epilogue.
constexpr std::int64_t kLoneInstruction = 5;
constexpr std::int64_t kLoopInstructions = 70;
constexpr std::int64_t kStepInstructions = 6;
constexpr std::int64_t kOutside = 2000;
// Bytes that a multiprocessor gets from L2 in a clock, where all of them ask.
constexpr std::int64_t kL2Bytes = 24;

std::int64_t ceil_divide(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// In clocks, as if the step had the device to itself. Blocks side by side on a multiprocessor hide
// each other's latency, so a round of them takes as long as one; but all their bytes come from L2.
std::int64_t cost(int index, const Step& step, int batch, int multiprocessors) {
  const TileShape& shape = kShapes[index];
  const Cut cut = cut_of(step, index);
  const std::int64_t tiles = groups_of(step, cut, batch) * cut.group_tiles;
  const bool spread = tiles * step.segments <= std::int64_t{kSpread} * multiprocessors;
  const std::int64_t blocks = spread ? tiles * step.segments : tiles;
  const std::int64_t chunks = spread ? step.segment_chunks : step.chunks;
  const std::int64_t warp_sums = shape.rows * shape.columns / (kThreads / 32);
  const std::int64_t alone =
      chunks * kLoneInstruction * (kLoopInstructions + kStepInstructions * warp_sums / (16 * 8));
  const std::int64_t resident = shape.throughput ? 2 : 3;
  const std::int64_t rounds = ceil_divide(blocks, resident * multiprocessors);
  const std::int64_t bytes =
      ceil_divide(blocks, multiprocessors) * chunks * shape.stage_bytes() / kL2Bytes;
  return std::max(rounds * alone, bytes) + rounds * kOutside;
}

}  // namespace

bool serves(const TileShape& shape, const Step& step, const ShapeChoice& choice) {
  return (shape.any_source || step.whole_vectors) && offers(choice.kernel, shape, choice.splits) &&
         shape.shared_bytes() <= choice.shared_bytes;
}

int choose_shape(const Step& step, int batch, const ShapeChoice& choice) {
  if (choice.fixed >= 0) {
    return serves(kShapes[choice.fixed], step, choice) ? choice.fixed : kBaseShape;
  }
  int best = kBaseShape;
  std::int64_t least = 0;
  for (int i = 0; i < kShapeCount; ++i) {
    if (!serves(kShapes[i], step, choice)) continue;
    const std::int64_t own = cost(i, step, batch, choice.multiprocessors);
    if (i == kBaseShape || own < least) {
      best = i;
      least = own;
    }
  }
  return best;
}

std::vector<Cut> choose_cuts(std::span<const Step> steps, int batch, const ShapeChoice& choice) {
  ShapeChoice among = choice;
  for (const Step& step : steps) {
    if (step.kind == Kind::kPair) among.kernel = KernelKind::kPair;
  }
  std::vector<Cut> cuts;
  for (const Step& step : steps) {
    const bool conv = step.kind == Kind::kConv;
    cuts.push_back(cut_of(step, conv ? choose_shape(step, batch, among) : kBaseShape));
  }
  return cuts;
}

}  // namespace ifast::cuda
